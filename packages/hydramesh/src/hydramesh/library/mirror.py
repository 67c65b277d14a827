"""A folder of files and a store, kept equal in both directions.

Files that change are imported as ``streamdb watch`` does it. What peers change is written to the
files: what is about to be done is noted before the store is changed, so that a kill in between is
made good at the next start, before anything is imported. A file that was changed meanwhile is never
written over: it stays, and what the peer sent becomes a conflict copy.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hydramesh.errors import HydraMeshError
from hydramesh.library.files import Folder
from hydramesh.library.locks import wait_for_turn
from hydramesh.sync.apply import ORIGIN, Replaced
from hydramesh.sync.versions import Item, conflict_copy
from streamdb import StreamDB, StreamDBError
from streamdb.importing import Selection, SourceChanged, Work
from streamdb.transaction import Transaction
from streamdb.watching import Happened, Settling, Watcher

log = logging.getLogger("hydramesh")

PART = ".hydramesh-part"
ASIDE = ".hydramesh-aside"
_AGAIN_S = 15.0
_PATIENCE_S = 10.0
_NOTE = "mirror"
_FLUSH_EVERY_S = 0.5
#: Sooner than where nobody waits at the other end.
_SETTLING = Settling(quiet_s=2.0, closed_s=0.2, gone_s=1.0)


class _Guarded(StreamDB):
    """The importer's handle: it leaves alone what peers changed and the files do not show yet."""

    spared: dict[str, Replaced]
    flushed: Callable[[], None]

    def flush(self) -> None:
        """As in the store; then others can see it, and are told so."""
        super().flush()
        self.flushed()

    def write_document(self, path: Any, data: Any, **rest: Any) -> Any:
        """As in the store, but for a spared path: then the file is looked at again later."""
        if path in self.spared:
            raise SourceChanged(f"{path!r} changed while it was read")
        return super().write_document(path, data, **rest)

    def delete(self, path: str | bytes) -> None:
        """As in the store, but for a spared path."""
        if path not in self.spared:
            super().delete(path)

    @contextlib.contextmanager
    def transaction(self, *, origin: str = "") -> Iterator[Transaction]:
        """As in the store, but that spared paths are not deleted."""
        with super().transaction(origin=origin) as together:
            delete = together.delete

            def careful(path: str | bytes) -> None:
                if path not in self.spared:
                    delete(path)

            together.delete = careful  # type: ignore[method-assign]
            yield together


def _nothing() -> None:
    pass


