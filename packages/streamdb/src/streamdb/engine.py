"""One store in one process: the LMDB environment, its tables, and who shares them.

LMDB must not be opened twice in a process, so handles on one store share one engine. Commits are
made visible by LMDB's own transaction number; it lies in the lock file, which every process maps,
so a cache can tell with one load from memory whether anything changed anywhere.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamdb import place, rows, turns
from streamdb.blocks import PathIndex
from streamdb.checks import Buffer
from streamdb.checks import address as blake3_address
from streamdb.commit import Committer
from streamdb.errors import StoreBusy, StoreClosed, StoreFull
from streamdb.failures import READERS, translate
from streamdb.metapack import Packer
from streamdb.naming import Known
from streamdb.segments import SEGMENT_BYTES, SegmentReader, SegmentWriter

if TYPE_CHECKING:
    import lmdb

    from streamdb.crypto import Cipher

MAP_BYTES = 1 << 40
_SMALLEST_MAP = 1 << 28
_TXNID_AT = 48
_LOCK_MAGIC = 0xBEEFC0DE
_TABLES = {
    "doc": rows.DOC, "guid": rows.GUIDS, "dir": rows.DIRS, "chunk": rows.CHUNKS, "feed": rows.FEED,
    "history": rows.HISTORY, "kv": rows.KV, "forward": rows.FORWARD, "reverse": rows.REVERSE,
    "pending": rows.PENDING,
}  # fmt: skip

_NAMED = tuple(_TABLES.items())

KV_STORE = b"store"
KV_KEY = b"key"
KV_TXN = b"txn"
KV_FLOOR = b"segment floor"
KV_DOOMED = b"doomed "
KV_DICTIONARY = b"dictionary "
DICTIONARY_PLACE = b"dictionary"

_registry: dict[tuple[int, int], Engine] = {}
_registry_lock = threading.Lock()
_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
_fork_watched = False


@dataclass(frozen=True, slots=True)
class Tables:
    """LMDB's handles of the tables; PathIndex for the two block indexes."""

    doc: Any
    guid: Any
    dir: Any
    chunk: Any
    feed: Any
    history: Any
    kv: Any
    forward: PathIndex
    reverse: PathIndex
    pending: Any

    def plain(self) -> dict[bytes, Any]:
        """Every table's handle by its letter."""
        return {
            rows.DOC: self.doc, rows.GUIDS: self.guid, rows.DIRS: self.dir,
            rows.CHUNKS: self.chunk, rows.FEED: self.feed, rows.HISTORY: self.history,
            rows.KV: self.kv, rows.FORWARD: self.forward.db, rows.REVERSE: self.reverse.db,
            rows.PENDING: self.pending,
        }  # fmt: skip


