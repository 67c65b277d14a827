"""From a source of bytes to what a commit needs: chunks in a segment, or data for the row.

This is the part of a write that needs no lock: cutting, hashing, compressing, encrypting and
appending to this process's own segment. What it wrote counts for nothing until a commit names it.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from streamdb import codec, data, rows, segments
from streamdb.checks import Buffer, hasher
from streamdb.checks import address as blake3_address
from streamdb.chunking import split
from streamdb.errors import DocumentTooLarge, InvalidArgument
from streamdb.rows import ChunkRef, ChunkRow

if TYPE_CHECKING:
    from streamdb.engine import Engine

Source: TypeAlias = "bytes | bytearray | memoryview | BinaryIO | Iterable[bytes]"

INLINE_BYTES = 16384
"""Documents up to this length lie in their row."""

_HEAD_BYTES = 65536
_WORTH_PACKING = 96
_NO_LAYOUT = codec.AudioLayout(1, 1)
_SEARCH_EVERY = 32


class _Hints:
    """What to try on the next chunk: the split that the last search found. A search through the
    layouts costs as much as writing a chunk, so one chunk in 32 is searched; where the file
    declares its layout, among the splits of that one alone. Of a file whose format compresses its
    content only those are looked at at all: there may be padding, or a picture.
    """

    def __init__(self, head: Buffer) -> None:
        self._declared = codec.layout_of(head)
        self._packed = codec.is_packed(head)
        self._found: codec.AudioLayout | None = None
        self._left = 0

    def next(self) -> codec.AudioLayout | None:
        """The hint for the next chunk; None asks for a search."""
        self._left -= 1
        return self._found if self._left > 0 else self._declared

    def learn(self, number: int) -> None:
        """Take in which codec a chunk was given."""
        if self._left > 0:
            return
        self._left = _SEARCH_EVERY
        stride = codec.STRIDES.get(number, 1)
        if stride == 1 and self._declared is not None:
            # Loud or silent here: the rest of the audio may well gain by its planes.
            stride = self._declared.sample_bytes
        skip = self._packed and number == codec.RAW
        self._found = codec.PACKED if skip else codec.AudioLayout(stride, stride)


@dataclass(slots=True)
class Prepared:
    """Data on its way into the store.

    ``fresh`` are the chunks that were appended for it; ``epoch`` that of the segment writer, which
    must not have failed since.
    """

    size: int
    codec: int = 0
    inline: bytes | None = None
    digest: bytes = b""
    chunks: list[ChunkRef] = field(default_factory=list)
    fresh: dict[bytes, ChunkRow] = field(default_factory=dict)
    epoch: int | None = None


class Fresh:
    """The chunks that were appended for documents that will be committed together.

    Threads share it: a chunk that one of them is making is waited for, not made twice. A row counts
    only while the segment writer has not failed since.
    """

    def __init__(self) -> None:
        self._rows: dict[bytes, tuple[int | None, ChunkRow]] = {}
        self._making: set[bytes] = set()
        self._changed = threading.Condition()

    def take(self, address: bytes, epoch: int | None, make: Callable[[], ChunkRow]) -> ChunkRow:
        """The row of a chunk, made now if nobody has."""
        with self._changed:
            while address in self._making:
                self._changed.wait()
            held = self._rows.get(address)
            if held is not None and held[0] == epoch:
                return held[1]
            self._making.add(address)
        try:
            row = make()
            self._rows[address] = (epoch, row)
            return row
        finally:
            with self._changed:
                self._making.discard(address)
                self._changed.notify_all()


def prepare(
    engine: Engine,
    txn: Any,
    source: Source,
    limit: int,
    fresh: Fresh | None = None,
) -> Prepared:
    """Take the data in.

    Args:
        txn: a transaction to look chunks up in; those it shows stay until it ends. Buffers of at
            most ``INLINE_BYTES`` need none.
        limit: the most bytes a document may have.
        fresh: chunks that are appended and will be committed together with this document.

    Raises:
        DocumentTooLarge, InvalidArgument, StoreFull; errors of reading the source are passed on.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        view = memoryview(source).cast("B")
        if len(view) > limit:
            raise too_large(len(view), limit)
        if len(view) <= INLINE_BYTES:
            return _inline(bytes(view))
        return _chunked(engine, txn, view, view[:_HEAD_BYTES], limit, fresh)
    head, rest = _peek(source)
    if len(head) <= INLINE_BYTES:
        if len(head) > limit:
            raise too_large(len(head), limit)
        return _inline(head)
    return _chunked(engine, txn, rest, head, limit, fresh)


