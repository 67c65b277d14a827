"""Watching a folder: what changes in it changes in the store.

The kernel's events only say where to look. What is done depends on what is found there then, so a
lost, late or repeated event does no harm. Moves alone are taken from the events, because nothing
else tells them from a deletion and a new file.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from streamdb.errors import CorruptData, DocumentTooLarge, InvalidPath, NotFound, StreamDBError
from streamdb.importing import Importer, ImportReport, Step, Work, plan
from streamdb.importing.plan import Lookup
from streamdb.importing.source import SourceChanged, take
from streamdb.importing.walk import is_store_folder, need_folder
from streamdb.model import ProgressCallback
from streamdb.watching.departed import Departed
from streamdb.watching.inotify import Inotify
from streamdb.watching.settling import Pending, Settling
from streamdb.watching.tracker import Event, Moved, Touched, Tracker

if TYPE_CHECKING:
    from streamdb.store import StreamDB

__all__ = ["FolderGone", "Happened", "Settling", "Watcher"]

_GATHERING_S = 0.03
"""Who writes one file often writes more: their events are looked at together."""

_LONGEST_WAIT_S = 0.5
_MOST_DEPARTED = 100_000


class FolderGone(StreamDBError):
    """The watched folder was removed, renamed or unmounted; the store was left as it is."""


@dataclass(frozen=True, slots=True)
class Happened:
    """One thing that the watcher did, or could not do (``failed``, with the reason in ``note``)."""

    kind: Literal["add", "update", "delete", "rename", "failed", "rescan", "watching"]
    path: str
    old_path: str = ""
    note: str = ""


class Watcher:
    """Keeps the store as a folder is, from :meth:`prepare` until :meth:`stop` or Ctrl-C.

    Args:
        db: the store; ``durability="bulk"`` is best, everything is flushed after each round.
        work: the folder, where it goes, which files; ``work.delete``: whether a file that goes
            takes its document with it.
        tell: called with what was done.
        settling: when a file counts as complete.
        rescan_s: look at the whole folder again after so many seconds (None: only when the kernel
            says that it lost events); for network drives, which tell nothing.

    Raises:
        TooManyFolders: the kernel's limit is reached; FolderGone; errors of the store.
    """

    def __init__(
        self,
        db: StreamDB,
        work: Work,
        *,
        tell: Callable[[Happened], None] = lambda _happened: None,
        settling: Settling | None = None,
        rescan_s: float | None = None,
    ) -> None:
        self._db = db
        self._work = replace(work, root=need_folder(work.root))
        self._tell = tell
        self._rules = settling or Settling()
        self._pending = Pending(self._rules)
        self._rescan_s = rescan_s
        self._lookup = Lookup(db)
        self._root = os.fspath(self._work.root)
        self._identity = _identity(self._root)
        self._rescan_at: float | None = None
        self._renamed: set[str] = set()
        self._departed = Departed()
        self._stop = threading.Event()
        self._counts: dict[str, int] = {}
        self._unflushed = False
        self._queue: Inotify | None = None
        self._tracker: Tracker | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How often each kind of thing happened."""
        return dict(self._counts)

    def stop(self) -> None:
        """Let :meth:`run` end; for another thread or a signal handler."""
        self._stop.set()

    def prepare(self, progress: ProgressCallback | None = None) -> None:
        """Begin to watch, and import the folder; :meth:`run` does it when it was not done."""
        queue = self._queue = Inotify()
        try:
            self._tracker = Tracker(
                lambda path: queue.watch(os.fsencode(self._at(path))), queue.forget, self._folders
            )
            # Watched first, imported then: what happens during the import is not missed.
            self._tracker.add("")
            self._rescan("", progress)
        except BaseException:
            queue.close()
            raise
        self._say(Happened("watching", self._root, note=f"{self._tracker.watched} folders"))

    def run(self) -> None:
        """Follow the folder until :meth:`stop`, Ctrl-C or an error."""
        if self._queue is None:
            self.prepare()
        assert self._queue is not None
        assert self._tracker is not None
        with contextlib.closing(self._queue):
            try:
                while not self._stop.is_set():
                    self._round(self._queue, self._tracker)
            finally:
                self._db.flush()

    def _round(self, queue: Inotify, tracker: Tracker) -> None:
        dues = (self._pending.next_due(), tracker.next_due(), self._rescan_at)
        wait = min((due for due in dues if due is not None), default=None)
        now = time.monotonic()
        notices = queue.read(
            _LONGEST_WAIT_S if wait is None else max(0.0, min(_LONGEST_WAIT_S, wait - now))
        )
        if notices and not self._stop.wait(_GATHERING_S):
            notices += queue.read(0.0)
        now = time.monotonic()
        for event in itertools.chain(tracker.events(notices, now), tracker.left(now)):
            self._take(event, tracker, now)
        if self._rescan_at is not None and self._rescan_at <= now:
            self._rescan("the whole folder again")
        ready = self._pending.take(now)
        # What is there goes first: it may be what is missed elsewhere.
        for path in sorted(ready, key=lambda each: not os.path.lexists(self._at(each))):
            self._update(path)
        if self._unflushed:
            self._unflushed = False
            self._db.flush()

    def _take(self, event: Event, tracker: Tracker, now: float) -> None:
        if isinstance(event, Touched):
            self._touch(event, now)
        elif isinstance(event, Moved):
            self._pending.move(event.old, event.new)
            self._move(event)
            self._pending.touch(event.old, now, complete=True)
            self._pending.touch(event.new, now, complete=True)
        elif event.why == "gone":
            raise self._gone()
        else:
            # The storm may go on: look when it is over.
            self._pending.clear()
            tracker.add("")
            self._rescan_at = now + self._rules.quiet_s

    def _touch(self, event: Touched, now: float) -> None:
        selection = self._work.selection
        if not selection.enters(event.path) and not selection.takes_here(event.path):
            # Neither as a folder nor as a file is it of interest: others' temporary files.
            return
        if os.path.lexists(self._at(event.path)):
            self._pending.touch(event.path, now, complete=event.complete)
            return
        # Deleted, or moved to where it is not seen yet: that is looked at first.
        self._depart(event.path)
        self._pending.depart(event.path, now)

    def _depart(self, path: str) -> None:
        if not _is_text(path):
            return
        name = self._work.stored(path)
        names = itertools.chain([name], self._lookup.paths(f"{name}/"))
        while batch := list(itertools.islice(names, 1000)):
            for each, known in zip(batch, self._lookup.known(batch), strict=True):
                if known is not None and len(self._departed) < _MOST_DEPARTED:
                    self._departed.add(each, known)

    # -- what is done --------------------------------------------------------------------------

    def _rescan(self, why: str, progress: ProgressCallback | None = None) -> None:
        if why:
            self._say(Happened("rescan", self._root, note=why))
        self._check_there()
        if self._work.delete:
            for step in plan(self._db, self._work):
                if isinstance(step, Step) and step.kind == "delete":
                    known = self._lookup.known([step.path])[0]
                    if known is not None and len(self._departed) < _MOST_DEPARTED:
                        self._departed.add(step.path, known)
        self._import(self._work, progress)
        self._departed = Departed()
        again = self._rescan_s
        self._rescan_at = None if again is None else time.monotonic() + again

    def _import(self, work: Work, progress: ProgressCallback | None = None) -> None:
        if len(self._departed):
            for step in plan(self._db, replace(work, delete=False)):
                if isinstance(step, Step) and step.kind == "add":
                    self._adopt(step.source, step.size, step.mtime_ns)
        importer = Importer(self._db, work)
        try:
            report = importer.run(progress)
        finally:
            self._count(importer.report)
        now = time.monotonic()
        for left in report.failed:
            self._say(Happened("failed", left.path, note=left.reason))
            if "changed while" in left.reason:
                self._pending.touch(left.path, now)

    def _count(self, report: ImportReport) -> None:
        self._unflushed = True
        done = {"add": report.added, "update": report.updated, "delete": report.deleted}
        for kind, count in done.items():
            self._counts[kind] = self._counts.get(kind, 0) + count

    def _update(self, path: str) -> None:
        """Make the store say what is at a path now."""
        try:
            status = os.lstat(self._at(path))
        except (FileNotFoundError, NotADirectoryError):
            self._renamed.discard(path)
            self._remove(path)
            return
        except OSError as error:
            self._say(Happened("failed", path, note=(error.strerror or str(error)).lower()))
            return
        if stat.S_ISDIR(status.st_mode):
            if self._is_entered(path):
                self._remove_document(path)
                self._import(replace(self._work, below=path))
        elif stat.S_ISREG(status.st_mode) and self._work.selection.takes(path):
            self._store(path, status)

    def _store(self, path: str, status: os.stat_result) -> None:
        name = self._work.stored(path)
        known = self._lookup.known([name])[0] if _is_text(name) else None
        self._departed.discard(name)
        if known is None and self._adopt(path, status.st_size, status.st_mtime_ns):
            known = self._lookup.known([name])[0]
        same = known is not None and (known.size, known.mtime_ns) == (
            status.st_size,
            status.st_mtime_ns,
        )
        renamed = path in self._renamed
        self._renamed.discard(path)
        if same and not (renamed and self._tells_otherwise(path, name)):
            return
        try:
            take(self._db, Path(self._at(path)), name, stop=self._stop)
        except SourceChanged:
            self._pending.touch(path, time.monotonic())
        except (OSError, InvalidPath, DocumentTooLarge, CorruptData) as error:
            words = error.what if isinstance(error, StreamDBError) else error.strerror or str(error)
            self._say(Happened("failed", path, note=words.lower()))
        else:
            self._say(Happened("add" if known is None else "update", name))

    def _adopt(self, path: str, size: int, mtime_ns: int) -> bool:
        """Rename the document whose file this was, if there is one."""
        if not self._departed.may_be(size, mtime_ns):
            return False
        old = self._departed.twin(Path(self._at(path)), size, mtime_ns, self._lookup)
        if old is None or os.path.lexists(self._at(old[len(self._work.stored("")) :])):
            return False
        self._departed.discard(old)
        name = self._work.stored(path)
        self._db.rename(old, name)
        self._renamed.add(path)
        self._pending.touch(path, time.monotonic(), complete=True)
        self._say(Happened("rename", name, old_path=old))
        return True

    def _tells_otherwise(self, path: str, name: str) -> bool:
        """Whether a file's new name says something else about it (its tempo, its key)."""
        from streamdb.metadata import describe

        try:
            return describe(Path(self._at(path)), name).metadata != self._db.stat(name).metadata
        except (OSError, StreamDBError):
            return True

    def _move(self, event: Moved) -> None:
        """Let documents go with their files."""
        if not _is_text(event.old) or not _is_text(event.new):
            return
        old, new = self._work.stored(event.old), self._work.stored(event.new)
        names = [old] if self._lookup.known([old])[0] is not None else []
        names += self._lookup.paths(f"{old}/") if event.is_folder else []
        skip = len(self._work.stored(""))
        pairs = [(name, new + name[len(old) :]) for name in names]
        pairs = [pair for pair in pairs if self._work.selection.takes(pair[1][skip:])]
        try:
            with self._db.transaction() as together:
                for name, moved in pairs:
                    together.rename(name, moved, overwrite=True)
        except (InvalidPath, NotFound) as error:
            # Too long a path, or another process was quicker: what is there says what to do.
            self._say(Happened("failed", event.new, note=error.what))
            return
        for name, moved in pairs:
            self._renamed.add(moved[skip:])
            self._say(Happened("rename", moved, old_path=name))

    def _remove(self, path: str) -> None:
        if not self._work.delete or not _is_text(path):
            return
        self._check_there()
        self._remove_document(path)
        skip = len(self._work.stored(""))
        below = self._lookup.paths(f"{self._work.stored(path)}/")
        while names := list(itertools.islice(below, 1000)):
            chosen = [name for name in names if self._work.selection.takes(name[skip:])]
            with self._db.transaction() as together:
                for name in chosen:
                    together.delete(name)
            for name in chosen:
                self._departed.discard(name)
                self._say(Happened("delete", name))

    def _remove_document(self, path: str) -> None:
        if not self._work.delete or not self._work.selection.takes(path):
            return
        name = self._work.stored(path)
        if _is_text(name) and self._lookup.known([name])[0] is not None:
            self._db.delete(name)
            self._departed.discard(name)
            self._say(Happened("delete", name))

    def _say(self, happened: Happened) -> None:
        self._counts[happened.kind] = self._counts.get(happened.kind, 0) + 1
        self._unflushed = True
        self._tell(happened)

    # -- the folder ----------------------------------------------------------------------------

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _is_entered(self, path: str) -> bool:
        parts = path.split("/")
        return all(
            self._work.selection.enters("/".join(parts[:count]))
            for count in range(1, len(parts) + 1)
        )

    def _folders(self, path: str) -> Iterator[str]:
        """A folder and those below it that are imported; links are not followed."""
        if path and not self._is_entered(path):
            return
        waiting = [path]
        while waiting:
            folder = waiting.pop()
            if is_store_folder(self._at(folder)):
                continue
            yield folder
            base = f"{folder}/" if folder else ""
            with contextlib.suppress(OSError), os.scandir(self._at(folder)) as entries:
                waiting += [
                    base + entry.name
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False)
                    and self._work.selection.enters(base + entry.name)
                ]

    def _check_there(self) -> None:
        try:
            if _identity(self._root) == self._identity:
                return
        except OSError:
            pass
        raise self._gone()

    def _gone(self) -> FolderGone:
        return FolderGone(
            f"the folder {self._root!r} is gone",
            why="it was removed, renamed or unmounted; no document was deleted for that",
            next_step="bring it back, then watch it again",
        )


def _identity(folder: str) -> tuple[int, int]:
    status = os.stat(folder)  # noqa: PTH116
    return status.st_dev, status.st_ino


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
