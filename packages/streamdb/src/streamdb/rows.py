"""The rows of the index as bytes: what is written, what each byte means, how damage is noticed.

Every value begins with a CRC-32C over the table's letter, the key and the rest of the value, so
that a row that ends up under another key, or in another table, is noticed as well as a flipped bit.
All numbers are little-endian except those in keys, which sort.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Literal, cast

from streamdb import zstd
from streamdb.checks import crc32c
from streamdb.errors import CorruptData
from streamdb.model import GUID, Kind

# The tables, by the letter that enters their checksums.
DOC, GUIDS, DIRS, CHUNKS, FEED, HISTORY, KV, FORWARD, REVERSE, PENDING = (
    b"d", b"g", b"/", b"c", b"f", b"h", b"k", b">", b"<", b"+",
)  # fmt: skip

KEY_LIMIT = 480
FOLD = 440

FLAG_SHARED = 1
FLAG_INLINE = 2
FLAG_SEALED = 4

_SHORT = 8192
_CRC = struct.Struct("<I")
_DOC = struct.Struct("<BBQQ16sqQIH9s")
ATTRIBUTES_AT = 4 + 56
"""Where a document's attributes lie in its value, checksum included."""
GUID_AT = 4 + 18
FLAGS_AT = 4
"""Where a document's identity lies in its value, checksum included."""
_SHAPE = struct.Struct("<BB40xQIH")  # flags, codec, size and the two lengths of _DOC
_SHORT_HEAD = 4 + _DOC.size
_LISTED = struct.Struct("<32sI")
_CHUNK = struct.Struct("<IQIIBIIQ")
_HISTORY = struct.Struct("<Bq")
_FEED = struct.Struct("<BIIQQQQ")
_COUNT = struct.Struct("<Q")

KINDS: tuple[Kind, ...] = ("put", "delete", "rename", "bind", "unbind", "restore")
_KIND_NUMBER = {kind: number for number, kind in enumerate(KINDS)}

Reason = Literal["replaced", "deleted"]


def fold(path: bytes) -> bytes:
    """The key of a path: itself, or for long ones its beginning and a digest of the whole.

    LMDB's keys end at 511 bytes; a folded one leaves room for a version behind it.

    >>> fold(b"kick.wav"), len(fold(b"x" * 4096))
    (b'kick.wav', 461)
    """
    if len(path) <= KEY_LIMIT:
        return path
    return path[:FOLD] + b"\x01" + blake2b(path, digest_size=20).digest()


def key_of(path: str) -> bytes:
    """The key of a path's row; b"" where no document can be."""
    try:
        raw = path.encode()
    except UnicodeEncodeError:
        return b""
    return raw if len(raw) <= KEY_LIMIT else fold(raw)


def seal(table: bytes, key: bytes, body: bytes) -> bytes:
    """The value of a row: its checksum, then its body."""
    return _CRC.pack(_checksum(table, key, body)) + body


def unseal(table: bytes, key: bytes, value: bytes, verify: bool = True) -> bytes:
    """The body of a row.

    Raises:
        CorruptData: the checksum does not match what is there.
    """
    body = value[4:]
    if verify and value[:4] != _CRC.pack(_checksum(table, key, body)):
        raise damaged(table, key)
    return body


def _checksum(table: bytes, key: bytes, body: bytes) -> int:
    # For short rows one call over a copy is quicker than two calls.
    if len(body) < _SHORT:
        return crc32c(table + key + body)
    return crc32c(body, crc32c(table + key))


_TABLE_NAMES = {
    DOC: "document", GUIDS: "binding", DIRS: "directory counter", CHUNKS: "chunk", FEED: "change",
    HISTORY: "old version", KV: "setting", FORWARD: "path block", REVERSE: "suffix block",
    PENDING: "waiting name",
}  # fmt: skip


