"""A document's data: from its row and its chunks, checked, decoded, in one piece or as a file."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import TYPE_CHECKING, Any, cast

from streamdb import codec, longrows, rows
from streamdb.checks import Buffer, crc32c
from streamdb.errors import CorruptData
from streamdb.rows import ChunkRow, Record
from streamdb.segments import fetch

if TYPE_CHECKING:
    from mmap import mmap

    from streamdb.crypto import Cipher
    from streamdb.engine import Engine

CHUNK_PLACE = b"chunk"
DATA_PLACE = b"data"
METADATA_PLACE = b"metadata"

# Chunks of one document lie this close: a header and some padding are between them. (What another
# document of a few KiB leaves between two does no harm either.)
_GAP = 1 << 14
_AHEAD = 1 << 20


def chunk_rows(engine: Engine, txn: Any, record: Record, verify: bool) -> list[ChunkRow]:
    """Where the chunks of a document lie.

    Raises:
        CorruptData: a row is damaged, missing, or says another size than the document does.
    """
    found = []
    get = txn.get
    table = engine.tables.chunk
    for ref in record.chunks:
        value = get(ref.address, db=table)
        if value is None:
            raise rows.damaged(rows.CHUNKS, ref.address, "it is missing")
        body = rows.unseal(rows.CHUNKS, ref.address, value, verify)
        row = rows.unpack_chunk(body, ref.address)
        if row.size != ref.size:
            raise rows.damaged(rows.CHUNKS, ref.address, "document and chunk differ in its size")
        found.append(row)
    return found


def read_chunks(
    engine: Engine, txn: Any, wanted: Iterable[tuple[bytes, int]], verify: bool
) -> tuple[bytes, bool]:
    """The chunks of a document, (address, size) each, as one; and whether they are stored as is.

    Raises:
        CorruptData: a row is damaged or missing, or what it refers to is.
    """
    get, table = txn.get, engine.tables.chunk
    found = []
    for address, size in wanted:
        value = get(address, db=table)
        if value is None:
            raise rows.damaged(rows.CHUNKS, address, "it is missing")
        row = longrows.chunk_fields(address, value, verify)
        if row[3] != size:
            raise rows.damaged(rows.CHUNKS, address, "document and chunk differ in its size")
        found.append((address, row))
    _expect(engine, [row for _, row in found])
    parts: list[Buffer] = []
    view, cipher = engine.segments.view, engine.cipher
    plain = True
    for address, (segment, offset, stored, size, number, crc, _, _) in found:
        part: Buffer = view(segment, offset, stored)
        if verify and crc32c(part) != crc:
            raise _damaged(address, segment, offset, stored)
        if cipher is not None or number != codec.RAW or stored != size:
            plain = False
            part = decode_payload(cipher, address, number, size, part)
        parts.append(part)
    # A view into a map must not outlive this call: bytes do.
    return bytes(parts[0]) if len(parts) == 1 else b"".join(parts), plain


def _expect(engine: Engine, found: list[tuple[int, ...]]) -> None:
    """Have the kernel fetch the chunks that lie beside each other in one go."""
    at = 0
    while at < len(found):
        segment, start, stored = found[at][:3]
        end = start + stored
        at += 1
        while at < len(found) and found[at][0] == segment and 0 <= found[at][1] - end <= _GAP:
            end = found[at][1] + found[at][2]
            at += 1
        engine.segments.expect(segment, start, end)


def decode_chunk(
    engine: Engine, address: bytes, row: ChunkRow, stored: Buffer, verify: bool
) -> Buffer:
    """One chunk from its stored bytes."""
    if verify and crc32c(stored) != row.crc:
        raise _damaged(address, row.segment, row.offset, row.stored)
    return decode_payload(engine.cipher, address, row.codec, row.size, stored)


def _damaged(address: bytes, segment: int, offset: int, stored: int) -> CorruptData:
    return CorruptData(
        f"chunk {address.hex()[:16]} in segment {segment:08x} is damaged",
        why=f"the checksum of the {stored} bytes at {offset} does not match",
        next_step="run `streamdb check` to see all damage, then restore it from a backup",
    )


def decode_payload(
    cipher: Cipher | None, address: bytes, number: int, size: int, stored: Buffer
) -> Buffer:
    """One chunk from stored bytes whose checksum is right."""
    if cipher is not None:
        stored = cipher.open(CHUNK_PLACE, address, 1, stored)
    if number == codec.RAW and len(stored) == size:
        return stored
    return codec.decode(number, stored, size)


def read_inline(engine: Engine, record: Record) -> bytes:
    """The data of a document that lies in its row."""
    payload = record.inline
    if record.flags & rows.FLAG_SEALED and engine.cipher is not None:
        payload = engine.cipher.open(DATA_PLACE, record.guid, record.version, payload)
    if record.codec == codec.RAW and len(payload) == record.size:
        return payload
    return bytes(codec.decode(record.codec, payload, record.size))


def decode_inline(key: bytes, number: int, payload: bytes, size: int) -> bytes:
    """The data of a short document from its row."""
    try:
        return bytes(codec.decode(number, payload, size))
    except CorruptData as error:
        raise named(error, key) from None


def read_all(engine: Engine, txn: Any, record: Record, verify: bool) -> bytes:
    """All of a document's data.

    Raises:
        CorruptData: any of it is damaged; the error names the document.
    """
    try:
        if record.is_inline:
            return read_inline(engine, record)
        wanted = [(ref.address, ref.size) for ref in record.chunks]
        return read_chunks(engine, txn, wanted, verify)[0]
    except CorruptData as error:
        raise named(error, record.path) from None


def read_long(
    engine: Engine, txn: Any, key: bytes, value: bytes, verify: bool
) -> tuple[bytes, bool]:
    """The data of a document that is no short one, from its row, which has been verified; and
    whether a cache may hold it.

    It may not when a write through another path can change it. It need not when it is stored as it
    is: the kernel has it in memory already, and a second copy of it costs more than reading it.

    Raises:
        CorruptData: any of it is damaged; the error names the document.
    """
    listed = longrows.long_document(key, value)
    if listed is None:
        record = rows.unpack_record(value[4:], key)
        return read_all(engine, txn, record, verify), not record.shared
    try:
        found, plain = read_chunks(engine, txn, listed[0], verify)
    except CorruptData as error:
        raise named(error, rows.unpack_record(value[4:], key).path) from None
    return found, not (listed[1] or plain)


def named(error: CorruptData, path: bytes) -> CorruptData:
    """The error, with the document that it makes unreadable."""
    text = path.decode(errors="replace")
    return CorruptData(
        f"the document {text!r} is damaged: {error.what}",
        why=error.why,
        next_step=error.next_step,
    )


class DocumentStream(io.RawIOBase):
    """A document as a file to read: seekable, checked chunk by chunk, in constant memory.

    It shows the version that was current when it was opened, whatever is written meanwhile.
    """

    def __init__(
        self, engine: Engine, record: Record, found: Iterable[ChunkRow], verify: bool
    ) -> None:
        super().__init__()
        self.name = record.path.decode(errors="replace")
        self.size = record.size
        self._engine = engine
        self._path = record.path
        self._verify = verify
        self._addresses = [ref.address for ref in record.chunks]
        self._rows = list(found)
        self._ends = list(accumulate(row.size for row in self._rows))
        # The maps stay while the stream does, so that a collection cannot take them away.
        ends: dict[int, int] = {}
        for row in self._rows:
            ends[row.segment] = max(ends.get(row.segment, 0), row.offset + row.stored)
        self._pinned = {
            number: engine.segments.view(number, 0, end) for number, end in ends.items()
        }
        self._position = 0
        self._held_at = -1
        self._held: Buffer = b""
        if record.is_inline:
            self._held_at, self._held = 0, read_inline(engine, record)
            self._ends = [record.size]

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The position in bytes."""
        self._check_open()
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position in bytes, also beyond the end, as in any file."""
        self._check_open()
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}
        if whence not in base:
            raise ValueError(f"whence is 0, 1 or 2, not {whence}")
        position = base[whence] + offset
        if position < 0:
            raise ValueError(f"negative seek position {position}")
        self._position = position
        return position

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` from the position on: how many bytes, 0 at the end.

        Raises:
            CorruptData: a chunk is damaged.
        """
        self._check_open()
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and self._position < self.size:
            at = bisect_right(self._ends, self._position)
            chunk = self._chunk(at)
            offset = self._position - (self._ends[at - 1] if at else 0)
            piece = memoryview(chunk)[offset : offset + len(view) - done]
            view[done : done + len(piece)] = piece
            done += len(piece)
            self._position += len(piece)
        return done

    def _chunk(self, at: int) -> Buffer:
        if at != self._held_at:
            row = self._rows[at]
            pinned = self._pinned[row.segment]
            # What follows in the segment is mostly the rest of the document.
            fetch(cast("mmap", pinned.obj), row.offset, min(row.offset + _AHEAD, len(pinned)))
            stored = pinned[row.offset : row.offset + row.stored]
            try:
                self._held = decode_chunk(
                    self._engine, self._addresses[at], row, stored, self._verify
                )
            except CorruptData as error:
                raise named(error, self._path) from None
            self._held_at = at
        return self._held

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on a closed stream")

    def close(self) -> None:
        """Let go of the segments."""
        self._pinned = {}
        self._held, self._held_at = b"", -1
        super().close()
