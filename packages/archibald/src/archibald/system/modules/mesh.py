"""HydraMesh: today only the folder of the sample library that it will share.

The mesh itself is not part of the image yet, so nothing is installed or started, and no port opens.
"""

from __future__ import annotations

from archibald.profile.model import Profile
from archibald.system.spec import Contribution, Directory, Hardware, Origin, contributions


def contribute(profile: Profile, _hardware: Hardware) -> list[Contribution]:
    """Return the folder of the sample library when the mesh is wanted."""
    if not profile.mesh.enable:
        return []
    return contributions(
        Origin("mesh", "the sample library lives here", ("mesh.enable", "storage.library")),
        Directory(profile.storage.library, mode=0o2775, group="audio"),
    )
