"""What an import would do, as a list of steps: the very list that it then does."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from streamdb.checks import hasher
from streamdb.errors import CorruptData, StreamDBError
from streamdb.importing.selection import EVERYTHING, Selection
from streamdb.importing.walk import FoundFile, LeftOut, walk
from streamdb.paths import validate
from streamdb.view import View

if TYPE_CHECKING:
    from streamdb.store import StreamDB

_BATCH = 256
_PAGE = 4096
_READ_BYTES = 1 << 20


class EmptyFolder(StreamDBError):
    """A folder without files would delete all that was imported from it."""


@dataclass(frozen=True, slots=True)
class Step:
    """One document: ``keep`` what is stored, ``add`` or ``update`` it from a file, ``delete`` it.

    ``path`` is the document's, ``source`` the file's below the folder ("" for ``delete``); ``size``
    in bytes (0 for ``delete``).
    """

    kind: Literal["add", "update", "keep", "delete"]
    path: str
    source: str = ""
    size: int = 0
    mtime_ns: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """What the store knows of a path; ``digest`` only when it was asked for."""

    size: int
    mtime_ns: int
    digest: str


@dataclass(frozen=True, slots=True)
class Work:
    """What to import: a folder, where to, which files, how exactly, and whether to mirror it.

    ``below`` narrows it to one folder in ``root``; ``prefix`` is the store's folder ("" for its
    top) that stands for ``root``.
    """

    root: Path
    prefix: str = ""
    selection: Selection = EVERYTHING
    checksum: bool = False
    delete: bool = False
    below: str = ""

    def stored(self, path: str) -> str:
        """The document's path of a file."""
        return f"{self.prefix}/{path}" if self.prefix else path

    def walk(self) -> Iterator[FoundFile | LeftOut]:
        """The files that are meant."""
        return walk(self.root, self.selection, self.below, self.prefix)


class Lookup:
    """Questions to the store in short read transactions, which do not disturb a bulk load."""

    def __init__(self, db: StreamDB) -> None:
        self._engine = db.engine

    def known(self, paths: Iterable[str], *, digests: bool = False) -> list[Known | None]:
        """What is stored at each path; None also for what is damaged."""
        txn = self._engine.begin()
        try:
            view = View(self._engine, txn)
            return [_known(view, path, digests) for path in paths]
        finally:
            txn.abort()

    def page(self, prefix: str, after: str | None, limit: int = _PAGE) -> list[str]:
        """Some paths that begin with ``prefix``."""
        txn = self._engine.begin()
        try:
            return View(self._engine, txn).search(prefix, limit, after)
        finally:
            txn.abort()

    def paths(self, prefix: str) -> Iterator[str]:
        """All paths that begin with ``prefix``, in order."""
        after: str | None = None
        while page := self.page(prefix, after):
            yield from page
            after = page[-1]


def _known(view: View, path: str, digests: bool) -> Known | None:
    try:
        record = view.record(path)
        if record is None:
            return None
        return Known(record.size, record.mtime_ns, view.digest(record) if digests else "")
    except CorruptData:
        # Writing over it fails by itself, and is then listed with its reason.
        return None


def plan(db: StreamDB, work: Work, pool: Executor | None = None) -> Iterator[Step | LeftOut]:
    """The steps of an import, in the order of the paths; nothing is held but a batch of them.

    Args:
        db: the store; it is flushed, and then only read.
        work: what to import.
        pool: where to read files when ``work.checksum`` asks for it; None: here.

    Raises:
        EmptyFolder: ``work.delete``, no file in the folder, and documents that stand for some.
    """
    validate(work.prefix or "x")
    # Questions are asked of what is committed: a bulk handle may hold something back.
    db.flush()
    lookup = Lookup(db)
    steps = itertools.chain.from_iterable(
        _judge(lookup, work, batch, pool) for batch in _batches(work.walk())
    )
    if not work.delete:
        yield from steps
        return
    base = f"{work.stored(work.below)}/" if work.below else work.stored("")
    _refuse_empty(lookup, work, base)
    yield from _with_deletions(steps, lookup.paths(base), work)


def _batches(found: Iterator[FoundFile | LeftOut]) -> Iterator[list[FoundFile | LeftOut]]:
    while batch := list(itertools.islice(found, _BATCH)):
        yield batch


