"""Garbage collection: what nothing refers to any more goes, while others read and write.

What keeps it safe:

* A chunk goes only when its last reference went in a transaction that every reader has passed. A
  writer that finds a chunk holds a read transaction until its commit refers to it.
* A segment is collected only while its lock is held here, so no writer's unfinished work is in it.
* A segment is unlinked only when every reader has passed the transaction that emptied it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamdb import manifest, place, rows, segments
from streamdb.checks import crc32c
from streamdb.engine import KV_DOOMED, KV_FLOOR
from streamdb.errors import CorruptData
from streamdb.model import GcReport, Progress, ProgressCallback
from streamdb.view import View

if TYPE_CHECKING:
    from streamdb.changes import Changes
    from streamdb.engine import Engine

REWRITE_BELOW = 0.5
"""Segments are rewritten when less than this part of them is in use."""

FEED_CHANGES = 1_000_000
"""How many changes the feed keeps."""

_BATCH = 4096
_COPY_BYTES = 8 << 20


@dataclass(slots=True)
class Tally:
    """What a collection has done so far."""

    chunks: int = 0
    rewritten: int = 0
    removed: int = 0
    freed: int = 0
    moved: int = 0
    waiting: int = 0
    trimmed: int = 0


def collect(
    engine: Engine, progress: ProgressCallback | None = None, feed_changes: int = FEED_CHANGES
) -> GcReport:
    """Free what nothing refers to; see :class:`streamdb.model.GcReport`."""
    tally = Tally()
    _remove_idle(engine, tally)
    _trim_feed(engine, tally, feed_changes)
    live = _live_bytes(engine)
    directory = engine.root / place.SEGMENTS
    numbers = segments.segment_numbers(directory)
    for at, number in enumerate(numbers):
        if progress is not None:
            progress(Progress("segments", at, len(numbers), "segments"))
        _collect_segment(engine, number, live.get(number, 0), tally)
    _unlink_doomed(engine, tally)
    if progress is not None:
        progress(Progress("segments", len(numbers), len(numbers), "segments"))
    return GcReport(
        chunks_removed=tally.chunks,
        segments_rewritten=tally.rewritten,
        segments_removed=tally.removed,
        bytes_freed=tally.freed,
        bytes_moved=tally.moved,
        waiting=tally.waiting,
        feed_trimmed=tally.trimmed,
    )


@contextlib.contextmanager
def _reading(engine: Engine) -> Iterator[Any]:
    txn = engine.begin()
    try:
        yield txn
    finally:
        txn.abort()


def _horizon(engine: Engine, txn: int) -> int:
    """The oldest transaction that anybody looks at, or may begin to look at."""
    return min([*engine.readers(), txn])


def _remove_idle(engine: Engine, tally: Tally) -> None:
    with _reading(engine) as txn:
        idle = []
        for key, value in txn.cursor(engine.tables.chunk):
            row = rows.unpack_chunk(rows.unseal(rows.CHUNKS, key, value), key)
            if not row.references:
                idle.append(key)
    for at in range(0, len(idle), _BATCH):
        with engine.committer.exclusive(full=False) as changes:
            horizon = _horizon(engine, changes.txn.id())
            for address in idle[at : at + _BATCH]:
                _remove_chunk(engine, changes, address, horizon, tally)


def _remove_chunk(
    engine: Engine, changes: Changes, address: bytes, horizon: int, tally: Tally
) -> None:
    body = engine.get(changes.txn, rows.CHUNKS, engine.tables.chunk, address)
    if body is None:
        return
    row = rows.unpack_chunk(body, address)
    if row.references:
        return
    if row.idle_since > horizon:
        tally.waiting += 1
        return
    changes.remove(rows.CHUNKS, address)
    tally.chunks += 1


def _trim_feed(engine: Engine, tally: Tally, keep: int) -> None:
    with engine.committer.exclusive(full=False) as changes:
        _, last, *_ = changes.view.feed_end()
        cursor = changes.txn.cursor(engine.tables.feed)
        old = []
        more = cursor.first()
        while more:
            key = cursor.key()
            row = rows.unpack_feed(rows.unseal(rows.FEED, key, cursor.value()), key)
            if row.last > last - keep or row.last == last:
                break
            old.append((key, len(row.items)))
            more = cursor.next()
        for key, count in old:
            changes.remove(rows.FEED, key)
            tally.trimmed += count


def _live_bytes(engine: Engine) -> dict[int, int]:
    """By segment: how many bytes of it are in use."""
    live: dict[int, int] = {}
    with _reading(engine) as txn:
        for key, value in txn.cursor(engine.tables.chunk):
            row = rows.unpack_chunk(rows.unseal(rows.CHUNKS, key, value), key)
            size = segments.padded(segments.RECORD_HEADER_BYTES + row.stored)
            live[row.segment] = live.get(row.segment, 0) + size
    return live


def _collect_segment(engine: Engine, number: int, live: int, tally: Tally) -> None:
    path = engine.root / place.SEGMENTS / segments.segment_name(number)
    descriptor = segments.try_lock_segment(path)
    if descriptor is None:
        return  # a writer is at work in it
    try:
        size = os.fstat(descriptor).st_size - segments.FILE_HEADER_BYTES
        with _reading(engine) as txn:
            if number in dict(engine.doomed(txn)):
                return
        if size <= 0 or live >= size * REWRITE_BELOW:
            return
        if not _empty(engine, number, path, tally):
            return
        tally.rewritten += 1
    finally:
        os.close(descriptor)


def _empty(engine: Engine, number: int, path: Path, tally: Tally) -> bool:
    """Move what is in use to this process's segment, and doom the old one."""
    held: list[tuple[bytes, segments.RecordHeader, bytes, int]] = []
    size = 0
    kept = _wanted_manifests(engine, path)
    for offset, header, payload in segments.scan(path):
        whole = len(payload) == header.stored and crc32c(payload) == header.crc
        if header.kind == segments.CHUNK:
            held.append((header.address, header, payload, offset))
        elif offset in kept and whole:
            engine.writer.append(header.kind, header.codec, header.address, header.size, payload)
        size += len(payload)
        if size >= _COPY_BYTES:
            _move(engine, number, held, tally)
            held, size = [], 0
    _move(engine, number, held, tally)
    # Asked without the write lock: the segment is locked, so nothing new can refer to it.
    if _still_used(engine, number):
        # A damaged record could not be moved: the segment stays, for repair to look into.
        return False
    with engine.committer.exclusive(full=True) as changes:
        changes.needs_sync = True
        floor = engine.kv(changes.txn, KV_FLOOR)
        lowest = max(number + 1, int.from_bytes(floor, "little") if floor else 1)
        engine.put_kv(changes.txn, KV_FLOOR, lowest.to_bytes(8, "little"))
        since = changes.txn.id().to_bytes(8, "little")
        engine.put_kv(changes.txn, KV_DOOMED + number.to_bytes(4, "big"), since)
        changes.touch()
    return True


