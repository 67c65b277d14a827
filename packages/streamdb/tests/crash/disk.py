"""A disk that loses its power: which bytes and names may be there afterwards. Pure.

What POSIX promises, and no more:

* Of a file, what was written before an ``fsync`` or ``fdatasync`` of it began is there once that
  has returned. Every sector written later may be there or not, each for itself, in any order.
* The file may be as long as it was at any time since, and what lies between may be zeros, or
  whatever was on the disk before.
* A name in a directory (made, renamed, removed) is as it should be only after an ``fsync`` of that
  directory. Until then every such change may have happened or not, each for itself.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from packages.streamdb.tests.crash.strace import Call

_FORBIDDEN = {
    "sync", "syncfs", "msync", "truncate", "symlink", "symlinkat", "renameat",
    "sendfile", "splice", "io_uring_setup", "pwritev", "pwritev2",
}  # fmt: skip
_UNLOGGED = "lock.mdb"
"""LMDB's lock file is written through a map; its content means nothing after a restart."""


@dataclass
class Change:
    """A write at ``offset``, or (``data`` None) a change of the length to ``offset`` bytes."""

    start: int
    end: int
    offset: int
    data: bytes | None
    synced: bool = False

    def apply(self, content: bytearray) -> None:
        """Do it."""
        if self.data is None:
            del content[self.offset :]
            content.extend(bytes(self.offset - len(content)))
            return
        stop = self.offset + len(self.data)
        if len(content) < stop:
            content.extend(bytes(stop - len(content)))
        content[self.offset : stop] = self.data


@dataclass
class File:
    """What of a file is certain to be on the disk, and what may be."""

    certain: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)

    def sync(self, start: int) -> None:
        """Everything that had ended when the sync began is certain now."""
        rest = []
        for change in self.pending:
            if change.end < start:
                change.apply(self.certain)
            else:
                rest.append(change)
        self.pending = rest


@dataclass
class Naming:
    """A change to the names in ``directory``: ``path`` now means ``node`` (None: nothing)."""

    start: int
    end: int
    directory: str
    path: str
    node: int | None
    old: str | None = None

    def apply(self, names: dict[str, int]) -> None:
        """Do it."""
        if self.old is not None:
            names.pop(self.old, None)
        if self.node is None:
            names.pop(self.path, None)
        else:
            names[self.path] = self.node


DIRECTORY = -1


