"""Repair: a new index from everything that is whole, and a list of exactly what is not.

Nothing is changed in place: the new index is built beside the old one and takes its name in one
step; the old one goes to ``quarantine``, with the rest of every document that lost a part.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamdb import place, rows, segments
from streamdb.engine import KV_DICTIONARY, KV_FLOOR, KV_KEY, KV_STORE, Engine, open_here
from streamdb.errors import CorruptData, KeyRequired, NotAStore, StoreBusy
from streamdb.model import GUID, Problem, ProgressCallback, RepairReport
from streamdb.paths import parents
from streamdb.rows import FLAG_SHARED, ChunkRow, FeedItem, FeedRow, Record
from streamdb.salvage import Salvage, read_index, read_segments, store_id_of_segments

if TYPE_CHECKING:
    from streamdb.crypto import Cipher, Key

_BUILDING = ".index.new"
_KEPT_VERSIONS = 2
_FEED_ITEMS = 256


@dataclass(slots=True)
class Plan:
    """What the new index will hold, and what it will not."""

    documents: dict[bytes, Record] = field(default_factory=dict)
    history: dict[bytes, tuple[bytes, Record]] = field(default_factory=dict)
    recovered: int = 0
    lost: list[Problem] = field(default_factory=list)
    lost_items: list[FeedItem] = field(default_factory=list)
    partial: list[Record] = field(default_factory=list)
    fixed: list[str] = field(default_factory=list)
    older: set[bytes] = field(default_factory=set)

    def is_older(self, path: bytes, newest: int, kept: int) -> None:
        """Note a document that is there as an earlier change left it."""
        self.older.add(path)
        text = path.decode(errors="replace")
        why = f"its last change ({newest}) is lost; it is as change {kept} left it"
        self.lost.append(Problem("version", repr(text), why, text))

    def lose(self, path: bytes, guid: GUID, why: str) -> None:
        """Note a document that cannot be saved."""
        text = path.decode(errors="replace")
        self.lost.append(Problem("document", repr(text), why, text))
        self.lost_items.append(FeedItem("delete", guid, path))


def repair_store(
    path: str | os.PathLike[str],
    *,
    key: Key | None = None,
    progress: ProgressCallback | None = None,
) -> RepairReport:
    """Repair the store in a directory; nobody may have it open.

    Raises:
        NotAStore: nothing here is of a store; StoreBusy: it is in use; KeyRequired, WrongKey.
    """
    return repair_with(Path(path), lambda marker: _cipher(marker, key), progress)


def repair_with(
    root: Path,
    unlock: Callable[[place.Marker], Cipher | None],
    progress: ProgressCallback | None = None,
) -> RepairReport:
    """As :func:`repair_store`; ``unlock`` gives the cipher of an encrypted store."""
    found = Salvage()
    with _alone(root):
        data = root / place.INDEX / "data.mdb"
        read_index(found, data, loose=False)
        marker, fixed = _marker(root, found)
        cipher = unlock(marker)
        found.store_id = marker.store_id
        read_segments(found, root, cipher, progress)
        plan = Plan(fixed=fixed)
        _choose(found, plan)
        _settle_shared(found, plan)
        quarantine = _quarantine(root)
        _save_partial(root, found, plan, cipher, quarantine)
        _mend_segments(root, found, plan, marker, quarantine)
        place.write_marker(root, marker)
        _build(root, found, plan, marker)
        _swap(root, quarantine)
        report = RepairReport(
            index_rebuilt=True,
            documents_kept=len(plan.documents) - plan.recovered,
            documents_recovered=plan.recovered,
            lost=tuple(plan.lost),
            fixed=tuple(plan.fixed),
            quarantine=str(quarantine),
        )
        _write_report(quarantine, report)
        return report


@contextlib.contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold LMDB's own lock on the store, so that nobody opens it meanwhile."""
    from streamdb.engine import is_open_here

    if not (root / place.SEGMENTS).is_dir() and not (root / place.MARKER).exists():
        raise place.no_store(root)
    (root / place.INDEX).mkdir(exist_ok=True)
    (root / place.SEGMENTS).mkdir(exist_ok=True)
    busy = StoreBusy(
        f"{root} is in use",
        why="a repair needs the store for itself",
        next_step="close it everywhere (also in this process), then repair it",
    )
    if is_open_here(root):
        raise busy
    descriptor = os.open(
        root / place.INDEX / "lock.mdb", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666
    )
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 0)
        except OSError:
            raise busy from None
        yield
    finally:
        os.close(descriptor)


