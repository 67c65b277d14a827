"""Manifests: what the segments know of the documents, for the day on which the index is lost.

With every commit that touches chunked documents (or what was one), their rows are appended to the
segment too. A repair can then name the chunks that lie there without the index. Documents in the
index itself have no manifest: it would double the cost of writing them, and a damaged index gives
most of its rows back anyway (see :mod:`streamdb.salvage`).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamdb import rows, segments
from streamdb.checks import address
from streamdb.errors import CorruptData
from streamdb.model import Kind
from streamdb.rows import KINDS, Record

if TYPE_CHECKING:
    from streamdb.crypto import Cipher
    from streamdb.engine import Engine

_PLACE = b"manifest"
_ENTRY = struct.Struct("<IBHH")


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """A change to one document, as a segment remembers it."""

    kind: Kind
    old_path: bytes
    record: Record


def entry(kind: Kind, record: Record, old_path: bytes) -> bytes:
    """A change as bytes."""
    body = rows.pack_record(record)
    head = _ENTRY.pack(len(body), KINDS.index(kind), len(record.path), len(old_path))
    return b"".join((head, record.path, old_path, body))


def append(engine: Engine, entries: list[bytes]) -> None:
    """Append the entries of one commit to this process's segment."""
    raw = b"".join(entries)
    packed, payload = rows.squeeze(raw)
    name = address(raw)
    if engine.cipher is not None:
        payload = engine.cipher.seal(_PLACE, name, 1, payload)
    engine.writer.append(segments.MANIFEST, packed, name, len(raw), payload)


def read(
    cipher: Cipher | None, header: segments.RecordHeader, payload: bytes
) -> list[ManifestEntry]:
    """The entries in a segment's record.

    Raises:
        CorruptData: it is damaged.
    """
    if cipher is not None:
        payload = cipher.open(_PLACE, header.address, 1, payload)
    raw = rows.unsqueeze(header.codec, payload, header.size)
    found = []
    at = 0
    while at < len(raw):
        try:
            length, kind, path_length, old_length = _ENTRY.unpack_from(raw, at)
            at += _ENTRY.size
            path = raw[at : at + path_length]
            at += path_length
            old_path = raw[at : at + old_length]
            at += old_length
            record = rows.unpack_record(raw[at : at + length], rows.fold(path))
            found.append(ManifestEntry(KINDS[kind], old_path, record.at(path)))
        except (struct.error, IndexError) as error:
            raise CorruptData("a manifest is damaged", why=str(error)) from None
        at += length
    return found