def describe_key(table: bytes, key: bytes) -> str:
    """A row as a person would name it, for findings and errors."""
    name = _TABLE_NAMES[table]
    if table in (CHUNKS, GUIDS):
        return f"{name} {key.hex()[:16]}"
    if table in (FEED, PENDING) and len(key) == 8:
        return f"{name} {int.from_bytes(key, 'big')}"
    if table == HISTORY:
        return f"{name} {int.from_bytes(key[-8:], 'big')} of {key[:-9].decode(errors='replace')!r}"
    return f"{name} {key.decode(errors='replace')!r}"


def damaged(table: bytes, key: bytes, why: str = "its checksum does not match") -> CorruptData:
    """The error for a row that cannot be trusted."""
    return CorruptData(
        f"the index row of {describe_key(table, key)} is damaged",
        why=why,
        next_step="run `streamdb check` to see all damage, then `streamdb repair`",
    )


@dataclass(frozen=True, slots=True)
class ChunkRef:
    """One chunk in a document's list: its address, and its size in bytes."""

    address: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Record:
    """A document as its row holds it.

    ``version`` is the number of the change that wrote its data, ``seq`` that of the last change to
    its path.

    ``attributes`` are those of :mod:`streamdb.attributes`. ``metadata`` is packed, and sealed like
    ``inline`` when the store is encrypted. ``digest`` is b"" where it need not be kept: the data is
    at hand, or it is the address of the only chunk.
    """

    guid: GUID
    version: int
    seq: int
    mtime_ns: int
    size: int
    flags: int
    codec: int
    path: bytes
    metadata: bytes
    inline: bytes
    digest: bytes
    chunks: tuple[ChunkRef, ...]
    attributes: bytes = bytes(9)

    @property
    def shared(self) -> bool:
        """Whether more than one path is bound to the document."""
        return bool(self.flags & FLAG_SHARED)

    @property
    def is_inline(self) -> bool:
        """Whether the data lies in the row itself."""
        return bool(self.flags & FLAG_INLINE)

    def at(self, path: bytes) -> Record:
        """The same document under another path."""
        return replace(self, path=path)

    def with_flags(self, flags: int) -> Record:
        """The same document with other flags."""
        return replace(self, flags=flags)


def pack_record(record: Record) -> bytes:
    """A document's row, without its checksum; the path is written only where its key is folded."""
    path = record.path if len(record.path) > KEY_LIMIT else b""
    head = _DOC.pack(
        record.flags,
        record.codec,
        record.version,
        record.seq,
        record.guid,
        record.mtime_ns,
        record.size,
        len(record.metadata),
        len(path),
        record.attributes,
    )
    if record.flags & FLAG_INLINE:
        return b"".join((head, path, record.metadata, record.inline))
    listed = b"".join([_LISTED.pack(ref.address, ref.size) for ref in record.chunks])
    return b"".join(
        (head, path, record.metadata, bytes([bool(record.digest)]), record.digest, listed)
    )


def unpack_record(body: bytes, key: bytes) -> Record:
    """The document in a row's body; ``key`` is its path unless that is folded.

    Raises:
        CorruptData: the body is shorter than it says.
    """
    try:
        head = _DOC.unpack_from(body)
    except struct.error as error:
        raise damaged(DOC, key, str(error)) from None
    flags, codec, version, seq, guid, mtime, size, meta_length, path_length, attributes = head
    at = _DOC.size
    path = body[at : at + path_length] or key
    at += path_length
    metadata = body[at : at + meta_length]
    at += meta_length
    inline, digest = b"", b""
    chunks: tuple[ChunkRef, ...] = ()
    if flags & FLAG_INLINE:
        inline = body[at:]
    else:
        if body[at : at + 1] == b"\x01":
            digest = body[at + 1 : at + 33]
            at += 32
        try:
            listed = _LISTED.iter_unpack(body[at + 1 :])
            chunks = tuple([ChunkRef(address, length) for address, length in listed])
        except struct.error as error:
            raise damaged(DOC, key, str(error)) from None
    return Record(
        GUID(guid),
        version,
        seq,
        mtime,
        size,
        flags,
        codec,
        path,
        metadata,
        inline,
        digest,
        chunks,
        attributes,
    )