def _marker(root: Path, found: Salvage) -> tuple[place.Marker, list[str]]:
    """The marker, or what it must have been."""
    fixed = []
    try:
        marker = place.read_marker(root)
    except CorruptData:
        marker = None
    store_id = found.store_id or store_id_of_segments(root)
    key = json.loads(found.key) if found.key else None
    if marker is None:
        if store_id is None:
            raise NotAStore(
                f"nothing at {root} says which store it was",
                why=f"its {place.MARKER} file, index and segments are all lost or damaged",
                next_step="restore it from a backup",
            )
        fixed.append(f"the {place.MARKER} file was written anew")
        return place.Marker(place.FORMAT_VERSION, store_id, key), fixed
    if store_id is not None and store_id != marker.store_id:
        fixed.append(f"the store's identity in the {place.MARKER} file was corrected")
        marker = replace(marker, store_id=store_id)
    if found.key is not None and marker.key != key:
        fixed.append(f"the key header in the {place.MARKER} file was corrected")
        marker = replace(marker, key=key)
    return marker, fixed


def _cipher(marker: place.Marker, key: Key | None) -> Cipher | None:
    if marker.key is None:
        return None
    if key is None:
        raise KeyRequired("the store is encrypted", next_step="give its key")
    from streamdb.crypto import KeyHeader

    return KeyHeader.from_bytes(json.dumps(marker.key).encode()).cipher(key)


# -- what is kept ----------------------------------------------------------------------------------


def _choose(found: Salvage, plan: Plan) -> None:
    for path, seq, body, in_tree in found.current():
        record = rows.unpack_record(body, rows.fold(path)).at(path)
        absent = _absent(found, record)
        if absent:
            plan.lose(path, record.guid, f"{absent} of its {len(record.chunks)} chunks are lost")
            plan.partial.append(record)
            continue
        newest = found.changed.get(path, seq)
        if newest > seq:
            plan.is_older(path, newest, seq)
        plan.documents[path] = record
        plan.recovered += not in_tree
    for path in found.missing():
        plan.lose(path, GUID(bytes(16)), "its row in the index is lost")
    if not found.intact:
        plan.lost.append(
            Problem(
                "index",
                "the index",
                "pages of it are gone: short documents (up to 16 KiB) that lay only there cannot"
                " even be named; of others an older state, or one that was deleted, may be back",
            )
        )
    _choose_versions(found, plan)


def _absent(found: Salvage, record: Record) -> int:
    return sum(ref.address not in found.chunks for ref in record.chunks)


def _choose_versions(found: Salvage, plan: Plan) -> None:
    by_path: dict[bytes, list[tuple[int, bytes, bytes, Record]]] = {}
    for key, body in found.history.items():
        _, _, record = rows.unpack_history(body, key[:-9])
        if _absent(found, record):
            plan.fixed.append(
                f"version {record.version} of {record.path.decode(errors='replace')!r} has lost"
                " chunks and was dropped"
            )
            continue
        current = plan.documents.get(record.path)
        if current is not None and current.version == record.version:
            continue
        by_path.setdefault(record.path, []).append((record.version, key, body, record))
    for versions in by_path.values():
        versions.sort(key=lambda each: each[0])
        kept = versions if found.intact else versions[-_KEPT_VERSIONS:]
        for _, key, body, record in kept:
            plan.history[key] = (body, record)


def _settle_shared(found: Salvage, plan: Plan) -> None:
    """Paths of one document show the same; one with a single path left is shared no more.

    The newest data may have been written through a path that is gone.
    """
    groups: dict[bytes, list[bytes]] = {}
    for path, record in plan.documents.items():
        groups.setdefault(record.guid, []).append(path)
    for names in groups.values():
        newest = max((plan.documents[path] for path in names), key=lambda each: each.version)
        written = found.written.get(newest.guid, 0)
        for path in names:
            own = plan.documents[path]
            flags = newest.flags & ~FLAG_SHARED | (FLAG_SHARED if len(names) > 1 else 0)
            plan.documents[path] = replace(newest, path=path, seq=own.seq, flags=flags)
            if written > newest.version and path not in plan.older:
                plan.is_older(path, written, newest.version)


