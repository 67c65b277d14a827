"""Importing a folder: what is new or changed in it becomes documents.

>>> import tempfile
>>> from pathlib import Path
>>> from streamdb import StreamDB
>>> folder = Path(tempfile.mkdtemp())
>>> _ = (folder / "loop_120bpm.wav").write_bytes(b"not really audio")
>>> with StreamDB.open(tempfile.mkdtemp(), durability="bulk") as db:
...     first = import_folder(db, folder, prefix="loops")
...     again = import_folder(db, folder, prefix="loops")
...     first.added, again.unchanged, db.find("has:problem")
(1, 1, ['loops/loop_120bpm.wav'])
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from streamdb.errors import (
    CorruptData,
    DocumentTooLarge,
    InvalidMetadata,
    InvalidPath,
    StreamDBError,
)
from streamdb.importing.plan import EmptyFolder, Step, Work, plan
from streamdb.importing.selection import Selection
from streamdb.importing.source import SourceChanged, Taken, take
from streamdb.importing.walk import FoundFile, LeftOut, need_folder
from streamdb.model import Progress, ProgressCallback

if TYPE_CHECKING:
    from streamdb.store import StreamDB

__all__ = [
    "EmptyFolder",
    "ImportInterrupted",
    "ImportReport",
    "Importer",
    "LeftOut",
    "Selection",
    "SourceChanged",
    "Step",
    "Work",
    "import_folder",
    "plan",
]

BATCH_DOCUMENTS = 5000
BATCH_BYTES = 256 << 20
BATCH_SECONDS = 15.0
"""After as many documents, bytes or seconds what was read is put on the disk."""

_DELETIONS = 1000
_IN_FLIGHT = 4
_TOGETHER_FILES = 64
_TOGETHER_BYTES = 1 << 20
"""Small files are read one after the other by one thread, as many together as that. Several threads
would hand the interpreter to each other more often than they use it: they take twice as long."""
_TELL_SECONDS = 0.1

# These speak of one file; every other error of the store ends the import.
_OF_ONE_FILE = (
    OSError,
    SourceChanged,
    InvalidPath,
    InvalidMetadata,
    DocumentTooLarge,
    CorruptData,
)


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did. Documents are counted once they are on the disk; bytes were read.

    ``problems`` counts files that were stored although their content is damaged; ``failed`` lists
    files that were not stored, ``left_out`` what is not meant to be (links, devices, stores).
    """

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    problems: int = 0
    bytes_read: int = 0
    left_out: tuple[LeftOut, ...] = ()
    failed: tuple[LeftOut, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every file that is meant is stored."""
        return not self.failed


class ImportInterrupted(KeyboardInterrupt):
    """Ctrl-C: ``report`` says what is in the store."""

    def __init__(self, report: ImportReport) -> None:
        super().__init__("the import was interrupted")
        self.report = report


def import_folder(
    db: StreamDB,
    folder: str | os.PathLike[str],
    *,
    prefix: str = "",
    include: Iterable[str] = (),
    exclude: Iterable[str] = (),
    checksum: bool = False,
    delete: bool = False,
    progress: ProgressCallback | None = None,
) -> ImportReport:
    """Store the files of a folder that are new or changed, with what they tell about themselves.

    Files that cannot be read are listed in the report, the others go on. Memory does not grow with
    the tree. Open the store with ``durability="bulk"``: then many documents share a commit.

    Args:
        db: the store.
        folder: the folder; links in it are not followed.
        prefix: the folder in the store ("" for its top).
        include: patterns of files to take, such as ``*.wav``; none means all.
        exclude: patterns of files and folders to leave.
        checksum: compare contents, not only sizes and times.
        delete: delete documents below ``prefix`` whose file is gone.
        progress: called with the bytes done and to do.

    Raises:
        NotFound, InvalidArgument, InvalidPath, EmptyFolder; StoreFull, StorageFailure and other
        errors of the store, in which case all that was stored before is kept.
    """
    work = Work(need_folder(Path(folder)), prefix, Selection.of(include, exclude), checksum, delete)
    return Importer(db, work).run(progress)


@dataclass(slots=True)
class _Batch:
    """Files for one thread, and what became of those that it has done."""

    steps: list[Step] = field(default_factory=list)
    weight: int = 0
    done: list[tuple[Step, Taken | Exception]] = field(default_factory=list)

    def add(self, step: Step) -> None:
        self.steps.append(step)
        self.weight += _weight(step.size)

    @property
    def is_full(self) -> bool:
        return self.weight >= _TOGETHER_BYTES or len(self.steps) >= _TOGETHER_FILES


class _Pools:
    """The threads: for small files one, which is one of the others where there are few."""

    def __init__(self, workers: int) -> None:
        self.large = ThreadPoolExecutor(workers, thread_name_prefix="streamdb-import")
        self.small = self.large
        if workers > 1:
            self.small = ThreadPoolExecutor(1, thread_name_prefix="streamdb-import-small")

    def shutdown(self) -> None:
        for pool in (self.small, self.large):
            pool.shutdown(wait=True, cancel_futures=True)


class Importer:
    """Does what ``plan`` lists, and knows what it has done; for one run.

    Args:
        db: the store.
        work: what to import.
        workers: threads that read and describe large files; default: half as many as there are
            processors.
    """

    def __init__(self, db: StreamDB, work: Work, *, workers: int | None = None) -> None:
        self._db = db
        self._work = work
        self._workers = workers or max(1, min(8, (os.cpu_count() or 1) // 2))
        self._tally = _Tally()
        self._stop = threading.Event()
        self._gathered = _Batch()
        self._futures: dict[Future[None], _Batch] = {}
        self._deletions: list[str] = []

    @property
    def report(self) -> ImportReport:
        """What was done so far."""
        return self._tally.report()

    def survey(self, progress: ProgressCallback) -> int:
        """Walk over the folder once; the bytes that an import has to look at."""
        files = total = 0
        for found in self._work.walk():
            if isinstance(found, FoundFile):
                files += 1
                total += _weight(found.size)
                if not files % 512:
                    progress(Progress("looking", files, 0, "documents"))
        return total

    def run(self, progress: ProgressCallback | None = None) -> ImportReport:
        """Import.

        Raises:
            ImportInterrupted: Ctrl-C; errors of the store. What was stored before is kept.
        """
        total = 0 if progress is None else self.survey(progress)
        self._tally.watch(progress, total)
        pools = _Pools(self._workers)
        try:
            try:
                self._feed(plan(self._db, self._work, pools.large), pools)
                self._submit(pools)
                self._drain(0)
            except BaseException:
                self._abandon(pools)
                raise
            finally:
                pools.shutdown()
            self._settle()
            self._tally.tell(force=True)
        except KeyboardInterrupt:
            raise ImportInterrupted(self.report) from None
        return self.report

    def _feed(self, steps: Iterator[Step | LeftOut], pools: _Pools) -> None:
        tally = self._tally
        for step in steps:
            if isinstance(step, LeftOut):
                tally.leave(step)
            elif step.kind == "keep":
                tally.keep(step)
            elif step.kind == "delete":
                self._deletions.append(step.path)
            else:
                self._gathered.add(step)
                if self._gathered.is_full:
                    self._submit(pools)
                    self._drain(self._workers * _IN_FLIGHT)
            if tally.is_batch() or len(self._deletions) >= _DELETIONS:
                self._settle()
            tally.tell()

    def _submit(self, pools: _Pools) -> None:
        batch, self._gathered = self._gathered, _Batch()
        pool = pools.large if len(batch.steps) == 1 else pools.small
        self._futures[pool.submit(self._take_all, batch)] = batch

    def _take_all(self, batch: _Batch) -> None:
        for step in batch.steps:
            if self._stop.is_set():
                return
            outcome: Taken | Exception
            try:
                outcome = self._take(step)
            except _OF_ONE_FILE as error:
                outcome = error
            batch.done.append((step, outcome))

    def _take(self, step: Step) -> Taken:
        return take(
            self._db,
            self._work.root / step.source,
            step.path,
            stop=self._stop,
            tell=self._tally.read,
        )

    def _drain(self, most: int) -> None:
        """Wait until at most so many files are on their way."""
        while len(self._futures) > most:
            done, _ = wait(self._futures, timeout=_TELL_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                self._collect(future, self._futures.pop(future))
            self._tally.tell()

    def _collect(self, future: Future[None], batch: _Batch) -> None:
        for step, outcome in batch.done:
            if isinstance(outcome, Taken):
                self._tally.took(step, outcome)
            else:
                self._tally.fail(step, outcome)
        future.result()

    def _settle(self) -> None:
        """Put what was read on the disk, and delete what is gone."""
        self._db.flush()
        self._tally.settled()
        for at in range(0, len(self._deletions), _DELETIONS):
            names = self._deletions[at : at + _DELETIONS]
            with self._db.transaction() as together:
                for name in names:
                    if together.exists(name):
                        together.delete(name)
            self._tally.deleted += len(names)
        self._deletions = []

    def _abandon(self, pools: _Pools) -> None:
        """Let the files under way end, and keep those that are whole."""
        self._stop.set()
        pools.shutdown()
        for step, outcome in (each for batch in self._futures.values() for each in batch.done):
            if isinstance(outcome, Taken):
                self._tally.took(step, outcome)
        self._deletions = []
        try:
            self._settle()
        except StreamDBError:
            # The error that ended the import is the one to tell; this is most likely the same.
            return


def _weight(size: int) -> int:
    # Opening a file costs as much as reading some more of it: so the estimate holds for trees of
    # small files, too.
    return size + 4096


class _Tally:
    """Counts, shared by the threads; what is not on the disk yet is counted apart."""

    def __init__(self) -> None:
        self.deleted = 0
        self._unchanged = 0
        self._counts = {"add": 0, "update": 0}
        self._fresh = {"add": 0, "update": 0}
        self._fresh_bytes = 0
        self._problems = 0
        self._bytes_read = 0
        self._done = 0
        self._left_out: list[LeftOut] = []
        self._failed: list[LeftOut] = []
        self._lock = threading.Lock()
        self._progress: ProgressCallback | None = None
        self._total = 0
        self._told = self._settled = time.monotonic()

    def report(self) -> ImportReport:
        return ImportReport(
            added=self._counts["add"],
            updated=self._counts["update"],
            unchanged=self._unchanged,
            deleted=self.deleted,
            problems=self._problems,
            bytes_read=self._bytes_read,
            left_out=tuple(self._left_out),
            failed=tuple(self._failed),
        )

    def watch(self, progress: ProgressCallback | None, total: int) -> None:
        self._progress, self._total = progress, total

    def read(self, count: int) -> None:
        with self._lock:
            self._bytes_read += count
            self._fresh_bytes += count
            self._done += count

    def keep(self, step: Step) -> None:
        self._unchanged += 1
        with self._lock:
            self._done += _weight(step.size)

    def leave(self, left: LeftOut) -> None:
        (self._failed if left.failed else self._left_out).append(left)

    def fail(self, step: Step, error: BaseException) -> None:
        what = error.what if isinstance(error, StreamDBError) else ""
        words = what or getattr(error, "strerror", None) or str(error)
        self._failed.append(LeftOut(step.source, words[:1].lower() + words[1:], failed=True))

    def took(self, step: Step, taken: Taken) -> None:
        self._fresh[step.kind] += 1
        self._problems += taken.problem is not None
        with self._lock:
            self._done += _weight(0)

    def is_batch(self) -> bool:
        return (
            sum(self._fresh.values()) >= BATCH_DOCUMENTS
            or self._fresh_bytes >= BATCH_BYTES
            or time.monotonic() - self._settled > BATCH_SECONDS
        )

    def settled(self) -> None:
        for kind, count in self._fresh.items():
            self._counts[kind] += count
        self._fresh = {"add": 0, "update": 0}
        self._fresh_bytes = 0
        self._settled = time.monotonic()

    def tell(self, *, force: bool = False) -> None:
        if self._progress is None:
            return
        now = time.monotonic()
        if force or now - self._told >= _TELL_SECONDS:
            self._told = now
            done = self._total if force else min(self._done, self._total)
            self._progress(Progress("importing", done, self._total, "bytes"))
