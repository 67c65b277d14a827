"""Loading many documents: puts are gathered, sorted and committed together."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from streamdb import dictionary, ingest, rows
from streamdb.model import GUID

if TYPE_CHECKING:
    from streamdb.changes import Changes
    from streamdb.engine import Engine
    from streamdb.transaction import Put

BATCH_DOCUMENTS = 20_000
BATCH_BYTES = 32 << 20


class Bulk:
    """The puts of one handle that are not committed yet.

    Data are taken in without the lock, so that threads compress at once. Each holds a transaction
    of its own meanwhile: it keeps the chunks that are found in it.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._lock = threading.RLock()
        self._puts: dict[bytes, Put] = {}
        self._bytes = 0
        self._fresh = ingest.Fresh()
        self._open: contextlib.ExitStack | None = None
        self._txn: Any = None
        self._batch = 0

    def add(self, put: Put, source: ingest.Source, limit: int) -> GUID:
        """Take a document in; it is committed with the batch."""
        engine = self.engine
        engine.committer.check()
        if ingest.is_short(source):
            put.prepared = ingest.prepare(engine, None, source, limit)
            with self._lock:
                return self._join(put)
        with contextlib.ExitStack() as held:
            with self._lock:
                # Begun first: what the own transaction shows, the batch keeps.
                if self._open is None:
                    self._begin()
                batch, fresh = self._batch, self._fresh
                held.enter_context(engine.writer.preparing())
                reading = held.enter_context(contextlib.closing(ingest.Held(engine)))
            put.prepared = ingest.prepare(engine, reading.txn, source, limit, fresh)
            with self._lock:
                guid = self._join(put)
                if self._open is not None and self._batch != batch:
                    # Another thread has committed the batch: the next one keeps the chunks.
                    self._open.push(held.pop_all())
                return guid

    def _join(self, put: Put) -> GUID:
        """Take a prepared document into the batch."""
        prepared = put.prepared
        assert prepared is not None
        before = self._row(put.path)
        shared = _is_shared(put, before)
        if put.path in self._puts or shared:
            # Two versions of one document: the first must become an old version.
            self.flush()
            before = self._row(put.path)
        if put.guid is None:
            put.guid = _identity(before)
        self._puts[put.path] = put
        self._bytes += len(prepared.inline or b"") + len(put.encoded) + len(put.path)
        if shared or len(self._puts) >= BATCH_DOCUMENTS or self._bytes >= BATCH_BYTES:
            self.flush()
        return put.guid

    def _row(self, path: bytes) -> bytes | None:
        """The row of a path as the batch's transaction shows it."""
        if self._open is None:
            self._begin()
        value: bytes | None = self._txn.get(rows.fold(path), db=self.engine.tables.doc)
        return value

    def _begin(self) -> None:
        self._batch += 1
        self._open = contextlib.ExitStack()
        self._open.enter_context(self.engine.writer.preparing())
        self._txn = self.engine.begin()
        self._open.callback(self._txn.abort)

    def settle(self, path: str | None) -> None:
        """Commit the batch if a question about ``path`` (None: about anything) needs it."""
        if self._puts and (path is None or path.encode(errors="replace") in self._puts):
            self.flush()

    def flush(self) -> None:
        """Commit the batch, and put it on the disk."""
        with self._lock:
            if self._open is None:
                return
            puts = sorted(self._puts.values(), key=lambda put: put.path)
            opened = self._open
            try:
                self._pack(puts)
                self.engine.committer.submit(lambda changes: _run(changes, puts), full=True)
            finally:
                self._puts, self._bytes, self._fresh = {}, 0, ingest.Fresh()
                self._open, self._txn = None, None
                opened.close()

    def _pack(self, puts: list[Put]) -> None:
        """Compress the metadata of all, after training with it where there is none trained yet."""
        packer = self.engine.packer
        if packer.gathers:
            for put in puts:
                packer.sample(put.encoded)
            dictionary.train(self.engine)
        for put in puts:
            put.packed = packer.pack(put.encoded)


def _is_shared(put: Put, before: bytes | None) -> bool:
    """Say whether the document has, or may have, other paths: a batch loses the order of them.

    Binding commits the batch, so what is not shared now stays so while the batch is open.
    """
    if put.guid is not None:
        return True
    return before is not None and bool(before[rows.FLAGS_AT] & rows.FLAG_SHARED)


def _identity(before: bytes | None) -> GUID:
    """The identity that the document of a row has, or will have."""
    return GUID.new() if before is None else GUID(before[rows.GUID_AT : rows.GUID_AT + 16])


def _run(changes: Changes, puts: list[Put]) -> None:
    for put in puts:
        put.run(changes)
