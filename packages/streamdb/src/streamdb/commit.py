"""The commit: what makes changes visible to everyone, and puts them on the disk.

Threads that write at the same time share a commit. The first becomes the leader: it takes the
index's write lock, applies what all of them have queued, puts the segments on the disk, commits,
and tells the others. Whoever came meanwhile is led by one of their own.

The order is what makes a crash harmless: chunks are on the disk before the index refers to them,
and the index's pages before the meta page that shows them.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from streamdb.errors import ReadOnlyStore, StoreBusy, StoreClosed, StoreFull, StreamDBError

if TYPE_CHECKING:
    from streamdb.changes import Changes
    from streamdb.engine import Engine

NORMAL_WINDOW_S = 0.05
"""In ``normal`` durability a commit is on the disk after this many seconds at the latest."""

_MOST_AT_ONCE = 1024
_WAITING, _LEAD, _DONE = range(3)


class _Operation:
    __slots__ = ("error", "full", "result", "run", "state", "wake")

    def __init__(self, run: Callable[[Changes], Any], full: bool) -> None:
        self.run = run
        self.full = full
        self.result: Any = None
        self.error: BaseException | None = None
        self.state = _WAITING
        self.wake = threading.Lock()
        self.wake.acquire()


class Committer:
    """Applies operations in commits; every method may be called by any thread of the process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._queue: list[_Operation] = []
        self._leading = False
        self._write_lock = threading.Lock()
        self._owner = 0
        self._committed = False
        self._syncer = _Syncer(engine)

    def submit(self, run: Callable[[Changes], Any], *, full: bool) -> Any:
        """Run an operation in a commit that it may share, and return its result.

        With ``full`` the commit is on the disk when this returns, else within 50 ms.

        Raises:
            Whatever the operation raised, in which case nothing of it is in the store; StoreFull,
            StorageFailure when the commit failed.
        """
        self.check()
        operation = _Operation(run, full)
        with self._lock:
            self._queue.append(operation)
            lead = not self._leading
            self._leading = True
        if not lead:
            self._wait(operation)
            lead = operation.state == _LEAD
        if lead:
            self._lead(operation)
        if operation.error is not None:
            raise operation.error
        return operation.result

    @contextlib.contextmanager
    def exclusive(self, *, full: bool) -> Iterator[Changes]:
        """One write transaction for the caller alone; it commits at the end, or not at all."""
        self.check()
        with self._write_lock:
            self._owner = threading.get_ident()
            try:
                changes = _begin(self._engine)
                try:
                    yield changes
                    self._finish(changes, full)
                finally:
                    changes.txn.abort()  # after a commit this does nothing
            except StreamDBError:
                raise
            except Exception as error:
                raise self._named(error) from error.__cause__
            finally:
                self._engine.end_turn()
                self._owner = 0

    def sync(self) -> None:
        """Put every commit so far on the disk."""
        import lmdb

        from streamdb.failures import translate

        try:
            self._engine.env.sync(True)
        except lmdb.Error as error:
            raise translate(error, "putting the index on the disk") from error

    def close(self) -> None:
        """Put everything on the disk and stop."""
        self._syncer.close()
        self.sync()

    def forked(self) -> None:
        """In a forked child: no lock that another thread of the parent held is ever given back."""
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()

    # -- inside ----------------------------------------------------------------------------------

    def check(self) -> None:
        """See that this thread may write.

        Raises:
            StoreClosed, ReadOnlyStore; StoreBusy: the thread is in a transaction of its own.
        """
        self._engine.check_usable()
        if self._engine.readonly:
            raise ReadOnlyStore(
                "the store is open for reading only", next_step="open it without readonly=True"
            )
        if self._owner == threading.get_ident():
            raise StoreBusy(
                "this thread is inside a transaction of its own",
                why="a write outside of it would wait for it for ever",
                next_step="use the methods of the transaction",
            )

    def _wait(self, operation: _Operation) -> None:
        try:
            operation.wake.acquire()
        except BaseException:
            # Interrupted (Ctrl-C): not started yet, it is taken back; made leader, it passes that
            # on; already applied, it stays applied.
            with self._lock:
                if operation in self._queue:
                    self._queue.remove(operation)
                if operation.state == _LEAD:
                    self._pass_on()
            raise

    def _lead(self, own: _Operation) -> None:
        taken: list[_Operation] = []
        try:
            with self._write_lock:
                self._owner = threading.get_ident()
                try:
                    with self._lock:
                        taken = self._queue[:_MOST_AT_ONCE]
                        del self._queue[:_MOST_AT_ONCE]
                    self._committed = False
                    self._run(taken)
                finally:
                    self._owner = 0
        except BaseException:
            # Interrupted (Ctrl-C): what the others want is led by one of them.
            if not self._committed:
                with self._lock:
                    self._queue[:0] = [each for each in taken if each is not own]
                taken = [own]
            raise
        finally:
            for operation in taken:
                operation.state = _DONE
            with self._lock:
                self._pass_on()
            for operation in taken:
                operation.wake.release()

    def _pass_on(self) -> None:
        if self._queue:
            following = self._queue[0]
            following.state = _LEAD
            following.wake.release()
        else:
            self._leading = False

    def _run(self, operations: list[_Operation]) -> None:
        if not self._together(operations):
            for operation in operations:
                operation.error = None
                self._together([operation])

    def _together(self, operations: list[_Operation]) -> bool:
        """Apply all in one commit; False when one spoiled it for the others."""
        alone = len(operations) == 1
        try:
            changes = _begin(self._engine)
            try:
                for operation in operations:
                    before = changes.writes
                    try:
                        operation.result = operation.run(changes)
                    except StreamDBError as error:
                        if changes.writes != before:
                            raise
                        operation.error = error
                self._finish(changes, any(operation.full for operation in operations))
            finally:
                changes.txn.abort()  # after a commit this does nothing
        except Exception as error:
            if not alone:
                return False
            operations[0].error = self._named(error)
        finally:
            self._engine.end_turn()
        return True

    def _named(self, error: Exception) -> Exception:
        import lmdb

        from streamdb.failures import is_short_write, translate

        if not isinstance(error, lmdb.Error):
            return error
        named: StreamDBError = translate(error, "committing")
        if is_short_write(error, self._engine.root):
            named = StoreFull(
                "there is no space left for the index",
                why=named.why,
                next_step="free space on the disk (or raise the quota), then try again",
            )
        named.__cause__ = error
        return named

    def _finish(self, changes: Changes, full: bool) -> None:
        if not changes.changed:
            changes.txn.abort()
            return
        changes.finish()
        if changes.needs_sync:
            self._engine.writer.sync()
        changes.txn.commit()
        self._engine.end_turn()
        self._committed = True
        if full:
            self.sync()
        else:
            self._syncer.wake()


