"""A consistent view of the store while others write."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from streamdb.errors import StoreClosed
from streamdb.model import GUID, Change, Entry, Stat, Version
from streamdb.paths import validate_prefix, validate_suffix
from streamdb.view import View

if TYPE_CHECKING:
    from streamdb.engine import Engine
    from streamdb.query import Query


class Snapshot:
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

    @property
    def _view(self) -> View:
        self._engine.check_usable()
        if not self._open:
            raise StoreClosed("the snapshot is closed", next_step="take another one")
        return self._held

    def close(self) -> None:
        """Let the snapshot go; a second time does nothing."""
        with self._lock:
            if self._open:
                self._open = False
                self._engine.snapshots.discard(self)
                self._txn.abort()

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: str) -> bytes:
        """As ``StreamDB.get``."""
        with self._lock:
            return self._view.get(path)

    def get_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """As ``StreamDB.get_many``."""
        with self._lock:
            view = self._view
            return {name: view.get(name) for name in names if view.record(name) is not None}

    def get_stream(self, path: str) -> io.BufferedReader:
        """As ``StreamDB.get_stream``; the stream may outlive the snapshot."""
        with self._lock:
            return self._view.stream(path)

    def stat(self, path: str) -> Stat:
        """As ``StreamDB.stat``."""
        with self._lock:
            return self._view.stat(path)

    def exists(self, path: str) -> bool:
        """As ``StreamDB.exists``."""
        with self._lock:
            return self._view.record(path) is not None

    def paths_of(self, name: str | GUID) -> list[str]:
        """As ``StreamDB.paths_of``."""
        with self._lock:
            return self._view.paths_of(name)

    def search(
        self, prefix: str = "", *, limit: int | None = None, after: str | None = None
    ) -> list[str]:
        """As ``StreamDB.search``."""
        with self._lock:
            return self._view.search(validate_prefix(prefix), limit, after)

    def search_suffix(
        self, suffix: str, *, limit: int | None = None, after: str | None = None
    ) -> list[str]:
        """As ``StreamDB.search_suffix``."""
        with self._lock:
            return self._view.search_suffix(validate_suffix(suffix), limit, after)

    def find(self, query: str | Query, *, limit: int | None = None) -> list[str]:
        """As ``StreamDB.find``."""
        with self._lock:
            return list(self._view.find(parsed(query), limit))

    def count(self, prefix: str = "") -> int:
        """As ``StreamDB.count``."""
        with self._lock:
            return self._view.count(validate_prefix(prefix))

    def children(
        self, directory: str = "", *, limit: int | None = None, after: str | None = None
    ) -> list[Entry]:
        """As ``StreamDB.children``."""
        with self._lock:
            return list(self._view.children(validate_prefix(directory).rstrip("/"), limit, after))

    def history(self, path: str) -> list[Version]:
        """As ``StreamDB.history``."""
        with self._lock:
            return self._view.history(path)

    def changes(self, since: int = 0, *, limit: int | None = None) -> list[Change]:
        """As ``StreamDB.changes``."""
        with self._lock:
            return list(self._view.changes(since, limit))

    @property
    def last_seq(self) -> int:
        """The number of the last change that the snapshot shows."""
        with self._lock:
            return self._view.feed_end()[1]


def parsed(query: str | Query) -> Query:
    """A query, parsed if it is text.

    Raises:
        InvalidQuery: it cannot be understood.
    """
    from streamdb.query import parse

    return parse(query) if isinstance(query, str) else query