class Engine:
    """What the handles of one process on one store share. Made by :func:`acquire`."""

    def __init__(
        self,
        root: Path,
        marker: place.Marker,
        *,
        readonly: bool,
        map_bytes: int,
        segment_bytes: int,
    ) -> None:
        self.root = root
        self.marker = marker
        self.readonly = readonly
        self.map_bytes = map_bytes
        self.segment_bytes = segment_bytes
        self.pid = os.getpid()
        self.handles = 0
        self.closed = False
        self._lock_file = -1
        self._lock_map: mmap.mmap | None = None
        self.txnid: Any = None
        try:
            self.env = self._open_env(map_bytes)
        except BaseException:
            self._close_lock_file()
            raise
        try:
            self.tables = self._open_tables()
            self.txnid = self._find_txnid()
        except BaseException:
            self.env.close()
            self._close_lock_file()
            raise
        self.plain = self.tables.plain()
        directory = root / place.SEGMENTS
        self.writer = SegmentWriter(directory, marker.store_id, self.unusable, segment_bytes)
        self.segments = SegmentReader(directory, self.writer.flush)
        self.packer = Packer(self._load_dictionary)
        self.cipher: Cipher | None = None
        self.committer = Committer(self)
        self.pending = Known()
        # Names that wait beyond what is usual, because they could not be taken in.
        self.names_put_off = 0
        self.snapshots: set[Any] = set()
        self.on_fork: weakref.WeakSet[Any] = weakref.WeakSet()

    # -- opening ---------------------------------------------------------------------------------

    def _open_env(self, map_bytes: int) -> lmdb.Environment:
        import lmdb

        index = self.root / place.INDEX
        data = index / "data.mdb"
        names = frozenset(name.encode() for name in _TABLES)
        place.check_index(data, names, readonly=self.readonly)
        self._open_lock_file(index / "lock.mdb")
        needed = max(_SMALLEST_MAP, data.stat().st_size if data.exists() else 0)
        size = max(map_bytes, needed) if map_bytes >= MAP_BYTES else map_bytes
        while True:
            try:
                return self._lmdb_open(index, size)
            except (lmdb.MemoryError, MemoryError) as error:
                if size // 2 < needed:
                    raise StoreFull(
                        "there is not enough address space to map the index",
                        why=str(error),
                        next_step="raise the limit: ulimit -v unlimited",
                    ) from None
                size //= 2
            except lmdb.Error as error:
                if "Cannot allocate memory" in str(error) and size // 2 >= needed:
                    size //= 2
                    continue
                raise translate(error, "opening it") from error

    def _lmdb_open(self, index: Path, size: int) -> lmdb.Environment:
        import lmdb

        lock = self._lock_file >= 0 or not self.readonly
        return lmdb.open(
            str(index),
            map_size=size,
            max_dbs=len(_TABLES) + 2,
            max_readers=READERS,
            # A kept transaction would be freed in a forked child, and with it the parent's place
            # in the reader table; keeping none costs nothing that could be measured.
            max_spare_txns=0,
            metasync=False,
            readonly=self.readonly,
            create=not self.readonly,
            readahead=False,
            meminit=True,
            mode=0o666,
            lock=lock,
            lib_version=0,
        )

    def _open_lock_file(self, path: Path) -> None:
        """Open LMDB's lock file before LMDB does.

        Its locks belong to the process and the file: closing any descriptor of the file would drop
        them, so this one stays open until LMDB is closed.
        """
        try:
            flags = os.O_RDWR | os.O_CLOEXEC | (0 if self.readonly else os.O_CREAT)
            self._lock_file = os.open(path, flags, 0o666)
        except OSError:
            self._lock_file = -1

    def _close_lock_file(self) -> None:
        self.txnid = None
        if self._lock_map is not None:
            with contextlib.suppress(BufferError):
                self._lock_map.close()
            self._lock_map = None
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    def _open_tables(self) -> Tables:
        import lmdb

        try:
            try:
                # Not to wait for a writer: only a store that is being made needs to write here.
                handles = self._open_handles(create=False)
            except (lmdb.NotFoundError, lmdb.ReadonlyError):
                handles = self._open_handles(create=True)
            if not self.readonly:
                self.env.reader_check()
        except lmdb.Error as error:
            raise translate(error, "opening its tables") from error
        return Tables(
            doc=handles[rows.DOC],
            guid=handles[rows.GUIDS],
            dir=handles[rows.DIRS],
            chunk=handles[rows.CHUNKS],
            feed=handles[rows.FEED],
            history=handles[rows.HISTORY],
            kv=handles[rows.KV],
            forward=PathIndex(handles[rows.FORWARD], rows.FORWARD),
            reverse=PathIndex(handles[rows.REVERSE], rows.REVERSE),
            pending=handles[rows.PENDING],
        )

    def _open_handles(self, *, create: bool) -> dict[bytes, Any]:
        if self.readonly and not create:
            return {letter: self.env.open_db(n.encode(), create=False) for n, letter in _NAMED}
        try:
            # py-lmdb opens a table in a write transaction, and whoever waits for one in LMDB holds
            # up every thread: we wait for our turn, which does not.
            self.take_turn()
            with self.env.begin(write=True) as txn:
                return {
                    letter: self.env.open_db(n.encode(), txn=txn, create=create)
                    for n, letter in _NAMED
                }
        finally:
            self.end_turn()

    def take_turn(self) -> None:
        """Wait until no other process writes; :meth:`end_turn` lets the next one."""
        if self._lock_file >= 0:
            turns.take(self._lock_file)

    def writer_elsewhere(self) -> int:
        """Another process that writes now, by its number: 0 for none, -1 if it has none here."""
        return turns.holder(self._lock_file) if self._lock_file >= 0 else 0

    def end_turn(self) -> None:
        """Let another process write."""
        if self._lock_file >= 0:
            turns.end(self._lock_file)

    def _find_txnid(self) -> Any:
        """A one-element view on the number of the last commit, in the shared lock file.

        It is where LMDB 0.9 keeps it for readers. Another layout is noticed, and then every read
        asks LMDB instead: None.
        """
        if self._lock_file < 0 or os.fstat(self._lock_file).st_size < 4096:
            return None
        self._lock_map = mmap.mmap(self._lock_file, 4096, access=mmap.ACCESS_READ)
        whole = memoryview(self._lock_map)
        if int.from_bytes(whole[:4], "little") != _LOCK_MAGIC:
            return None
        view = whole[_TXNID_AT : _TXNID_AT + 8].cast("Q")
        for _ in range(64):
            before = view[0]
            with self.env.begin() as txn:
                held = txn.id()
            if before == view[0]:
                return view if held == before else None
        return None

    # -- reading ---------------------------------------------------------------------------------

    def begin(self) -> lmdb.Transaction[bytes]:
        """A read transaction: the state of the last commit, for as long as it is open."""
        try:
            return self.env.begin()
        except Exception as error:
            return self._begin_again(error)

    def _begin_again(self, error: Exception) -> lmdb.Transaction[bytes]:
        import lmdb

        self.check_usable()
        if isinstance(error, lmdb.ReadersFullError):
            try:
                self.env.reader_check()
                return self.env.begin()
            except lmdb.Error as again:
                error = again
        if isinstance(error, lmdb.Error):
            raise translate(error, "starting to read") from error
        raise error

    def check_usable(self) -> None:
        """See that the engine is open, and in its own process.

        Raises:
            StoreClosed: otherwise.
        """
        if self.pid != os.getpid():
            raise StoreClosed(
                "the store was opened before this process was forked off",
                why="LMDB's handles belong to the process that opened them",
                next_step="open the store in the child, after the fork",
            )
        if self.closed:
            raise StoreClosed("the store is closed", next_step="open it again")

    def address(self, chunk: Buffer) -> bytes:
        """The 32 bytes that name a chunk in this store."""
        return blake3_address(chunk) if self.cipher is None else self.cipher.address(chunk)

    def get(self, txn: Any, table: bytes, db: Any, key: bytes, verify: bool = True) -> bytes | None:
        """The body of a row, or None."""
        value = txn.get(key, db=db)
        return None if value is None else rows.unseal(table, key, value, verify)

    def kv(self, txn: Any, key: bytes) -> bytes | None:
        """A setting."""
        return self.get(txn, rows.KV, self.tables.kv, key)

    def put_kv(self, txn: Any, key: bytes, body: bytes) -> None:
        """Set a setting."""
        txn.put(key, rows.seal(rows.KV, key, body), db=self.tables.kv)

    def _load_dictionary(self, number: int) -> bytes | None:
        with contextlib.closing(_Reading(self)) as reading:
            content = self.kv(reading.txn, KV_DICTIONARY + bytes([number]))
        return None if content is None else self.open_dictionary(number, content)

    def open_dictionary(self, number: int, content: bytes) -> bytes:
        """A dictionary as it was trained, from its row or its copy in a segment."""
        if self.cipher is None:
            return content
        return self.cipher.open(DICTIONARY_PLACE, bytes([number]), 1, content)

    def seal_dictionary(self, number: int, content: bytes) -> bytes:
        """A dictionary as it is stored: it is made of metadata."""
        if self.cipher is None:
            return content
        return self.cipher.seal(DICTIONARY_PLACE, bytes([number]), 1, content)

    def unusable(self) -> tuple[int, frozenset[int]]:
        """(the lowest number that a new segment may have, the numbers of doomed segments)."""
        with contextlib.closing(_Reading(self)) as reading:
            floor = self.kv(reading.txn, KV_FLOOR)
            doomed = frozenset(number for number, _ in self.doomed(reading.txn))
        return (int.from_bytes(floor, "little") if floor else 1), doomed

    def doomed(self, txn: Any) -> Iterator[tuple[int, int]]:
        """(number, transaction since which nothing refers to it) of segments to be removed."""
        cursor = txn.cursor(self.tables.kv)
        more = cursor.set_range(KV_DOOMED)
        while more and cursor.key().startswith(KV_DOOMED):
            key = cursor.key()
            body = rows.unseal(rows.KV, key, cursor.value())
            yield int.from_bytes(key[len(KV_DOOMED) :], "big"), int.from_bytes(body, "little")
            more = cursor.next()

    def readers(self) -> list[int]:
        """The transactions that readers of any process still look at."""
        self.env.reader_check()
        found = []
        for line in self.env.readers().splitlines():
            fields = line.split()
            if len(fields) == 3 and fields[0].isdigit() and fields[2].isdigit():
                found.append(int(fields[2]))
        return found

    # -- closing ---------------------------------------------------------------------------------

    def release(self) -> None:
        """Give a handle back; the last one closes everything."""
        with _registry_lock:
            self.handles -= 1
            if self.handles or self.closed:
                return
            _registry.pop(_identity(self.root), None)
            self.closed = True
            if self.pid != os.getpid():
                return
            for snapshot in list(self.snapshots):
                snapshot.close()
            try:
                if not self.readonly:
                    self.committer.close()
                    self.writer.close()
            finally:
                self.segments.close()
                self.env.close()
                self._close_lock_file()

    def _after_fork(self) -> None:
        # LMDB's handles must neither be used nor closed in a child: closing would clear the
        # parent's places in the reader table. Let go of, they are only forgotten, and the child may
        # open the store anew.
        self.env = self.tables = None  # type: ignore[assignment]
        self.plain = {}
        self.txnid = None
        self.writer.forked()
        self.committer.forked()
        for snapshot in self.snapshots:
            snapshot.forked()
        for handle in list(self.on_fork):
            handle.forked()


