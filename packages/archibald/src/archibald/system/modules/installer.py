"""Installer: contributes nothing yet.

Installing to a disk is not written yet, and an image should carry no tools that nothing uses.
"""

from __future__ import annotations

from archibald.profile.model import Profile
from archibald.system.spec import Contribution, Hardware


def contribute(_profile: Profile, _hardware: Hardware) -> list[Contribution]:
    """Return nothing: see the module's text."""
    return []
