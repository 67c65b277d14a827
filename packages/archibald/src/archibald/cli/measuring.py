"""What the commands of ``archibald measure`` share: the machine, and where results go."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from archibald.cli.common import json_option
from archibald.errors import PreconditionError

if TYPE_CHECKING:
    from archibald.measure.document import Figure, Run
    from archibald.measure.session import Bench

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path, dir_okay=False)


def measure_options(function: _Decorated) -> _Decorated:
    """Add ``--profile``, ``--card``, ``--user``, ``--label``, ``--output`` and ``--json``."""
    options = (
        click.option("-p", "--profile", "profile_path", type=_FILE,
                     help="Whose period, CPUs and priority count. Default: the profile of this "
                     "system, else archibald.toml here, else the defaults."),
        click.option("--card", default="", metavar="ID",
                     help="The audio interface, by id or number. Default: USB before built-in."),
        click.option("--user", "user_name", default="", metavar="NAME",
                     help="Whose session. Default: yours; as root, of the one who has PipeWire."),
        click.option("--label", default="", metavar="TEXT",
                     help="A name for this run in reports, such as 'before apply'."),
        click.option("-o", "--output", "output", type=_FILE,
                     help="The run's file. Default: KIND-TIME.json here; with --json none."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return json_option(function)


def make_bench(
    profile_path: Path | None, card: str, user_name: str, label: str, *, ask: bool = False
) -> Bench:
    """Return the machine that runs now, with the profile that holds."""
    from archibald.cli.tuning import chosen_profile, look
    from archibald.measure.session import Bench

    profile, source = chosen_profile(profile_path)
    scene = look(profile, root=Path("/"), card=card, user_name=user_name, ask=ask)
    return Bench(scene, source, label[:200])


def require_writable(output: Path | None, *, as_json: bool) -> None:
    """Refuse before minutes are spent on a result that cannot be kept."""
    if output is None and as_json:
        return
    folder = (output or Path("x")).absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not (folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)):
        raise PreconditionError(
            f"the result cannot be kept in {folder}", why="the folder may not be written",
            next_step="name a file with --output, or take --json",
        )  # fmt: skip


def keep(run: Run, folder: Path) -> Path:
    """Write a run into a folder under its own name, and return where."""
    from archibald.measure.document import default_filename, write_run

    path = folder / default_filename(run.kind, run.started)
    write_run(run, path)
    return path


def deliver(run: Run, output: Path | None, *, as_json: bool) -> None:
    """Keep the run as a file, and print what it says."""
    from archibald.measure.document import default_filename, dump_run, write_run

    path = output
    if path is None and not as_json:
        path = Path(default_filename(run.kind, run.started))
    if path is not None:
        write_run(run, path)
    if as_json:
        sys.stdout.write(dump_run(run))
        return
    click.echo("\n".join(run_lines(run)))
    click.echo(f"run: {path}")


def run_lines(run: Run) -> list[str]:
    """Return what a run says, for people: its figures, then remarks and doubts."""
    from archibald.measure.document import Kind

    tables = {Kind.JITTER: _jitter_table, Kind.VIRTUAL_JITTER: _virtual_table}
    lines = tables.get(run.kind, _figure_lines)(run)
    lines += [f"note: {text}" for text in run.notes]
    return lines + [f"warning: {text}" for text in run.warnings]


def _figure_lines(run: Run) -> list[str]:
    width = max((len(figure.title) for figure in run.results), default=0)
    return [f"{figure.title:{width}}  {_value(figure)}" for figure in run.results]


def _jitter_table(run: Run) -> list[str]:
    """Return a line per load and CPU; "-" stands for what too few cycles cannot give."""
    from archibald.measure.records import JitterData

    assert isinstance(run.data, JitterData)
    heads = ("load", "CPU", "max", "p99.99", "p99.9", "average", "over limit", "cycles")
    rows: list[tuple[str, ...]] = [heads]
    for series in run.data.series:
        found = series.histogram
        quantiles = [found.quantile_or_none(q) for q in (0.9999, 0.999)]
        rows.append(
            (
                series.name, str(series.cpu), f"{found.max_us:.0f}",
                *("-" if value is None else str(value) for value in quantiles),
                f"{found.mean_us:.1f}", str(found.overflow), str(found.cycles),
            )
        )  # fmt: skip
    interval, priority = run.settings["interval_us"], run.settings["priority"]
    return [f"wake-up latency in us, every {interval} us, SCHED_FIFO {priority}", *_table(rows)]


def _virtual_table(run: Run) -> list[str]:
    from archibald.measure.records import VirtualJitterData
    from archibald.measure.virtual.compare import table

    assert isinstance(run.data, VirtualJitterData)
    rows = [tuple(row) for row in table(run.data.rows)]
    return ["wake-up latency in virtual us: largest (mean)", *_table(rows)]


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(_cells(row, widths)) for row in rows]


def _cells(row: tuple[str, ...], widths: list[int]) -> list[str]:
    first, *others = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)]


def _value(figure: Figure) -> str:
    if isinstance(figure.value, int) or float(figure.value).is_integer():
        text = f"{figure.value:>10.0f}"
    else:
        text = f"{figure.value:>10.3f}" if abs(figure.value) < 100 else f"{figure.value:>10.1f}"
    interval = ""
    if figure.low is not None and figure.high is not None:
        interval = f"  ({figure.low:.4g} to {figure.high:.4g})"
    return f"{text} {figure.unit}{interval}".rstrip()
