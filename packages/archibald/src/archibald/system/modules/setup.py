"""``/etc/audio-setup.sh``: plan, apply and measure behind the flags that musicians know."""

from __future__ import annotations

from importlib import resources

from archibald.profile.model import Profile
from archibald.system.spec import Contribution, File, Hardware, Origin, contributions

PATH = "/etc/audio-setup.sh"


def script() -> bytes:
    """Return the script."""
    return (resources.files("archibald.system") / "files" / "audio-setup.sh").read_bytes()


def contribute(_profile: Profile, _hardware: Hardware) -> list[Contribution]:
    """Return the entry point; it is the same for every profile."""
    origin = Origin("setup", "one command that tunes the machine and says what it did")
    return contributions(origin, File(PATH, script(), 0o755))