# -- what is put aside -----------------------------------------------------------------------------


def _quarantine(root: Path) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    for number in range(1000):
        path = root / place.QUARANTINE / (stamp + (f"-{number}" if number else ""))
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            return path
    raise StoreBusy("no directory for what is damaged could be made", next_step="try again")


def _save_partial(
    root: Path, found: Salvage, plan: Plan, cipher: Cipher | None, quarantine: Path
) -> None:
    """Write what is left of documents that lost chunks, with zeros where they were."""
    from streamdb.data import decode_payload

    for number, record in enumerate(plan.partial):
        gaps = []
        at = 0
        with (quarantine / f"document-{number}").open("wb") as file:
            for ref in record.chunks:
                where = found.chunks.get(ref.address)
                content: Any = bytes(ref.size)
                if where is None:
                    gaps.append([at, at + ref.size])
                else:
                    segment, offset, header = where
                    source = root / place.SEGMENTS / segments.segment_name(segment)
                    with source.open("rb") as reading:
                        reading.seek(offset)
                        payload = reading.read(header.stored)
                    with contextlib.suppress(CorruptData):
                        content = decode_payload(
                            cipher, ref.address, header.codec, ref.size, payload
                        )
                file.write(content)
                at += ref.size
            file.flush()
            os.fsync(file.fileno())
        about = {"path": record.path.decode(), "size": record.size, "missing_bytes": gaps}
        _save(quarantine / f"document-{number}.json", about)


def _mend_segments(
    root: Path, found: Salvage, plan: Plan, marker: place.Marker, quarantine: Path
) -> None:
    """Give segments with whole chunks their header back; put those without any aside."""
    used = {segment for segment, _, _ in found.chunks.values()}
    for number in sorted(found.bad_headers):
        path = root / place.SEGMENTS / segments.segment_name(number)
        if number not in used:
            shutil.move(path, quarantine / path.name)
            plan.fixed.append(f"{path.name} holds nothing that is whole and was put aside")
            continue
        with path.open("r+b") as file:
            shutil.copyfile(path, quarantine / path.name)
            file.write(segments.pack_file_header(number, marker.store_id))
            file.flush()
            os.fsync(file.fileno())
        plan.fixed.append(f"the header of {path.name} was written anew")


def _write_report(quarantine: Path, report: RepairReport) -> None:
    content = {
        "documents_kept": report.documents_kept,
        "documents_recovered": report.documents_recovered,
        "lost": [{"where": each.where, "why": each.what} for each in report.lost],
        "fixed": list(report.fixed),
    }
    _save(quarantine / "report.json", content)
    segments.sync_directory(quarantine)


def _save(path: Path, content: Any) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(content, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())


# -- the new index ---------------------------------------------------------------------------------


def _build(root: Path, found: Salvage, plan: Plan, marker: place.Marker) -> None:
    building = root / _BUILDING
    shutil.rmtree(building, ignore_errors=True)
    place.prepare(building)
    engine = open_here(building, marker)
    try:
        with engine.env.begin(write=True) as txn:
            _fill(engine, txn, found, plan, marker, root)
        engine.env.sync(True)
    finally:
        engine.release()


