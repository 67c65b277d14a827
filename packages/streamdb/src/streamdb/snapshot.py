"""A consistent view of the store while others write."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from streamdb.errors import StoreClosed
from streamdb.failures import raise_named
from streamdb.reading import Readable
from streamdb.view import View

if TYPE_CHECKING:
    from streamdb.engine import Engine


class Snapshot(Readable):
    """The store as it was when the snapshot was taken; made by ``StreamDB.snapshot()``.

    Close it when it is no longer needed (or use ``with``): as long as it is open, space that it
    still shows cannot be used again. Threads may share it; they wait for each other.

    >>> import tempfile
    >>> from streamdb import StreamDB
    >>> with StreamDB.open(tempfile.mkdtemp()) as db:
    ...     _ = db.write_document("a.txt", b"old")
    ...     with db.snapshot() as before:
    ...         _ = db.write_document("a.txt", b"new")
    ...         before.get("a.txt"), db.get("a.txt")
    (b'old', b'new')
    """

    def __init__(self, engine: Engine, verify: bool) -> None:
        self._engine = engine
        self._txn = engine.begin()
        self._held = View(engine, self._txn, verify)
        self._lock = threading.Lock()
        self._open = True
        engine.snapshots.add(self)

    @contextlib.contextmanager
    def _view(self, path: str | None = None) -> Iterator[View]:
        del path
        with self._lock:
            self._engine.check_usable()
            if not self._open:
                raise StoreClosed("the snapshot is closed", next_step="take another one")
            try:
                yield self._held
            except Exception as error:
                raise_named(error, "reading")
                raise

    def close(self) -> None:
        """Let the snapshot go; a second time does nothing."""
        with self._lock:
            if self._open:
                self._open = False
                self._engine.snapshots.discard(self)
                self._txn.abort()

    def forked(self) -> None:
        """Called in a forked child: forget the transaction, without ending it for the parent."""
        self._lock = threading.Lock()
        self._open = False
        self._txn = self._held.txn = None  # type: ignore[assignment]

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def last_seq(self) -> int:
        """The number of the last change that the snapshot shows."""
        with self._view() as view:
            return view.feed_end()[1]
