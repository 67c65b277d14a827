"""Identity: the profile itself, inside the system that it describes."""

from __future__ import annotations

from archibald.profile.load import canonical_json
from archibald.profile.model import Profile
from archibald.system.spec import Contribution, File, Hardware, Origin, contributions

PROFILE_PATH = "/usr/lib/archibald/profile.json"


def contribute(profile: Profile, _hardware: Hardware) -> list[Contribution]:
    """Return the profile as a file.

    It is the whole profile with its variants, not one of them: all boot entries share the file.
    """
    return contributions(
        Origin("identity", "the system knows what it is meant to be, so that it can check itself"),
        File(PROFILE_PATH, canonical_json(profile)),
    )
