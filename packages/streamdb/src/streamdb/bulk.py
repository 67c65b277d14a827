"""Loading many documents: puts are gathered, sorted and committed together."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from streamdb import ingest, rows
from streamdb.model import GUID

if TYPE_CHECKING:
    from streamdb.changes import Changes
    from streamdb.engine import Engine
    from streamdb.rows import ChunkRow
    from streamdb.transaction import Put

BATCH_DOCUMENTS = 20_000
BATCH_BYTES = 32 << 20


class Bulk:
    """The puts of one handle that are not committed yet."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._lock = threading.RLock()
        self._puts: dict[bytes, Put] = {}
        self._bytes = 0
        self._fresh: dict[bytes, ChunkRow] = {}
        self._open: contextlib.ExitStack | None = None
        self._txn: Any = None

    def add(self, put: Put, source: ingest.Source, limit: int) -> GUID:
        """Take a document in; it is committed with the batch."""
        self.engine.committer.check()
        with self._lock:
            shared = self._is_shared(put)
            if put.path in self._puts or shared:
                # Two versions of one document: the first must become an old version.
                self.flush()
            if self._open is None:
                self._begin()
            prepared = ingest.prepare(self.engine, self._txn, source, limit, self._fresh)
            self._fresh.update(prepared.fresh)
            put.prepared = prepared
            if put.guid is None:
                put.guid = self._identity(put.path)
            self._puts[put.path] = put
            self._bytes += len(prepared.inline or b"") + len(put.packed) + len(put.path)
            if shared or len(self._puts) >= BATCH_DOCUMENTS or self._bytes >= BATCH_BYTES:
                self.flush()
            return put.guid

    def _is_shared(self, put: Put) -> bool:
        """Say whether the document has, or may have, other paths: a batch loses the order of them.

        Binding commits the batch, so what is not shared now stays so while the batch is open.
        """
        if put.guid is not None:
            return True
        if self._open is None:
            self._begin()
        value = self._txn.get(rows.fold(put.path), db=self.engine.tables.doc)
        return value is not None and bool(value[rows.FLAGS_AT] & rows.FLAG_SHARED)

    def _identity(self, path: bytes) -> GUID:
        """The identity that the document at a path has, or will have."""
        value = self._txn.get(rows.fold(path), db=self.engine.tables.doc)
        return GUID.new() if value is None else GUID(value[rows.GUID_AT : rows.GUID_AT + 16])

    def _begin(self) -> None:
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
                self.engine.committer.submit(lambda changes: _run(changes, puts), full=True)
            finally:
                self._puts, self._bytes, self._fresh = {}, 0, {}
                self._open, self._txn = None, None
                opened.close()
            self.engine.train_dictionary()


def _run(changes: Changes, puts: list[Put]) -> None:
    for put in puts:
        put.run(changes)
