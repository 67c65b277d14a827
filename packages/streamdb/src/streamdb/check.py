"""The scrub: every page, every row, every chunk, every count, against each other.

The index is read from its file page by page, without LMDB, which would trust what it reads. So a
damaged store is named, and never ends the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from streamdb import manifest, pages, place, rows, segments
from streamdb.blocks import Block, check_block
from streamdb.checks import crc32c
from streamdb.data import decode_chunk, read_inline
from streamdb.engine import KV_TXN, Engine
from streamdb.errors import CorruptData, StoreBusy
from streamdb.metapack import from_json
from streamdb.model import CheckReport, Problem, Progress, ProgressCallback
from streamdb.paths import parents
from streamdb.rows import ChunkRow, Record
from streamdb.view import View

if TYPE_CHECKING:
    from streamdb.crypto import Key

_TABLES = {
    b"kv": rows.KV, b"doc": rows.DOC, b"guid": rows.GUIDS, b"history": rows.HISTORY,
    b"dir": rows.DIRS, b"forward": rows.FORWARD, b"reverse": rows.REVERSE, b"feed": rows.FEED,
    b"chunk": rows.CHUNKS,
}  # fmt: skip
_MOST_PROBLEMS = 10_000


@dataclass(slots=True)
class PathSet:
    """What a set of paths adds up to, whatever their order: two equal sums are equal sets."""

    count: int = 0
    total: int = 0

    def add(self, path: bytes) -> None:
        """Take a path in."""
        self.count += 1
        self.total += int.from_bytes(blake2b(path, digest_size=16).digest(), "little")


@dataclass(slots=True)
class Findings:
    """What a scrub gathers on its way."""

    engine: Engine
    txn: int
    tick: Callable[[str, int, int], None]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    documents: PathSet = field(default_factory=PathSet)
    forward: PathSet = field(default_factory=PathSet)
    reverse: PathSet = field(default_factory=PathSet)
    directories: dict[bytes, int] = field(default_factory=dict)
    shared: dict[bytes, dict[bytes, bytes]] = field(default_factory=dict)
    bindings: dict[bytes, list[bytes]] = field(default_factory=dict)
    references: dict[bytes, int] = field(default_factory=dict)
    sizes: dict[bytes, int] = field(default_factory=dict)
    chunks: dict[bytes, ChunkRow] = field(default_factory=dict)
    guids: int = 0
    versions: int = 0
    logical_bytes: int = 0
    last_txn: int = 0
    last_feed: rows.FeedRow | None = None
    bytes_read: int = 0
    damaged_chunks: set[bytes] = field(default_factory=set)

    def report(self, kind: str, where: str, what: str, path: bytes | None = None) -> None:
        """Note a problem."""
        if len(self.problems) < _MOST_PROBLEMS:
            text = None if path is None else path.decode(errors="replace")
            self.problems.append(Problem(kind, where, what, text))

    def lose_chunk(self, address: bytes, what: str) -> None:
        """Note a chunk that cannot be read."""
        self.damaged_chunks.add(address)
        idle = not self.chunks[address].references
        self.report("idle chunk" if idle else "chunk", f"chunk {address.hex()[:16]}", what)

    def take(self, table: bytes, key: bytes, error: CorruptData) -> None:
        """Note a row that cannot be read."""
        path = key if table == rows.DOC else None
        self.report("row", rows.describe_key(table, key), error.why or error.what, path)


def check_store(
    path: str | os.PathLike[str],
    *,
    key: Key | None = None,
    progress: ProgressCallback | None = None,
) -> CheckReport:
    """Check the store in a directory, also one that is too damaged to be opened.

    Raises:
        NotFound, NotAStore, NewerFormat, KeyRequired, WrongKey.
    """
    from streamdb.store import StreamDB

    try:
        db = StreamDB.open(path, key=key, create=False, readonly=not place.writable(Path(path)))
    except CorruptData as error:
        problem = Problem("store", str(path), f"{error.what}: {error.why}")
        return CheckReport((problem,), 0, 0, 0, 0, 0, 0)
    with db:
        return check_engine(db.engine, progress)


def check_engine(engine: Engine, progress: ProgressCallback | None = None) -> CheckReport:
    """Check an open store, as of its last commit; others may read and write meanwhile."""

    def tick(stage: str, done: int, total: int) -> None:
        if progress is not None:
            progress(Progress(stage, done, total, "pages" if stage == "index" else "bytes"))

    txn = engine.begin()
    descriptor = os.open(engine.root / place.INDEX / "data.mdb", os.O_RDONLY | os.O_CLOEXEC)
    try:
        meta = pages.find_meta(descriptor, txn.id())
        if meta is None:
            raise StoreBusy(
                "the store changes faster than a check can begin",
                next_step="check again when less is written",
            )
        found = Findings(engine, txn.id(), tick)
        walk = pages.Walk(descriptor, meta)
        _check_index(found, walk)
        _compare(found)
        _check_segments(found)
        _name_victims(found, pages.Walk(descriptor, meta))
    finally:
        os.close(descriptor)
        txn.abort()
    return CheckReport(
        problems=tuple(found.problems),
        documents=found.guids,
        versions=found.versions,
        chunks=len(found.chunks),
        segments=len(segments.segment_numbers(engine.root / place.SEGMENTS)),
        pages=meta.last_page + 1,
        bytes_read=found.bytes_read + (meta.last_page + 1) * pages.PAGE,
        notes=tuple(found.notes),
    )


# -- the index -------------------------------------------------------------------------------------


def _check_index(found: Findings, walk: pages.Walk) -> None:
    tables = walk.tables()
    total = walk.meta.last_page + 1
    for name in tables.keys() - _TABLES.keys():
        found.report("page", "the main tree", f"it lists a table {name!r}, which is never made")
    for name, letter in _TABLES.items():
        tree = tables.get(name)
        if tree is None:
            found.report("page", "the main tree", f"the table {name!r} is missing")
            continue
        take = _TAKERS[letter]
        for at, (key, body) in enumerate(_rows(found, walk, tree, letter)):
            take(found, key, body)
            if not at % 4096:
                found.tick("index", sum(walk.seen), total)
    walk.check_cover()
    for number, what in walk.problems:
        found.report("page", f"index page {number}", what)
    found.tick("index", total, total)


def _rows(
    found: Findings, walk: pages.Walk, tree: pages.Tree, letter: bytes
) -> Iterator[tuple[bytes, bytes]]:
    """The rows of a table that are whole: (key, body)."""
    for node in walk.rows(tree):
        try:
            yield node.key, rows.unseal(letter, node.key, node.value)
        except CorruptData as error:
            found.take(letter, node.key, error)


def _take_document(found: Findings, key: bytes, body: bytes) -> None:
    try:
        record = rows.unpack_record(body, key)
        if rows.fold(record.path) != key:
            raise rows.damaged(rows.DOC, key, "its path does not belong to its key")
        _check_content(found, record)
    except CorruptData as error:
        found.take(rows.DOC, key, error)
        return
    found.documents.add(record.path)
    if record.shared:
        same = rows.pack_record(record.at(b"-"))
        # The number of the last change is each path's own.
        found.shared.setdefault(record.guid, {})[record.path] = same[:10] + same[18:]
        if len(found.shared[record.guid]) > 1:
            return
    found.guids += 1
    found.logical_bytes += record.size
    _refer(found, record)


def _check_content(found: Findings, record: Record) -> None:
    """Decode what lies in the row itself."""
    view = View(found.engine, None)
    from_json(view.metadata_json(record))
    if record.is_inline:
        read_inline(found.engine, record)
    elif sum(ref.size for ref in record.chunks) != record.size:
        raise rows.damaged(rows.DOC, record.path, "its chunks do not add up to its size")


def _refer(found: Findings, record: Record) -> None:
    for ref in record.chunks:
        found.references[ref.address] = found.references.get(ref.address, 0) + 1
        found.sizes[ref.address] = ref.size


def _take_history(found: Findings, key: bytes, body: bytes) -> None:
    try:
        record = rows.unpack_history(body, key[:-9])[2]
        if rows.history_key(record.path, record.version) != key:
            raise rows.damaged(rows.HISTORY, key, "its path or version does not belong to its key")
        _check_content(found, record)
    except CorruptData as error:
        found.take(rows.HISTORY, key, error)
        return
    found.versions += 1
    _refer(found, record)


def _take_binding(found: Findings, key: bytes, body: bytes) -> None:
    found.bindings[key] = rows.unpack_paths(body)


def _take_directory(found: Findings, key: bytes, body: bytes) -> None:
    try:
        found.directories[key] = rows.unpack_count(body, key)
    except CorruptData as error:
        found.take(rows.DIRS, key, error)


def _take_chunk(found: Findings, key: bytes, body: bytes) -> None:
    try:
        found.chunks[key] = rows.unpack_chunk(body, key)
    except CorruptData as error:
        found.take(rows.CHUNKS, key, error)


def _take_setting(found: Findings, key: bytes, body: bytes) -> None:
    if key == KV_TXN:
        found.last_txn = max(found.last_txn, int.from_bytes(body, "little"))


def _take_change(found: Findings, key: bytes, body: bytes) -> None:
    try:
        row = rows.unpack_feed(body, key)
    except CorruptData as error:
        found.take(rows.FEED, key, error)
        return
    before, found.last_feed = found.last_feed, row
    found.last_txn = max(found.last_txn, row.txn)
    if before is not None and (before.last + 1 != row.first or before.hlc >= row.hlc):
        where = rows.describe_key(rows.FEED, key)
        found.report("feed", where, f"it does not follow on {before.last}")


def _take_block(found: Findings, table: bytes, paths: PathSet, key: bytes, body: bytes) -> None:
    try:
        block = Block(body, key, table)
        problem = check_block(key, None, block)
        if problem:
            raise rows.damaged(table, key, problem)
        held = block.paths()
    except CorruptData as error:
        found.take(table, key, error)
        return
    for path in held:
        paths.add(path if table == rows.FORWARD else path[::-1])
    if table == rows.FORWARD:
        _count_directories(found, held)


def _count_directories(found: Findings, held: list[bytes]) -> None:
    # What the counters say was read before; what is left over at the end is wrong.
    for path in held:
        for directory in parents(path.decode(errors="surrogateescape")):
            key = rows.fold(b"/" + directory.encode(errors="surrogateescape"))
            found.directories[key] = found.directories.get(key, 0) - 1


def _take_forward(found: Findings, key: bytes, body: bytes) -> None:
    _take_block(found, rows.FORWARD, found.forward, key, body)


def _take_reverse(found: Findings, key: bytes, body: bytes) -> None:
    _take_block(found, rows.REVERSE, found.reverse, key, body)


_TAKERS: dict[bytes, Callable[[Findings, bytes, bytes], None]] = {
    rows.DOC: _take_document,
    rows.HISTORY: _take_history,
    rows.GUIDS: _take_binding,
    rows.DIRS: _take_directory,
    rows.CHUNKS: _take_chunk,
    rows.KV: _take_setting,
    rows.FEED: _take_change,
    rows.FORWARD: _take_forward,
    rows.REVERSE: _take_reverse,
}


# -- one table against another ---------------------------------------------------------------------


def _compare(found: Findings) -> None:
    for name, held in (("path", found.forward), ("suffix", found.reverse)):
        if held != found.documents:
            found.report(
                "index",
                f"the {name} index",
                f"it lists {held.count} paths, {found.documents.count} have whole documents;"
                " the two are not the same",
            )
    for key, left in found.directories.items():
        if left:
            found.report(
                "counter", rows.describe_key(rows.DIRS, key), f"it is off by {left}, or orphaned"
            )
    _compare_bindings(found)
    _compare_references(found)
    _compare_totals(found)


def _compare_bindings(found: Findings) -> None:
    for guid, names in found.bindings.items():
        if set(names) != found.shared.get(guid, {}).keys() or len(names) < 2:
            found.report(
                "binding",
                rows.describe_key(rows.GUIDS, guid),
                "the paths it lists are not those that are bound to it",
            )
    for guid, same in found.shared.items():
        if guid not in found.bindings:
            found.report("binding", rows.describe_key(rows.GUIDS, guid), "it is missing")
        if len(set(same.values())) > 1:
            found.report(
                "binding", rows.describe_key(rows.GUIDS, guid), "its paths show different documents"
            )


def _compare_references(found: Findings) -> None:
    for address, count in found.references.items():
        row = found.chunks.get(address)
        where = rows.describe_key(rows.CHUNKS, address)
        if row is None:
            found.report("reference", where, f"it is missing; documents refer to it {count} times")
        elif row.references != count:
            found.report(
                "reference", where, f"it counts {row.references} references, there are {count}"
            )
        elif row.size != found.sizes[address]:
            found.report("reference", where, "documents give it another size")
    for address, row in found.chunks.items():
        if row.references and address not in found.references:
            where = rows.describe_key(rows.CHUNKS, address)
            found.report("reference", where, f"it counts {row.references} references, there are 0")


def _compare_totals(found: Findings) -> None:
    last = found.last_feed
    documents, logical = (last.documents, last.logical_bytes) if last else (0, 0)
    if (documents, logical) != (found.guids, found.logical_bytes):
        found.report(
            "counter",
            "the totals in the feed",
            f"{documents} documents of {logical} bytes are told, {found.guids} of"
            f" {found.logical_bytes} are there",
        )
    if found.last_txn != found.txn:
        found.report(
            "page",
            "the meta pages",
            f"they show transaction {found.txn}, the rows are of transaction {found.last_txn}",
        )


# -- the segments ----------------------------------------------------------------------------------


def _check_segments(found: Findings) -> None:
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
    if problem:
        found.report("segment", path.name, problem)
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


def _name_victims(found: Findings, walk: pages.Walk) -> None:
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
