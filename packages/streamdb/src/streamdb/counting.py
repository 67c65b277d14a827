"""Counts and sizes of the whole store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamdb import place, rows, segments
from streamdb.model import Statistics

if TYPE_CHECKING:
    from streamdb.view import View


def statistics(view: View, cached: int) -> Statistics:
    """What ``StreamDB.statistics`` gives; one walk over the chunk table."""
    engine, txn = view.engine, view.txn
    tables = engine.tables
    stored = referenced = 0
    for key, value in txn.cursor(tables.chunk):
        row = rows.unpack_chunk(rows.unseal(rows.CHUNKS, key, value), key)
        if row.references:
            referenced += 1
            stored += row.stored
    engine.writer.flush()
    directory = engine.root / place.SEGMENTS
    numbers = segments.segment_numbers(directory)
    sizes = [(directory / segments.segment_name(number)).stat().st_size for number in numbers]
    index = (engine.root / place.INDEX / "data.mdb").stat().st_size
    _, last, _, _, documents, logical = view.feed_end()
    overhead = referenced * segments.RECORD_HEADER_BYTES + len(sizes) * segments.FILE_HEADER_BYTES
    return Statistics(
        documents=documents,
        paths=txn.stat(tables.doc)["entries"],
        versions=txn.stat(tables.history)["entries"],
        chunks=referenced,
        segments=len(sizes),
        logical_bytes=logical,
        stored_bytes=stored,
        unused_bytes=max(0, sum(sizes) - stored - overhead),
        index_bytes=index,
        disk_bytes=sum(sizes) + index,
        last_seq=last,
        first_seq=view.feed_start(),
        readers=len(engine.readers()),
        encrypted=engine.cipher is not None,
        format_version=engine.marker.format,
        store_id=engine.marker.store_id.hex(),
        cached_documents=cached,
    )
