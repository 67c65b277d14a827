"""``archibald lock``: pin what an image is made of, or show what an update would change."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from archibald.cli.build import source_options
from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json, profile_option
from archibald.cli.progress import PlainUi, choose_ui
from archibald.lock import model
from archibald.lock.model import Lock, LockDiff


@click.command(
    epilog=EPILOG_EXAMPLES
    + "  archibald lock                     # make it, or say how it differs\n"
    "  archibald lock --update            # take current versions of everything\n"
    "  archibald lock --update pipewire wireplumber\n"
    "  archibald lock --profile profiles/core.toml --json"
)
@profile_option
@click.option("--update", is_flag=True, help="Write the new lock; with PACKAGES only those move.")
@source_options
@json_option
@click.argument("packages", nargs=-1)
def command(
    profile_path: Path,
    update: bool,
    mirror: str,
    keyring: Path | None,
    lock_path: Path | None,
    as_json: bool,
    packages: tuple[str, ...],
) -> int:
    """Show what has changed since the lock was made, or update it.

    Without a lock one is written. With one, the differences to the archive of today are shown, and
    --update writes them. A lock that no longer fits the profile is brought in step with it.
    """
    if packages and not update:
        raise click.UsageError("PACKAGES are for --update: archibald lock --update " + packages[0])
    ui = PlainUi() if as_json else choose_ui()
    path = (lock_path or profile_path.with_suffix(".lock")).absolute()
    old, new, why = _resolve(profile_path, path, packages, update, mirror, keyring, ui)
    changes = model.diff(old, new) if old else None
    written = old is None or update
    if written:
        _write(path, new)
    if as_json:
        print_json(_as_json(path, new, changes, written))
    else:
        _print(path, new, changes, written, why)
    return 0


def _resolve(
    profile_path: Path,
    path: Path,
    packages: tuple[str, ...],
    update: bool,
    mirror: str,
    keyring: Path | None,
    ui: Any,
) -> tuple[Lock | None, Lock, str]:
    from archibald.image.build import design
    from archibald.lock.keep import staleness
    from archibald.lock.resolve import Request, make_lock, update_some
    from archibald.lock.sources import find_keyring, find_mirrors
    from archibald.lock.store import Store, cache_root
    from archibald.lock.wheels import image_requirements
    from archibald.profile.load import load_profile

    profile = load_profile(profile_path)
    request = Request(
        profile.system.suite, tuple(profile.image.components), design(profile).wishes,
        image_requirements(),
    )  # fmt: skip
    mirrors = find_mirrors(option=mirror, profile=profile.image.mirror)
    keys = find_keyring(keyring)
    old = _read(path, ui, replace=update and not packages)
    _require_known(old, packages)
    folder = cache_root() / "apt" / profile.system.suite
    folder.mkdir(parents=True, exist_ok=True)
    why = staleness(old, request) if old else ""
    with ui.stage("lock", "resolving packages", None):
        if old is not None and packages:
            new = update_some(
                old, packages, request, mirrors, keys, folder=folder,
                store=Store(cache_root() / "pool"), note=ui.note,
            )  # fmt: skip
        else:
            new = make_lock(request, mirrors, keys, folder=folder)
    return old, new, why


def _read(path: Path, ui: Any, *, replace: bool) -> Lock | None:
    """Return the lock at ``path``; one that is about to be replaced whole may be damaged."""
    from archibald.lock.keep import read_lock

    try:
        return read_lock(path)
    except model.LockError as error:
        if not replace:
            raise
        ui.note(f"{error.what}; making it anew")
        return None


def _require_known(old: Lock | None, packages: tuple[str, ...]) -> None:
    from difflib import get_close_matches

    from archibald.errors import UsageError

    if not packages:
        return
    known = old.by_name if old else {}
    for name in packages:
        if name not in known:
            near = ", ".join(get_close_matches(name, known, n=3))
            raise UsageError(
                f"the lock does not hold {name}",
                why=f"near names: {near}" if near else "",
                next_step="archibald lock --update updates everything",
            )


def _write(path: Path, lock: Lock) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(model.dump(lock), encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _as_json(path: Path, lock: Lock, changes: LockDiff | None, written: bool) -> dict[str, Any]:
    return {
        "lock": str(path),
        "written": written,
        "suite": lock.suite,
        "snapshot": lock.snapshot.isoformat(),
        "packages": len(lock.packages),
        "bytes": sum(package.size for package in lock.packages),
        "changes": None if changes is None else vars(changes),
    }


def _rows(changes: LockDiff) -> list[tuple[str, str, str]]:
    rows = [(name, "", version) for name, version in changes.added.items()]
    rows += [(name, version, "") for name, version in changes.removed.items()]
    rows += [(name, old, new) for name, (old, new) in changes.changed.items()]
    rows += [(name, "(same version)", "(other content)") for name in changes.rehashed]
    return sorted(rows) + _pairs(changes.wheels, "wheel") + _pairs(changes.tools, "tool")


def _pairs(pairs: Mapping[str, tuple[str, str]], kind: str) -> list[tuple[str, str, str]]:
    return [(f"{name} ({kind})", old[:20], new[:20]) for name, (old, new) in pairs.items()]


def _print(path: Path, lock: Lock, changes: LockDiff | None, written: bool, why: str) -> None:
    from rich.console import Console
    from rich.table import Table

    from archibald.image.space import mib

    console = Console(highlight=False, markup=False)
    if why:
        console.print(f"{path.name} does not fit the profile: {why}", soft_wrap=True)
    rows = _rows(changes) if changes else []
    if rows:
        table = Table("package", "locked", "now", box=None, pad_edge=False)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    size = mib(sum(package.size for package in lock.packages))
    console.print(
        f"{len(lock.packages)} packages, {size}, "
        f"{lock.suite} as of {lock.snapshot:%Y-%m-%d %H:%M} UTC"
    )
    if written:
        console.print(f"wrote {path}", soft_wrap=True)
    elif rows:
        console.print("nothing written; archibald lock --update writes it")
    else:
        console.print(f"{path.name} is current")
