"""Looking at a machine through its root folder: ``/`` of the live one, or a recorded tree.

A :class:`Sight` is a :class:`~archibald.vm.selftest.reader.Reader`, so the probes of the self-test
work on it. It tells a file that is not there from one that may not be read: neither is ever "ok".
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from archibald.vm.selftest.model import UnreadableError
from archibald.vm.selftest.pipewire import ThreadScheduling, parse_stat, status_field
from archibald.vm.selftest.reader import LiveReader, SessionUser

#: In a recorded tree: what commands printed, and modes and owners of device nodes.
NOTES = ".archibald-recording.json"

#: No file of /proc or /sys that is looked at is longer (bytes).
_MAX_BYTES = 4 * 1024 * 1024

_PIECE_BYTES = 65536

#: A program that does not answer within this time (seconds) is not waited for; see patience_s().
_PATIENCE_S = 20.0

#: On a slow machine: this many times the CPU time that our own start took, up to a limit (seconds).
_PATIENCE_STARTS, _PATIENCE_MAX_S = 20.0, 180.0


class MissingError(UnreadableError):
    """The file or folder does not exist; what that means is for the check to say."""


class DeniedError(UnreadableError):
    """The file exists, but only root may read it."""


class Commands(Protocol):
    """Asks programs. Raises UnreadableError."""

    def __call__(self, argv: Sequence[str], *, in_session: bool, accept: Sequence[int]) -> str: ...


@dataclass(frozen=True)
class Node:
    """Mode (permission bits), owner and group of a file, by name where there is one."""

    mode: int
    owner: str
    group: str

    def __str__(self) -> str:
        return f"{self.mode:04o} {self.owner}:{self.group}"


@dataclass(frozen=True)
class Process:
    """A process or kernel thread, and how it is scheduled."""

    pid: int
    scheduling: ThreadScheduling
    kernel_thread: bool

    @property
    def comm(self) -> str:
        """The name, at most 15 bytes."""
        return self.scheduling.comm


@dataclass
class Sight:
    """A machine, seen through its root folder, with the session of one user."""

    root: Path
    user: SessionUser
    commands: Commands
    nodes: Mapping[str, Node] = field(default_factory=dict)
    _asked: dict[tuple[tuple[str, ...], bool], Future[str]] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        """Say whether this is the machine that runs now."""
        return self.root == Path("/")

    def path(self, path: str) -> Path:
        """Return where an absolute path of the machine is to be found."""
        return self.root / path.lstrip("/")

    def text(self, path: str) -> str:
        """Return a file's text."""
        try:
            return _read(self.path(path)).decode("utf-8", "replace")
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from None

    def value(self, path: str) -> str:
        """Return a file's text without the white space around it."""
        return self.text(path).strip()

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a folder."""
        try:
            return sorted(os.listdir(self.path(path)))  # noqa: PTH208 - names, no Path objects
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from None

    def link(self, path: str) -> str:
        """Return what a symbolic link points to."""
        try:
            return str(self.path(path).readlink())
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from None

    def real(self, path: str) -> str:
        """Return a path with its symbolic links followed, as the machine names it."""
        found = os.path.realpath(self.path(path))
        inside = os.path.relpath(found, os.path.realpath(self.root))
        return "/" if inside == "." else f"/{inside}"

    def exists(self, path: str) -> bool:
        """Say whether there is such a file or folder."""
        return self.path(path).exists()

    def optional(self, path: str) -> str | None:
        """Return a file's stripped text, or None when it does not exist."""
        try:
            return self.value(path)
        except MissingError:
            return None

    def node(self, path: str) -> Node:
        """Return mode and owner of a file."""
        if path in self.nodes:
            return self.nodes[path]
        try:
            found = self.path(path).stat()
        except OSError as error:
            raise _unreadable(path, error) from None
        return Node(found.st_mode & 0o7777, _owner(found.st_uid), _group(found.st_gid))

    def command(
        self, argv: Sequence[str], *, in_session: bool = False, accept: Sequence[int] = (0,)
    ) -> str:
        """Return what a program prints; the same question is asked once."""
        key = (tuple(argv), in_session)
        if key not in self._asked:
            self._asked[key] = self._ask(tuple(argv), in_session, accept)
        return self._asked[key].result()

    def _ask(self, argv: tuple[str, ...], in_session: bool, accept: Sequence[int]) -> Future[str]:
        future: Future[str] = Future()
        try:
            future.set_result(self.commands(argv, in_session=in_session, accept=accept))
        except UnreadableError as error:
            future.set_exception(error)
        return future

    def prefetch(self, questions: Iterable[tuple[tuple[str, ...], bool]]) -> None:
        """Ask programs in the background; :meth:`command` waits for the answers."""
        new = [question for question in questions if question not in self._asked]
        if not new:
            return
        with_threads = ThreadPoolExecutor(max_workers=len(new))
        for argv, in_session in new:
            self._asked[argv, in_session] = with_threads.submit(
                self.commands, argv, in_session=in_session, accept=(0,)
            )
        with_threads.shutdown(wait=False)

    @functools.cached_property
    def processes(self) -> tuple[Process, ...]:
        """All processes; the ones that end meanwhile are left out."""
        found = []
        for name in self.names("/proc"):
            if not name.isdigit():
                continue
            try:
                text = self.text(f"/proc/{name}/stat")
                found.append(Process(int(name), parse_stat(text), _parent(text) == 2))
            except (UnreadableError, ValueError):
                continue
        return tuple(found)

    def uid_of(self, pid: int) -> int:
        """Return the user number of a process."""
        return int(status_field(self.text(f"/proc/{pid}/status"), "Uid").split()[0])


