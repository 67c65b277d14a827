"""Bringing the files of a lock into the store: from the mirrors, or from the cache alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from archibald.errors import PreconditionError
from archibald.lock.apt import AptRoom
from archibald.lock.model import Lock, LockedPackage
from archibald.lock.sources import Mirrors
from archibald.lock.store import Store, TamperedFileError, Wanted

Progress = Callable[[int, int], None]
Note = Callable[[str], None]


class NotCachedError(PreconditionError):
    """``--offline`` was asked for, and the cache lacks something."""


@dataclass(frozen=True)
class Fetched:
    """What a fetch did: bytes brought, files that no mirror has any more."""

    downloaded_bytes: int
    gone: tuple[LockedPackage, ...]


def wanted_of(package: LockedPackage) -> Wanted:
    """Return the package's file as the store knows it."""
    return Wanted(package.sha256, package.size, package.file_name)


def _names(rows: Sequence[Wanted], limit: int = 5) -> str:
    more = f" and {len(rows) - limit} more" if len(rows) > limit else ""
    return ", ".join(row.name for row in rows[:limit]) + more


def refuse_tampered(store: Store, tampered: Sequence[Wanted], *, offline: bool, note: Note) -> None:
    """Take tampered files out of the cache; without a network that is the end."""
    if not tampered:
        return
    moved = [store.reject(row) for row in tampered]
    if offline:
        raise TamperedFileError(
            f"the cache holds files that are not what the lock says: {_names(tampered)}",
            why=f"their SHA-256 differs; moved to {moved[0].parent}",
            next_step="build once without --offline to fetch them again",
        )
    note(f"refused, SHA-256 differs from the lock: {_names(tampered)}; fetching anew")


def fetch_packages(
    lock: Lock,
    store: Store,
    *,
    room: AptRoom | None,
    mirrors: Mirrors | None,
    log_file: Path,
    progress: Progress,
    note: Note,
) -> Fetched:
    """Bring every package of ``lock`` into ``store``, each checked by size and SHA-256.

    ``room`` and ``mirrors`` None means offline. Packages that no mirror holds any more are returned
    as ``gone``; the caller decides what follows.
    """
    offline = room is None or mirrors is None
    by_hash = {package.sha256: package for package in lock.packages}
    store.recover()
    checked = store.check(wanted_of(package) for package in lock.packages)
    refuse_tampered(store, checked.tampered, offline=offline, note=note)
    needed = (*checked.missing, *checked.tampered)
    if not needed:
        return Fetched(0, ())
    if room is None or mirrors is None:
        raise NotCachedError(
            f"{len(needed)} of {len(lock.packages)} packages are not in the cache",
            why=f"--offline builds from the cache alone; it lacks {_names(needed)}",
            next_step="build once without --offline",
        )
    rows = [(row, store.partial_path(row)) for row in needed]
    total = sum(row.size for row in needed)

    def tick() -> None:
        done = 0
        for _, path in rows:
            with contextlib.suppress(OSError):
                done += path.stat().st_size
        progress(done, total)

    try:
        room.download(
            [(_address(by_hash[row.sha256], mirrors), path, row.sha256) for row, path in rows],
            on_tick=tick,
            log_file=log_file,
        )
    finally:
        # Also after Ctrl-C: what has arrived whole need not be fetched again.
        gone = [row for row, path in rows if not store.adopt(row, path)]
    progress(total, total)
    return Fetched(
        total - sum(row.size for row in gone), tuple(by_hash[row.sha256] for row in gone)
    )


def _address(package: LockedPackage, mirrors: Mirrors) -> str:
    return f"{mirrors.base(package.archive)}/{quote(package.path, safe='/~')}"
