"""What the commands of ``archibald measure`` share: the machine, and where results go."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import click

from archibald.cli.common import json_option
from archibald.errors import PreconditionError

if TYPE_CHECKING:
    from archibald.measure.document import Figure, Run
    from archibald.measure.graph import Graph
    from archibald.measure.session import Bench

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path, dir_okay=False)

#: A day, in seconds: longer measurements are typing errors.
_DAY_S = 86400


class Common(TypedDict):
    """What :func:`measure_options` adds."""

    profile_path: Path | None
    card: str
    user_name: str
    label: str
    output: Path | None
    as_json: bool


class WithServer(Common):
    """What :func:`server_options` adds to that: which audio server is asked."""

    server: str
    jack_server: str


class FiniteRange(click.FloatRange):
    """A range that refuses what is no number: it compares as neither too small nor too large."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no number.", param, ctx)
        return number


def duration_option(
    *, least_s: int, default_s: int, text: str
) -> Callable[[_Decorated], _Decorated]:
    """Add ``--duration``: the command's parameter ``duration_s``, whole seconds up to a day."""
    return click.option(
        "-d", "--duration", "duration_s", type=click.IntRange(least_s, _DAY_S), default=default_s,
        show_default=True, metavar="S", help=text,
    )  # fmt: skip


def repeated_option(
    flag: str, name: str, *, metavar: str, text: str, type_: click.IntRange | None = None
) -> Callable[[_Decorated], _Decorated]:
    """Add an option that may be given more than once; its parameter is a tuple."""
    return click.option(
        flag, name, multiple=True, metavar=metavar, type=type_, help=f"{text} May be repeated."
    )


def server_options(function: _Decorated) -> _Decorated:
    """Add ``--server`` and ``--jack-server``."""
    server = click.option(
        "--server", type=click.Choice(["auto", "pipewire", "jack"]), default="auto",
        show_default=True, help="auto: PipeWire where it runs, else jackd.",
    )  # fmt: skip
    name = click.option(
        "--jack-server", default="", metavar="NAME",
        help="A jackd with a name of its own (jackd -n).",
    )  # fmt: skip
    return server(name(function))


def graph_of(bench: Bench, common: WithServer) -> Graph:
    """Return the graph that :func:`server_options` names."""
    from archibald.measure.graph import find_graph

    return find_graph(bench.scene.sight, common["server"], common["jack_server"])


def measured(common: Common, measure: Callable[[Bench], Run]) -> Run:
    """Measure this machine, keep the run and print it; what cannot be kept is refused before."""
    require_writable(common["output"], as_json=common["as_json"])
    run = measure(bench_of(common))
    deliver(run, common["output"], as_json=common["as_json"])
    return run


def bench_of(common: Common) -> Bench:
    """Return the machine that runs now, with the profile that holds."""
    from archibald.cli.tuning import chosen_profile, look
    from archibald.measure.session import Bench

    profile, source = chosen_profile(common["profile_path"])
    scene = look(
        profile, root=Path("/"), card=common["card"], user_name=common["user_name"], ask=False
    )
    return Bench(scene, source, common["label"][:200])


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
    elif abs(figure.value) < 0.001:
        # A small chance is not none.
        text = f"{figure.value:>10.2g}"
    else:
        text = f"{figure.value:>10.3f}" if abs(figure.value) < 100 else f"{figure.value:>10.1f}"
    interval = ""
    if figure.low is not None and figure.high is not None:
        interval = f"  ({figure.low:.4g} to {figure.high:.4g})"
    return f"{text} {figure.unit}{interval}".rstrip()
