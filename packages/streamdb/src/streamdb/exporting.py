"""Exporting: documents become files again, with their times, inside one folder and nowhere else.

>>> import tempfile
>>> from pathlib import Path
>>> from streamdb import StreamDB
>>> target = Path(tempfile.mkdtemp())
>>> with StreamDB.open(tempfile.mkdtemp()) as db:
...     _ = db.write_document("drums/kick.wav", b"boom")
...     report = export_folder(db, target, prefix="drums")
>>> report.written, (target / "kick.wav").read_bytes()
(1, b'boom')
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from streamdb.checks import hasher
from streamdb.errors import (
    CorruptData,
    InvalidArgument,
    StorageFailure,
    StoreFull,
    StreamDBError,
)
from streamdb.model import Progress, ProgressCallback
from streamdb.paths import validate

if TYPE_CHECKING:
    from streamdb.reading import Readable
    from streamdb.store import StreamDB

_PAGE = 1000
_PIECE = 1 << 20
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class NotExported(StreamDBError):
    """A document cannot become a file here; the reason is in the message."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export did; ``failed`` holds (path of the document, reason)."""

    written: int
    unchanged: int
    bytes_written: int
    failed: tuple[tuple[str, str], ...]

    @property
    def ok(self) -> bool:
        """Whether every document is a file now."""
        return not self.failed


class ExportInterrupted(KeyboardInterrupt):
    """Ctrl-C: ``report`` says what was written; no file is half-written."""

    def __init__(self, report: ExportReport) -> None:
        super().__init__("the export was interrupted")
        self.report = report


def export_folder(
    db: StreamDB,
    target: str | os.PathLike[str],
    *,
    prefix: str = "",
    query: str | None = None,
    checksum: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: ProgressCallback | None = None,
) -> ExportReport:
    """Write documents as files below a folder, all of one state of the store.

    Each file appears whole or not at all. Links below ``target`` are never followed, so nothing is
    written outside. A file that already has the document's bytes is left; another one is only
    replaced with ``overwrite``.

    Args:
        db: the store.
        target: the folder; made if it is not there.
        prefix: only documents in this folder of the store; it is cut off their paths.
        query: only documents that this query finds.
        checksum: compare contents even where size and time are alike.
        overwrite: replace files that are different.
        dry_run: write nothing; the report says what would be done.
        progress: called with the documents done and to do.

    Raises:
        InvalidPath, InvalidQuery, InvalidArgument; StoreFull: the disk is full; StorageFailure: the
        folder cannot be written to; ExportInterrupted: Ctrl-C.
    """
    if prefix:
        validate(prefix)
    with db.snapshot() as state, Exporter(Path(target), dry_run=dry_run) as exporter:
        exporter.checksum, exporter.overwrite = checksum, overwrite
        names, total = _selected(state, prefix, query)
        skip = len(prefix) + 1 if prefix else 0
        done = 0
        try:
            for done, path in enumerate(names, start=1):
                exporter.export(state, path, path[skip:])
                if progress is not None:
                    progress(Progress("exporting", done, total, "documents"))
        except KeyboardInterrupt:
            raise ExportInterrupted(exporter.report) from None
        return exporter.report


def _selected(state: Readable, prefix: str, query: str | None) -> tuple[Iterable[str], int]:
    base = f"{prefix}/" if prefix else ""
    if query is not None:
        # In the order of paths, so that each folder is visited once.
        found = sorted(path for path in state.find(query) if path.startswith(base))
        return found, len(found)
    return pages(state, base), state.count(base)


def pages(state: Readable, prefix: str) -> Iterator[str]:
    """All paths that begin with ``prefix``, a page at a time."""
    after: str | None = None
    while page := state.search(prefix, limit=_PAGE, after=after):
        yield from page
        after = page[-1]


@dataclass(slots=True)
class _Folder:
    """An open folder; ``written`` are the files that this export put into it."""

    name: str
    descriptor: int
    written: set[tuple[int, int]] = field(default_factory=set)


