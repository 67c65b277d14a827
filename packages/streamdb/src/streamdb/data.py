"""A document's data: from its row and its chunks, checked, decoded, in one piece or as a file."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from streamdb import codec, rows
from streamdb.checks import Buffer, crc32c
from streamdb.errors import CorruptData
from streamdb.rows import ChunkRow, Record

if TYPE_CHECKING:
    from streamdb.crypto import Cipher
    from streamdb.engine import Engine

CHUNK_PLACE = b"chunk"
DATA_PLACE = b"data"
METADATA_PLACE = b"metadata"


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


def read_chunk(engine: Engine, address: bytes, row: ChunkRow, verify: bool) -> Buffer:
    """One chunk as it was written.

    Raises:
        CorruptData: the stored bytes do not match their checksum, or do not decode.
    """
    stored: Buffer = engine.segments.view(row.segment, row.offset, row.stored)
    return decode_chunk(engine, address, row, stored, verify)


def decode_chunk(
    engine: Engine, address: bytes, row: ChunkRow, stored: Buffer, verify: bool
) -> Buffer:
    """One chunk from its stored bytes."""
    if verify and crc32c(stored) != row.crc:
        raise CorruptData(
            f"chunk {address.hex()[:16]} in segment {row.segment:08x} is damaged",
            why=f"the checksum of the {row.stored} bytes at {row.offset} does not match",
            next_step="run `streamdb check` to see all damage, then restore it from a backup",
        )
    return decode_payload(engine.cipher, address, row.codec, row.size, stored)


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
    return codec.decode(record.codec, payload, record.size)


def decode_inline(key: bytes, number: int, payload: bytes, size: int) -> bytes:
    """The data of a short document from its row."""
    try:
        return codec.decode(number, payload, size)
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
        found = chunk_rows(engine, txn, record, verify)
        refs = record.chunks
        parts = [
            read_chunk(engine, ref.address, row, verify)
            for ref, row in zip(refs, found, strict=True)
        ]
        # A view into a map must not outlive this call: bytes do.
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)
    except CorruptData as error:
        raise named(error, record.path) from None


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
            stored = self._pinned[row.segment][row.offset : row.offset + row.stored]
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
