"""``streamdb history``, ``restore`` and ``changes``: what was."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from streamdb.cli.common import EXAMPLES, EXIT_OK, json_option
from streamdb.cli.completing import stored_paths
from streamdb.cli.output import on_terminal, print_json, print_rows, shown, size_text, time_text
from streamdb.cli.store import Access, open_store, store_options
from streamdb.errors import NotFound
from streamdb.model import Change, Version

if TYPE_CHECKING:
    from streamdb.store import StreamDB

_PAGE = 10_000


@click.command(
    epilog=EXAMPLES
    + "  streamdb history drums/kick.wav\n"
    + "  streamdb history drums/kick.wav --json"
)
@click.argument("path", shell_complete=stored_paths)
@store_options
@json_option
def history(path: str, access: Access, as_json: bool) -> int:
    """List the versions of PATH that are kept, the newest first; also of a deleted document."""
    with open_store(access) as db:
        versions = db.history(path)
    if as_json:
        print_json({"path": path, "versions": [_version_dict(each) for each in versions]})
    else:
        heads = ("Version", "State", "Size", "Changed", "Put aside", "BLAKE3")
        print_rows(heads, (_version_row(each) for each in versions), right=(0, 2))
    return EXIT_OK


def _version_dict(version: Version) -> dict[str, Any]:
    return {
        "version": version.version,
        "state": version.reason,
        "current": version.current,
        "size": version.size,
        "mtime_ns": version.mtime_ns,
        "set_aside_ns": version.set_aside_ns,
        "guid": str(version.guid),
        "digest": version.digest,
    }


def _version_row(version: Version) -> tuple[str, ...]:
    terminal = on_terminal()
    return (
        str(version.version),
        version.reason,
        size_text(version.size) if terminal else str(version.size),
        time_text(version.mtime_ns),
        time_text(version.set_aside_ns) if version.set_aside_ns else "",
        version.digest[:16] if terminal else version.digest,
    )


@click.command(
    epilog=EXAMPLES + "  streamdb restore drums/kick.wav 1\n" + "  streamdb restore drums/kick.wav"
)
@click.argument("path", shell_complete=stored_paths)
@click.argument("version", type=int, required=False)
@store_options
@json_option
def restore(path: str, version: int | None, access: Access, as_json: bool) -> int:
    """Make an old VERSION of PATH the current one (default: the newest old one).

    A deleted document comes back; what is current now becomes an old version.
    """
    with open_store(access, write=True) as db:
        if version is None:
            old = [each.version for each in db.history(path) if not each.current]
            if not old:
                raise NotFound(
                    f"no old version of {path!r} is kept",
                    next_step=f"see what is: streamdb history {path!r}",
                )
            version = old[0]
        db.restore(path, version)
        known = db.stat(path)
    if as_json:
        print_json({"path": path, "restored": version, "version": known.version})
    else:
        click.echo(f"{shown(path)}: version {version} is current again, as {known.version}")
    return EXIT_OK


@click.command(
    epilog=EXAMPLES + "  streamdb changes\n" + "  streamdb changes --since 3 --limit 2 --json"
)
@click.option("--since", type=click.IntRange(min=0), default=0, metavar="N", help="After number N.")
@click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most so many.")
@store_options
@json_option
def changes(since: int, limit: int | None, access: Access, as_json: bool) -> int:
    """Print the feed of changes, the oldest first; the last number is where to go on."""
    with open_store(access) as db:
        found = itertools.islice(_all_changes(db, since), limit)
        if as_json:
            listed = [_change_dict(each) for each in found]
            last = listed[-1]["seq"] if listed else since
            print_json({"changes": listed, "last_seq": last})
        else:
            heads = ("Number", "Change", "Path", "Before", "Time")
            print_rows(heads, (_change_row(each) for each in found), right=(0,))
    return EXIT_OK


def _all_changes(db: StreamDB, since: int) -> Iterator[Change]:
    while page := db.changes(since, limit=_PAGE):
        yield from page
        since = page[-1].seq


def _change_dict(change: Change) -> dict[str, Any]:
    return {
        "seq": change.seq,
        "kind": change.kind,
        "path": change.path,
        "old_path": change.old_path,
        "guid": str(change.guid),
        "digest": change.digest,
        "size": change.size,
        "hlc": change.hlc,
        "origin": change.origin,
    }


def _change_row(change: Change) -> tuple[str, ...]:
    when = time_text((change.hlc >> 16) * 1_000_000)
    return str(change.seq), change.kind, change.path, change.old_path or "", when
