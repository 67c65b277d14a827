"""Backups: a consistent copy of the store, made while it is in use, checked before it counts.

The copy is made under a temporary name beside the target and renamed when it is whole, so a target
is a good backup or it is not there. Segments never change where they are referred to: those that an
earlier backup at the target already has are linked, not copied.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from streamdb import place, segments
from streamdb.check import check_engine
from streamdb.engine import acquire
from streamdb.errors import AlreadyExists, CorruptData, StorageFailure, StreamDBError
from streamdb.failures import translate
from streamdb.model import BackupReport, CheckReport, Progress, ProgressCallback
from streamdb.segments import SEGMENT_BYTES
from streamdb.view import View

if TYPE_CHECKING:
    from streamdb.engine import Engine

_PIECE = 8 << 20


def backup(engine: Engine, target: Path, progress: ProgressCallback | None = None) -> BackupReport:
    """Copy the store to ``target``; an older backup of the same store there is replaced.

    Raises:
        AlreadyExists: something else is at ``target``; StoreFull, StorageFailure: copying failed;
        CorruptData: the store is damaged, and so no backup was made.
    """
    older = _older(engine, target)
    temporary = target.with_name(f".{target.name}.part")
    copied, reused = _copy_store(engine, temporary, target if older else None, progress)
    report, last = _verify(engine, temporary, progress)
    if not report.ok and reused:
        # The older backup may have been written to, or be damaged: copy everything.
        copied, reused = _copy_store(engine, temporary, None, progress)
        report, last = _verify(engine, temporary, progress)
    if not report.ok:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CorruptData(
            f"no backup was made at {target}: the copy has {len(report.problems)} problems",
            why=str(report.problems[0]),
            next_step="run `streamdb check` on the store",
        )
    _put_in_place(temporary, target, older)
    return BackupReport(
        target=str(target),
        documents=report.documents,
        bytes_copied=copied,
        bytes_reused=reused,
        last_seq=last,
        check=report,
    )


def _copy_store(
    engine: Engine, temporary: Path, older: Path | None, progress: ProgressCallback | None
) -> tuple[int, int]:
    """(bytes copied, bytes taken from the older backup); nothing is left behind on failure."""
    shutil.rmtree(temporary, ignore_errors=True)
    txn = engine.begin()
    try:
        place.prepare(temporary)
        # The index first: LMDB copies its newest state, and what that needs of the segments is
        # there afterwards, because the transaction held here keeps any from being removed.
        _copy_index(engine, temporary)
        copied, reused = _copy_segments(engine, temporary, older, progress)
        place.write_marker(temporary, engine.marker)
        segments.sync_directory(temporary / place.SEGMENTS)
        segments.sync_directory(temporary / place.INDEX)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise segments.outside_error(error, f"copying to {temporary}") from error
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    finally:
        txn.abort()
    return copied, reused


def _older(engine: Engine, target: Path) -> bool:
    """Whether an older backup of this store is at the target."""
    if not target.exists():
        return False
    try:
        marker = place.read_marker(target)
    except StreamDBError:
        marker = None
    same = marker is not None and marker.store_id == engine.marker.store_id
    if same and not target.samefile(engine.root):
        return True
    raise AlreadyExists(
        f"{target} is there already, and is no backup of this store",
        next_step="name a directory that does not exist yet, or an older backup",
    )


def _copy_segments(
    engine: Engine, temporary: Path, older: Path | None, progress: ProgressCallback | None
) -> tuple[int, int]:
    engine.writer.flush()
    directory = engine.root / place.SEGMENTS
    names = [segments.segment_name(number) for number in segments.segment_numbers(directory)]
    sizes = {name: (directory / name).stat().st_size for name in names}
    total, done, reused = sum(sizes.values()), 0, 0
    for name, size in sizes.items():
        target = temporary / place.SEGMENTS / name
        held = None if older is None else older / place.SEGMENTS / name
        if held is not None and _same(held, size):
            os.link(held, target)
            reused += size
        else:
            _copy(directory / name, target, size)
        done += size
        if progress is not None:
            progress(Progress("copy", done, total, "bytes"))
    return done - reused, reused


def _same(held: Path, size: int) -> bool:
    """Whether a segment in the older backup is this one: what is appended makes it longer. The
    whole copy is verified afterwards.
    """
    try:
        return held.stat().st_size == size
    except OSError:
        return False


def _copy(source: Path, target: Path, size: int) -> None:
    with source.open("rb") as reading, target.open("wb") as writing:
        left = size
        while left:
            piece = reading.read(min(_PIECE, left))
            if not piece:
                break
            writing.write(piece)
            left -= len(piece)
        writing.flush()
        os.fsync(writing.fileno())


def _copy_index(engine: Engine, temporary: Path) -> None:
    import lmdb

    path = temporary / place.INDEX / "data.mdb"
    try:
        with path.open("wb") as file:
            engine.env.copyfd(file.fileno())
            os.fsync(file.fileno())
    except lmdb.Error as error:
        raise translate(error, "copying it") from error


def _verify(
    engine: Engine, temporary: Path, progress: ProgressCallback | None
) -> tuple[CheckReport, int]:
    copy = acquire(temporary, engine.marker, readonly=False, segment_bytes=SEGMENT_BYTES)
    try:
        copy.cipher = engine.cipher
        report = check_engine(copy, progress)
        txn = copy.begin()
        try:
            return report, View(copy, txn).feed_end()[1]
        finally:
            txn.abort()
    finally:
        copy.release()


def _put_in_place(temporary: Path, target: Path, older: bool) -> None:
    aside = target.with_name(f".{target.name}.old")
    try:
        if older:
            shutil.rmtree(aside, ignore_errors=True)
            target.rename(aside)
        temporary.rename(target)
        segments.sync_directory(target.parent)
        shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        if older and not target.exists() and aside.exists():
            aside.rename(target)
        raise StorageFailure(
            f"the backup could not be put at {target}",
            why=str(error),
            next_step=f"it is whole at {temporary}: rename it",
        ) from error