class Disk:
    """Follows a recording up to a cut, and says what may be left of the files below ``root``."""

    def __init__(self, root: Path, before: dict[str, bytes | None]) -> None:
        """``before``: what is there already, by path; None for directories."""
        self._root = str(root)
        self.files: dict[int, File] = {}
        self._names: dict[str, int] = {}
        self._certain: dict[str, int] = {}
        self._pending: list[Naming] = []
        self._positions: dict[tuple[int, int], int] = {}
        self._dsync: set[tuple[int, int]] = set()
        self._moved = False
        for path, content in before.items():
            node = DIRECTORY if content is None else self._new_file(content)
            self._names[path] = self._certain[path] = node

    def _new_file(self, content: bytes = b"") -> int:
        node = len(self.files)
        self.files[node] = File(bytearray(content))
        return node

    def _inside(self, path: str) -> bool:
        return path == self._root or path.startswith(self._root + "/")

    # -- following the recording -----------------------------------------------------------------

    def follow(self, calls: Iterable[Call], cut: int) -> None:
        """Take in every call that had begun at ``cut``. Those that had not ended are uncertain."""
        for call in calls:
            if call.start > cut:
                continue
            ended = call.end <= cut
            if call.name in ("fsync", "fdatasync") and not ended:
                continue
            self._take(call)

    def _take(self, call: Call) -> None:
        inside = [path for path in call.paths if self._inside(path)]
        if call.name in ("sync", "io_uring_setup"):
            raise AssertionError(f"{call.name} was called: this harness does not know what it did")
        if not inside and call.name not in ("fsync", "fdatasync"):
            return
        if call.name in _FORBIDDEN:
            raise AssertionError(f"{call.name} was called on {inside}: teach the harness about it")
        handler = getattr(self, "_on_" + call.name, None)
        if handler is not None:
            handler(call)

    def _on_openat(self, call: Call) -> None:
        path = call.paths[0]
        key = (call.process, call.result)
        self._positions[key] = 0
        self._dsync.discard(key)
        if re.search(r"\bO_D?SYNC\b", call.text):
            self._dsync.add(key)
        if "O_APPEND" in call.text:
            raise AssertionError(f"{path} was opened for appending: teach the harness about it")
        if "O_CREAT" in call.text and path not in self._names:
            node = self._new_file()
            self._name(call, Naming(call.start, call.end, _parent(path), path, node))
        elif "O_TRUNC" in call.text:
            self._change(call, path, 0, None)

    _on_open = _on_openat

    def _on_mkdir(self, call: Call) -> None:
        path = _named(call)
        self._name(call, Naming(call.start, call.end, _parent(path), path, DIRECTORY))

    _on_mkdirat = _on_mkdir

    def _on_unlink(self, call: Call) -> None:
        path = _named(call)
        self._name(call, Naming(call.start, call.end, _parent(path), path, None))

    _on_unlinkat = _on_rmdir = _on_unlink

    def _on_link(self, call: Call) -> None:
        old, new = call.paths[-2:]
        node = self._names[old]
        self._name(call, Naming(call.start, call.end, _parent(new), new, node))

    _on_linkat = _on_link

    def _on_rename(self, call: Call) -> None:
        old, new = call.paths[-2:]
        node = self._names[old]
        together = _parent(old) == _parent(new)
        self._name(
            call, Naming(call.start, call.end, _parent(new), new, node, old if together else None)
        )
        if not together:
            self._name(call, Naming(call.start, call.end, _parent(old), old, None))
        if node == DIRECTORY:
            self._move_tree(old, new)

    _on_renameat2 = _on_rename

    def _move_tree(self, old: str, new: str) -> None:
        """What lies in a directory goes with it; a cut that undoes this is not modelled."""
        self._moved = True

        def moved(path: str) -> str:
            inside = path == old or path.startswith(old + "/")
            return new + path[len(old) :] if inside else path

        for names in (self._names, self._certain):
            for path in [each for each in names if each.startswith(old + "/")]:
                names[moved(path)] = names.pop(path)
        for naming in self._pending:
            if naming.directory == old or naming.directory.startswith(old + "/"):
                naming.directory = moved(naming.directory)
                naming.path = moved(naming.path)
                naming.old = None if naming.old is None else moved(naming.old)

    def _name(self, call: Call, naming: Naming) -> None:
        naming.apply(self._names)
        self._pending.append(naming)

    def _on_lseek(self, call: Call) -> None:
        self._positions[call.process, call.descriptor] = call.result

    def _on_write(self, call: Call) -> None:
        key = (call.process, call.descriptor)
        at = self._positions.get(key, 0)
        self._change(call, call.paths[0], at, call.data)
        self._positions[key] = at + len(call.data)

    _on_writev = _on_write

    def _on_pwrite64(self, call: Call) -> None:
        offset = int(call.text.rpartition(",")[2])
        self._change(call, call.paths[0], offset, call.data)

    def _on_ftruncate(self, call: Call) -> None:
        self._change(call, call.paths[0], int(call.text.rpartition(",")[2]), None)

    def _on_copy_file_range(self, call: Call) -> None:
        raise AssertionError(f"{call.paths} was copied inside the kernel: teach the harness")

    def _on_fallocate(self, call: Call) -> None:
        raise AssertionError(f"fallocate({call.text}): teach the harness about it")

    def _on_mmap(self, call: Call) -> None:
        shared = "MAP_SHARED" in call.text and "PROT_WRITE" in call.text
        if shared and not call.paths[0].endswith(_UNLOGGED):
            raise AssertionError(f"{call.paths[0]} is written through a map, which is not recorded")

    def _change(self, call: Call, path: str, offset: int, data: bytes | None) -> None:
        synced = (call.process, call.descriptor) in self._dsync
        node = self._names.get(path)
        if node is None:
            return  # it was removed: nobody will see it
        change = Change(call.start, call.end, offset, data, synced)
        self.files[node].pending.append(change)

    def _on_fsync(self, call: Call) -> None:
        path = call.paths[0]
        node = self._names.get(path)
        if node is not None and node != DIRECTORY:
            self.files[node].sync(call.start)
            return
        rest = []
        for naming in self._pending:
            if naming.directory == path and naming.end < call.start:
                naming.apply(self._certain)
            else:
                rest.append(naming)
        self._pending = rest

    _on_fdatasync = _on_fsync

    # -- the power goes --------------------------------------------------------------------------

    def uncertain_names(self) -> list[str]:
        """The paths that may or may not be there."""
        return [naming.path for naming in self._pending]

    def uncertain(self) -> int:
        """How many changes may or may not be on the disk."""
        return len(self._pending) + sum(len(file.pending) for file in self.files.values())

    def uncertain_files(self) -> list[str]:
        """The paths of files of whose content something may or may not be there."""
        return [
            path
            for path, node in self._names.items()
            if node != DIRECTORY and self.files[node].pending
        ]

    def lose(self, rng: random.Random) -> dict[str, bytes | None]:
        """One of the states in which the disk may be found: by path, None for directories."""
        assert not self._moved, "a directory was renamed"
        kept = rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])
        sector = rng.choice([512, 4096])
        names = dict(self._certain)
        for naming in self._pending:
            if rng.random() < rng.choice([kept, 0.5]):
                naming.apply(names)
        state: dict[str, bytes | None] = {}
        for path in sorted(names):
            parent = _parent(path)
            if parent != _parent(self._root) and state.get(parent, b"") is not None:
                continue  # its directory is gone
            node = names[path]
            if node == DIRECTORY:
                state[path] = None
            elif path.endswith(_UNLOGGED):
                _leave_lock(rng, state, path)
            else:
                state[path] = lose_some(self.files[node], rng, kept, sector)
        return state