def _judge(
    lookup: Lookup, work: Work, batch: list[FoundFile | LeftOut], pool: Executor | None
) -> Iterator[Step | LeftOut]:
    files = [found for found in batch if isinstance(found, FoundFile)]
    held = lookup.known((work.stored(each.path) for each in files), digests=work.checksum)
    pairs = list(zip(files, held, strict=True))
    alike = [file for file, known in pairs if known is not None and _same_times(file, known)]
    actual = _digests(work, alike, pool) if work.checksum else {}
    judged = {file.path: _step(work, file, known, actual) for file, known in pairs}
    for found in batch:
        yield judged[found.path] if isinstance(found, FoundFile) else found


def _step(work: Work, file: FoundFile, known: Known | None, actual: dict[str, str | None]) -> Step:
    kind: Literal["add", "update", "keep"] = "add"
    if known is not None:
        same = _same_times(file, known)
        # None: it could not be read now; the import will say why.
        if same and work.checksum:
            same = actual[file.path] == known.digest
        kind = "keep" if same else "update"
    return Step(kind, work.stored(file.path), file.path, file.size, file.mtime_ns)


def _same_times(file: FoundFile, known: Known) -> bool:
    return file.size == known.size and file.mtime_ns == known.mtime_ns


def _digests(work: Work, files: list[FoundFile], pool: Executor | None) -> dict[str, str | None]:
    each: Callable[..., Iterable[str | None]] = map if pool is None else pool.map
    paths = [file.path for file in files]
    return dict(zip(paths, each(lambda path: digest_of(work.root / path), paths), strict=True))


def digest_of(path: Path) -> str | None:
    """The BLAKE3 of a file in hex; None when it cannot be read."""
    total = hasher()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - from a descriptor
            while piece := file.read(_READ_BYTES):
                total.update(piece)
    except OSError:
        return None
    return total.hexdigest()


def _refuse_empty(lookup: Lookup, work: Work, base: str) -> None:
    if work.below or any(isinstance(found, FoundFile) for found in work.walk()):
        return
    if lookup.page(base, None, 1):
        where = f"below {base!r}" if base else "of the store"
        raise EmptyFolder(
            f"{str(work.root)!r} holds no files that are meant: every document {where} would go",
            why="a disk that is not mounted looks like this",
            next_step="mount it; to delete on purpose, use streamdb rm -r",
        )


def _with_deletions(
    steps: Iterator[Step | LeftOut], stored: Iterator[str], work: Work
) -> Iterator[Step | LeftOut]:
    """Steps, and a deletion for each stored path that no step and nothing left out accounts for."""
    gone = _Gone(stored, work)
    for step in steps:
        if isinstance(step, Step):
            yield from gone.before(os.fsencode(step.path))
            gone.account(step.path)
        elif step.path == ".":
            # The folder itself cannot be looked at: nothing is known to be gone.
            yield step
            return
        else:
            path = work.stored(step.path)
            yield from gone.before(os.fsencode(path))
            gone.hide(path)
        yield step
    yield from gone.before(None)


class _Gone:
    """The stored paths, walked along with the steps; those that were passed by are gone."""

    def __init__(self, stored: Iterator[str], work: Work) -> None:
        self._stored = stored
        self._selection = work.selection
        self._skip = len(work.stored(""))
        self._held = next(stored, None)
        # What cannot be looked at may still be there: documents at and below these paths stay.
        self._hidden: list[str] = []

    def before(self, end: bytes | None) -> Iterator[Step]:
        """Deletions of the stored paths that sort before ``end`` (None: of all)."""
        while self._held is not None and (end is None or self._held.encode() < end):
            if self._is_gone(self._held):
                yield Step("delete", self._held)
            self._held = next(self._stored, None)

    def account(self, path: str) -> None:
        """This path has its file."""
        if self._held == path:
            self._held = next(self._stored, None)

    def hide(self, path: str) -> None:
        """Nothing is known of what is at this path and below."""
        at = os.fsencode(path)
        self._hidden = [each for each in self._hidden if os.fsencode(each) + b"0" > at]
        self._hidden.append(path)

    def _is_gone(self, path: str) -> bool:
        if not self._selection.takes(path[self._skip :]):
            return False
        return not any(path == each or path.startswith(f"{each}/") for each in self._hidden)
