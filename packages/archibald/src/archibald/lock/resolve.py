"""Making a lock: the profile's packages, resolved by apt against signed indexes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from archibald.errors import ToolFailedError
from archibald.lock.apt import AptRoom
from archibald.lock.fetch import Note, fetch_packages
from archibald.lock.model import Lock, LockedPackage
from archibald.lock.repo import repository_address, write_repository
from archibald.lock.sources import Mirrors, Source, sources_for
from archibald.lock.store import Store
from archibald.lock.wheels import resolve_wheels
from archibald.run import Runner, run

#: Host packages whose version can change the bytes of an image.
SHAPING_TOOLS = (
    "apt", "dpkg", "e2fsprogs", "grub-common", "grub-efi-amd64-bin", "grub-pc-bin", "mmdebstrap",
    "mtools", "squashfs-tools", "xorriso",
)  # fmt: skip


@dataclass(frozen=True)
class Request:
    """What a lock is made for. ``packages`` maps names to who wants them."""

    suite: str
    components: tuple[str, ...]
    packages: Mapping[str, str]
    python_requirements: tuple[str, ...]


def tool_versions(names: Sequence[str] = SHAPING_TOOLS, *, runner: Runner = run) -> dict[str, str]:
    """Return the versions of the host packages that are installed among ``names``."""
    result = runner(
        [
            "dpkg-query",
            "--show",
            "--showformat=${Package}\t${Version}\t${db:Status-Status}\n",
            *names,
        ],
        check=False,
    )
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    return {row[0]: row[1] for row in rows if len(row) == 3 and row[2] == "installed"}


def python_version(packages: Sequence[LockedPackage]) -> str:
    """Return the image's Python as "3.14", from the version of its package python3."""
    for package in packages:
        if package.name == "python3":
            return ".".join(package.version.split("-")[0].split(".")[:2])
    raise ToolFailedError("the resolved packages hold no python3", why="the system needs one")


def make_lock(
    request: Request, mirrors: Mirrors, keyring: Path, *, folder: Path, runner: Runner = run
) -> Lock:
    """Resolve ``request`` against the mirrors as they are now; ``folder`` keeps apt's lists."""
    room = AptRoom(folder, sources_for(request.suite, request.components, mirrors), keyring)
    room.update()
    return _lock_from(room, request, runner)


def _lock_from(room: AptRoom, request: Request, runner: Runner) -> Lock:
    packages = room.resolve(request.packages)
    releases = room.releases()
    python = python_version(packages)
    newest = max(datetime.strptime(r.date, "%Y-%m-%dT%H:%M:%SZ") for r in releases)  # noqa: DTZ007
    return Lock(
        suite=request.suite,
        snapshot=newest.replace(tzinfo=UTC),
        components=request.components,
        requested=tuple(sorted(request.packages)),
        releases=releases,
        packages=packages,
        python=python,
        python_requirements=request.python_requirements,
        wheels=resolve_wheels(request.python_requirements, python, runner=runner),
        tools=tool_versions(runner=runner),
    )


def update_some(
    old: Lock,
    names: Sequence[str],
    request: Request,
    mirrors: Mirrors,
    keyring: Path,
    *,
    folder: Path,
    store: Store,
    note: Note,
    runner: Runner = run,
) -> Lock:
    """Update only ``names`` and what must move with them; everything else keeps its version.

    apt says what must move by upgrading a system that has the old packages installed. Then the old
    packages are offered to apt beside the new index, and all that need not move are pinned. One
    that can no longer be had moves as well, and ``note`` is told.
    """
    sources = sources_for(request.suite, request.components, mirrors)
    room = AptRoom(folder, sources, keyring)
    room.update()
    fetched = fetch_packages(
        old, store, room=room, mirrors=mirrors, log_file=folder / "fetch.log",
        progress=lambda _done, _total: None, note=note,
    )  # fmt: skip
    gone = {package.name for package in fetched.gone}
    if gone:
        note(f"no longer to be had, so they move as well: {', '.join(sorted(gone))}")
    kept = [p for p in old.packages if p.name not in gone]
    with ExitStack() as stack:
        repo = Path(stack.enter_context(TemporaryDirectory(prefix="locked-", dir=folder)))
        write_repository(kept, store, repo, runner=runner)
        installed = AptRoom(folder, sources, keyring, status=_installed(repo), runner=runner)
        moved = {*names, *installed.moved_by({*names, *gone})}
        local = Source("locked", repository_address(repo), "./", ())
        pinned = AptRoom(
            folder,
            [*sources, local],
            keyring,
            preferences=_pins(kept, moved),
            trusted_bases=(local.base,),
        )
        pinned.update()
        lock = _lock_from(pinned, request, runner)
    return _with_archive_paths(lock, old)


def _installed(repository: Path) -> str:
    """Return dpkg's list of a system that has every package of a repository installed."""
    stanzas = (repository / "Packages").read_text("utf-8").split("\n\n")
    return (
        "\n\n".join(f"Status: install ok installed\n{stanza.strip()}" for stanza in stanzas) + "\n"
    )


def _pins(kept: Sequence[LockedPackage], free: set[str]) -> str:
    return "\n\n".join(
        f"Package: {package.name}\nPin: version {package.version}\nPin-Priority: 1001"
        for package in kept
        if package.name not in free
    )


def _with_archive_paths(lock: Lock, old: Lock) -> Lock:
    """Give packages that came from the local repository their path in the archive back."""
    from dataclasses import replace

    by_hash = {package.sha256: package for package in old.packages}
    packages = tuple(by_hash[p.sha256] if p.archive == "locked" else p for p in lock.packages)
    return replace(lock, packages=packages)
