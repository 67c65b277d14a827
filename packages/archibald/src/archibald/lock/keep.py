"""From a profile's wishes to packages on disk: the lock as it is, or a new one when it must be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from archibald.errors import PreconditionError, UsageError
from archibald.lock import model
from archibald.lock.apt import AptRoom, SignatureError
from archibald.lock.fetch import Fetched, Note, Progress, fetch_packages
from archibald.lock.model import Lock
from archibald.lock.resolve import Request, make_lock, tool_versions
from archibald.lock.sources import Mirrors, sources_for
from archibald.lock.store import Store
from archibald.lock.wheels import fetch_wheels


class LockedPackageGoneError(PreconditionError):
    """``--locked`` was asked for, and no mirror has a locked package any more."""


class StaleLockError(UsageError):
    """``--locked`` was asked for, and the lock does not fit the profile."""


class NoLockError(PreconditionError):
    """There is no lock, and none can be made offline."""


@dataclass(frozen=True)
class Policy:
    """How strictly the lock is kept. ``mirrors`` None means offline."""

    locked: bool
    mirrors: Mirrors | None
    keyring: Path | None


@dataclass(frozen=True)
class Kept:
    """The lock that a build uses; ``changed`` tells why it is not the one that was given."""

    lock: Lock
    changed: str
    downloaded_bytes: int
    confirmed: str


def read_lock(path: Path) -> Lock | None:
    """Return the lock at ``path``, None when there is no such file."""
    try:
        return model.load(path.read_text(encoding="utf-8"), name=str(path))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise model.LockError(f"{path} cannot be read", why=str(error)) from error


def staleness(lock: Lock, request: Request) -> str:
    """Return why ``lock`` does not fit ``request``, "" when it does."""
    wanted = {
        "suite": (lock.suite, request.suite),
        "components": (lock.components, request.components),
        "Python packages": (lock.python_requirements, request.python_requirements),
    }
    for what, (old, new) in wanted.items():
        if old != new:
            return f"{what}: the lock has {old}, the profile {new}"
    added = sorted(set(request.packages) - set(lock.requested))
    removed = sorted(set(lock.requested) - set(request.packages))
    parts = [
        f"{word} {', '.join(n[:6])}"
        for word, n in (("lacks", added), ("has besides", removed))
        if n
    ]
    return "the lock " + " and ".join(parts) if parts else ""


def keep(
    given: Lock | None,
    request: Request,
    store: Store,
    policy: Policy,
    *,
    folder: Path,
    progress: Progress,
    note: Note,
) -> Kept:
    """Bring everything that ``request`` needs into ``store`` and return the lock that holds.

    The given lock holds as long as it fits and its packages can be had; else a new one is made,
    unless ``policy.locked``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    reason = "there is no lock yet" if given is None else staleness(given, request)
    if reason and policy.locked:
        raise StaleLockError(
            "the lock does not fit the profile", why=reason, next_step="archibald lock --update"
        )
    if given is not None and not reason:
        fetched, confirmed = _fetch(given, store, policy, folder, progress, note)
        if not fetched.gone:
            return Kept(given, "", fetched.downloaded_bytes, confirmed)
        reason = _gone_text(fetched)
        if policy.locked:
            raise LockedPackageGoneError(
                "locked packages can no longer be had",
                why=reason,
                next_step="build without --locked to take current versions, or use a mirror that "
                "keeps old ones (--mirror)",
            )
    note(f"resolving anew: {reason}")
    lock = _resolve(request, policy, folder)
    fetched, confirmed = _fetch(lock, store, policy, folder, progress, note)
    if fetched.gone:
        raise LockedPackageGoneError(
            "the mirror lists packages that it does not serve",
            why=_gone_text(fetched),
            next_step="try again later (the mirror is being updated), or use another (--mirror)",
        )
    return Kept(lock, reason, fetched.downloaded_bytes, confirmed)


def _gone_text(fetched: Fetched) -> str:
    names = [f"{p.name} {p.version}" for p in fetched.gone]
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"no mirror has {', '.join(names[:4])}{more}"


def _resolve(request: Request, policy: Policy, folder: Path) -> Lock:
    if policy.mirrors is None or policy.keyring is None:
        raise NoLockError(
            "a lock is needed, and making one needs the network",
            why="--offline builds from the cache and the lock alone",
            next_step="archibald lock (with a network), then build --offline",
        )
    return make_lock(request, policy.mirrors, policy.keyring, folder=folder)


def _fetch(
    lock: Lock, store: Store, policy: Policy, folder: Path, progress: Progress, note: Note
) -> tuple[Fetched, str]:
    room = None
    if policy.mirrors is not None and policy.keyring is not None:
        sources = sources_for(lock.suite, lock.components, policy.mirrors)
        room = AptRoom(folder, sources, policy.keyring)
    fetched = fetch_packages(
        lock, store, room=room, mirrors=policy.mirrors, log_file=folder / "download.log",
        progress=progress, note=note,
    )  # fmt: skip
    fetch_wheels(lock.wheels, lock.python, store, offline=room is None, note=note)
    confirmed = ""
    # What nobody serves may be old, or the mirror away, or the lock's hash forged: the index tells.
    if room is not None and (fetched.downloaded_bytes or fetched.gone):
        confirmed = confirm(lock, room)
    return fetched, confirmed


def confirm(lock: Lock, room: AptRoom) -> str:
    """Compare the lock with the index that the mirror signs today; return what was found.

    A locked version that the signed index lists with another hash means that the lock (or the
    mirror) was tampered with: :class:`SignatureError`. Versions that the index no longer lists are
    vouched for by the lock alone, which is said.
    """
    room.update()
    signed = room.hashes([package.name for package in lock.packages])
    by_version = {(name, version): sha256 for name, version, sha256 in signed}
    wrong = [
        f"{p.name} {p.version}"
        for p in lock.packages
        if by_version.get((p.name, p.version), p.sha256) != p.sha256
    ]
    if wrong:
        raise SignatureError(
            f"the lock's hash of {', '.join(wrong[:5])} is not the one that the archive signed",
            next_step="do not trust this lock: restore it, or run archibald lock --update",
        )
    known = sum((p.name, p.version) in by_version for p in lock.packages)
    date = max(release.date for release in room.releases())
    rest = len(lock.packages) - known
    text = f"{known} of {len(lock.packages)} packages confirmed by the signed index of {date}"
    return text + (f"; {rest} older ones by the lock's SHA-256" if rest else "")


def tool_differences(
    lock: Lock, current: Callable[[], dict[str, str]] = tool_versions
) -> list[str]:
    """Return which tools of this host differ from those that the lock was made with."""
    here = current()
    return [
        f"{name}: lock {lock.tools.get(name, 'none')}, here {here.get(name, 'none')}"
        for name in sorted({*lock.tools, *here})
        if lock.tools.get(name) != here.get(name)
    ]
