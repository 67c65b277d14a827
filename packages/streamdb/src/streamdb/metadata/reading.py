"""Bounded access to a file of unknown honesty.

Everything that reads metadata goes through here: a size field that claims 4 GiB gives what is
there, up to a limit; a file that makes a library read on and on runs out of its allowance.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MAX_BODY = 1 << 20
"""The most bytes of one chunk that are looked at."""

MAX_CHUNKS = 4096
"""The most chunks of one file that are looked at."""


@dataclass(frozen=True, slots=True)
class Source:
    """A seekable file and its size in bytes."""

    file: BinaryIO
    size: int

    def at(self, offset: int, count: int) -> bytes:
        """Up to ``count`` bytes from ``offset`` on, never more than :data:`MAX_BODY`."""
        if offset < 0 or offset >= self.size or count <= 0:
            return b""
        self.file.seek(offset)
        wanted = min(count, MAX_BODY, self.size - offset)
        parts = []
        while wanted > 0:
            part = self.file.read(wanted)
            if not part:
                break
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)


@contextmanager
def opened(source: Path | bytes | bytearray | memoryview | BinaryIO) -> Iterator[Source]:
    """The source as a seekable file; a file object is left open, at the position it had."""
    if isinstance(source, bytes | bytearray | memoryview):
        yield Source(io.BytesIO(source), len(source))
    elif isinstance(source, str | os.PathLike):
        with Path(source).open("rb") as file:
            yield Source(file, os.fstat(file.fileno()).st_size)
    else:
        position = source.tell()
        try:
            yield Source(source, source.seek(0, os.SEEK_END))
        finally:
            source.seek(position)


class Allowance(io.RawIOBase):
    """A window of a source for a library to read in, with a limit on bytes and on calls.

    Past the limit the file seems to end. ``spent`` then says that this, not the file, was why.
    """

    def __init__(
        self,
        source: Source,
        *,
        start: int = 0,
        most_bytes: int = 16 << 20,
        most_calls: int = 20_000,
    ) -> None:
        super().__init__()
        self._source = source
        self._start = start
        self._length = max(0, source.size - start)
        self._position = 0
        self._bytes = most_bytes
        self._calls = most_calls
        self.spent = False
        self.name = ""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._length}[whence]
        if base + offset < 0:
            raise OSError("a seek before the beginning of the file")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._length - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        if wanted > self._bytes or not self._calls:
            self.spent = True
            return b""
        self._calls -= 1
        self._bytes -= wanted
        self._source.file.seek(self._start + self._position)
        data = self._source.file.read(wanted)
        self._position += len(data)
        return data

    def readinto(self, buffer: object) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)
