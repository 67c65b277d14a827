"""Segments: append-only files that hold the chunks, and reading them back.

A segment is a file of at most about 256 MiB: a header of 64 bytes, then records, each at a multiple
of 8: a header of 56 bytes with its own checksum, then the payload. Nothing in a segment is ever
changed; what no index row refers to (the tail of a killed writer, say) is ignored. Each writing
process appends to a segment of its own, which it holds locked (flock), so that writers wait for
each other only while the index commits.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from streamdb.checks import Buffer, crc32c
from streamdb.errors import CorruptData, StorageFailure, StoreFull
from streamdb.outgoing import Outgoing

SEGMENT_BYTES = 256 << 20
CHUNK, MANIFEST, DICTIONARY = 1, 2, 3
FILE_HEADER_BYTES = 64

_MAPS = 256
_FILE_MAGIC = b"StreamDB segment"
_FILE = struct.Struct("<16sII16s20xI")
_MAGIC = b"SDBr"
_RECORD = struct.Struct("<4sBBHII32sI")
_CRC = struct.Struct("<I")
RECORD_HEADER_BYTES = _RECORD.size + 4
_PADDING = bytes(8)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """What precedes a payload: its kind, codec, lengths in bytes (stored, original), its name."""

    kind: int
    codec: int
    stored: int
    size: int
    address: bytes
    crc: int

    @classmethod
    def unpack(cls, raw: Buffer) -> RecordHeader | None:
        """None when these bytes are not an undamaged record header."""
        if len(raw) < RECORD_HEADER_BYTES or bytes(raw[:4]) != _MAGIC:
            return None
        if _CRC.unpack_from(raw, _RECORD.size)[0] != crc32c(bytes(raw[: _RECORD.size])):
            return None
        _, kind, codec, _, stored, size, address, crc = _RECORD.unpack_from(raw)
        return cls(kind, codec, stored, size, address, crc)


def _record_header(
    kind: int, codec: int, stored: int, size: int, address: bytes, crc: int
) -> bytes:
    """The 56 bytes in front of a payload, of the fields of a :class:`RecordHeader`."""
    head = _RECORD.pack(_MAGIC, kind, codec, 0, stored, size, address, crc)
    return head + _CRC.pack(crc32c(head))


def segment_name(number: int) -> str:
    """The file name of a segment.

    >>> segment_name(42)
    '0000002a.seg'
    """
    return f"{number:08x}.seg"


def segment_numbers(directory: Path) -> list[int]:
    """The numbers of all segments there are, in order."""
    found = []
    for name in os.listdir(directory):  # noqa: PTH208 - names alone, quickly
        stem, dot, kind = name.partition(".")
        if dot and kind == "seg" and len(stem) == 8:
            with contextlib.suppress(ValueError):
                found.append(int(stem, 16))
    return sorted(found)


def pack_file_header(number: int, store_id: bytes) -> bytes:
    """The first 64 bytes of a segment."""
    head = _FILE.pack(_FILE_MAGIC, 1, number, store_id, 0)
    return head[:-4] + _CRC.pack(crc32c(head[:-4]))


def check_file_header(raw: bytes, number: int, store_id: bytes) -> str | None:
    """What is wrong with the first bytes of a segment, or None."""
    if raw == pack_file_header(number, store_id):
        return None
    if raw[:16] != _FILE_MAGIC or len(raw) < FILE_HEADER_BYTES:
        return "it does not begin as a segment does"
    return "its header is damaged, or is that of another segment"


def store_id_of(raw: bytes, number: int) -> bytes | None:
    """The identity of the store that an undamaged segment header names."""
    if len(raw) < FILE_HEADER_BYTES:
        return None
    store_id: bytes = _FILE.unpack(raw[:FILE_HEADER_BYTES])[3]
    return store_id if raw == pack_file_header(number, store_id) else None


def padded(length: int) -> int:
    """``length`` rounded up to the alignment of records."""
    return (length + 7) & ~7


def outside_error(error: OSError, what: str) -> StoreFull | StorageFailure:
    """The named error for a failed write."""
    if error.errno in _FULL:
        return StoreFull(
            f"{what}: there is no space left",
            why=os.strerror(error.errno or 0),
            next_step="free space on the disk (or raise the quota), then try again",
        )
    return StorageFailure(
        f"{what} failed", why=str(error), next_step="look into the kernel's log (dmesg)"
    )


def fetch(mapped: mmap.mmap, start: int, end: int) -> None:
    """Have the kernel fetch the bytes from ``start`` to ``end`` of a segment all at once.

    Pages of a map are else fetched a few at a time, where they are touched, and a document that is
    not in memory takes several times as long.
    """
    start &= -mmap.PAGESIZE
    with contextlib.suppress(OSError):
        mapped.madvise(mmap.MADV_WILLNEED, start, end - start)


class SegmentReader:
    """Read-only maps of segments, shared by the threads of a process."""

    def __init__(self, directory: Path, flush: Callable[[], None]) -> None:
        self._directory = directory
        self._flush = flush
        self._maps: dict[int, tuple[mmap.mmap, memoryview]] = {}
        self._lock = threading.Lock()

    def view(self, number: int, offset: int, length: int) -> memoryview:
        """The bytes of a payload, without copying them; the view keeps the map alive.

        Raises:
            CorruptData: the segment is missing or ends before that.
        """
        held = self._maps.get(number)
        if held is None or offset + length > len(held[1]):
            held = self._map(number, offset + length)
        return held[1][offset : offset + length]

    def expect(self, number: int, start: int, end: int) -> None:
        """Have the kernel fetch what will be read, as :func:`fetch` does.

        Raises:
            CorruptData: as :meth:`view`.
        """
        held = self._maps.get(number)
        if held is None or end > len(held[1]):
            held = self._map(number, end)
        fetch(held[0], start, end)

    def _map(self, number: int, needed: int) -> tuple[mmap.mmap, memoryview]:
        self._flush()
        path = self._directory / segment_name(number)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise CorruptData(
                f"segment {path.name} cannot be read",
                why=error.strerror or str(error),
                next_step="restore the file from a backup, or run `streamdb repair`",
            ) from None
        try:
            size = os.fstat(descriptor).st_size
            if size < needed:
                raise CorruptData(
                    f"segment {path.name} is cut off",
                    why=f"it has {size} bytes, the index needs {needed}",
                    next_step="restore the file from a backup, or run `streamdb repair`",
                )
            mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        held = (mapped, memoryview(mapped))
        with self._lock:
            # The map that is replaced stays alive while a view of it does; the collector closes it.
            self._maps.pop(number, None)
            self._maps[number] = held
            while len(self._maps) > _MAPS:
                self._maps.pop(next(iter(self._maps)))
        return held

    def forget(self, number: int) -> None:
        """Let go of a segment that is about to be removed."""
        with self._lock:
            self._maps.pop(number, None)

    def close(self) -> None:
        """Let go of every map."""
        with self._lock:
            self._maps.clear()


class SegmentWriter:
    """Appends records to the segment of this process; every method may be called by any thread.

    ``epoch`` grows when a write failed and what was not yet on disk is lost: whoever prepared
    chunks under an older epoch must not commit them.
    """

    def __init__(
        self,
        directory: Path,
        store_id: bytes,
        unusable: Callable[[], tuple[int, frozenset[int]]],
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        self._directory = directory
        self._store_id = store_id
        self._unusable = unusable
        self._limit = segment_bytes
        self._lock = threading.RLock()
        self._descriptor = -1
        self._number = 0
        self._outgoing = Outgoing()
        self._dirty = False
        self._retired: list[int] = []
        self._users = 0
        self.epoch = 0

    # -- whoever prepares chunks ----------------------------------------------------------------

    @contextlib.contextmanager
    def preparing(self) -> Iterator[int]:
        """While inside, segments that were filled stay locked, so that nobody collects them."""
        with self._lock:
            self._users += 1
            epoch = self.epoch
        try:
            yield epoch
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._release_retired()

    def append(
        self, kind: int, codec: int, address: bytes, size: int, payload: Buffer
    ) -> tuple[int, int, int]:
        """Add a record: (segment, offset of the payload, checksum of the payload).

        It is on disk after :meth:`sync`.

        Raises:
            StoreFull: the disk is full; StorageFailure: it failed otherwise.
        """
        crc = crc32c(payload)
        header = _record_header(kind, codec, len(payload), size, address, crc)
        length = RECORD_HEADER_BYTES + len(payload)
        with self._lock:
            if self._descriptor < 0 or self._outgoing.end >= self._limit:
                self._rotate()
            at = self._outgoing.end
            self._dirty = True
            try:
                self._outgoing.add(header, payload, _PADDING[: -length % 8])
            except OSError as error:
                raise self._failed(error) from error
            return self._number, at + RECORD_HEADER_BYTES, crc

    def flush(self) -> None:
        """Hand what is buffered to the kernel, where every reader sees it."""
        self._hand_over(self._outgoing.finish)

    def hurry(self) -> None:
        """Have the disk begin with what was appended, which a commit will soon wait for."""
        self._hand_over(self._outgoing.hurry)

    def sync(self) -> None:
        """Put everything appended so far on the disk."""
        with self._lock:
            self.flush()
            if not self._dirty:
                return
            self._outgoing.rest()
            descriptor = os.dup(self._descriptor)
            self._dirty = False
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            # After a failed sync the kernel may have dropped the pages: that file is not trusted
            # with anything new.
            with self._lock:
                self._abandon(truncate=False)
            raise outside_error(error, "writing a segment to the disk") from error
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Flush and let go of every lock."""
        with self._lock:
            try:
                self.sync()
            finally:
                self._retire()
                self._release_retired()

    def forked(self) -> None:
        """In a forked child: forget everything, without touching the parent's locks or files."""
        self._lock = threading.RLock()
        self._descriptor = -1
        self._retired = []
        self._outgoing = Outgoing()

    # -- inside ----------------------------------------------------------------------------------

    def _hand_over(self, write: Callable[[], None]) -> None:
        with self._lock:
            if self._outgoing.waiting:
                try:
                    write()
                except OSError as error:
                    raise self._failed(error) from error

    def _failed(self, error: OSError) -> StoreFull | StorageFailure:
        self._abandon(truncate=True)
        return outside_error(error, "writing a segment")

    def _abandon(self, *, truncate: bool) -> None:
        self.epoch += 1
        self._outgoing.drop()
        self._dirty = False
        if truncate and self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._outgoing.written)
        self._retire()

    def _retire(self) -> None:
        if self._descriptor >= 0:
            self._retired.append(self._descriptor)
            self._descriptor = -1

    def _release_retired(self) -> None:
        for descriptor in self._retired:
            os.close(descriptor)
        self._retired.clear()

    def _rotate(self) -> None:
        if self._descriptor >= 0:
            self.sync()
            self._retire()
            if not self._users:
                self._release_retired()
        try:
            self._open_next()
        except OSError as error:
            raise outside_error(error, "making a segment") from error

    def _open_next(self) -> None:
        floor, doomed = self._unusable()
        numbers = segment_numbers(self._directory)
        for number in reversed(numbers[-8:]):
            if number not in doomed and self._try_existing(number):
                return
        number = max([floor, *[last + 1 for last in numbers[-1:]], 1])
        while not self._try_new(number):
            number += 1

    def _try_existing(self, number: int) -> bool:
        """Go on with a segment that has room and that nobody holds."""
        path = self._directory / segment_name(number)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        if not _try_lock(descriptor):
            os.close(descriptor)
            return False
        size = os.fstat(descriptor).st_size
        whole = check_file_header(
            os.pread(descriptor, FILE_HEADER_BYTES, 0), number, self._store_id
        )
        # Asked anew under the lock: a collection may have ended between the question and the lock.
        if (
            whole is not None
            or size >= self._limit * 3 // 4
            or number in self._unusable()[1]
            or not path.exists()
        ):
            os.close(descriptor)
            return False
        self._descriptor, self._number = descriptor, number
        self._outgoing.begin(descriptor, padded(size))
        return True

    def _try_new(self, number: int) -> bool:
        path = self._directory / segment_name(number)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            return False
        if not _try_lock(descriptor):
            os.close(descriptor)
            return False
        try:
            os.pwrite(descriptor, pack_file_header(number, self._store_id), 0)
            os.fdatasync(descriptor)
            sync_directory(self._directory)
        except OSError:
            os.close(descriptor)
            path.unlink(missing_ok=True)
            raise
        self._descriptor, self._number = descriptor, number
        self._outgoing.begin(descriptor, FILE_HEADER_BYTES)
        return True


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def try_lock_segment(path: Path) -> int | None:
    """A descriptor that holds the segment's lock, or None while a writer has it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    if _try_lock(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def sync_directory(path: Path) -> None:
    """Put the names in a directory on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def scan(path: Path, start: int = FILE_HEADER_BYTES) -> Iterator[tuple[int, RecordHeader, bytes]]:
    """Every record whose header is whole: (offset of the payload, header, payload as stored).

    Payloads are not verified, and the last may be cut off. Where bytes are no record, the search
    goes on at the next place that looks like one.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        at = start
        while at + RECORD_HEADER_BYTES <= size:
            file.seek(at)
            header = RecordHeader.unpack(file.read(RECORD_HEADER_BYTES))
            if header is None:
                at = _next_magic(file.fileno(), at + 8, size)
                continue
            payload = file.read(header.stored)
            yield at + RECORD_HEADER_BYTES, header, payload
            whole = len(payload) == header.stored and crc32c(payload) == header.crc
            # A torn record's length would lead past what was appended after it.
            at += padded(RECORD_HEADER_BYTES + header.stored) if whole else 8


def _next_magic(descriptor: int, at: int, size: int) -> int:
    while at < size:
        window = os.pread(descriptor, 1 << 20, at)
        found = window.find(_MAGIC)
        while found >= 0 and (at + found) % 8:
            found = window.find(_MAGIC, found + 1)
        if found >= 0:
            return at + found
        at += max(8, (len(window) - 8) & ~7)
    return size
