"""Is there room? Asked before the work, so that a full disk is said in minute zero."""

from __future__ import annotations

import shutil
from pathlib import Path

from archibald.errors import DiskFullError


def mib(size: float) -> str:
    """Return bytes as MiB or GiB for people."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def require_space(path: Path, needed: int, *, purpose: str) -> None:
    """Raise :class:`DiskFullError` unless the file system of ``path`` has ``needed`` bytes free."""
    free = shutil.disk_usage(_existing(path)).free
    if free < needed:
        raise DiskFullError(
            f"{purpose} needs {mib(needed)}, {path} has {mib(free)}",
            why="estimated from the sizes of the locked packages",
            next_step="free some space (archibald cache prune), or choose another disk: "
            "ARCHIBALD_CACHE=FOLDER for the cache, --output FOLDER for the image",
        )
