"""The kernel's news of folders (inotify), through the C library.

Nothing is hidden here: a queue that ran over and a limit that was reached are told, because what
they swallow has to be looked up in the folders themselves.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from streamdb.errors import StorageFailure, StreamDBError

MODIFY, ATTRIB, CLOSE_WRITE = 0x2, 0x4, 0x8
MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x40, 0x80, 0x100, 0x200
DELETE_SELF, MOVE_SELF, UNMOUNT, OVERFLOW, IGNORED = 0x400, 0x800, 0x2000, 0x4000, 0x8000
IS_FOLDER = 0x40000000

_ONLY_FOLDERS, _NO_LINKS = 0x01000000, 0x02000000
_WANTED = (
    MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF
    | MOVE_SELF | _ONLY_FOLDERS | _NO_LINKS
)  # fmt: skip
_HEAD = struct.Struct("iIII")
_READ_BYTES = 1 << 18


class TooManyFolders(StreamDBError):
    """The kernel watches no more folders for this user."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One event: of which watch, what (bits), what pairs two halves of a move, and the name."""

    watch: int
    mask: int
    cookie: int
    name: bytes


def parse(raw: bytes) -> Iterator[Notice]:
    """The events in what was read from the kernel."""
    at = 0
    while at + _HEAD.size <= len(raw):
        watch, mask, cookie, length = _HEAD.unpack_from(raw, at)
        at += _HEAD.size
        yield Notice(watch, mask, cookie, raw[at : at + length].rstrip(b"\0"))
        at += length


class Inotify:
    """A queue of events of the watched folders; close it after use."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._descriptor < 0:
            code = ctypes.get_errno()
            if code == errno.EMFILE:
                raise TooManyFolders(
                    "too many programs of this user watch folders",
                    why=os.strerror(code),
                    next_step="sudo sysctl fs.inotify.max_user_instances=1024",
                )
            raise StorageFailure("folders cannot be watched", why=os.strerror(code))
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def watch(self, folder: bytes) -> int | None:
        """Watch a folder (not what is in its folders); None when it is gone or may not be read.

        A folder that is watched already keeps its number.

        Raises:
            TooManyFolders: the kernel's limit is reached.
        """
        number: int = self._libc.inotify_add_watch(self._descriptor, folder, _WANTED)
        if number >= 0:
            return number
        code = ctypes.get_errno()
        if code in (errno.ENOSPC, errno.ENOMEM):
            raise TooManyFolders(
                "the kernel watches no more folders for this user",
                why="fs.inotify.max_user_watches is reached",
                next_step="sudo sysctl fs.inotify.max_user_watches=600000; to keep it, write that"
                " line to /etc/sysctl.d/60-inotify.conf",
            )
        return None

    def forget(self, number: int) -> None:
        """Stop watching a folder."""
        self._libc.inotify_rm_watch(self._descriptor, number)

    def read(self, timeout_s: float | None) -> list[Notice]:
        """What happened; waits up to ``timeout_s`` (None: without end) for the first event."""
        wait = None if timeout_s is None else max(0, int(timeout_s * 1000) + 1)
        if not self._poll.poll(wait):
            return []
        found: list[Notice] = []
        while True:
            try:
                found += parse(os.read(self._descriptor, _READ_BYTES))
            except BlockingIOError:
                return found
            if len(found) >= 65536:
                return found

    def close(self) -> None:
        """Let the watches go; a second time does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
