"""The store: documents under paths, kept whole and on the disk."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from streamdb import data, dictionary, ingest, rows
from streamdb.cache import Cache
from streamdb.engine import MAP_BYTES, Engine
from streamdb.errors import StoreBusy, StoreClosed
from streamdb.failures import raise_named
from streamdb.model import (
    GUID,
    BackupReport,
    CheckReport,
    Durability,
    GcReport,
    Metadata,
    ProgressCallback,
    RepairReport,
    Statistics,
)
from streamdb.opening import check_options, open_engine, reopen
from streamdb.paths import validate
from streamdb.segments import SEGMENT_BYTES
from streamdb.snapshot import Snapshot
from streamdb.transaction import Put, Transaction
from streamdb.view import View, Viewing, missing
from streamdb.writing import Writable

if TYPE_CHECKING:
    from streamdb.bulk import Bulk
    from streamdb.changes import Changes
    from streamdb.crypto import Key

_T = TypeVar("_T")
MAX_DOCUMENT = 4 << 30
_NEVER = [-2]


class StreamDB(Writable):
    """A handle on a store. Threads may share it; processes open their own.

    >>> import tempfile
    >>> with StreamDB.open(tempfile.mkdtemp()) as db:
    ...     guid = db.write_document("drums/kick.wav", b"boom", metadata={"tempo": 120})
    ...     db.get("drums/kick.wav"), db.search("drums/"), db.find("tempo=118..122")
    (b'boom', ['drums/kick.wav'], ['drums/kick.wav'])
    """

    def __init__(
        self,
        engine: Engine,
        *,
        durability: Durability,
        cache: Cache,
        versions: int,
        max_document: int,
    ) -> None:
        self._engine = engine
        self._durability = durability
        self._full = durability == "full"
        self._cache = cache
        # The shared number of the last commit; compared with the cache's on every get.
        self._txnid: Any = engine.txnid if engine.txnid is not None else _NEVER
        self._keep = versions
        self._limit = max_document
        self._verify = True
        self._bulk: Bulk | None = None
        self._closed = False
        engine.on_fork.add(self)
        if durability == "bulk":
            from streamdb.bulk import Bulk

            self._bulk = Bulk(engine)

    # -- opening and closing -----------------------------------------------------------------------

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        durability: Durability = "full",
        key: Key | None = None,
        readonly: bool = False,
        create: bool = True,
        cache: int = 1000,
        cache_bytes: int = 64 << 20,
        versions: int = 2,
        max_document: int = MAX_DOCUMENT,
        map_bytes: int = MAP_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> StreamDB:
        """Open the store in a directory; make it if there is none.

        Args:
            path: the directory.
            durability: ``full``: what returned is on the disk. ``normal``: it is visible to every
                process, and on the disk within 50 ms or after :meth:`flush`. ``bulk``: it is
                visible and on the disk after :meth:`flush` or :meth:`close`; for loading many
                documents. A crash leaves a whole store in each.
            key: for an encrypted store; given to a new one, it is encrypted with it.
            readonly: refuse to write, and make no store.
            create: make the store if there is none.
            cache, cache_bytes: how many documents are held in memory, and how many bytes; 0: none.
            versions: how many old versions of each path are kept.
            max_document: the most bytes a document may have.
            map_bytes: address space for the index, and with it its largest size.
            segment_bytes: from which size on a segment is full.

        Raises:
            NotFound, NotAStore, NewerFormat, OlderFormat, CorruptData, KeyRequired, WrongKey,
            ReadOnlyStore, UnsuitableFileSystem, StoreFull, StoreBusy, InvalidArgument.
        """
        check_options(durability, cache=cache, cache_bytes=cache_bytes, versions=versions)
        engine = open_engine(
            Path(path),
            key=key,
            readonly=readonly,
            create=create,
            map_bytes=map_bytes,
            segment_bytes=segment_bytes,
        )
        return cls(
            engine,
            durability=durability,
            cache=Cache(cache, cache_bytes),
            versions=versions,
            max_document=max_document,
        )

    def close(self) -> None:
        """Put everything on the disk and let the store go; a second time does nothing.

        Open snapshots of the last handle in the process are closed, too.
        """
        if self._closed:
            return
        self._closed = True
        self._txnid = _NEVER
        self._cache.clear()
        self._engine.on_fork.discard(self)
        try:
            if self._bulk is not None and self._engine.pid == os.getpid():
                self._bulk.flush()
        finally:
            self._engine.release()

    def __enter__(self) -> StreamDB:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"StreamDB({str(self._engine.root)!r}, durability={self._durability!r})"

    @property
    def path(self) -> Path:
        """The directory of the store."""
        return self._engine.root

    @property
    def engine(self) -> Engine:
        """What the handles of this process share; for the rooms of this package."""
        self._check_open()
        return self._engine

    def forked(self) -> None:
        """Called in a forked child: from now on every use is refused."""
        self._txnid = _NEVER
        self._cache = Cache(0, 0)
        self._bulk = None

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed("the store is closed", next_step="open it again")
        self._engine.check_usable()

    # -- writing -----------------------------------------------------------------------------------

    def write_document(
        self,
        path: str | bytes,
        data: ingest.Source,
        *,
        metadata: Metadata | None = None,
        mtime: float | None = None,
        mtime_ns: int | None = None,
        origin: str = "",
        guid: GUID | None = None,
    ) -> GUID:
        """Make ``data`` the document at ``path``; what was there becomes an old version.

        Readers see the old document or the new one, never a mixture, also after a crash.

        Args:
            path: 1 to 4096 bytes of UTF-8.
            data: bytes, a file open for reading, or an iterator of bytes; the latter two are
                read in constant memory.
            metadata: names and JSON values.
            mtime: modification time in seconds since 1970; now if neither is given.
            mtime_ns: the same in nanoseconds.
            origin: where the change was made, for the feed; "" for this store.
            guid: the identity of a new document, where another store has given it one.

        Returns:
            The identity of the document; an overwritten one keeps its own.

        Raises:
            InvalidPath, InvalidMetadata, DocumentTooLarge, StoreFull, ReadOnlyStore.

        >>> import tempfile
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("loops/a.wav", iter([b"RI", b"FF"]), mtime=1.5)
        ...     db.stat("loops/a.wav").size
        4
        """
        put = Put.of(validate(path).encode(), metadata, mtime, mtime_ns, self._keep, origin, guid)
        engine = self._engine
        if self._closed:
            self._check_open()
        if self._bulk is not None:
            added = self._bulk.add(put, data, self._limit)
            # Nobody else sees it yet, but whoever asks this handle must.
            self._cache.forget(put.path.decode())
            return added
        put.pack(engine)
        if ingest.is_short(data):
            put.prepared = ingest.prepare(engine, None, data, self._limit)
            written: GUID = engine.committer.submit(put.run, full=self._full)
        else:
            engine.committer.check()
            # The transaction keeps the chunks that are found in it until the commit has them.
            with engine.writer.preparing(), contextlib.closing(ingest.Held(engine)) as held:
                put.prepared = ingest.prepare(engine, held.txn, data, self._limit)
                engine.writer.hurry()
                written = engine.committer.submit(put.run, full=self._full)
        dictionary.train(engine)
        return written

    @contextlib.contextmanager
    def transaction(self, *, origin: str = "") -> Iterator[Transaction]:
        """Several operations as one: they commit together at the end of the block, or not at all.

        Other writers wait meanwhile, readers do not. An exception that leaves the block undoes
        everything in it. :class:`Transaction` has an example.

        Raises:
            StoreFull, StorageFailure: at the end of the block; nothing of it is in the store.
        """
        self._ready()
        committer = self._engine.committer
        with (
            self._engine.writer.preparing(),
            committer.exclusive(full=self._durability != "normal") as changes,
        ):
            together = Transaction(
                changes, keep=self._keep, max_document=self._limit, origin=origin
            )
            yield together
            together.end()

    def flush(self) -> None:
        """Put everything that returned so far on the disk; in ``bulk``, make it visible too.

        Raises:
            StoreFull, StorageFailure.

        >>> import tempfile
        >>> with StreamDB.open(tempfile.mkdtemp(), durability="normal") as db:
        ...     _ = db.write_document("a.txt", b"on the disk")
        ...     db.flush()
        """
        self._ready()
        if not self._engine.readonly:
            self._engine.committer.sync()

    def _apply(self, operation: Callable[[Changes, str], _T]) -> _T:
        self._ready()
        run = self._engine.committer.submit
        applied: _T = run(lambda changes: operation(changes, ""), full=self._full)
        return applied

    def _ready(self) -> None:
        self._check_open()
        self._settle()

    def _settle(self) -> None:
        if self._bulk is not None:
            self._bulk.flush()

    # -- reading -----------------------------------------------------------------------------------

    def get(self, path: str) -> bytes:
        """The data of the document at ``path``, as :meth:`Readable.get` says."""
        cache = self._cache
        if cache.txn == self._txnid[0]:
            held = cache.young.get(path)
            if held is not None:
                return held
        return self._get(path)

    def _get(self, path: str) -> bytes:
        if self._closed:
            self._check_open()
        if self._bulk is not None:
            self._bulk.settle(path)
        txn = self._engine.begin()
        try:
            return self._get_in(txn, path)
        except Exception as error:
            raise_named(error, "reading")
            raise
        finally:
            txn.abort()

    def _get_in(self, txn: Any, path: str) -> bytes:
        engine, cache = self._engine, self._cache
        number = txn.id()
        if number != cache.txn:
            cache.catch_up(View(engine, txn, self._verify), number)
        if cache.txn == number and (cache.old or cache.young):
            held = cache.young.get(path) or cache.find_old(path, number)
            if held is not None:
                return held
        key = rows.key_of(path)
        value = txn.get(key, db=engine.tables.doc) if key else None
        if value is None:
            raise missing(validate(path))
        short = rows.short_document(key, value, self._verify)
        if short is None:
            found, holds = data.read_long(engine, txn, key, value, self._verify)
        else:
            codec_number, size, found, shared = short
            # A write through another path changes a shared document: the feed does not say whose.
            holds = not shared
            if codec_number or len(found) != size:
                found = data.decode_inline(key, codec_number, found, size)
        if holds:
            cache.put(path, found, number)
        return found

    def cached(self, path: str) -> bytes | None:
        """The data of a document if it is at hand in memory and current, else None."""
        cache = self._cache
        return cache.young.get(path) if cache.txn == self._txnid[0] else None

    def _view(self, path: str | None = None) -> Viewing:
        if self._closed:
            self._check_open()
        if self._bulk is not None:
            self._bulk.settle(path)
        return Viewing(self._engine, self._verify)

    def snapshot(self) -> Snapshot:
        """The store as it is now, while others write; close it. :class:`Snapshot` shows how."""
        self._ready()
        return Snapshot(self._engine, self._verify)

    def statistics(self) -> Statistics:
        """Counts and sizes of the whole store; walks over the chunk table.

        >>> import tempfile
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("a", b"123")
        ...     found = db.statistics()
        ...     found.documents, found.logical_bytes, found.encrypted
        (1, 3, False)
        """
        from streamdb.counting import statistics

        with self._view() as view:
            return statistics(view, len(self._cache))

    # -- care -------------------------------------------------------------------------------------

    def check(self, progress: ProgressCallback | None = None) -> CheckReport:
        """Scrub the store: every page, checksum, reference and count, while others use it.

        ``streamdb.check.check_store`` does the same for a store that cannot be opened.

        >>> import tempfile
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("a", b"123")
        ...     report = db.check()
        ...     report.ok, report.documents
        (True, 1)
        """
        from streamdb.check import check_engine

        self._ready()
        return check_engine(self._engine, progress)

    def gc(self, progress: ProgressCallback | None = None) -> GcReport:
        """Free what nothing refers to any more, while others use the store.

        What a reader or snapshot still shows is left for the next time (``waiting``).

        >>> import tempfile
        >>> StreamDB.open(tempfile.mkdtemp()).gc().bytes_freed
        0
        """
        from streamdb.gc import collect

        self._ready()
        return collect(self._engine, progress)

    def repair(self, progress: ProgressCallback | None = None) -> RepairReport:
        """Rebuild the index from everything that is whole; put aside, and name, what is not.

        This must be the only handle on the store, here and in other processes. A store that cannot
        be opened is repaired by ``streamdb.repair.repair_store``.

        Raises:
            StoreBusy: somebody else has the store open.

        >>> import tempfile
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("a", b"123")
        ...     report = db.repair()
        ...     report.documents_kept, report.lost, db.get("a")
        (1, (), b'123')
        """
        from streamdb.repair import repair_with

        self.flush()
        before = self._engine
        if before.handles > 1:
            raise StoreBusy(
                f"{before.root} is open more than once in this process",
                next_step="close the other handles, then repair it",
            )
        before.on_fork.discard(self)
        before.release()
        try:
            return repair_with(before.root, lambda _: before.cipher, progress)
        finally:
            self._engine = reopen(before)
            self._engine.on_fork.add(self)
            self._cache.reset()
            self._txnid = self._engine.txnid if self._engine.txnid is not None else _NEVER
            if self._bulk is not None:
                self._bulk.engine = self._engine

    def backup(
        self, target: str | os.PathLike[str], progress: ProgressCallback | None = None
    ) -> BackupReport:
        """Copy the store, consistent and verified, while others use it.

        A backup is a store like any other. At ``target`` there is nothing yet, or an older backup
        of this store: that is replaced, and its segments are not copied again.

        Raises:
            AlreadyExists: something else is at ``target``; StoreFull, StorageFailure; CorruptData:
            the store is damaged: nothing was put at ``target``.

        >>> import tempfile
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("a", b"123")
        ...     report = db.backup(tempfile.mkdtemp() + "/copy.sdb")
        ...     report.documents, StreamDB.open(report.target, readonly=True).get("a")
        (1, b'123')
        """
        from streamdb.backup import backup

        self.flush()
        return backup(self._engine, Path(target), progress)

    # -- reading without checks --------------------------------------------------------------------

    @property
    def quick(self) -> bool:
        """Whether reads skip the checksums. They cost next to nothing: leave this off.

        >>> import tempfile
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     db.quick = True
        ...     _ = db.write_document("a", b"unchecked")
        ...     db.get("a")
        b'unchecked'
        """
        return not self._verify

    @quick.setter
    def quick(self, on: bool) -> None:
        self._verify = not on
        self._cache.clear()

    def set_quick_mode(self, on: bool) -> None:
        """As setting :attr:`quick`."""
        self.quick = on
