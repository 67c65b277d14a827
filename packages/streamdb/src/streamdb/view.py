"""Reading: everything that can be asked of one state of the store.

A View looks at one transaction: a short one for a single question, a snapshot's, or that of a
writer who sees what it has written. It has no state of its own.
"""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice
from operator import lt
from typing import TYPE_CHECKING, Any

from streamdb import attributes, data, metapack, naming, paths, rows
from streamdb.blocks import PathIndex, successor
from streamdb.checks import address as blake3_address
from streamdb.errors import CorruptData, FeedTrimmed, InvalidArgument, NotFound
from streamdb.failures import raise_named
from streamdb.model import GUID, Change, Entry, Stat, Version
from streamdb.naming import Side
from streamdb.rows import FeedRow, Record

if TYPE_CHECKING:
    from streamdb.engine import Engine
    from streamdb.query import Query

_STREAM_BUFFER = 1 << 18
_MANY = 512
"""So many rows at a time are passed over by their attributes."""


class View:
    """Questions to one state of the store. Paths are text; they need not be valid to be absent."""

    __slots__ = ("engine", "txn", "verify")

    def __init__(self, engine: Engine, txn: Any, verify: bool = True) -> None:
        self.engine = engine
        self.txn = txn
        self.verify = verify

    # -- documents -------------------------------------------------------------------------------

    def record(self, path: str | bytes) -> Record | None:
        """The document at a path, or None."""
        key = rows.fold(path) if isinstance(path, bytes) else rows.key_of(path)
        value = self.txn.get(key, db=self.engine.tables.doc) if key else None
        if value is None:
            return None
        return rows.unpack_record(rows.unseal(rows.DOC, key, value, self.verify), key)

    def need(self, path: str | bytes) -> Record:
        """The document at a path.

        Raises:
            InvalidPath: no document can be there; NotFound: none is.
        """
        found = self.record(path)
        if found is None:
            raise missing(paths.validate(path))
        return found

    def get(self, path: str) -> bytes:
        """The data of a document."""
        return data.read_all(self.engine, self.txn, self.need(path), self.verify)

    def get_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """The data of several documents; paths without one are left out."""
        found = {}
        for name in names:
            record = self.record(name)
            if record is not None:
                found[name] = data.read_all(self.engine, self.txn, record, self.verify)
        return found

    def stream(self, path: str) -> io.BufferedReader:
        """The data of a document as a file."""
        return self.open_record(self.need(path))

    def open_record(self, record: Record) -> io.BufferedReader:
        """The data of a document's row as a file."""
        try:
            found = data.chunk_rows(self.engine, self.txn, record, self.verify)
            raw = data.DocumentStream(self.engine, record, found, self.verify)
        except CorruptData as error:
            raise data.named(error, record.path) from None
        return io.BufferedReader(raw, _STREAM_BUFFER)

    def metadata_json(self, record: Record) -> bytes:
        """The metadata of a document as JSON in UTF-8."""
        packed = record.metadata
        if packed and record.flags & rows.FLAG_SEALED and self.engine.cipher is not None:
            packed = self.engine.cipher.open(
                data.METADATA_PLACE, record.guid, record.version, packed
            )
        return self.engine.packer.unpack(packed)

    def metadata(self, path: str) -> dict[str, Any]:
        """The metadata of a document."""
        key = rows.key_of(path)
        value = self.txn.get(key, db=self.engine.tables.doc) if key else None
        if value is None:
            raise missing(paths.validate(path))
        packed = rows.packed_metadata(key, value, self.verify)
        try:
            if packed is None:
                return metapack.from_json(self.metadata_json(rows.unpack_record(value[4:], key)))
            return metapack.from_json(self.engine.packer.unpack(packed))
        except CorruptData as error:
            raise data.named(error, path.encode()) from None

    def digest(self, record: Record) -> str:
        """The BLAKE3 of a document's data, in hex."""
        if record.digest:
            return record.digest.hex()
        if record.is_inline:
            return blake3_address(data.read_inline(self.engine, record)).hex()
        return record.chunks[0].address.hex() if record.chunks else blake3_address(b"").hex()

    def stat(self, path: str) -> Stat:
        """What is known of a document."""
        record = self.need(path)
        stored = len(record.inline) + len(record.metadata)
        stored += sum(row.stored for row in data.chunk_rows(self.engine, self.txn, record, True))
        return Stat(
            path=record.path.decode(),
            guid=record.guid,
            size=record.size,
            mtime_ns=record.mtime_ns,
            created_ns=record.guid.created_ns,
            metadata=metapack.from_json(self.metadata_json(record)),
            digest=self.digest(record),
            chunks=len(record.chunks),
            stored_bytes=stored,
            version=record.version,
            paths=len(self.bound(record)) if record.shared else 1,
        )

    def bound(self, record: Record) -> list[bytes]:
        """All paths of a document."""
        if not record.shared:
            return [record.path]
        body = self.engine.get(
            self.txn, rows.GUIDS, self.engine.tables.guid, record.guid, self.verify
        )
        if body is None:
            raise rows.damaged(rows.GUIDS, record.guid, "it is missing")
        return rows.unpack_paths(body)

    def paths_of(self, name: str | GUID) -> list[str]:
        """All paths of the document at a path, or of a GUID."""
        if isinstance(name, GUID):
            return self._paths_of_guid(name)
        return sorted(path.decode() for path in self.bound(self.need(name)))

    def _paths_of_guid(self, guid: GUID) -> list[str]:
        tables = self.engine.tables
        body = self.engine.get(self.txn, rows.GUIDS, tables.guid, guid, self.verify)
        if body is not None:
            return sorted(path.decode() for path in rows.unpack_paths(body))
        # Only shared documents have a row of their own; the others are looked for one by one.
        at = rows.GUID_AT
        for key, value in self.txn.cursor(tables.doc):
            if value[at : at + 16] == guid:
                found = rows.unpack_record(rows.unseal(rows.DOC, key, value, self.verify), key)
                return [found.path.decode()]
        raise NotFound(f"there is no document {guid}")

    # -- names -----------------------------------------------------------------------------------

    def search(self, prefix: str, limit: int | None, after: str | None) -> list[str]:
        """Paths that begin with ``prefix``, sorted."""
        raw = prefix.encode()
        start = raw if after is None else max(raw, after.encode() + b"\0")
        side = self.pending().forward
        return self._listed(self.engine.tables.forward, side, start, successor(raw), limit)

    def pending(self) -> naming.Pending:
        """The names that wait to be taken into the path indexes."""
        return self.engine.pending.read(self.engine, self.txn)

    def _listed(
        self, index: PathIndex, side: Side, start: bytes, end: bytes | None, limit: int | None
    ) -> list[str]:
        found: list[str] = []
        if limit is not None and limit <= 0:
            return found
        for part in naming.scan_text(index, side, self.txn, start, end, self.verify):
            found += part
            if limit is not None and len(found) >= limit:
                del found[limit:]
                break
        return found

    def search_suffix(self, suffix: str, limit: int | None, after: str | None) -> list[str]:
        """Paths that end with ``suffix``, sorted from their ends."""
        raw = suffix.encode()[::-1]
        start = raw if after is None else max(raw, after.encode()[::-1] + b"\0")
        side = self.pending().reverse
        return self._listed(self.engine.tables.reverse, side, start, successor(raw), limit)

    def count(self, prefix: str) -> int:
        """How many paths begin with ``prefix``; of a directory (or ""), from its counter."""
        if not prefix or prefix.endswith("/"):
            return self.directory_count(prefix[:-1].encode())
        raw = prefix.encode()
        end = successor(raw)
        held = self.engine.tables.forward.count(self.txn, raw, end, self.verify)
        return held + self.pending().forward.balance(raw, end)

    def directory_count(self, directory: bytes) -> int:
        """The paths below a directory, at any depth."""
        key = rows.fold(b"/" + directory)
        body = self.engine.get(self.txn, rows.DIRS, self.engine.tables.dir, key, self.verify)
        held = 0 if body is None else rows.unpack_count(body, key)
        waiting = self.pending()
        if waiting is naming.NONE:
            return held
        inside = directory + b"/" if directory else b""
        return held + waiting.forward.balance(inside, successor(inside))

    def children(self, directory: str, limit: int | None, after: str | None) -> Iterator[Entry]:
        """The documents and directories right below a directory, in the order of their paths.

        ``after`` is the name of the entry to go on behind, with a slash if it was a directory.
        """
        base = f"{directory}/".encode() if directory else b""
        start = base
        if after is not None:
            name = after.encode()
            start = base + (name[:-1] + b"0" if name.endswith(b"/") else name + b"\0")
        yield from self._children_from(base, start, limit)

    def _children_from(self, base: bytes, start: bytes, limit: int | None) -> Iterator[Entry]:
        end = successor(base) if base else None
        given = 0
        forward = self.engine.tables.forward
        side = self.pending().forward
        while limit is None or given < limit:
            jump = None
            for part in naming.scan(forward, side, self.txn, start, end, self.verify):
                for path in part:
                    if jump is not None and path < jump:
                        continue
                    name, slash, _ = path[len(base) :].partition(b"/")
                    below = base + name
                    # What follows in this block is passed over; a new seek costs more than that.
                    jump = below + b"0" if slash else below + b"\0"
                    total = self.directory_count(below) if slash else 1
                    yield Entry(name.decode(), below.decode(), bool(slash), total)
                    given += 1
                    if limit is not None and given >= limit:
                        return
                if jump is not None and jump > part[-1] + b"0":
                    break
            else:
                return
            start = jump

    # -- metadata --------------------------------------------------------------------------------

    def find(self, query: Query, limit: int | None) -> Iterator[str]:
        """The paths of the documents that a query means, in the order of their rows."""
        prefix = (query.prefix() or "").encode()
        end = successor(prefix) if len(prefix) <= rows.FOLD else None
        fields = attributes.fields(query, rows.ATTRIBUTES_AT)
        needs_metadata = query.uses_metadata
        given = 0
        for found in self._document_rows(prefix[: rows.FOLD] or b"\0", end):
            for start, stop, passes in fields:
                # A row that is too short for its attributes is damaged: unsealing it says so.
                found = [row for row in found if passes[row[1][start:stop]]]
            for key, value in found:
                if limit is not None and given >= limit:
                    return
                record = rows.unpack_record(rows.unseal(rows.DOC, key, value, self.verify), key)
                path = record.path.decode()
                held = metapack.from_json(self.metadata_json(record)) if needs_metadata else {}
                if query.matches(path, held, record.size):
                    given += 1
                    yield path

    def _document_rows(
        self, first: bytes, end: bytes | None
    ) -> Iterator[list[tuple[bytes, bytes]]]:
        """The rows of documents from key ``first`` on and before ``end``, some hundred at once."""
        cursor = self.txn.cursor(self.engine.tables.doc)
        if not cursor.set_range(first):
            return
        rest = cursor.iternext()
        before = b""
        while found := list(islice(rest, _MANY)):
            names = [key for key, _ in found]
            if names[0] <= before or not all(map(lt, names, names[1:])):
                # A page that a damaged one leads to a second time; its rows are whole.
                raise rows.damaged(rows.DOC, names[0], "it, or one behind it, is out of order")
            before = names[-1]
            if end is not None and before >= end:
                yield found[: bisect_left(names, end)]
                return
            yield found

    # -- versions and changes --------------------------------------------------------------------

    def history(self, path: str) -> list[Version]:
        """The kept versions of a path, the newest first; the current one leads."""
        raw = paths.validate(path).encode()
        found = []
        current = self.record(raw)
        if current is not None:
            found.append(self._version(current, path, "current", 0))
        for _, (reason, aside, record) in reversed(list(self.old_versions(raw))):
            found.append(self._version(record, path, reason, aside))
        if not found:
            raise missing(paths.validate(path))
        return found

    def get_version(self, path: str, version: int) -> bytes:
        """The data of a kept version."""
        raw = paths.validate(path).encode()
        current = self.record(raw)
        if current is not None and current.version == version:
            return data.read_all(self.engine, self.txn, current, self.verify)
        for _, (_, _, record) in self.old_versions(raw):
            if record.version == version:
                return data.read_all(self.engine, self.txn, record, self.verify)
        raise NotFound(
            f"version {version} of {path!r} is not kept",
            next_step=f"see what is: streamdb history {path!r}",
        )

    def _version(self, record: Record, path: str, reason: Any, aside_ns: int) -> Version:
        return Version(
            path=path,
            version=record.version,
            guid=record.guid,
            size=record.size,
            mtime_ns=record.mtime_ns,
            set_aside_ns=aside_ns,
            digest=self.digest(record),
            current=reason == "current",
            reason=reason,
        )

    def old_versions(self, path: bytes) -> Iterator[tuple[bytes, tuple[rows.Reason, int, Record]]]:
        """(key, (reason, when, document)) of a path's old versions, the oldest first."""
        first = rows.history_key(path, 0)
        start = first[:-8]
        cursor = self.txn.cursor(self.engine.tables.history)
        more = cursor.set_range(first)
        while more and cursor.key().startswith(start) and len(cursor.key()) == len(first):
            key = cursor.key()
            body = rows.unseal(rows.HISTORY, key, cursor.value(), self.verify)
            yield key, rows.unpack_history(body, path)
            more = cursor.next()

    def feed_rows(self, since: int) -> Iterator[FeedRow]:
        """The rows that hold changes after number ``since``; the first may begin before."""
        cursor = self.txn.cursor(self.engine.tables.feed)
        wanted = (since + 1).to_bytes(8, "big")
        more = cursor.set_range(wanted)
        if not more or cursor.key() != wanted:
            more = cursor.prev() if more else cursor.last()
            more = more or cursor.first()
        before = 0
        while more:
            key = cursor.key()
            row = rows.unpack_feed(rows.unseal(rows.FEED, key, cursor.value(), self.verify), key)
            if before and row.first != before + 1:
                # A page that a damaged one leads to a second time; its rows are whole.
                raise rows.damaged(rows.FEED, key, f"it does not follow on {before}")
            before = row.last
            if row.last > since:
                yield row
            more = cursor.next()

    def feed_end(self) -> tuple[int, int, int, int, int, int]:
        """(first, last, txn, hlc, documents, logical_bytes) of the newest feed row; else zeros.

        ``hlc`` is the clock of its last change.
        """
        cursor = self.txn.cursor(self.engine.tables.feed)
        if not cursor.last():
            return 0, 0, 0, 0, 0, 0
        key = cursor.key()
        body = rows.unseal(rows.FEED, key, cursor.value(), self.verify)
        first, last, txn, hlc, documents, logical = rows.feed_header(body, key)
        return first, last, txn, hlc + last - first, documents, logical

    def feed_start(self) -> int:
        """The number of the oldest change that is kept; 1 when there are none."""
        cursor = self.txn.cursor(self.engine.tables.feed)
        if not cursor.first():
            return 1
        key = cursor.key()
        if len(key) != 8:
            raise rows.damaged(rows.FEED, key, f"its number has {len(key)} bytes")
        return int.from_bytes(key, "big")

    def changes(self, since: int, limit: int | None) -> Iterator[Change]:
        """The changes after number ``since``, the oldest first."""
        if since < 0:
            raise InvalidArgument(f"changes are numbered from 1, not {since}")
        start = self.feed_start()
        if since + 1 < start:
            raise FeedTrimmed(
                f"the change feed begins at {start}, changes from {since + 1} on were asked for",
                why="older changes have been trimmed",
                next_step="list the whole store, then follow from statistics().last_seq",
            )
        given = 0
        own = self.engine.marker.store_id.hex()
        for row in self.feed_rows(since):
            for at, item in enumerate(row.items):
                seq = row.first + at
                if seq <= since:
                    continue
                if limit is not None and given >= limit:
                    return
                given += 1
                yield self._change(seq, row.hlc + at, item, own)

    def _change(self, seq: int, hlc: int, item: rows.FeedItem, own: str) -> Change:
        digest, size = "", -1
        if item.kind in ("put", "restore", "bind", "rename"):
            record = self.record(item.path)
            if record is not None and record.seq == seq:
                digest, size = self.digest(record), record.size
        return Change(
            seq=seq,
            kind=item.kind,
            path=item.path.decode(),
            old_path=item.old_path.decode() or None,
            guid=item.guid,
            digest=digest,
            size=size,
            hlc=hlc,
            origin=item.origin or own,
        )


class Viewing:
    """A view of the last commit, for the time of one question."""

    __slots__ = ("_engine", "_txn", "_verify")

    def __init__(self, engine: Engine, verify: bool) -> None:
        self._engine = engine
        self._verify = verify

    def __enter__(self) -> View:
        self._txn = self._engine.begin()
        return View(self._engine, self._txn, self._verify)

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._txn.abort()
        # A damaged page shows as an error of LMDB's, in the middle of any question.
        raise_named(error, "reading")


def missing(path: str) -> NotFound:
    """The error for a path without a document."""
    parent = path.rpartition("/")[0]
    where = f"{parent}/" if parent else ""
    return NotFound(
        f"there is no document at {path!r}",
        next_step=f"see what there is: streamdb search '{where}'",
    )
