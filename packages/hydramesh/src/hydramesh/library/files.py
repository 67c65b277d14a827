"""Writing files below a folder and nowhere else, and never over one that somebody changed."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from blake3 import blake3

_PIECE = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """A folder, by ``with``; paths in it are relative, have no ``..``, and follow no links.

    ``part`` and ``aside`` are names for files that are there for a moment.
    """

    def __init__(self, root: Path, part: str, aside: str) -> None:
        self._root, self._part, self._aside = root, part, aside
        self._top = -1
        self._mode = 0o700

    def __enter__(self) -> Folder:
        # The folder itself may be a link: it is what the user named.
        self._top = os.open(self._root, _FOLDER & ~os.O_NOFOLLOW)
        # Who may read the folder may read what comes into it, whatever the daemon's umask.
        self._mode = stat.S_IMODE(os.fstat(self._top).st_mode)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._top)

    @contextlib.contextmanager
    def _at(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """(descriptor of the folder that a path is in, its name there)."""
        *parents, name = path.split("/")
        held = os.dup(self._top)
        try:
            for parent in parents:
                fresh = make and _make(held, parent)
                below = os.open(parent, _FOLDER, dir_fd=held)
                if fresh:
                    os.fchmod(below, self._mode)
                os.close(held)
                held = below
            yield held, name
        finally:
            os.close(held)

    def digest(self, path: str) -> bytes:
        """The BLAKE3 of a file; b"" where there is none.

        Raises:
            OSError: something else is there.
        """
        try:
            with self._at(path) as (folder, name):
                return _digest(folder, name)
        except FileNotFoundError:
            return b""

    def write(self, path: str, source: BinaryIO, mtime_ns: int, *, expected: bytes) -> bool:
        """Make or replace a file, whole or not at all; False if it was not the expected one.

        Args:
            path: below the folder.
            source: its new content.
            mtime_ns: its modification time.
            expected: the digest of what is there, b"" for nothing.

        Raises:
            OSError: it cannot be written.
        """
        with self._at(path, make=True) as (folder, name):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._part, dir_fd=folder)
            try:
                _copy(folder, self._part, source, mtime_ns, self._mode & 0o666)
                if expected and not self._put_aside(folder, name, expected):
                    return False
                try:
                    _name(folder, self._part, name)
                except FileExistsError:
                    return False
                if expected:
                    os.unlink(self._aside, dir_fd=folder)
                return True
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._part, dir_fd=folder)

    def remove(self, path: str, expected: bytes) -> bool:
        """Delete a file and the folders that are empty then; False if it was not the expected."""
        with self._at(path) as (folder, name):
            if not self._put_aside(folder, name, expected):
                return False
            os.unlink(self._aside, dir_fd=folder)
        parent = path.rpartition("/")[0]
        while parent:
            try:
                with self._at(parent) as (folder, name):
                    os.rmdir(name, dir_fd=folder)
            except OSError:
                break
            parent = parent.rpartition("/")[0]
        return True

    def _put_aside(self, folder: int, name: str, expected: bytes) -> bool:
        """Take a file out of the way, if it is what is expected; else leave it where it is."""
        os.rename(name, self._aside, src_dir_fd=folder, dst_dir_fd=folder)
        if _digest(folder, self._aside) == expected:
            return True
        try:
            _name(folder, self._aside, name)
        except FileExistsError:
            # A newer one has taken its place meanwhile: keep this one under a name of its own.
            kept = f"{name} (kept {os.urandom(4).hex()})"
            os.rename(self._aside, kept, src_dir_fd=folder, dst_dir_fd=folder)
        return False


def _digest(folder: int, name: str) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    told = blake3()
    descriptor = os.open(name, flags, dir_fd=folder)
    with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - from a descriptor
        while piece := file.read(_PIECE):
            told.update(piece)
    return told.digest()


def _make(folder: int, name: str) -> bool:
    """Make a folder; False if it is there."""
    try:
        os.mkdir(name, dir_fd=folder)
    except FileExistsError:
        return False
    return True


def _copy(folder: int, name: str, source: BinaryIO, mtime_ns: int, mode: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    with open(descriptor, "wb") as file:  # noqa: PTH123 - from a descriptor
        while piece := source.read(_PIECE):
            file.write(piece)
        file.flush()
        os.fchmod(descriptor, mode)
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))


def _name(folder: int, old: str, new: str) -> None:
    """Give a file its name, never over another."""
    try:
        os.link(old, new, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise
    except OSError:
        # No hard links on this file system.
        if _is_there(folder, new):
            raise FileExistsError(new) from None
        os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)
    else:
        os.unlink(old, dir_fd=folder)


def _is_there(folder: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
