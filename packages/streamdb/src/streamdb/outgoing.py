"""Bytes on their way to the end of a file: gathered, and written while more are gathered.

A thread writes one buffer while the other is filled, and asks the kernel to begin with the disk:
the sync at the end then has little left to wait for. The thread lives as long as there is that
much; what fits into one buffer is written by whoever asks for it to be written.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, Any

from streamdb.checks import Buffer

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

BUFFER_BYTES = 1 << 20

_SYNC_FILE_RANGE_WRITE = 2


class Outgoing:
    """What is appended to a file. Its owner sees to it that one thread at a time calls it.

    ``written`` is up to where the file has been written without an error. Every method may raise
    the OSError of a write that a call before has begun; then :meth:`drop` what is left.
    """

    def __init__(self) -> None:
        self._descriptor = -1
        # Views, because what is assigned to a part of a bytearray is copied twice.
        self._filling = memoryview(bytearray())
        self._spare = self._filling
        self._filled = 0
        self._writing: Future[None] | None = None
        self._writing_bytes = 0
        self._thread: ThreadPoolExecutor | None = None
        self.written = 0

    def begin(self, descriptor: int, position: int) -> None:
        """Append to another file, from ``position`` on; everything before is written or dropped."""
        self._descriptor = descriptor
        self.written = position

    @property
    def end(self) -> int:
        """Where the next byte goes."""
        return self.written + self._writing_bytes + self._filled

    @property
    def waiting(self) -> int:
        """How many bytes the kernel has not been handed yet."""
        return self._writing_bytes + self._filled

    def add(self, *parts: Buffer) -> None:
        """Append; the parts are copied."""
        for part in parts:
            length = len(part)
            if self._filled + length > len(self._filling):
                self._make_room(length)
            self._filling[self._filled : self._filled + length] = part
            self._filled += length
        if self._filled >= BUFFER_BYTES:
            self._send()

    def finish(self) -> None:
        """Hand everything to the kernel, where every reader sees it."""
        self._await()
        if self._filled:
            _write_all(self._descriptor, self._filling[: self._filled], self.written)
            self.written += self._filled
            self._filled = 0

    def hurry(self) -> None:
        """Hand everything to the kernel, and have it begin with the disk."""
        start = self.written
        self.finish()
        if self.written > start:
            _begin_sync(self._descriptor, start, self.written - start)

    def drop(self) -> None:
        """Forget what the kernel was not handed."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.exception()
        self._writing_bytes = self._filled = 0
        self.rest()

    def rest(self) -> None:
        """Let go of the thread and the second buffer until there is much again."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None
            self._spare = memoryview(bytearray())

    # -- inside ----------------------------------------------------------------------------------

    def _make_room(self, length: int) -> None:
        larger = memoryview(bytearray(1 << (self._filled + length - 1).bit_length()))
        larger[: self._filled] = self._filling[: self._filled]
        self._filling = larger

    def _send(self) -> None:
        self._await()
        if self._thread is None:
            from concurrent.futures import ThreadPoolExecutor

            self._thread = ThreadPoolExecutor(1, "streamdb-segment")
        full = self._filling[: self._filled]
        self._writing = self._thread.submit(_write_out, self._descriptor, full, self.written)
        self._writing_bytes, self._filled = self._filled, 0
        self._filling, self._spare = self._spare, self._filling

    def _await(self) -> None:
        if self._writing is not None:
            self._writing.result()
            self._writing = None
            self.written += self._writing_bytes
            self._writing_bytes = 0


def _write_out(descriptor: int, data: memoryview, position: int) -> None:
    _write_all(descriptor, data, position)
    _begin_sync(descriptor, position, len(data))


def _write_all(descriptor: int, data: memoryview, position: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, position)
        data = data[written:]
        position += written


def _begin_sync(descriptor: int, position: int, length: int) -> None:
    """Make the kernel begin to write; it neither waits nor reports errors, and only the sync that
    follows counts.
    """
    _sync_file_range()(descriptor, position, length, _SYNC_FILE_RANGE_WRITE)


@cache
def _sync_file_range() -> Any:
    import ctypes

    try:
        call = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError):
        return lambda *_: 0  # a C library without it does without
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return call