class _Reading:
    """A short read transaction."""

    def __init__(self, engine: Engine) -> None:
        self.txn = engine.begin()

    def close(self) -> None:
        self.txn.abort()


def _identity(root: Path) -> tuple[int, int]:
    status = os.stat(root)  # noqa: PTH116 - one call
    return status.st_dev, status.st_ino


def _watch_forks() -> None:
    global _fork_watched
    if not _fork_watched:
        os.register_at_fork(after_in_child=_forked)
        _fork_watched = True


def _forked() -> None:
    global _registry_lock
    _registry_lock = threading.Lock()
    _registry.clear()
    for engine in list(_engines):
        engine._after_fork()


def acquire(
    root: Path,
    marker: place.Marker,
    *,
    readonly: bool,
    map_bytes: int = MAP_BYTES,
    segment_bytes: int,
) -> Engine:
    """The engine of a store in this process, opened if it is not yet.

    Raises:
        StoreBusy: this process has it open for reading only, and wants to write.
    """
    with _registry_lock:
        key = _identity(root)
        engine = _registry.get(key)
        if engine is None:
            engine = Engine(
                root, marker, readonly=readonly, map_bytes=map_bytes, segment_bytes=segment_bytes
            )
            _registry[key] = engine
            _engines.add(engine)
            _watch_forks()
        elif engine.readonly and not readonly:
            raise StoreBusy(
                f"{root} is open for reading only in this process",
                why="LMDB must not be opened twice in one process",
                next_step="close the read-only handle first",
            )
        engine.handles += 1
        return engine


def open_here(root: Path, marker: place.Marker) -> Engine:
    """An engine for an index that is being built, and that nobody else knows of."""
    return acquire(root, marker, readonly=False, segment_bytes=SEGMENT_BYTES)


def is_open_here(root: Path) -> bool:
    """Whether a handle of this process has the store open."""
    with _registry_lock:
        return _identity(root) in _registry