def too_large(size: int, limit: int, *, at_least: bool = False) -> DocumentTooLarge:
    """The error for a document over the limit."""
    return DocumentTooLarge(
        f"the document has {'at least ' if at_least else ''}{size} bytes, the limit is {limit}",
        next_step="split it, or open the store with a larger max_document",
    )


def _peek(source: Any) -> tuple[bytes, Iterator[bytes]]:
    """The first bytes of a source, and the whole source again."""
    if isinstance(source, str):
        raise InvalidArgument(
            "the data is text", next_step="encode it to bytes, or open the file with 'rb'"
        )
    if hasattr(source, "read"):
        pieces: Iterator[bytes] = iter(lambda: source.read(1 << 20), b"")
    else:
        try:
            pieces = iter(source)
        except TypeError:
            raise InvalidArgument(
                f"the data is {type(source).__name__}",
                next_step="give bytes, a file open for reading, or an iterator of bytes",
            ) from None
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise InvalidArgument(
                f"the source gives {type(piece).__name__}, not bytes",
                next_step="open the file with 'rb'",
            )
        held.append(bytes(piece))
        size += len(held[-1])
        if size > INLINE_BYTES:
            break
    head = b"".join(held)
    return head, itertools.chain([head], pieces)


def _inline(raw: bytes) -> Prepared:
    if len(raw) < _WORTH_PACKING:
        return Prepared(len(raw), codec.RAW, raw)
    number, payload = codec.encode(raw, codec.layout_of(raw) or _NO_LAYOUT)
    return Prepared(len(raw), number, bytes(payload))


def _chunked(
    engine: Engine,
    txn: Any,
    source: Any,
    head: Buffer,
    limit: int,
    fresh: Fresh | None,
) -> Prepared:
    cipher = engine.cipher
    prepared = Prepared(0, epoch=engine.writer.epoch)
    digest = _Digest(source)
    hints = _Hints(head)
    pieces = split(source) if cipher is None else split(source, seed=cipher.chunk_seed)
    for piece in pieces:
        prepared.size += len(piece)
        if prepared.size > limit:
            raise too_large(prepared.size, limit, at_least=True)
        digest.add(piece)
        address = engine.address(piece)
        prepared.chunks.append(ChunkRef(address, len(piece)))
        if address in prepared.fresh or _is_kept(engine, txn, address):
            continue
        if fresh is None:
            row = _store(engine, address, piece, hints)
        else:
            make = partial(_store, engine, address, piece, hints)
            row = fresh.take(address, prepared.epoch, make)
        prepared.fresh[address] = row
    # The digest of one chunk is its address: it is not made a second time.
    if len(prepared.chunks) > 1 or cipher is not None:
        prepared.digest = digest.value()
    return prepared


class _Digest:
    """The digest of a whole document: of a buffer in one go at the end, which is quicker, of other
    sources piece by piece, from the second piece on.
    """

    def __init__(self, source: Any) -> None:
        self._whole = source if isinstance(source, memoryview) else None
        self._first: Buffer | None = None
        self._state: Any = None

    def add(self, piece: Buffer) -> None:
        if self._whole is not None:
            return
        if self._first is None:
            self._first = piece
            return
        if self._state is None:
            self._state = hasher().update(self._first)
        self._state.update(piece)

    def value(self) -> bytes:
        if self._state is not None:
            found: bytes = self._state.digest()
            return found
        return blake3_address(self._first or b"" if self._whole is None else self._whole)


def _is_kept(engine: Engine, txn: Any, address: bytes) -> bool:
    """Whether a chunk is there, and will be until the transaction that looks at it ends."""
    body = engine.get(txn, rows.CHUNKS, engine.tables.chunk, address)
    return body is not None and rows.unpack_chunk(body, address).references > 0


def _store(engine: Engine, address: bytes, piece: Buffer, hints: _Hints) -> ChunkRow:
    """Append a chunk to this process's segment."""
    number, payload = codec.encode(piece, hints.next())
    hints.learn(number)
    if engine.cipher is not None:
        payload = engine.cipher.seal(data.CHUNK_PLACE, address, 1, payload)
    segment, offset, crc = engine.writer.append(
        segments.CHUNK, number, address, len(piece), payload
    )
    return ChunkRow(segment, offset, len(payload), len(piece), number, crc, 0)


class Held:
    """A read transaction that is held while data is taken in."""

    def __init__(self, engine: Engine) -> None:
        self.txn = engine.begin()

    def close(self) -> None:
        """End it."""
        self.txn.abort()


def is_short(source: object) -> bool:
    """Whether a source will lie in its row, so that no chunk has to be looked up."""
    return isinstance(source, bytes | bytearray) and len(source) <= INLINE_BYTES
