"""The cache of documents: a hit is one look into a dict, and never out of date.

It holds two generations: what is read goes into the young one; when that is half of the cache, it
becomes the old one, and the old one's unread rest is dropped. A hit changes nothing, so it needs no
lock. From then on only what is missed a second time goes in: to hold what is asked for once would
cost more than it gains.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamdb.view import View

_MOST_CHANGES = 10_000
_REMEMBERED = 8192


class Cache:
    """Documents by path, as of transaction ``txn`` of the index.

    Args:
        documents: how many are held at most; 0 switches the cache off.
        size_bytes: how many bytes their data may have together.
    """

    __slots__ = (
        "_documents",
        "_lock",
        "_missed",
        "_old_bytes",
        "_seq",
        "_size_bytes",
        "_young_bytes",
        "old",
        "txn",
        "young",
    )

    def __init__(self, documents: int, size_bytes: int) -> None:
        self.young: dict[str, bytes] = {}
        self.txn = -1
        self.old: dict[str, bytes] = {}
        self._documents = documents
        self._size_bytes = size_bytes
        self._young_bytes = 0
        self._old_bytes = 0
        self._seq = -1
        self._lock = threading.Lock()
        # The hashes of the paths that were missed lately.
        self._missed: set[int] = set()

    def find_old(self, path: str, txn: int) -> bytes | None:
        """A document of the old generation, which becomes young again."""
        if path not in self.old:
            return None
        with self._lock:
            found = self.old.pop(path, None) if self.txn == txn else None
            if found is not None:
                self._old_bytes -= len(found)
                self._insert(path, found)
            return found

    def put(self, path: str, data: bytes, txn: int) -> None:
        """Hold a document that was read in transaction ``txn``, if that pays."""
        if self.old:
            missed, name = self._missed, hash(path)
            if name not in missed:
                if len(missed) >= _REMEMBERED:
                    missed.clear()
                missed.add(name)
                return
        if not self._documents or len(data) * 8 > self._size_bytes:
            return
        with self._lock:
            # Read from another state than the cache's: it may have changed in between.
            if txn == self.txn:
                self._insert(path, data)

    def __len__(self) -> int:
        return len(self.young) + len(self.old)

    def forget(self, path: str) -> None:
        """Drop a document."""
        with self._lock:
            self._drop(path)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._clear()

    def reset(self) -> None:
        """Drop everything, and with it what is known of the store's past."""
        with self._lock:
            self._clear()
            self.txn = self._seq = -1

    def _insert(self, path: str, data: bytes) -> None:
        self._drop(path)
        self.young[path] = data
        self._young_bytes += len(data)
        if len(self.young) * 2 >= self._documents or self._young_bytes * 2 >= self._size_bytes:
            self.old, self._old_bytes = self.young, self._young_bytes
            self.young, self._young_bytes = {}, 0

    def _drop(self, path: str) -> None:
        data = self.young.pop(path, None)
        if data is not None:
            self._young_bytes -= len(data)
        data = self.old.pop(path, None)
        if data is not None:
            self._old_bytes -= len(data)

    def _clear(self) -> None:
        self.young, self.old = {}, {}
        self._young_bytes = self._old_bytes = 0

    def catch_up(self, view: View, txn: int) -> None:
        """Drop what has changed up to ``txn``, which ``view`` shows; the feed tells what."""
        with self._lock:
            if txn > self.txn:
                self._catch_up(view, txn)

    def _catch_up(self, view: View, txn: int) -> None:
        last = view.feed_end()[1]
        if self.young or self.old:
            if last - self._seq > _MOST_CHANGES or view.feed_start() > self._seq + 1:
                self._clear()
            elif last > self._seq:
                for row in view.feed_rows(self._seq):
                    for item in row.items:
                        self._drop(item.path.decode())
                        if item.old_path:
                            self._drop(item.old_path.decode())
        self._seq = last
        self.txn = txn
