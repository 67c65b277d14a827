"""LMDB's and the system's errors by the names that StreamDB gives them."""

from __future__ import annotations

import os
from pathlib import Path

from streamdb.errors import (
    CorruptData,
    ReadOnlyStore,
    StorageFailure,
    StoreBusy,
    StoreClosed,
    StoreFull,
    StreamDBError,
)
from streamdb.segments import outside_error

_ROOM = 4 << 20

READERS = 1020
"""How many readers may look at the store at once, in all processes."""


def translate(error: BaseException, doing: str) -> StreamDBError:
    """The named error for one of LMDB's, or the system's."""
    import lmdb

    if isinstance(error, StreamDBError):
        return error
    if isinstance(error, OSError):
        return outside_error(error, doing)
    if isinstance(error, lmdb.MapFullError):
        return StoreFull(
            "the index's address space is full",
            why=f"while {doing}: {error}",
            next_step="open the store where more address space is allowed (ulimit -v), or with a"
            " larger map_bytes",
        )
    if isinstance(error, lmdb.MapResizedError):
        return StoreBusy(
            "another process has made the index larger than this one may map",
            why=str(error),
            next_step="close the store and open it again",
        )
    if isinstance(error, lmdb.ReadersFullError):
        return StoreBusy(
            "too many readers hold the store open",
            why=f"LMDB has {READERS} places for them",
            next_step="close snapshots that are not needed",
        )
    if isinstance(error, lmdb.CorruptedError | lmdb.PageNotFoundError | lmdb.InvalidError):
        return CorruptData(
            "the index is damaged",
            why=f"while {doing}: {error}",
            next_step="run `streamdb check` to see all damage, then `streamdb repair`",
        )
    code = getattr(error, "code", 0)
    if code in (28, 122, 27) or "No space left" in str(error) or "File too large" in str(error):
        return StoreFull(
            "there is no space left for the index",
            why=f"while {doing}: {error}",
            next_step="free space on the disk (or raise the quota), then try again",
        )
    if "already open in this process" in str(error):
        return StoreClosed(
            "the store was opened before this process was forked off, and is still held",
            why="a handle, snapshot or transaction of the parent is alive in this child",
            next_step="open the store only in the children, or start them without fork",
        )
    if isinstance(error, lmdb.ReadonlyError):
        return ReadOnlyStore(
            "the store is open for reading only", next_step="open it without readonly=True"
        )
    return StorageFailure(
        f"the index failed while {doing}",
        why=str(error),
        next_step="close the store and open it again; look into the kernel's log (dmesg)",
    )


def raise_named(error: BaseException | None, doing: str) -> None:
    """Raise the named error when ``error`` is one of LMDB's; leave every other to the caller."""
    if error is None or isinstance(error, StreamDBError):
        return
    import lmdb

    if isinstance(error, lmdb.Error):
        raise translate(error, doing) from error


def is_short_write(error: BaseException, root: Path) -> bool:
    """Whether LMDB's "Input/output error" is a write that ended early, because there is no room."""
    if "Input/output error" not in str(error):
        return False
    import resource

    status = os.statvfs(root)
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    length = (root / "index" / "data.mdb").stat().st_size
    full = status.f_bavail * status.f_frsize < _ROOM
    return full or (largest != resource.RLIM_INFINITY and largest < length + _ROOM)