def _leave_lock(rng: random.Random, state: dict[str, bytes | None], path: str) -> None:
    choice = rng.randrange(4)
    if choice:
        state[path] = [b"", bytes(8192), rng.randbytes(8192)][choice - 1]


def lose_some(file: File, rng: random.Random, kept: float, sector: int) -> bytes:
    """The content of a file of whose uncertain sectors each is there with a chance of ``kept``."""
    content = bytearray(file.certain)
    longest = len(content)
    junk = rng.random() < 0.2
    for change in file.pending:
        if change.data is None:
            if change.synced or rng.random() < kept:
                change.apply(content)
            continue
        longest = max(longest, change.offset + len(change.data))
        for piece in _sectors(change, sector):
            if change.synced or rng.random() < kept:
                _fill(content, piece.offset, rng, junk)
                piece.apply(content)
    length = rng.choice([longest, len(content), len(content), len(file.certain)])
    if any(change.synced for change in file.pending):
        length = max(length, len(content))
    if length > len(content):
        _fill(content, length, rng, junk)
    return bytes(content[:length])


def _fill(content: bytearray, length: int, rng: random.Random, junk: bool) -> None:
    missing = length - len(content)
    if missing > 0:
        content.extend(rng.randbytes(missing) if junk else bytes(missing))


def _sectors(change: Change, sector: int) -> list[Change]:
    assert change.data is not None
    found = []
    at, stop = change.offset, change.offset + len(change.data)
    while at < stop:
        end = min(stop, (at // sector + 1) * sector)
        piece = change.data[at - change.offset : end - change.offset]
        found.append(Change(change.start, change.end, at, piece, change.synced))
        at = end
    return found


def _named(call: Call) -> str:
    """The path that a call names, which may be relative to a descriptor's."""
    return str(PurePosixPath(*call.paths))


def _parent(path: str) -> str:
    return str(PurePosixPath(path).parent)


def read_tree(root: Path) -> dict[str, bytes | None]:
    """What is there: by path, None for directories."""
    found: dict[str, bytes | None] = {}
    if root.exists():
        found[str(root)] = None
        for path in sorted(root.rglob("*")):
            found[str(path)] = None if path.is_dir() else path.read_bytes()
    return found


def write_tree(state: dict[str, bytes | None], root: Path, target: Path) -> None:
    """Lay a state of ``root`` out at ``target``."""
    for path, content in state.items():
        place = target / os.path.relpath(path, root)
        if content is None:
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.write_bytes(content)
