"""``archibald compare``: did it get better?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json
from archibald.errors import ExitCode

if TYPE_CHECKING:
    from archibald.measure.compare import Comparison

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(
    epilog=EPILOG_EXAMPLES + "  archibald compare before.json after.json\n"
    "  archibald compare --json rt.json generic.json"
)
@click.argument("first", type=_FILE, metavar="A.json")
@click.argument("second", type=_FILE, metavar="B.json")
@json_option
def command(*, first: Path, second: Path, as_json: bool) -> int:
    """Compare two runs of one kind: is B better, worse, or not distinguishable?

    Exit code 1 when a figure of B is worse.
    """
    from archibald.measure.compare import compare_runs
    from archibald.measure.document import load_run

    found = compare_runs(load_run(first), load_run(second))
    if as_json:
        print_json(asdict(found))
    else:
        click.echo("\n".join(_lines(found)))
    return ExitCode.FINDINGS if found.worse else ExitCode.OK


def _lines(found: Comparison) -> list[str]:
    lines = [f"warning: {text}" for text in found.warnings]
    lines += [f"{'figure':<36} {'A':>11} {'B':>11} {'unit':<8} {'p':>6}  B is"]
    for one in found.differences:
        p = "" if one.p is None else f"{one.p:.3f}"
        lines.append(
            f"{one.id:<36} {one.first:>11.5g} {one.second:>11.5g} {one.unit:<8} {p:>6}  "
            f"{one.verdict}"
        )
    reasons = dict.fromkeys(one.why for one in found.differences if one.why)
    lines += ["", f"{found.tests} tests, p values corrected for their number (Holm)"]
    return [*lines, *(f"no test: {why}" for why in reasons)]
