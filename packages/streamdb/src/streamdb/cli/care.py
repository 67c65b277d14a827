"""``streamdb stats``, ``check``, ``gc`` and ``backup``."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from streamdb.cli.common import EXAMPLES, EXIT_FINDINGS, EXIT_OK, json_option, quiet_option
from streamdb.cli.output import count_text, on_terminal, print_json, print_rows, shown, size_text
from streamdb.cli.progress import showing
from streamdb.cli.store import Access, open_store, store_options
from streamdb.errors import InvalidArgument
from streamdb.model import CheckReport, Problem, Statistics


def named(access: Access, store: str | None) -> Access:
    """The store as an argument, for verbs about the store as a whole.

    Raises:
        InvalidArgument: another one was named by an option.
    """
    if store and access.store and store != access.store:
        raise InvalidArgument("two stores are named", next_step="name one")
    return replace(access, store=store or access.store)


def store_argument(function: Any) -> Any:
    """Add the optional argument that names the store."""
    return click.argument("directory", required=False)(function)


def problem_dict(problem: Problem) -> dict[str, Any]:
    """A finding, for JSON."""
    return asdict(problem)


@click.command(epilog=EXAMPLES + "  streamdb stats\n" + "  streamdb stats --json")
@store_argument
@store_options
@json_option
def stats(directory: str | None, access: Access, as_json: bool) -> int:
    """Show counts and sizes of the store."""
    with open_store(named(access, directory)) as db:
        known = db.statistics()
        root = db.path
    if as_json:
        print_json({"store": str(root), **asdict(known)})
    else:
        print_rows(("", ""), [("store", str(root)), *_stat_rows(known)])
    return EXIT_OK


def _stat_rows(known: Statistics) -> list[tuple[str, str]]:
    def size(count: int) -> str:
        return f"{size_text(count)} ({count:,} bytes)" if on_terminal() else str(count)

    return [
        ("documents", str(known.documents)),
        ("paths", str(known.paths)),
        ("old versions", str(known.versions)),
        ("content", size(known.logical_bytes)),
        ("chunks", str(known.chunks)),
        ("stored", size(known.stored_bytes)),
        ("unused", size(known.unused_bytes)),
        ("index", size(known.index_bytes)),
        ("on disk", size(known.disk_bytes)),
        ("segments", str(known.segments)),
        ("changes", f"{known.first_seq} to {known.last_seq}"),
        ("readers", str(known.readers)),
        ("encrypted", "yes" if known.encrypted else "no"),
        ("format", str(known.format_version)),
        ("identity", known.store_id),
    ]


@click.command(epilog=EXAMPLES + "  streamdb check\n" + "  streamdb check --json")
@store_argument
@quiet_option
@store_options
@json_option
def check(directory: str | None, quiet: bool, access: Access, as_json: bool) -> int:
    """Read everything, and check every checksum, reference and count; others may use the store.

    Exit code 1 and a line for each finding when something is damaged.
    """
    from streamdb.check import check_store

    access = named(access, directory)
    root = access.root()
    with showing(quiet=quiet) as progress:
        report = check_store(root, key=access.key(root), progress=progress)
    if as_json:
        print_json({"store": str(root), "ok": report.ok, **asdict(report)})
    else:
        _print_check(root, report)
    return EXIT_OK if report.ok else EXIT_FINDINGS


def _print_check(root: Path, report: CheckReport) -> None:
    for problem in report.problems:
        click.echo(shown(str(problem)))
    for note in report.notes:
        click.echo(f"note: {shown(note)}")
    read = (
        f"{count_text(report.documents, 'document')}, {count_text(report.chunks, 'chunk')},"
        f" {size_text(report.bytes_read)} read"
    )
    if report.ok:
        click.echo(f"{root} is whole: {read}")
    else:
        click.echo(f"{count_text(len(report.problems), 'problem')} in {root}: {read}")
        click.echo("next: streamdb repair, or restore the store from a backup", err=True)


@click.command(epilog=EXAMPLES + "  streamdb gc\n" + "  streamdb gc --json")
@store_argument
@quiet_option
@store_options
@json_option
def gc(directory: str | None, quiet: bool, access: Access, as_json: bool) -> int:
    """Free what nothing refers to any more; others may use the store."""
    with (
        open_store(named(access, directory), write=True) as db,
        showing(quiet=quiet) as progress,
    ):
        report = db.gc(progress)
    if as_json:
        print_json(asdict(report))
        return EXIT_OK
    chunks = count_text(report.chunks_removed, "chunk")
    click.echo(f"freed {size_text(report.bytes_freed)}: {chunks} removed")
    if report.waiting:
        click.echo(f"{report.waiting:,} wait for readers; run it again later")
    return EXIT_OK


@click.command(
    epilog=EXAMPLES
    + "  streamdb backup copies/monday.sdb\n"
    + "  streamdb backup copies/monday.sdb --json"
)
@click.argument("target", type=click.Path())
@quiet_option
@store_options
@json_option
def backup(target: str, quiet: bool, access: Access, as_json: bool) -> int:
    """Copy the store to TARGET while it is in use, and check the copy.

    TARGET is a store like any other. An older backup there is brought up to date.
    """
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    with open_store(access) as db, showing(quiet=quiet) as progress:
        report = db.backup(target, progress)
    if as_json:
        print_json(asdict(report))
    else:
        click.echo(
            f"{report.target}: {count_text(report.documents, 'document')},"
            f" {size_text(report.bytes_copied)} copied,"
            f" {size_text(report.bytes_reused)} there already; checked"
        )
    return EXIT_OK
