"""Writing: what a put, a delete, a rename or a binding does to the tables, in one transaction.

Each method checks first and changes then: one that raises a named error has changed nothing. The
changes to the path indexes, counters and feed are gathered and written once, by :meth:`finish`.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from streamdb import data, feeding, manifest, naming, rows, segments
from streamdb.engine import KV_DICTIONARY, KV_TXN
from streamdb.errors import AlreadyExists, InvalidArgument, NotFound, StoreBusy, StoreFull
from streamdb.ingest import Prepared
from streamdb.model import GUID, Kind
from streamdb.rows import FLAG_INLINE, FLAG_SEALED, FLAG_SHARED, ChunkRow, FeedItem, FeedRow, Record
from streamdb.view import View, missing

if TYPE_CHECKING:
    from streamdb.engine import Engine


class Changes:
    """The changes of one write transaction, and a view on what they have made."""

    def __init__(self, engine: Engine, txn: Any) -> None:
        self.engine = engine
        self.txn = txn
        self.tables = engine.tables
        self.view = View(engine, txn)
        _, last, _, hlc, documents, logical = self.view.feed_end()
        self.first_seq = last + 1
        self.first_hlc = max(hlc + 1, (time.time_ns() // 1_000_000) << 16)
        self.documents = documents
        self.logical_bytes = logical
        self.items: list[FeedItem] = []
        self.needs_sync = False
        # How many rows were written: an operation that failed before its first did no harm.
        self.writes = 0
        self._plain = engine.plain
        self._names: dict[bytes, bool] = {}
        self._manifests: list[bytes] = []
        self._touched = False

    @property
    def changed(self) -> bool:
        """Whether there is anything to commit."""
        return self._touched or bool(self.items)

    # -- documents -------------------------------------------------------------------------------

    def put(
        self,
        path: bytes,
        prepared: Prepared,
        *,
        packed: bytes,
        attributes: bytes,
        mtime_ns: int,
        keep: int,
        origin: str = "",
        guid: GUID | None = None,
        kind: Kind = "put",
    ) -> GUID:
        """Make ``prepared`` the document at a path; the one before becomes an old version.

        ``packed`` is the metadata, not yet sealed. ``keep`` is how many old versions stay.
        """
        self._check_prepared(prepared)
        before = self.view.record(path)
        identity = before.guid if before is not None else guid or GUID.new()
        seq = self._next_seq()
        flags = before.flags & FLAG_SHARED if before is not None else 0
        record = Record(
            guid=identity,
            version=seq,
            seq=seq,
            mtime_ns=mtime_ns,
            size=prepared.size,
            flags=flags | (FLAG_INLINE if prepared.inline is not None else 0),
            codec=prepared.codec,
            path=path,
            metadata=packed,
            inline=prepared.inline or b"",
            digest=prepared.digest,
            chunks=tuple(prepared.chunks),
            attributes=attributes,
        )
        if self.engine.cipher is not None:
            record = self._seal(record)
        # References first: a chunk that old and new version share must not become idle between.
        if record.chunks:
            self._refer(record, prepared.fresh)
        if before is not None:
            self._put_aside(before, "replaced", keep)
            self.logical_bytes -= before.size
        else:
            self._name(path, True)
            self.documents += 1
        self.logical_bytes += record.size
        self._store_all(record)
        # A manifest of the chunked document that was here must not be the last word.
        chunked = before is not None and not before.is_inline
        self._note(kind, record, origin=origin, manifested=chunked)
        return identity

    def delete(self, path: bytes, keep: int, origin: str = "") -> None:
        """Take a path away; with its last path a document becomes an old version.

        Raises:
            NotFound: there is none.
        """
        record = self._need(path)
        seq = self._next_seq()
        if record.shared:
            self._release_name(record)
        else:
            self._keep_version(record, "deleted", keep)
            self.documents -= 1
            self.logical_bytes -= record.size
        self._remove_row(path)
        manifested = self._had_chunks(path)
        self._note("delete", replace(record, seq=seq), origin=origin, manifested=manifested)

    def rename(
        self, old: bytes, new: bytes, keep: int, *, overwrite: bool = False, origin: str = ""
    ) -> None:
        """Give a document another path; its old versions go with it.

        Raises:
            NotFound: no document at ``old``; AlreadyExists: one at ``new``, and not ``overwrite``.
        """
        record = self._need(old)
        if old == new:
            return
        there = self.view.record(new)
        if there is not None and there.guid == record.guid:
            raise AlreadyExists(
                f"{new.decode()!r} is already a path of the same document",
                next_step=f"unbind one of them: streamdb rm {old.decode()!r}",
            )
        if there is not None:
            if not overwrite:
                raise taken(new)
            self.delete(new, keep, origin)
        moved = replace(record.at(new), seq=self._next_seq())
        if record.shared:
            names = [new if name == old else name for name in self.view.bound(record)]
            self._put_paths(record.guid, names)
        self._remove_row(old)
        self._name(new, True)
        self._store(moved)
        manifested = self._had_chunks(old)
        self._move_history(old, new, keep)
        self._note("rename", moved, old_path=old, origin=origin, manifested=manifested)

    def bind(self, path: bytes, new: bytes, origin: str = "") -> GUID:
        """Give a document one more path.

        Raises:
            NotFound: no document at ``path``; AlreadyExists: another document at ``new``.
        """
        record = self._need(path)
        there = self.view.record(new)
        if there is not None:
            if there.guid == record.guid:
                return record.guid
            raise taken(new)
        names = [*self.view.bound(record), new]
        shared = record.with_flags(record.flags | FLAG_SHARED)
        if not record.shared:
            self._store(shared)
        bound = replace(shared.at(new), seq=self._next_seq())
        self._put_paths(record.guid, names)
        self._name(new, True)
        self._store(bound)
        self._note("bind", bound, old_path=path, origin=origin)
        return record.guid

    def unbind(self, path: bytes, origin: str = "") -> None:
        """Take one of several paths away.

        Raises:
            NotFound: no document there; InvalidArgument: it is the document's only path.
        """
        record = self._need(path)
        if not record.shared:
            raise InvalidArgument(
                f"{path.decode()!r} is the only path of its document",
                next_step="delete the document, or rename it",
            )
        seq = self._next_seq()
        self._release_name(record)
        self._remove_row(path)
        self._note("unbind", replace(record, seq=seq), origin=origin)

    def restore(self, path: bytes, version: int, keep: int, origin: str = "") -> GUID:
        """Make an old version the current one; the current one becomes an old one.

        Raises:
            NotFound: that version is not kept.
        """
        key = rows.history_key(path, version)
        body = self.engine.get(self.txn, rows.HISTORY, self.tables.history, key)
        if body is None:
            raise NotFound(
                f"version {version} of {path.decode()!r} is not kept",
                next_step=f"see what is: streamdb history {path.decode()!r}",
            )
        reason, _, old = rows.unpack_history(body, path)
        packed = old.metadata
        inline: bytes | None = old.inline if old.is_inline else None
        if old.flags & FLAG_SEALED and self.engine.cipher is not None:
            cipher = self.engine.cipher
            packed = packed and cipher.open(data.METADATA_PLACE, old.guid, old.version, packed)
            if inline is not None:
                inline = cipher.open(data.DATA_PLACE, old.guid, old.version, inline)
        again = Prepared(old.size, old.codec, inline, old.digest, list(old.chunks))
        guid = self.put(
            path,
            again,
            packed=packed,
            attributes=old.attributes,
            mtime_ns=old.mtime_ns,
            keep=keep + 1,
            origin=origin,
            # A document that is gone comes back as itself; one that was replaced may live on
            # under another of its paths.
            guid=old.guid if reason == "deleted" else None,
            kind="restore",
        )
        self._drop_version(key, old)
        self._revive(path, guid)
        return guid

    def _revive(self, path: bytes, guid: GUID) -> None:
        """A document that lives again was only replaced by its other old versions."""
        for key, (reason, aside, record) in list(self.view.old_versions(path)):
            if reason == "deleted" and record.guid == guid:
                self._put(rows.HISTORY, key, rows.pack_history("replaced", aside, record))

    def add_dictionary(self, number: int, content: bytes) -> bool:
        """Keep a dictionary, with a copy in a segment; False if another process has done so."""
        key = KV_DICTIONARY + bytes([number])
        if self.engine.kv(self.txn, key) is not None:
            return False
        stored = self.engine.seal_dictionary(number, content)
        name = bytes([number]) * 32
        self.engine.writer.append(segments.DICTIONARY, 0, name, len(content), stored)
        self.needs_sync = True
        self.writes += 1
        self.engine.put_kv(self.txn, key, stored)
        self.touch()
        return True

    def remove(self, table: bytes, key: bytes) -> None:
        """Take a row away that nothing refers to."""
        self._delete(table, key)
        self.touch()

    def place_chunk(self, address: bytes, row: ChunkRow) -> None:
        """Note that a chunk lies elsewhere now."""
        self._put_chunk(address, row)
        self.needs_sync = True
        self.touch()

    def touch(self) -> None:
        """Note that something outside the feed was changed."""
        self._touched = True

    # -- inside: names and rows ------------------------------------------------------------------

    def _put(self, table: bytes, key: bytes, body: bytes) -> None:
        self.writes += 1
        self.txn.put(key, rows.seal(table, key, body), db=self._plain[table])

    def _delete(self, table: bytes, key: bytes) -> None:
        self.writes += 1
        self.txn.delete(key, db=self._plain[table])

    def _need(self, path: bytes) -> Record:
        record = self.view.record(path)
        if record is None:
            raise missing(path.decode())
        return record

    def _next_seq(self) -> int:
        return self.first_seq + len(self.items)

    def _check_prepared(self, prepared: Prepared) -> None:
        if prepared.epoch is not None and prepared.epoch != self.engine.writer.epoch:
            raise StoreFull(
                "the data could not be written",
                why="writing a segment failed meanwhile",
                next_step="free space on the disk (or raise the quota), then try again",
            )
        kept = self.tables.chunk
        for ref in prepared.chunks:
            if ref.address not in prepared.fresh and self.txn.get(ref.address, db=kept) is None:
                raise StoreBusy(
                    "a chunk of the document was removed while it was written",
                    why=f"chunk {ref.address.hex()[:16]}",
                    next_step="write it again",
                )

    def _seal(self, record: Record) -> Record:
        cipher = self.engine.cipher
        assert cipher is not None
        place = (record.guid, record.version)
        metadata = record.metadata and cipher.seal(data.METADATA_PLACE, *place, record.metadata)
        inline = record.inline
        if record.is_inline:
            inline = cipher.seal(data.DATA_PLACE, *place, inline)
        return replace(record, metadata=metadata, inline=inline, flags=record.flags | FLAG_SEALED)

    def _store(self, record: Record) -> None:
        key = rows.fold(record.path)
        self._put(rows.DOC, key, rows.pack_record(record))

    def _store_all(self, record: Record) -> None:
        if not record.shared:
            self._store(record)
            return
        for path in self.view.bound(record):
            self._store(record.at(path))

    def _remove_row(self, path: bytes) -> None:
        self._delete(rows.DOC, rows.fold(path))
        self._name(path, False)

    def _name(self, path: bytes, added: bool) -> None:
        if self._names.pop(path, added) == added:
            self._names[path] = added

    def _put_paths(self, guid: GUID, names: list[bytes]) -> None:
        body = rows.pack_paths(names)
        self._put(rows.GUIDS, guid, body)

    def _release_name(self, record: Record) -> None:
        """Take one path off a shared document; with one left it is shared no more."""
        names = [name for name in self.view.bound(record) if name != record.path]
        if len(names) > 1:
            self._put_paths(record.guid, names)
            return
        self._delete(rows.GUIDS, record.guid)
        last = self._need(names[0])
        self._store(last.with_flags(last.flags & ~FLAG_SHARED))

    # -- inside: versions ------------------------------------------------------------------------

    def _put_aside(self, before: Record, reason: rows.Reason, keep: int) -> None:
        """Keep what every path of a document showed; the first takes over its references."""
        for at, path in enumerate(self.view.bound(before)):
            if at:
                self._refer(before, {})
            self._keep_version(before.at(path), reason, keep)

    def _keep_version(self, record: Record, reason: rows.Reason, keep: int) -> None:
        """Put one path's version aside, with the references that its document had."""
        key = rows.history_key(record.path, record.version)
        body = rows.pack_history(reason, time.time_ns(), record)
        self._put(rows.HISTORY, key, body)
        self._trim_versions(record.path, keep)

    def _trim_versions(self, path: bytes, keep: int) -> None:
        kept = list(self.view.old_versions(path))
        for key, (_, _, record) in kept[: max(0, len(kept) - keep)]:
            self._drop_version(key, record)

    def _drop_version(self, key: bytes, record: Record) -> None:
        self._delete(rows.HISTORY, key)
        self._unrefer(record)

    def _had_chunks(self, path: bytes) -> bool:
        """Whether a kept version of a path was chunked, and so has a manifest."""
        return any(not record.is_inline for _, (_, _, record) in self.view.old_versions(path))

    def _move_history(self, old: bytes, new: bytes, keep: int) -> None:
        for key, (reason, aside, record) in list(self.view.old_versions(old)):
            self._delete(rows.HISTORY, key)
            moved = rows.history_key(new, record.version)
            if self.txn.get(moved, db=self.tables.history) is not None:
                # Both paths were bound to one document when that version was put aside.
                self._unrefer(record)
                continue
            body = rows.pack_history(reason, aside, record.at(new))
            self._put(rows.HISTORY, moved, body)
        self._trim_versions(new, keep)

    # -- inside: chunks --------------------------------------------------------------------------

    def _refer(self, record: Record, fresh: dict[bytes, ChunkRow]) -> None:
        for address, count in _counted(record).items():
            body = self.engine.get(self.txn, rows.CHUNKS, self.tables.chunk, address)
            if body is None:
                row = fresh[address]
                self.needs_sync = True
            else:
                row = rows.unpack_chunk(body, address)
            self._put_chunk(address, replace(row, references=row.references + count, idle_since=0))

    def _unrefer(self, record: Record) -> None:
        for address, count in _counted(record).items():
            body = self.engine.get(self.txn, rows.CHUNKS, self.tables.chunk, address)
            if body is None:
                raise rows.damaged(rows.CHUNKS, address, "it is missing")
            row = rows.unpack_chunk(body, address)
            left = row.references - count
            if left < 0:
                raise rows.damaged(rows.CHUNKS, address, "it has fewer references than documents")
            idle = self.txn.id() if left == 0 else 0
            self._put_chunk(address, replace(row, references=left, idle_since=idle))

    def _put_chunk(self, address: bytes, row: ChunkRow) -> None:
        self._put(rows.CHUNKS, address, rows.pack_chunk(row))

    # -- inside: the end of the transaction ------------------------------------------------------

    def _note(
        self,
        kind: Kind,
        record: Record,
        *,
        old_path: bytes = b"",
        origin: str = "",
        manifested: bool = False,
    ) -> None:
        self.items.append(FeedItem(kind, record.guid, record.path, old_path, origin))
        if manifested or not record.is_inline:
            self._manifests.append(manifest.entry(kind, record, old_path))

    def flush_names(self) -> None:
        """Take the gathered names, and all that wait, into the path indexes and counters."""
        if self._names:
            # Half of it must not be committed: an error from here on spoils the transaction.
            self.writes += 1
            names, self._names = self._names, {}
            naming.take_in(self.engine, self.txn, names)

    def finish(self) -> None:
        """Write everything that was gathered; after this the transaction may commit."""
        if self._names:
            naming.add(self.engine, self.txn, self.first_seq, self._names)
        txn = self.txn.id()
        if self._manifests:
            manifest.append(self.engine, self._manifests)
            self.needs_sync = True
        feeding.write(
            self.txn,
            self.tables.feed,
            FeedRow(
                self.first_seq,
                txn,
                self.first_hlc,
                self.documents,
                self.logical_bytes,
                tuple(self.items),
            ),
        )
        if not self.items:
            # Every commit leaves its number inside the checksummed rows, so that a damaged meta
            # page that shows an older state is noticed.
            self.engine.put_kv(self.txn, KV_TXN, txn.to_bytes(8, "little"))


def _counted(record: Record) -> Counter[bytes]:
    return Counter(ref.address for ref in record.chunks)


def taken(path: bytes) -> AlreadyExists:
    """The error for a path that another document has."""
    return AlreadyExists(
        f"there is a document at {path.decode()!r} already",
        next_step="choose another path, or overwrite it explicitly",
    )