def _read(path: Path) -> bytes:
    """Return a file in pieces: files of /proc/sys refuse a buffer of megabytes."""
    parts, size = [], 0
    with path.open("rb", buffering=0) as stream:
        while size < _MAX_BYTES and (part := stream.read(_PIECE_BYTES)):
            parts.append(part)
            size += len(part)
    return b"".join(parts)


def _parent(stat: str) -> int:
    # proc(5): the fourth field, two after the name; kthreadd (2) is the parent of kernel threads.
    return int(stat.rpartition(")")[2].split()[1])


def _unreadable(path: str, error: OSError | ValueError) -> UnreadableError:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return MissingError(f"{path}: No such file or directory")
    if isinstance(error, PermissionError):
        return DeniedError(f"{path}: Permission denied")
    reason = error.strerror if isinstance(error, OSError) else None
    return UnreadableError(f"{path}: {reason or error}")


def _owner(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def patience_s(start_s: float) -> float:
    """Return how long a program may take, on a machine where our own start took ``start_s`` of CPU.

    An emulated CPU needs seconds for what takes milliseconds elsewhere; but a server that hangs
    must not hold up an audit for minutes on a machine where all others answer at once.
    """
    return min(_PATIENCE_MAX_S, max(_PATIENCE_S, _PATIENCE_STARTS * start_s))


def live_sight(user: SessionUser) -> Sight:
    """Return the sight of the machine that runs now."""
    reader = LiveReader(user, timeout_s=patience_s(time.process_time()))

    def ask(argv: Sequence[str], *, in_session: bool, accept: Sequence[int]) -> str:
        return reader.command(argv, in_session=in_session, accept=accept)

    return Sight(Path("/"), user, ask)


def recorded_sight(root: Path) -> Sight:
    """Return the sight of a tree: recorded, or another system's root that is mounted.

    No program runs: answers come from the recording's notes. Raises UnreadableError when the notes
    are no notes.
    """
    notes = _read_notes(root / NOTES)
    answers = notes.get("commands", {})

    def ask(argv: Sequence[str], *, in_session: bool, accept: Sequence[int]) -> str:
        del in_session, accept
        line = " ".join(argv)
        if line not in answers:
            raise UnreadableError(f"{line}: not recorded")
        return str(answers[line])

    user = notes.get("user", {})
    return Sight(
        root.resolve(),
        SessionUser(str(user.get("name", "root")), int(user.get("uid", 0))),
        ask,
        {path: _parse_node(text) for path, text in notes.get("nodes", {}).items()},
    )


def _read_notes(path: Path) -> dict[str, dict[str, str]]:
    try:
        notes = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UnreadableError(f"{path}: {error}") from None
    if not isinstance(notes, dict) or not all(isinstance(part, dict) for part in notes.values()):
        raise UnreadableError(f"{path}: not the notes of a recording")
    return notes


def _parse_node(text: str) -> Node:
    mode, owner, group = text.split()
    return Node(int(mode, 8), owner, group)