def _fill(
    engine: Engine, txn: Any, found: Salvage, plan: Plan, marker: place.Marker, root: Path
) -> None:
    tables = engine.tables
    feed, changed = _feed(found, plan, txn.id())
    plan.documents.update(changed)

    def put(table: bytes, key: bytes, body: bytes) -> None:
        txn.put(key, rows.seal(table, key, body), db=engine.plain[table])

    for path, record in sorted(plan.documents.items()):
        put(rows.DOC, rows.fold(path), rows.pack_record(record))
    for key, (body, _) in sorted(plan.history.items()):
        put(rows.HISTORY, key, body)
    names = sorted(plan.documents)
    tables.forward.build(txn, names)
    tables.reverse.build(txn, sorted(path[::-1] for path in names))
    for directory, count in _directories(names).items():
        put(rows.DIRS, rows.fold(b"/" + directory), rows.pack_count(count))
    for guid, bound in _bindings(plan).items():
        put(rows.GUIDS, guid, rows.pack_paths(bound))
    for address, row in _chunks(found, plan).items():
        put(rows.CHUNKS, address, rows.pack_chunk(row))
    for feed_row in feed:
        put(rows.FEED, feed_row.first.to_bytes(8, "big"), rows.pack_feed(feed_row))
    put(rows.KV, KV_STORE, marker.store_id)
    put(rows.KV, KV_KEY, json.dumps(marker.key).encode())
    for number, content in found.dictionaries.items():
        put(rows.KV, KV_DICTIONARY + bytes([number]), content)
    numbers = segments.segment_numbers(root / place.SEGMENTS)
    put(rows.KV, KV_FLOOR, (max(numbers, default=0) + 1).to_bytes(8, "little"))
    if not feed:
        engine.put_kv(txn, b"txn", txn.id().to_bytes(8, "little"))


def _feed(found: Salvage, plan: Plan, txn: int) -> tuple[list[FeedRow], dict[bytes, Record]]:
    """The newest unbroken part of the feed, and what the repair itself adds to it.

    Followers are told of what was lost; if nothing was, one document is announced again, so that
    the totals have a place and the numbers go on.
    """
    kept: list[FeedRow] = []
    for first in sorted(found.feed, reverse=True):
        row = found.feed[first]
        follows = row.last == found.highest_seq if not kept else row.last + 1 == kept[-1].first
        if not follows:
            break
        kept.append(replace(row, txn=txn))
    kept.reverse()
    items = list(plan.lost_items)
    changed = {}
    if not items and plan.documents:
        path, record = next(iter(sorted(plan.documents.items())))
        # Bound to what it was bound to: a "put" would say that its data is new.
        items.append(FeedItem("bind", record.guid, path))
        changed[path] = replace(record, seq=found.highest_seq + 1)
    unique = {record.guid: record.size for record in plan.documents.values()}
    hlc = max([time.time_ns() // 1_000_000 << 16, *[r.hlc + len(r.items) for r in kept[-1:]]])
    for at in range(0, len(items), _FEED_ITEMS):
        part = tuple(items[at : at + _FEED_ITEMS])
        first = found.highest_seq + 1 + at
        kept.append(FeedRow(first, txn, hlc + at, len(unique), sum(unique.values()), part))
    return kept, changed


def _directories(names: list[bytes]) -> dict[bytes, int]:
    counts: dict[bytes, int] = {}
    for path in names:
        for directory in parents(path.decode()):
            counts[directory.encode()] = counts.get(directory.encode(), 0) + 1
    return counts


def _bindings(plan: Plan) -> dict[bytes, list[bytes]]:
    bound: dict[bytes, list[bytes]] = {}
    for path, record in sorted(plan.documents.items()):
        if record.shared:
            bound.setdefault(record.guid, []).append(path)
    return bound


def _chunks(found: Salvage, plan: Plan) -> dict[bytes, ChunkRow]:
    unique = {record.guid: record for record in plan.documents.values()}
    referring = [*unique.values(), *[record for _, record in plan.history.values()]]
    counted: dict[bytes, int] = {}
    for record in referring:
        for ref in record.chunks:
            counted[ref.address] = counted.get(ref.address, 0) + 1
    made = {}
    for address, count in sorted(counted.items()):
        segment, offset, header = found.chunks[address]
        made[address] = ChunkRow(
            segment, offset, header.stored, header.size, header.codec, header.crc, count
        )
    return made


def _swap(root: Path, quarantine: Path) -> None:
    """The old index keeps its name until the new one takes it, and has another by then."""
    data = root / place.INDEX / "data.mdb"
    with contextlib.suppress(FileNotFoundError):
        os.link(data, quarantine / "data.mdb")
    for directory in (quarantine, quarantine.parent, root):
        segments.sync_directory(directory)
    (root / _BUILDING / place.INDEX / "data.mdb").replace(data)
    segments.sync_directory(root / place.INDEX)
    shutil.rmtree(root / _BUILDING, ignore_errors=True)