def short_document(key: bytes, value: bytes, verify: bool) -> tuple[int, int, bytes, bool] | None:
    """(codec, size, payload, whether shared) of a document in a row's value, the shortest way; None
    if it is chunked or sealed.

    Raises:
        CorruptData: the checksum does not match, or the row is too short.
    """
    if verify and value[:4] != _CRC.pack(_checksum(DOC, key, value[4:])):
        raise damaged(DOC, key)
    try:
        flags, codec, size, meta_length, path_length = _SHAPE.unpack_from(value, 4)
    except struct.error as error:
        raise damaged(DOC, key, str(error)) from None
    if flags & (FLAG_INLINE | FLAG_SEALED) != FLAG_INLINE:
        return None
    payload = value[_SHORT_HEAD + path_length + meta_length :]
    return codec, size, payload, bool(flags & FLAG_SHARED)


def packed_metadata(key: bytes, value: bytes, verify: bool) -> bytes | None:
    """The packed metadata in a document's row; None if it is sealed. Raises as
    :func:`short_document`.
    """
    if verify and value[:4] != _CRC.pack(_checksum(DOC, key, value[4:])):
        raise damaged(DOC, key)
    try:
        flags, _, _, meta_length, path_length = _SHAPE.unpack_from(value, 4)
    except struct.error as error:
        raise damaged(DOC, key, str(error)) from None
    start = _SHORT_HEAD + path_length
    return None if flags & FLAG_SEALED else value[start : start + meta_length]


@dataclass(frozen=True, slots=True)
class ChunkRow:
    """Where a chunk lies, and how many document versions need it.

    ``offset`` is that of the payload in the segment; ``stored`` its length there, ``size`` that of
    the chunk. ``idle_since`` is the transaction in which the last reference went.
    """

    segment: int
    offset: int
    stored: int
    size: int
    codec: int
    crc: int
    references: int
    idle_since: int = 0


def pack_chunk(row: ChunkRow) -> bytes:
    """A chunk's row, without its checksum."""
    return _CHUNK.pack(
        row.segment,
        row.offset,
        row.stored,
        row.size,
        row.codec,
        row.crc,
        row.references,
        row.idle_since,
    )


def unpack_chunk(body: bytes, key: bytes) -> ChunkRow:
    """The chunk in a row's body.

    Raises:
        CorruptData: the body has another length.
    """
    try:
        return ChunkRow(*_CHUNK.unpack(body))
    except struct.error as error:
        raise damaged(CHUNKS, key, str(error)) from None


def pack_history(reason: Reason, aside_ns: int, record: Record) -> bytes:
    """An old version: why and when it was put aside, then the document's row as it was."""
    return _HISTORY.pack(reason == "deleted", aside_ns) + pack_record(record)


def unpack_history(body: bytes, path: bytes) -> tuple[Reason, int, Record]:
    """(reason, nanoseconds since 1970 when it was put aside, the document)."""
    try:
        deleted, aside_ns = _HISTORY.unpack_from(body)
    except struct.error as error:
        raise damaged(HISTORY, path + bytes(9), str(error)) from None
    record = unpack_record(body[_HISTORY.size :], path)
    return ("deleted" if deleted else "replaced"), aside_ns, record


def history_key(path: bytes, version: int) -> bytes:
    """Versions of a path lie side by side; no path contains the NUL that ends it."""
    return fold(path) + b"\0" + version.to_bytes(8, "big")


def pack_paths(paths: list[bytes]) -> bytes:
    """The paths of a shared document."""
    return b"\0".join(paths)


def unpack_paths(body: bytes) -> list[bytes]:
    """The paths of a shared document, in the order in which they were bound."""
    return body.split(b"\0")


def pack_count(count: int) -> bytes:
    """A directory's counter: the documents' paths below it, at any depth."""
    return _COUNT.pack(count)


def unpack_count(body: bytes, key: bytes) -> int:
    """The counter of a directory.

    Raises:
        CorruptData: the body has another length.
    """
    try:
        return cast("int", _COUNT.unpack(body)[0])
    except struct.error as error:
        raise damaged(DIRS, key, str(error)) from None


