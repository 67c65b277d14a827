"""The cache of downloaded files, addressed by SHA-256.

A file is in the store under its own hash, so a wrong one can be recognized at any time. Nothing is
used before its hash was checked in the same run.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from archibald.errors import PreconditionError


class TamperedFileError(PreconditionError):
    """A file in the cache does not have the hash that the lock demands."""


def cache_root() -> Path:
    """Return the folder of all caches: $ARCHIBALD_CACHE, else $XDG_CACHE_HOME/archibald."""
    chosen = os.environ.get("ARCHIBALD_CACHE")
    if chosen:
        return Path(chosen).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).absolute() / "archibald"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True)
class Wanted:
    """A file that is needed: its hash, its size in bytes (0 when unknown) and a name for people."""

    sha256: str
    size: int
    name: str


@dataclass(frozen=True)
class Checked:
    """What the store has of a list of wanted files."""

    present: tuple[Wanted, ...]
    missing: tuple[Wanted, ...]
    tampered: tuple[Wanted, ...]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Store:
    """Files below ``folder``, each named by its SHA-256."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.partial = folder / "partial"

    def path(self, sha256: str) -> Path:
        """Return where the file with this hash is, or would be."""
        return self.folder / sha256[:2] / sha256

    def check(self, wanted: Iterable[Wanted]) -> Checked:
        """Hash every wanted file that is there and sort them into present, missing, tampered."""
        rows = tuple(wanted)
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            states = list(pool.map(self._state, rows))
        return Checked(
            *(
                tuple(r for r, s in zip(rows, states, strict=True) if s == state)
                for state in range(3)
            )
        )

    def _state(self, wanted: Wanted) -> int:
        path = self.path(wanted.sha256)
        if not path.is_file():
            return 1
        return 0 if sha256_of(path) == wanted.sha256 else 2

    def reject(self, wanted: Wanted) -> Path:
        """Move a tampered file out of the way and return its new place."""
        rejected = self.folder / "rejected"
        rejected.mkdir(parents=True, exist_ok=True)
        return self.path(wanted.sha256).rename(rejected / f"{wanted.sha256}.{wanted.name}")

    def partial_path(self, wanted: Wanted) -> Path:
        """Return where a download of this file is collected."""
        self.partial.mkdir(parents=True, exist_ok=True)
        return self.partial / f"{wanted.sha256}.{os.getpid()}"

    def recover(self) -> None:
        """Take what killed downloads left: whole files into the store, the rest away."""
        for path in sorted(self.partial.glob("*.*")):
            sha256, _, pid = path.name.partition(".")
            if pid.isdecimal() and not _is_alive(int(pid)):
                self.adopt(Wanted(sha256, 0, path.name), path)

    def adopt(self, wanted: Wanted, arrived: Path) -> bool:
        """Take a downloaded file into the store if its hash is right; else delete it."""
        if not arrived.is_file():
            return False
        if arrived.is_symlink():
            # apt only links to the files of a mirror that is a folder of this machine.
            source = arrived.resolve()
            arrived.unlink()
            shutil.copyfile(source, arrived)
        if sha256_of(arrived) != wanted.sha256:
            arrived.unlink()
            return False
        target = self.path(wanted.sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        arrived.chmod(0o644)
        arrived.replace(target)
        return True
