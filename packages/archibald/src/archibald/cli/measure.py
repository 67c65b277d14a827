"""``archibald measure``: what this machine does, in numbers, kept as run documents."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

import click

from archibald.cli.common import EPILOG_EXAMPLES
from archibald.cli.measuring import deliver, make_bench, measure_options, require_writable

if TYPE_CHECKING:
    from archibald.measure.session import Bench


class Common(TypedDict):
    """What :func:`measure_options` adds."""

    profile_path: Path | None
    card: str
    user_name: str
    label: str
    output: Path | None
    as_json: bool


@click.group(
    epilog=EPILOG_EXAMPLES + "  archibald measure jitter --duration 300 --load idle --load memory\n"
    "  archibald measure latency --quantum 32 --quantum 64 --quantum 128\n"
    "  archibald measure all --duration 60"
)
def command() -> None:
    """Measure this machine; each run is a JSON file that report, compare and advise read."""


@command.command(
    epilog=EPILOG_EXAMPLES + "  archibald measure jitter\n"
    "  archibald measure jitter --duration 300 --load idle --load hackbench --load memory\n"
    "  archibald measure jitter --cpu 3 --priority 80 --label 'without isolcpus'"
)
@click.option(
    "-d",
    "--duration",
    "duration_s",
    type=click.IntRange(1, 86400),
    default=20,
    show_default=True,
    metavar="S",
    help="Seconds per load; a prediction takes 300.",
)
@click.option(
    "--load",
    "load_names",
    multiple=True,
    metavar="NAME",
    help="idle, hackbench, memory, fork or stress-ng; may be repeated. Default: idle, "
    "hackbench, memory.",
)
@click.option(
    "--cpu",
    "cpus",
    type=click.IntRange(0, 65535),
    multiple=True,
    metavar="N",
    help="A CPU to measure; may be repeated. Default: cpu.audio.",
)
@click.option(
    "--priority",
    type=click.IntRange(1, 99),
    metavar="N",
    help="SCHED_FIFO priority. Default: audio.data_loop_priority.",
)
@click.option(
    "--interval",
    "interval_us",
    type=click.IntRange(50, 1_000_000),
    metavar="US",
    help="Microseconds between wake-ups. Default: the profile's cycle.",
)
@click.option(
    "--limit",
    "limit_us",
    type=click.IntRange(10, 100_000),
    default=1000,
    show_default=True,
    metavar="US",
    help="Latencies from here on are only counted.",
)
@click.option(
    "--hold-awake",
    is_flag=True,
    help="Let cyclictest keep CPUs out of sleep states, as a session of music does.",
)
@measure_options
def jitter(
    *, duration_s: int, load_names: tuple[str, ...], cpus: tuple[int, ...],
    priority: int | None, interval_us: int | None, limit_us: int, hold_awake: bool,
    **common: Unpack[Common],
) -> None:  # fmt: skip
    """How late a thread wakes up that runs like PipeWire's data loop (cyclictest).

    Idle, then under loads that are started for it and ended with it. Sleep states stay as they are
    set, unless --hold-awake forbids them.
    """
    from archibald.cli.live_histogram import watching
    from archibald.measure.jitter import JitterRequest, measure_jitter
    from archibald.measure.loads import default_loads, find_load

    loads = tuple(find_load(name) for name in dict.fromkeys(load_names or default_loads()))
    request = JitterRequest(loads, duration_s, cpus, priority, interval_us, limit_us, hold_awake)
    require_writable(common["output"], as_json=common["as_json"])
    bench = _bench(common)
    with watching(duration_s, len(loads)) as on_look:
        run = measure_jitter(bench, request, on_look=on_look)
    deliver(run, common["output"], as_json=common["as_json"])


def _bench(common: Common) -> Bench:
    return make_bench(common["profile_path"], common["card"], common["user_name"], common["label"])
