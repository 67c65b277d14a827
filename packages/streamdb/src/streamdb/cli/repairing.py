"""``streamdb repair``: rebuild what can be, put aside what cannot."""

from __future__ import annotations

from dataclasses import asdict

import click

from streamdb.cli.care import named, problem_dict, store_argument
from streamdb.cli.common import EXAMPLES, EXIT_FINDINGS, EXIT_OK, json_option, quiet_option
from streamdb.cli.output import count_text, print_json, shown
from streamdb.cli.progress import showing
from streamdb.cli.store import Access, store_options
from streamdb.model import RepairReport


@click.command(epilog=EXAMPLES + "  streamdb repair\n" + "  streamdb repair library.sdb --json")
@store_argument
@quiet_option
@store_options
@json_option
def repair(directory: str | None, quiet: bool, access: Access, as_json: bool) -> int:
    """Rebuild the index from everything that is whole; nobody else may use the store meanwhile.

    What is damaged goes to the folder quarantine in the store. Each document that is lost is named,
    with the reason, and the exit code is 1.
    """
    from streamdb.repair import repair_store

    access = named(access, directory)
    root = access.root()
    with showing(quiet=quiet) as progress:
        report = repair_store(root, key=access.key(root), progress=progress)
    if as_json:
        lost = [problem_dict(problem) for problem in report.lost]
        print_json({"store": str(root), **asdict(report), "lost": lost})
    else:
        _print(report)
    return EXIT_FINDINGS if report.lost else EXIT_OK


def _print(report: RepairReport) -> None:
    for fixed in report.fixed:
        click.echo(f"fixed: {shown(fixed)}")
    for problem in report.lost:
        click.echo(f"lost: {shown(str(problem))}")
    recovered = f", {report.documents_recovered:,} of them recovered from the segments"
    click.echo(
        f"kept {count_text(report.documents_kept + report.documents_recovered, 'document')}"
        f"{recovered if report.documents_recovered else ''}; lost {len(report.lost):,}"
    )
    if report.quarantine:
        click.echo(f"the old index and what is damaged: {report.quarantine}")
