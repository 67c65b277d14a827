"""One file on its way into the store: read whole and unchanged, described, written."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from streamdb.errors import StreamDBError
from streamdb.importing.walk import kind_of

if TYPE_CHECKING:
    from streamdb.store import StreamDB

SMALL_BYTES = 4 << 20
"""Files up to this size are read at once; larger ones while they are stored."""


class SourceChanged(StreamDBError):
    """A file changed while it was read, or is no file any more."""

    exit_code = 1


class Stopped(Exception):
    """The import was asked to stop in the middle of a file."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A file that was stored: its size in bytes, and the problem in its content, if it has one."""

    path: str
    size: int
    problem: str | None


def take(
    db: StreamDB,
    file: Path,
    path: str,
    *,
    stop: threading.Event,
    tell: Callable[[int], None] = lambda _bytes: None,
    extra: dict[str, Any] | None = None,
) -> Taken:
    """Store a file as the document at ``path``, with what it tells about itself.

    Args:
        db: the store.
        file: a regular file; a link is refused.
        path: the document's path.
        stop: once it is set, reading ends with :class:`Stopped` and nothing of the file is stored.
        tell: called with the bytes that were read since the last call.
        extra: metadata to add to the file's own.

    Raises:
        OSError: it cannot be read; SourceChanged: it was written to meanwhile; Stopped; and what
        ``write_document`` raises.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb", buffering=0) as opened:  # noqa: PTH123 - from a descriptor
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise SourceChanged(f"{str(file)!r} is {kind_of(status.st_mode)} now")
        source = _Steady(opened, status, file, stop, tell)
        metadata, problem, data = _describe(opened, source, status.st_size, path)
        db.write_document(
            path,
            data,
            metadata={**metadata, **(extra or {})},
            mtime_ns=status.st_mtime_ns,
        )
    return Taken(path, status.st_size, problem)


def _describe(
    opened: BinaryIO, source: _Steady, size: int, path: str
) -> tuple[dict[str, Any], str | None, Any]:
    from streamdb.metadata import describe

    if size > SMALL_BYTES:
        described = describe(opened, path)
        opened.seek(0)
        return described.metadata, described.problem, source
    data = b"".join(iter(lambda: source.read(SMALL_BYTES), b""))
    described = describe(data, path)
    return described.metadata, described.problem, data


class _Steady:
    """A file that must not change while it is read; a change is found at its end."""

    def __init__(
        self,
        file: BinaryIO,
        status: os.stat_result,
        name: Path,
        stop: threading.Event,
        tell: Callable[[int], None],
    ) -> None:
        self._file = file
        self._before = (status.st_size, status.st_mtime_ns)
        self._name = name
        self._stop = stop
        self._tell = tell
        self._read = 0

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; b"" at the end."""
        if self._stop.is_set():
            raise Stopped
        piece = self._file.read(size)
        self._read += len(piece)
        # More than it had: a recording that goes on would never end.
        if not piece or self._read > self._before[0]:
            self._check()
        self._tell(len(piece))
        return piece

    def _check(self) -> None:
        status = os.fstat(self._file.fileno())
        if (self._read, status.st_mtime_ns) != self._before:
            raise SourceChanged(
                f"{str(self._name)!r} changed while it was read",
                next_step="import again when its program has finished writing",
            )
