"""What reading a long document needs of its rows, the shortest way: no object per row."""

from __future__ import annotations

import struct

from streamdb import rows
from streamdb.checks import crc32c


def long_document(key: bytes, value: bytes) -> tuple[list[tuple[bytes, int]], bool] | None:
    """((address, size) of each chunk, whether shared) of a document in a value that has been
    verified, the shortest way; None if it is in its row.

    Raises:
        CorruptData: the row is too short.
    """
    try:
        flags, _, _, meta_length, path_length = rows._SHAPE.unpack_from(value, 4)
        if flags & rows.FLAG_INLINE:
            return None
        at = rows._SHORT_HEAD + path_length + meta_length
        at += 33 if value[at : at + 1] == b"\x01" else 1
        return list(rows._LISTED.iter_unpack(value[at:])), bool(flags & rows.FLAG_SHARED)
    except struct.error as error:
        raise rows.damaged(rows.DOC, key, str(error)) from None


def chunk_fields(key: bytes, value: bytes, verify: bool) -> tuple[int, ...]:
    """The fields of a chunk's row, in the order of :class:`streamdb.rows.ChunkRow`.

    Raises:
        CorruptData: the checksum does not match, or the row has another length.
    """
    body = value[4:]
    if verify and value[:4] != rows._CRC.pack(crc32c(rows.CHUNKS + key + body)):
        raise rows.damaged(rows.CHUNKS, key)
    try:
        return rows._CHUNK.unpack(body)
    except struct.error as error:
        raise rows.damaged(rows.CHUNKS, key, str(error)) from None