def _move(
    engine: Engine,
    number: int,
    held: list[tuple[bytes, segments.RecordHeader, bytes, int]],
    tally: Tally,
) -> None:
    if not held:
        return
    with engine.writer.preparing(), engine.committer.exclusive(full=False) as changes:
        for address, header, payload, offset in held:
            body = engine.get(changes.txn, rows.CHUNKS, engine.tables.chunk, address)
            row = rows.unpack_chunk(body, address) if body is not None else None
            if row is None or (row.segment, row.offset) != (number, offset):
                continue  # unused, or a copy of what lies elsewhere
            if crc32c(payload) != row.crc:
                continue
            segment, at, _ = engine.writer.append(
                segments.CHUNK, header.codec, address, header.size, payload
            )
            changes.place_chunk(address, replace(row, segment=segment, offset=at))
            tally.moved += len(payload)


def _still_used(engine: Engine, number: int) -> bool:
    with _reading(engine) as txn:
        for key, value in txn.cursor(engine.tables.chunk):
            if rows.unpack_chunk(rows.unseal(rows.CHUNKS, key, value), key).segment == number:
                return True
    return False


def _wanted_manifests(engine: Engine, path: Path) -> set[int]:
    """Where the manifests lie that still describe a document, and the dictionaries."""
    wanted = set()
    with _reading(engine) as txn:
        view = View(engine, txn)
        for offset, header, payload in segments.scan(path):
            if header.kind == segments.DICTIONARY or _is_current(engine, view, header, payload):
                wanted.add(offset)
    return wanted


def _is_current(engine: Engine, view: View, header: segments.RecordHeader, payload: bytes) -> bool:
    if header.kind != segments.MANIFEST:
        return False
    try:
        entries = manifest.read(engine.cipher, header, payload)
    except CorruptData:
        return False
    for each in entries:
        record = view.record(each.record.path)
        if each.kind in ("delete", "unbind"):
            if record is None:
                return True
        elif record is not None and record.version == each.record.version:
            return True
    return False


def _unlink_doomed(engine: Engine, tally: Tally) -> None:
    """Remove the emptied segments that no reader can need any more."""
    with _reading(engine) as txn:
        doomed = dict(engine.doomed(txn))
    if not doomed:
        return
    ready = []
    with engine.committer.exclusive(full=True) as changes:
        horizon = _horizon(engine, changes.txn.id())
        for number, since in doomed.items():
            if since > horizon:
                tally.waiting += 1
                continue
            path = engine.root / place.SEGMENTS / segments.segment_name(number)
            with contextlib.suppress(FileNotFoundError):
                tally.freed += path.stat().st_size
                path.unlink()
            engine.segments.forget(number)
            ready.append(number)
        if ready:
            segments.sync_directory(engine.root / place.SEGMENTS)
        for number in ready:
            changes.remove(rows.KV, KV_DOOMED + number.to_bytes(4, "big"))
            tally.removed += 1
