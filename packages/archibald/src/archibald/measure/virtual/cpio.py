"""An initial RAM disk as bytes: the same for the same content, everywhere.

The format is "newc" (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst).
Owners, times and inode numbers are fixed, so that the guest's first instruction is the same, too.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True)
class Entry:
    """A file, folder (no content) or link of the RAM disk; ``mode`` includes the kind."""

    mode: int
    content: bytes = b""


def file(content: bytes, *, executable: bool = False) -> Entry:
    """Return a regular file."""
    return Entry(stat.S_IFREG | (0o755 if executable else 0o644), content)


def link(target: str) -> Entry:
    """Return a symbolic link."""
    return Entry(stat.S_IFLNK | 0o777, target.encode())


def folder() -> Entry:
    """Return an empty folder."""
    return Entry(stat.S_IFDIR | 0o755)


def pack(entries: Mapping[str, Entry]) -> bytes:
    """Return the archive of absolute paths; parents come first and are added where missing."""
    whole = dict(entries)
    for path in entries:
        for parent in PurePosixPath(path).parents:
            if str(parent) != "/":
                whole.setdefault(str(parent), folder())
    parts = [
        _member(path.lstrip("/"), entry, number)
        for number, (path, entry) in enumerate(sorted(whole.items()), start=1)
    ]
    return b"".join([*parts, _member("TRAILER!!!", Entry(0), 0)])


def _member(name: str, entry: Entry, number: int) -> bytes:
    named = name.encode() + b"\0"
    fields = (number, entry.mode, 0, 0, 1, 0, len(entry.content), 0, 0, 0, 0, len(named), 0)
    header = b"070701" + _hex(fields)
    return _padded(header + named) + _padded(entry.content)


def _hex(fields: Iterable[int]) -> bytes:
    return b"".join(b"%08X" % field for field in fields)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