@dataclass(frozen=True, slots=True)
class FeedItem:
    """One change before it has its number: paths as bytes, ``origin`` "" for this store."""

    kind: Kind
    guid: GUID
    path: bytes
    old_path: bytes = b""
    origin: str = ""


@dataclass(frozen=True, slots=True)
class FeedRow:
    """The changes of one commit: numbered from ``first``, their clocks from ``hlc`` by ones.

    ``txn`` is the index's transaction, ``documents`` and ``logical_bytes`` the totals after it.
    """

    first: int
    txn: int
    hlc: int
    documents: int
    logical_bytes: int
    items: tuple[FeedItem, ...]

    @property
    def last(self) -> int:
        """The number of the last change in this row."""
        return self.first + len(self.items) - 1


def pack_feed(row: FeedRow) -> bytes:
    """Changes by columns: paths beside paths compress to a fraction."""
    items = row.items
    raw = b"".join(
        (
            bytes([_KIND_NUMBER[item.kind] for item in items]),
            b"".join([item.guid for item in items]),
            b"\0".join([item.path for item in items]),
            b"\0\0",
            b"\0".join([item.old_path for item in items]),
            b"\0\0",
            b"\0".join([item.origin.encode() for item in items]),
        )
    )
    packed, payload = squeeze(raw)
    return (
        _FEED.pack(packed, len(items), len(raw), row.txn, row.hlc, row.documents, row.logical_bytes)
        + payload
    )


def feed_header(body: bytes, key: bytes) -> tuple[int, int, int, int, int, int]:
    """(first, last, txn, first's hlc, documents, logical_bytes) of a feed row, without changes."""
    try:
        _, count, _, txn, hlc, documents, logical = _FEED.unpack_from(body)
    except struct.error as error:
        raise damaged(FEED, key, str(error)) from None
    first = int.from_bytes(key, "big")
    return first, first + count - 1, txn, hlc, documents, logical


def unpack_feed(body: bytes, key: bytes) -> FeedRow:
    """A feed row with its changes.

    Raises:
        CorruptData: the columns do not fit together.
    """
    first, _, txn, hlc, documents, logical = feed_header(body, key)
    packed, count, size = _FEED.unpack_from(body)[:3]
    try:
        raw = unsqueeze(packed, body[_FEED.size :], size)
        kinds = raw[:count]
        guids = raw[count : 17 * count]
        paths, old, origins = _columns(raw[17 * count :], count)
        items = tuple(
            [
                FeedItem(
                    KINDS[kinds[i]],
                    GUID(guids[16 * i : 16 * i + 16]),
                    paths[i],
                    old[i],
                    origins[i].decode(),
                )
                for i in range(count)
            ]
        )
    except (IndexError, ValueError, CorruptData) as error:
        raise damaged(FEED, key, f"its columns do not fit together: {error}") from None
    return FeedRow(first, txn, hlc, documents, logical, items)


def _columns(raw: bytes, count: int) -> tuple[list[bytes], list[bytes], list[bytes]]:
    # Paths are never empty, so the first double NUL ends them; the other columns may be empty, and
    # are counted instead.
    end = raw.index(b"\0\0")
    paths = raw[:end].split(b"\0")
    rest = raw[end + 2 :].split(b"\0")
    if len(paths) != count or len(rest) != 2 * count + 1:
        raise ValueError(f"{len(paths)} paths for {count} changes")
    return paths, rest[:count], rest[count + 1 :]


_SQUEEZE_FROM = 320


def squeeze(raw: bytes) -> tuple[int, bytes]:
    """(1, compressed) where that pays, else (0, raw)."""
    if len(raw) >= _SQUEEZE_FROM:
        payload = zstd.compress(raw)
        if len(payload) < len(raw):
            return 1, payload
    return 0, raw


def unsqueeze(packed: int, payload: bytes, size: int) -> bytes:
    """What :func:`squeeze` was given.

    Raises:
        CorruptData: the payload does not give ``size`` bytes.
    """
    raw = zstd.decompress(payload, size) if packed else payload
    if len(raw) != size:
        raise CorruptData(f"{len(raw)} bytes where {size} were written")
    return raw