def _begin(engine: Engine) -> Changes:
    """A write transaction, when it is our turn; whoever asked for it ends both."""
    import lmdb

    from streamdb.changes import Changes
    from streamdb.failures import translate

    if engine.closed:
        raise StoreClosed("the store is closed", next_step="open it again")
    try:
        engine.take_turn()
        txn = engine.env.begin(write=True)
    except (lmdb.Error, OSError) as error:
        raise translate(error, "starting to write") from error
    try:
        return Changes(engine, txn)
    except BaseException:
        txn.abort()
        raise


class _Syncer:
    """Puts commits of ``normal`` durability on the disk, 50 ms after the first at the latest."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._waiting = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._lock = threading.Lock()

    def wake(self) -> None:
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._run, name="streamdb-sync", daemon=True
                    )
                    self._thread.start()
        # Asked first: to ring costs more, and a bell that rings now is heard after this commit.
        if not self._waiting.is_set():
            self._waiting.set()

    def close(self) -> None:
        self._closed.set()
        thread = self._thread
        if thread is not None:
            self._waiting.set()
            thread.join()

    def _run(self) -> None:
        while True:
            self._waiting.wait()
            if self._closed.wait(NORMAL_WINDOW_S):
                return  # whoever closes puts everything on the disk
            # Cleared before the sync: a commit that comes during it asks for another.
            self._waiting.clear()
            if self._closed.is_set():
                return  # closing rang the bell just before it was cleared
            with contextlib.suppress(Exception):
                # A failed sync here shows again in flush(), close() and the next full write.
                self._engine.env.sync(True)
