"""The scrub: every page, every row, every chunk, every count, against each other.

The index is read from its file page by page, without LMDB, which would trust what it reads. So a
damaged store is named, and never ends the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from streamdb import naming, pages, place, rows, segments
from streamdb.blocks import Block, check_block
from streamdb.checksegments import check_segments, name_victims
from streamdb.data import read_inline
from streamdb.engine import KV_TXN, Engine
from streamdb.errors import CorruptData, StoreBusy
from streamdb.findings import Findings, PathSet
from streamdb.metapack import from_json
from streamdb.model import CheckReport, Problem, Progress, ProgressCallback
from streamdb.paths import parents
from streamdb.rows import Record
from streamdb.view import View

if TYPE_CHECKING:
    from streamdb.crypto import Key

_TABLES = {
    b"kv": rows.KV, b"doc": rows.DOC, b"guid": rows.GUIDS, b"history": rows.HISTORY,
    b"dir": rows.DIRS, b"forward": rows.FORWARD, b"reverse": rows.REVERSE, b"feed": rows.FEED,
    b"chunk": rows.CHUNKS, b"pending": rows.PENDING,
}  # fmt: skip


def check_store(
    path: str | os.PathLike[str],
    *,
    key: Key | None = None,
    progress: ProgressCallback | None = None,
) -> CheckReport:
    """Check the store in a directory, also one that is too damaged to be opened.

    Raises:
        NotFound, NotAStore, NewerFormat, OlderFormat, KeyRequired, WrongKey.
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
        check_segments(found)
        name_victims(found, pages.Walk(descriptor, meta))
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
    if before is not None and (
        before.last + 1 != row.first or before.hlc + len(before.items) > row.hlc
    ):
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


def _take_waiting(found: Findings, key: bytes, body: bytes) -> None:
    """The names that the indexes do not have yet, or still have; counters wait as they do."""
    try:
        total, names = naming.unpack(body, key)
    except CorruptData as error:
        found.take(rows.PENDING, key, error)
        return
    found.waiting += len(names)
    if found.waiting != total:
        where = rows.describe_key(rows.PENDING, key)
        found.report("index", where, f"it says that {total} wait, there are {found.waiting}")
        found.waiting = total
    for path, added in names:
        for held in (found.forward, found.reverse):
            (held.add if added else held.remove)(path)


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
    rows.PENDING: _take_waiting,
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