class Exporter:
    """Writes documents below one folder; used by ``with``.

    The folders on the way to the current file are held open, and everything is opened relative to
    them without following links: whatever happens to the tree meanwhile, nothing leaves it.
    """

    def __init__(self, target: Path, *, dry_run: bool = False) -> None:
        self.checksum = False
        self.overwrite = False
        self._dry_run = dry_run
        self._target = target
        self._open: list[_Folder] = []
        self._written = self._unchanged = self._bytes = 0
        self._failed: list[tuple[str, str]] = []

    def __enter__(self) -> Exporter:
        try:
            if not self._dry_run:
                self._target.mkdir(parents=True, exist_ok=True)
            elif not self._target.exists():
                return self
            # The folder itself may be a link: it is what the user named.
            flags = _FOLDER & ~os.O_NOFOLLOW
            self._open.append(_Folder("", os.open(self._target, flags)))
        except (FileExistsError, NotADirectoryError):
            raise InvalidArgument(
                f"{str(self._target)!r} is not a folder", next_step="name a folder"
            ) from None
        except OSError as error:
            raise StorageFailure(
                f"{str(self._target)!r} cannot be written to",
                why=error.strerror or str(error),
                next_step="check its permissions",
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._close_to(0)

    @property
    def report(self) -> ExportReport:
        """What was done so far."""
        return ExportReport(self._written, self._unchanged, self._bytes, tuple(self._failed))

    def export(self, state: Readable, path: str, name: str) -> None:
        """Write the document at ``path`` as ``name`` below the folder; failures are noted.

        Raises:
            StoreFull: the disk is full.
        """
        try:
            self._export(state, path, name)
        except OSError as error:
            if error.errno in _FULL:
                raise StoreFull(
                    f"{str(self._target)!r} has no space left, or is read-only",
                    why=error.strerror or str(error),
                    next_step="free space, then export again: what is there is kept",
                ) from error
            self._failed.append((path, (error.strerror or str(error)).lower()))
        except (NotExported, CorruptData) as error:
            self._failed.append((path, error.what))

    def _export(self, state: Readable, path: str, name: str) -> None:
        known = state.stat(path)
        *folders, last = name.split("/")
        folder = self._enter(folders)
        there = None if folder is None else _status(folder, last)
        if there is not None:
            assert folder is not None
            digest = known.digest
            if self._is_same(folder, last, there, (known.size, known.mtime_ns, digest)):
                self._unchanged += 1
                return
            self._check_replacing(folder, there)
        if not self._dry_run:
            assert folder is not None
            with state.get_stream(path) as source:
                self._write(folder, last, source, known.mtime_ns, there is not None)
        self._written += 1
        self._bytes += known.size

    def _is_same(
        self, folder: _Folder, name: str, there: os.stat_result, wanted: tuple[int, int, str]
    ) -> bool:
        size, mtime_ns, digest = wanted
        if not stat.S_ISREG(there.st_mode) or there.st_size != size:
            return False
        if (there.st_dev, there.st_ino) in folder.written:
            return False
        if there.st_mtime_ns == mtime_ns and not self.checksum:
            return True
        if _digest(folder, name) != digest:
            return False
        if there.st_mtime_ns != mtime_ns and not self._dry_run:
            with contextlib.suppress(OSError):
                times = (mtime_ns, mtime_ns)
                os.utime(name, ns=times, dir_fd=folder.descriptor, follow_symlinks=False)
        return True

    def _check_replacing(self, folder: _Folder, there: os.stat_result) -> None:
        if (there.st_dev, there.st_ino) in folder.written:
            raise NotExported(
                "this file system takes its name for that of another document (upper and lower"
                " case, or composed letters)"
            )
        if stat.S_ISDIR(there.st_mode):
            raise NotExported("a folder of that name is there")
        if not self.overwrite:
            raise NotExported("another file is there (--overwrite replaces it)")

    def _write(
        self, folder: _Folder, name: str, source: BinaryIO, mtime_ns: int, replace: bool
    ) -> None:
        temporary = f".streamdb-{os.getpid()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder.descriptor)
        descriptor = os.open(temporary, flags, 0o666, dir_fd=folder.descriptor)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 - from a descriptor
                while piece := source.read(_PIECE):
                    file.write(piece)
                file.flush()
                os.utime(descriptor, ns=(mtime_ns, mtime_ns))
                status = os.fstat(descriptor)
            _put_in_place(folder.descriptor, temporary, name, replace)
            folder.written.add((status.st_dev, status.st_ino))
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=folder.descriptor)
            raise

    def _enter(self, folders: list[str]) -> _Folder | None:
        """The open folder; made if it is not there. None in a dry run where it is not there."""
        if not self._open:
            return None
        depth = 1
        while depth <= len(folders) and depth < len(self._open):
            if self._open[depth].name != folders[depth - 1]:
                break
            depth += 1
        self._close_to(depth)
        for name in folders[depth - 1 :]:
            above = self._open[-1].descriptor
            try:
                if not self._dry_run:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, dir_fd=above)
                self._open.append(_Folder(name, os.open(name, _FOLDER, dir_fd=above)))
            except FileNotFoundError:
                if self._dry_run:
                    return None
                raise
            except OSError as error:
                if error.errno in (errno.ENOTDIR, errno.ELOOP):
                    raise NotExported(f"{name!r} is there, and is no folder") from None
                raise
        return self._open[-1]

    def _close_to(self, depth: int) -> None:
        while len(self._open) > depth:
            os.close(self._open.pop().descriptor)


def _status(folder: _Folder, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder.descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _digest(folder: _Folder, name: str) -> str | None:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    total = hasher()
    try:
        descriptor = os.open(name, flags, dir_fd=folder.descriptor)
        with open(descriptor, "rb", buffering=0) as file:  # noqa: PTH123 - from a descriptor
            while piece := file.read(_PIECE):
                total.update(piece)
    except OSError:
        return None
    return total.hexdigest()


def _put_in_place(descriptor: int, temporary: str, name: str, replace: bool) -> None:
    """Give a finished file its name; without ``replace`` never over another."""
    if not replace:
        try:
            os.link(temporary, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        except FileExistsError:
            raise NotExported("another file appeared there meanwhile") from None
        except OSError as error:
            # Memory sticks have no hard links: there the look a moment ago must do.
            if error.errno not in _NO_LINKS:
                raise
        else:
            os.unlink(temporary, dir_fd=descriptor)
            return
    os.rename(temporary, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