@contextlib.contextmanager
def _flushed(db: StreamDB) -> Iterator[None]:
    """While a folder is imported: what is there of it can be sent while the rest is taken in."""
    done = threading.Event()

    def flush() -> None:
        while not done.wait(_FLUSH_EVERY_S):
            try:
                db.flush()
            except (StreamDBError, OSError):
                # The import meets the same, and tells it.
                return

    thread = threading.Thread(target=flush, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class Mirror:
    """Keeps one folder. ``intend`` and ``settle`` are called by the collection, in its thread.

    Args:
        folder: the files; made if it is not there.
        documents: the store.
        keep, recall: how to keep something over restarts, and get it back.
    """

    def __init__(
        self,
        folder: Path,
        documents: StreamDB,
        keep: Callable[[str, bytes], None],
        recall: Callable[[str], bytes],
    ) -> None:
        self.folder = folder
        self.problem = ""
        #: Called from the thread of this mirror when what it imported can be seen.
        self.changed: Callable[[], object] = _nothing
        self.unsettled: dict[str, Replaced] = {}
        self._documents = documents
        self._keep, self._recall = keep, recall
        self._failed: dict[str, str] = {}
        self._retry_at = 0.0
        self._watcher: Watcher | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    # -- start and stop ----------------------------------------------------------------------------

    def start(self) -> None:
        """Make good what was interrupted, then import and watch, in a thread.

        Raises:
            OSError: the folder cannot be made.
        """
        if not self._documents.count():
            self.folder.mkdir(parents=True, exist_ok=True)
        for path, before, after in json.loads(self._recall(_NOTE) or b"[]"):
            self.unsettled[path] = Replaced(path, bytes.fromhex(before), bytes.fromhex(after))
        self.settle()
        self._thread = threading.Thread(target=self._watch_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._ended.set()
        if self._watcher is not None:
            self._watcher.stop()
        if self._thread is not None:
            # An import of many files cannot be stopped; it may end with the process.
            self._thread.join(_PATIENCE_S)

    def _watch_forever(self) -> None:
        while not self._ended.is_set():
            try:
                self._watch()
            except (StreamDBError, HydraMeshError, OSError) as error:
                self.problem = getattr(error, "what", "") or str(error)
                log.error("%s: %s", self.folder, error)
                self._ended.wait(_AGAIN_S)

    def _watch(self) -> None:
        chosen = Selection.of(exclude=[f"{PART}*", f"{ASIDE}*"])
        work = Work(self.folder, selection=chosen, delete=True)
        wait_for_turn(self._documents)
        with _Guarded.open(self._documents.path, durability="bulk", create=False) as db:
            assert isinstance(db, _Guarded)
            db.spared, db.flushed = self.unsettled, self._flushed
            watcher = self._watcher = Watcher(db, work, tell=self._tell, settling=_SETTLING)
            with _flushed(db):
                watcher.prepare()
            self.problem = ""
            if not self._ended.is_set():
                watcher.run()

    def _flushed(self) -> None:
        # The event loop may have ended while an import went on.
        with contextlib.suppress(RuntimeError):
            self.changed()

    def _tell(self, happened: Happened) -> None:
        if happened.kind == "failed":
            log.warning("%s: %s: %s", self.folder, happened.path, happened.note)

    # -- what peers change -------------------------------------------------------------------------

    def intend(self, changes: list[Replaced]) -> None:
        """Note what is about to be changed in the store."""
        for each in changes:
            held = self.unsettled.get(each.path)
            # The file is still what it was before the first of several changes.
            before = held.before if held is not None else each.before
            self.unsettled[each.path] = Replaced(each.path, before, each.after)
        self._note()

    def settle(self) -> None:
        """Make the files what the store says, as far as that can be done now."""
        try:
            with Folder(self.folder, PART, ASIDE) as files:
                for path, each in list(self.unsettled.items()):
                    self._try(files, path, each)
        except OSError as error:
            self.problem = f"{self.folder}: {(error.strerror or str(error)).lower()}"
            log.error("%s", self.problem)
        self._retry_at = time.monotonic() + _AGAIN_S
        self._note()

    def _try(self, files: Folder, path: str, change: Replaced) -> None:
        try:
            self._carry_out(files, change)
        except (OSError, StreamDBError) as error:
            self._failed[path] = getattr(error, "strerror", None) or str(error)
            log.error("%s: %s: %s", self.folder, path, self._failed[path])
        else:
            del self.unsettled[path]
            self._failed.pop(path, None)

    def look_again(self) -> None:
        """Try once more what could not be done, when it is time."""
        if self.unsettled and time.monotonic() >= self._retry_at:
            self.settle()

    @property
    def trouble(self) -> str:
        """What the user should know, or ""."""
        if self.problem or not self._failed:
            return self.problem
        path, why = next(iter(self._failed.items()))
        return f"{len(self._failed)} documents could not become files: {path}: {why.lower()}"

    def _note(self) -> None:
        rows = [[e.path, e.before.hex(), e.after.hex()] for e in self.unsettled.values()]
        self._keep(_NOTE, json.dumps(rows).encode())

    def _carry_out(self, files: Folder, change: Replaced) -> None:
        path = change.path
        stat = self._documents.stat(path) if self._documents.exists(path) else None
        if (bytes.fromhex(stat.digest) if stat is not None else b"") != change.after:
            # Not committed, or changed again by now: then the file's turn comes, or came.
            return
        there = files.digest(path)
        if there == change.after:
            return
        if stat is None:
            if there == change.before:
                files.remove(path, there)
            return
        if there in (b"", change.before):
            with self._documents.get_stream(path) as source:
                if files.write(path, source, stat.mtime_ns, expected=there):
                    return
        self._keep_both(files, change, stat)

    def _keep_both(self, files: Folder, change: Replaced, stat: Any) -> None:
        """The user was quicker: the file stays, what the peer sent is kept beside it."""
        aside = conflict_copy(Item(change.path, (), change.after)).path
        self.unsettled[aside] = Replaced(aside, b"", change.after)
        if not self._documents.exists(aside):
            with self._documents.get_stream(change.path) as source:
                self._documents.write_document(
                    aside, source, metadata=stat.metadata, mtime_ns=stat.mtime_ns, origin=ORIGIN
                )
        with self._documents.get_stream(aside) as source:
            files.write(aside, source, stat.mtime_ns, expected=b"")
        del self.unsettled[aside]
