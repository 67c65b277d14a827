"""``streamdb export``: write documents as files."""

from __future__ import annotations

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
from streamdb.cli.completing import stored_folders
from streamdb.cli.output import count_text, print_json, shown, size_text
from streamdb.cli.progress import showing
from streamdb.cli.store import Access, open_store, store_options
from streamdb.exporting import ExportInterrupted, ExportReport, export_folder

_MOST_LISTED = 50


@click.command(
    epilog=EXAMPLES
    + "  streamdb export out\n"
    + "  streamdb export out/drums --prefix drums --overwrite\n"
    + "  streamdb export out/fast --find 'tempo>=120' --dry-run"
)
@click.argument("folder", type=click.Path())
@click.option(
    "--prefix",
    default="",
    metavar="DIR",
    shell_complete=stored_folders,
    help="Only this folder of the store; it is cut off the paths.",
)
@click.option("--find", "query", metavar="QUERY", help="Only documents that this query finds.")
@click.option("--checksum", is_flag=True, help="Compare contents, not only sizes and times.")
@click.option("--overwrite", is_flag=True, help="Replace files that are different.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be done; write nothing.")
@quiet_option
@store_options
@json_option
def export(
    folder: str,
    prefix: str,
    query: str | None,
    checksum: bool,
    overwrite: bool,
    dry_run: bool,
    quiet: bool,
    access: Access,
    as_json: bool,
) -> int:
    """Write documents as files into FOLDER, with the times that they had.

    Nothing is written outside FOLDER, links in it are not followed, and each file appears whole or
    not at all. A file that is there already and is different is kept, and the exit code is 1,
    unless --overwrite is given.
    """
    with open_store(access) as db:
        try:
            with showing(quiet=quiet) as progress:
                report = export_folder(
                    db,
                    folder,
                    prefix=prefix.rstrip("/"),
                    query=query,
                    checksum=checksum,
                    overwrite=overwrite,
                    dry_run=dry_run,
                    progress=progress,
                )
        except ExportInterrupted as interrupted:
            _print_report(interrupted.report, as_json, "interrupted")
            return EXIT_INTERRUPTED
    _print_report(report, as_json, "dry run" if dry_run else "done")
    return EXIT_OK if report.ok else EXIT_FINDINGS


def _print_report(report: ExportReport, as_json: bool, state: str) -> None:
    if as_json:
        failed = [{"path": path, "reason": reason} for path, reason in report.failed]
        shape: dict[str, Any] = {
            "written": report.written,
            "unchanged": report.unchanged,
            "bytes_written": report.bytes_written,
            "failed": failed,
            "state": state,
        }
        print_json(shape)
        return
    lead = {"done": "", "interrupted": "interrupted; so far: ", "dry run": "would write: "}[state]
    written = count_text(report.written, "file")
    click.echo(
        f"{lead}{written} ({size_text(report.bytes_written)}), {report.unchanged:,} unchanged"
    )
    if report.failed:
        click.echo(f"not written: {len(report.failed):,}", err=True)
        for path, reason in report.failed[:_MOST_LISTED]:
            click.echo(f"  {shown(path)}: {reason}", err=True)
        if len(report.failed) > _MOST_LISTED:
            click.echo(
                f"  and {len(report.failed) - _MOST_LISTED:,} more (--json lists all)", err=True
            )
