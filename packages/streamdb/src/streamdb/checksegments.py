"""The second half of a scrub: the segments, record by record, against what the index says."""

from __future__ import annotations

from pathlib import Path

from streamdb import manifest, pages, place, rows, segments
from streamdb.checks import crc32c
from streamdb.data import decode_chunk
from streamdb.errors import CorruptData
from streamdb.findings import Findings


def check_segments(found: Findings) -> None:
    engine = found.engine
    engine.writer.flush()
    directory = engine.root / place.SEGMENTS
    wanted: dict[int, dict[int, bytes]] = {}
    for address, row in found.chunks.items():
        wanted.setdefault(row.segment, {})[row.offset] = address
    numbers = segments.segment_numbers(directory)
    total = sum((directory / segments.segment_name(n)).stat().st_size for n in numbers)
    for number in sorted({*numbers, *wanted}):
        path = directory / segments.segment_name(number)
        _check_segment(found, number, path, wanted.get(number, {}), total)


def _check_segment(
    found: Findings, number: int, path: Path, wanted: dict[int, bytes], total: int
) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(segments.FILE_HEADER_BYTES)
    except OSError as error:
        if wanted:
            found.report("segment", path.name, f"it cannot be read: {error.strerror}")
            _lose(found, wanted)
        return
    problem = segments.check_file_header(head, number, found.engine.marker.store_id)
    if problem and wanted:
        found.report("segment", path.name, problem)
    elif problem:
        # The making of a segment that was cut short: nothing ever referred to it.
        found.notes.append(f"{path.name}: {problem}; nothing refers to it")
    end = segments.FILE_HEADER_BYTES
    for offset, header, payload in segments.scan(path):
        start = offset - segments.RECORD_HEADER_BYTES
        if start > end:
            found.notes.append(f"{path.name}: {start - end} bytes at {end} are no record")
        end = offset + segments.padded(len(payload))
        address = wanted.pop(offset, None)
        if address is not None:
            _check_chunk(found, path.name, address, header, payload)
        else:
            _check_other(found, path.name, offset, header, payload)
        found.bytes_read += len(payload)
        found.tick("segments", found.bytes_read, total)
    _lose(found, wanted)


def _lose(found: Findings, wanted: dict[int, bytes]) -> None:
    for offset, address in wanted.items():
        segment = found.chunks[address].segment
        found.lose_chunk(address, f"there is no record at {offset} of segment {segment:08x}")


def _check_chunk(
    found: Findings, name: str, address: bytes, header: segments.RecordHeader, payload: bytes
) -> None:
    row = found.chunks[address]
    told = (header.kind, header.address, header.stored, header.size, header.codec, header.crc)
    if told != (segments.CHUNK, address, row.stored, row.size, row.codec, row.crc):
        found.lose_chunk(address, f"its record in {name} is another's")
        return
    try:
        content = decode_chunk(found.engine, address, row, payload, True)
    except CorruptData as error:
        found.lose_chunk(address, f"in {name}: {error.why}")
        return
    if found.engine.address(content) != address:
        found.lose_chunk(address, f"its content in {name} is another")


def _check_other(
    found: Findings, name: str, offset: int, header: segments.RecordHeader, payload: bytes
) -> None:
    """What no row refers to: manifests must be whole, the rest is unused space."""
    if len(payload) == header.stored and crc32c(payload) == header.crc:
        if header.kind == segments.MANIFEST:
            try:
                manifest.read(found.engine.cipher, header, payload)
            except CorruptData as error:
                found.report("manifest", f"{name} at {offset}", error.what)
        return
    if header.kind == segments.MANIFEST:
        found.notes.append(f"{name}: the manifest at {offset} is torn or damaged")
    else:
        found.notes.append(f"{name}: the unused record at {offset} is torn or damaged")


def name_victims(found: Findings, walk: pages.Walk) -> None:
    """Name the documents that a damaged or missing chunk makes unreadable."""
    lost = found.damaged_chunks | (found.references.keys() - found.chunks.keys())
    if not lost:
        return
    tree = walk.tables().get(b"doc")
    for node in walk.rows(tree) if tree else ():
        try:
            body = rows.unseal(rows.DOC, node.key, node.value)
            record = rows.unpack_record(body, node.key)
        except CorruptData:
            continue  # reported before
        missing = sum(ref.address in lost for ref in record.chunks)
        if missing:
            what = f"{missing} of its {len(record.chunks)} chunks cannot be read"
            found.report("document", repr(record.path.decode(errors="replace")), what, record.path)
