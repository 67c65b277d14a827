"""``streamdb import``: store the files of a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from streamdb.cli.common import (
    EXAMPLES,
    EXIT_FINDINGS,
    EXIT_INTERRUPTED,
    EXIT_OK,
    json_option,
    quiet_option,
)
from streamdb.cli.output import count_text, print_json, shown, size_text
from streamdb.cli.progress import showing
from streamdb.cli.store import Access, open_store, store_options
from streamdb.errors import StreamDBError
from streamdb.importing import (
    Importer,
    ImportInterrupted,
    ImportReport,
    LeftOut,
    Selection,
    Step,
    Work,
    plan,
)
from streamdb.importing.walk import need_folder

_MOST_LISTED = 50


def selecting(function: Any) -> Any:
    """Add the options that say which files are meant, and where they go."""
    for option in reversed(
        (
            click.option("--prefix", default="", metavar="DIR", help="Folder in the store."),
            click.option(
                "--include",
                multiple=True,
                metavar="PATTERN",
                help="Only files like this, such as '*.wav' (again for more).",
            ),
            click.option(
                "--exclude",
                multiple=True,
                metavar="PATTERN",
                help="Not files or folders like this (again for more).",
            ),
        )
    ):
        function = option(function)
    return function


def work_of(
    folder: str,
    prefix: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    *,
    checksum: bool = False,
    delete: bool = False,
) -> Work:
    """What the options mean."""
    return Work(
        need_folder(Path(folder)),
        prefix.rstrip("/"),
        Selection.of(include, exclude),
        checksum,
        delete,
    )


@click.command(
    "import",
    epilog=EXAMPLES
    + "  streamdb import samples\n"
    + "  streamdb import samples --prefix packs/one --include '*.wav' --exclude old\n"
    + "  streamdb import samples --delete --dry-run\n"
    + "  streamdb import samples --checksum --json",
)
@click.argument("folder", type=click.Path())
@selecting
@click.option("--checksum", is_flag=True, help="Compare contents, not only sizes and times.")
@click.option("--delete", is_flag=True, help="Delete documents whose file is gone.")
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be done; write nothing.")
@quiet_option
@store_options
@json_option
def import_(
    folder: str,
    prefix: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    checksum: bool,
    delete: bool,
    dry_run: bool,
    quiet: bool,
    access: Access,
    as_json: bool,
) -> int:
    """Store the files of FOLDER that are new or changed.

    Format, rate, channels, length, tags, tempo and key are read from audio files and their names.
    Files that cannot be read are listed at the end, and the exit code is 1. Links and devices are
    left out. Ctrl-C keeps what is whole.
    """
    work = work_of(folder, prefix, include, exclude, checksum=checksum, delete=delete)
    if dry_run:
        return _print_plan(access, work, as_json)
    with open_store(access, write=True, durability="bulk") as db:
        importer = Importer(db, work)
        try:
            with showing(quiet=quiet) as progress:
                report = importer.run(progress)
        except ImportInterrupted as interrupted:
            _print_report(interrupted.report, as_json, "interrupted")
            return EXIT_INTERRUPTED
        except StreamDBError:
            if not as_json:
                _print_report(importer.report, as_json, "stopped")
            raise
    _print_report(report, as_json)
    return EXIT_OK if report.ok else EXIT_FINDINGS


def report_dict(report: ImportReport) -> dict[str, Any]:
    """A report for JSON."""
    return {
        "added": report.added,
        "updated": report.updated,
        "unchanged": report.unchanged,
        "deleted": report.deleted,
        "problems": report.problems,
        "bytes_read": report.bytes_read,
        "failed": [_left_dict(left) for left in report.failed],
        "left_out": [_left_dict(left) for left in report.left_out],
    }


def _left_dict(left: LeftOut) -> dict[str, str]:
    return {"path": shown(left.path), "reason": left.reason}


def _print_report(report: ImportReport, as_json: bool, state: str = "done") -> None:
    if as_json:
        print_json({**report_dict(report), "state": state})
        return
    numbers = [
        f"{number:,} {word}"
        for number, word in (
            (report.added, "added"),
            (report.updated, "updated"),
            (report.deleted, "deleted"),
            (report.unchanged, "unchanged"),
        )
        if number or word == "added"
    ]
    lead = {"done": "", "interrupted": "interrupted; stored so far: ", "stopped": "stored so far: "}
    click.echo(f"{lead[state]}{', '.join(numbers)}; {size_text(report.bytes_read)} read")
    if report.problems:
        files = count_text(report.problems, "file")
        click.echo(f"damaged inside, but stored as found: {files}; streamdb find has:problem")
    _list("left out", report.left_out)
    _list("not imported", report.failed)


def _list(title: str, left_out: tuple[LeftOut, ...]) -> None:
    if not left_out:
        return
    click.echo(f"{title}: {len(left_out):,}", err=True)
    for left in left_out[:_MOST_LISTED]:
        click.echo(f"  {shown(left.path)}: {left.reason}", err=True)
    if len(left_out) > _MOST_LISTED:
        click.echo(f"  and {len(left_out) - _MOST_LISTED:,} more (--json lists all)", err=True)


def _print_plan(access: Access, work: Work, as_json: bool) -> int:
    failed: list[LeftOut] = []
    steps: list[dict[str, Any]] = []
    with open_store(access) as db:
        for step in plan(db, work):
            if isinstance(step, LeftOut):
                if step.failed:
                    failed.append(step)
            elif as_json and step.kind != "keep":
                steps.append({"step": step.kind, "path": step.path, "size": step.size})
            elif step.kind != "keep":
                click.echo(f"{step.kind}\t{_plain(step)}")
    if as_json:
        print_json({"steps": steps, "failed": [_left_dict(left) for left in failed]})
    else:
        _list("cannot be imported", tuple(failed))
    return EXIT_FINDINGS if failed else EXIT_OK


def _plain(step: Step) -> str:
    return shown(step.path)
