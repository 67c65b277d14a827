"""``archibald measure``: what this machine does, in numbers, kept as run documents."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from archibald.cli.common import EPILOG_EXAMPLES, print_json
from archibald.cli.measuring import (
    Common,
    FiniteRange,
    WithServer,
    bench_of,
    duration_option,
    graph_of,
    keep,
    measure_options,
    measured,
    repeated_option,
    require_writable,
    run_lines,
    server_options,
)
from archibald.errors import ArchibaldError, ExitCode, ToolFailedError

if TYPE_CHECKING:
    from archibald.measure.document import Run
    from archibald.measure.session import Bench


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
@duration_option(least_s=1, default_s=20, text="Seconds per load; a prediction takes 300.")
@repeated_option(
    "--load", "load_names", metavar="NAME",
    text="idle, hackbench, memory, fork or stress-ng. Default: idle, hackbench, memory.",
)  # fmt: skip
@repeated_option(
    "--cpu", "cpus", metavar="N", type_=click.IntRange(0, 65535),
    text="A CPU to measure. Default: cpu.audio.",
)  # fmt: skip
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

    def watched(bench: Bench) -> Run:
        with watching(duration_s, len(loads)) as on_look:
            return measure_jitter(bench, request, on_look=on_look)

    measured(common, watched)


@command.command(
    name="virtual-jitter",
    epilog=EPILOG_EXAMPLES + "  archibald measure virtual-jitter out/archibaldos-0.1.0.iso\n"
    "  archibald measure virtual-jitter out/archibaldos-0.1.0.iso --kernel rt --load memory "
    "--at-most 20",
)
@click.argument("image", type=click.Path(path_type=Path))
@repeated_option(
    "--kernel", "kernels", metavar="NAME",
    text="rt, generic or low-latency (generic with preempt=full threadirqs). "
    "Default: rt, generic.",
)  # fmt: skip
@repeated_option(
    "--load", "load_names", metavar="NAME",
    text="idle, fork, hackbench, udp, tmpfs, memory, files or block. Default: all.",
)  # fmt: skip
@click.option(
    "--cycles",
    type=click.IntRange(100, 1_000_000),
    default=4000,
    show_default=True,
    help="Wake-ups per boot, one per virtual millisecond.",
)
@click.option(
    "--at-most",
    "at_most_us",
    type=click.IntRange(1, 1_000_000),
    metavar="US",
    help="Exit with 1 when a latency of the rt kernel is larger.",
)
@click.option(
    "--console-logs",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep what the guests printed.",
)
@measure_options
def virtual_jitter(
    *, image: Path, kernels: tuple[str, ...], load_names: tuple[str, ...], cycles: int,
    at_most_us: int | None, console_logs: Path | None, **common: Unpack[Common],
) -> int:  # fmt: skip
    """Compare the kernels of IMAGE (an ISO) where every run gives the same figures.

    QEMU counts instructions as time, so neither the host nor its load is in the figures. Each
    kernel boots once per load, about 30 s each.
    """
    from archibald.measure.virtual.compare import VirtualRequest, measure_virtual
    from archibald.measure.virtual.guest import LOADS, find_load

    request = VirtualRequest(
        image,
        tuple(dict.fromkeys(kernels or ("rt", "generic"))),
        tuple(find_load(name) for name in dict.fromkeys(load_names or LOADS)),
        cycles,
        console_logs,
    )
    run = measured(common, lambda bench: measure_virtual(bench, request, on_boot=_say_boot))
    return _judged(run, at_most_us)


def _say_boot(kernel: str, load: str, done: int, total: int) -> None:
    text = f"boot {done + 1} of {total}: {kernel} kernel, {load}" if kernel else f"{total} boots"
    click.echo(text, err=True)


def _judged(run: Run, at_most_us: int | None) -> int:
    from archibald.measure.records import VirtualJitterData

    assert isinstance(run.data, VirtualJitterData)
    late = [
        row
        for row in run.data.rows
        if at_most_us is not None and row.kernel == "rt" and row.histogram.max_us > at_most_us
    ]
    for row in late:
        click.echo(
            f"the rt kernel under {row.load}: {row.histogram.max_us:.0f} us, over {at_most_us}",
            err=True,
        )
    return ExitCode.FINDINGS if late else ExitCode.OK


@command.command(
    epilog=EPILOG_EXAMPLES + "  archibald measure latency\n"
    "  archibald measure latency --quantum 32 --quantum 64 --quantum 128 "
    "--play system:playback_1 --record system:capture_1"
)
@repeated_option(
    "--quantum", "quanta", metavar="FRAMES", type_=click.IntRange(8, 8192),
    text="A quantum to measure at. Default: the one that runs.",
)  # fmt: skip
@click.option("--play", default="", metavar="PORT", help="The output that the cable comes from.")
@click.option("--record", default="", metavar="PORT", help="The input that the cable goes to.")
@click.option(
    "--injected",
    "injected_frames",
    type=click.IntRange(0, 1_000_000),
    default=0,
    metavar="FRAMES",
    help="A delay in the loop that is known; kept with the run.",
)
@server_options
@measure_options
def latency(
    *, quanta: tuple[int, ...], play: str, record: str, injected_frames: int,
    **common: Unpack[WithServer],
) -> None:  # fmt: skip
    """How long sound takes out and back in (jack_iodelay), at one quantum or several.

    With --play and --record through a cable between these ports; without them in a software loop,
    which shows what the graph alone adds. The quantum is as it was afterwards, however it ends.
    """
    from archibald.measure.latency import LatencyRequest, check, measure_latency

    request = LatencyRequest(tuple(dict.fromkeys(quanta)), play, record, injected_frames)
    check(request)
    measured(
        common,
        lambda bench: measure_latency(bench, graph_of(bench, common), request, on_point=_say_point),
    )


def _say_point(quantum: int, rate: int) -> None:
    click.echo(f"latency: {quantum} frames at {rate} Hz", err=True)


@command.command(
    epilog=EPILOG_EXAMPLES + "  archibald measure xruns --duration 600\n"
    "  archibald measure xruns --duration 300 --dsp-load 0.6"
)
@duration_option(least_s=2, default_s=60, text="Seconds to count for.")
@click.option(
    "--dsp-load",
    type=FiniteRange(0.01, 0.95),
    metavar="SHARE",
    help="Keep the graph busy for this share of each cycle, with filters of PipeWire's "
    "filter-chain. Default: as busy as it is.",
)
@server_options
@measure_options
def xruns(*, duration_s: int, dsp_load: float | None, **common: Unpack[WithServer]) -> None:
    """Which client misses how many wake-ups, and how likely ten minutes without one are.

    PipeWire counts per node, and is looked at about once a second; jackd tells of each xrun.
    """
    from archibald.measure.xruns import XrunRequest, measure_xruns

    request = XrunRequest(duration_s, dsp_load)
    ticker = _Ticker(duration_s)
    measured(
        common,
        lambda bench: measure_xruns(bench, graph_of(bench, common), request, on_look=ticker),
    )


class _Ticker:
    """Says once in a while how far it is."""

    def __init__(self, duration_s: float) -> None:
        self.duration_s, self.next_s = duration_s, 0.0

    def __call__(self, elapsed_s: float, missed: int) -> None:
        """Take the progress of a count."""
        if elapsed_s >= self.next_s:
            self.next_s = elapsed_s + 10
            text = f"xruns: {elapsed_s:.0f} of {self.duration_s:.0f} s, {missed} missed wake-ups"
            click.echo(text, err=True)


@command.command(
    epilog=EPILOG_EXAMPLES + "  archibald measure boot\n  archibald measure boot --json"
)
@measure_options
def boot(**common: Unpack[Common]) -> None:
    """How long the last boot took: phases, and the chain of units that decided (systemd)."""
    from archibald.measure.boot import measure_boot

    measured(common, measure_boot)


@command.command(
    epilog=EPILOG_EXAMPLES + "  archibald measure resources\n"
    "  sudo archibald measure resources --duration 60"
)
@duration_option(least_s=1, default_s=10, text="Seconds between the two looks.")
@measure_options
def resources(*, duration_s: int, **common: Unpack[Common]) -> None:
    """What the machine takes at rest: memory by service, CPU time, wake-ups of the CPUs."""
    from archibald.measure.resources import measure_resources

    measured(common, lambda bench: measure_resources(bench, duration_s))


@command.command(
    epilog=EPILOG_EXAMPLES + "  archibald measure midi\n"
    "  archibald measure midi --send /dev/snd/midiC1D0 --receive /dev/snd/midiC1D0 --count 1000\n"
    "  archibald measure midi --send system:midi_playback_1 --receive system:midi_capture_1"
)
@click.option(
    "--send",
    default="",
    metavar="PORT",
    help="Where to send: a raw MIDI device, or a port of JACK (CLIENT:PORT). Default: the first "
    "raw device.",
)
@click.option(
    "--receive",
    default="",
    metavar="PORT",
    help="Where it comes back, of the same kind. Default for a raw device: the same one.",
)
@click.option(
    "--count",
    type=click.IntRange(1, 100_000),
    default=200,
    show_default=True,
    help="Messages to send.",
)
@click.option(
    "--interval",
    "interval_ms",
    type=click.IntRange(1, 10_000),
    default=10,
    show_default=True,
    metavar="MS",
    help="Milliseconds between two messages; through JACK the next one follows at once.",
)
@server_options
@measure_options
def midi(
    *, send: str, receive: str, count: int, interval_ms: int, **common: Unpack[WithServer]
) -> None:
    """How long a MIDI message takes out and back in, and how much that varies.

    Through a cable from MIDI out to MIDI in; through the ALSA sequencer with virtual ports (sudo
    modprobe snd-virmidi; aconnect -l lists its ports, aconnect A B connects two of them); or
    through ports of JACK or PipeWire (jack_midi_latency_test), which adds the graph's periods.
    """
    from archibald.measure.midi import is_jack_port, measure_midi, raw_request

    if is_jack_port(send) or is_jack_port(receive):
        from archibald.measure.midi_jack import JackMidiRequest, check, measure_jack_midi

        request = JackMidiRequest(send, receive, count)
        check(request)
        measured(
            common,
            lambda bench: measure_jack_midi(bench, graph_of(bench, common), request),
        )
        return
    measured(
        common,
        lambda bench: measure_midi(bench, raw_request(send, receive, count, interval_ms / 1000)),
    )


@command.command(
    name="all",
    epilog=EPILOG_EXAMPLES + "  archibald measure all\n"
    "  archibald measure all --duration 300 --folder before --label 'before apply'",
)
@duration_option(least_s=2, default_s=20, text="Seconds per load, and for each count.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    metavar="DIR",
    help="Where the runs' files go. Default: here.",
)
@server_options
@measure_options
def everything(*, duration_s: int, folder: Path, **common: Unpack[WithServer]) -> int:
    """All of it, one after the other: jitter, latency, xruns, boot, resources, MIDI.

    What this machine cannot give (no MIDI port, no server) is said and left out. Exit code 3 when
    nothing could be measured, 4 when a tool failed. virtual-jitter is not of this machine, and not
    among them.
    """
    from archibald.measure.series import series

    if common["output"] is not None:
        raise click.UsageError("--output is for a single run; name a --folder")
    require_writable(folder / "x", as_json=False)
    bench = bench_of(common)
    graph = partial(graph_of, bench, common)
    done, left_out, failed = [], {}, False
    for name, measure in series(bench, duration_s, graph).items():
        click.echo(f"{name} ...", err=True)
        try:
            run = measure()
        except ArchibaldError as error:
            left_out[name] = {"what": error.what, "why": error.why, "next_step": error.next_step}
            failed = failed or isinstance(error, ToolFailedError)
            click.echo(f"{name}: left out: {error}", err=True)
            continue
        path = keep(run, folder)
        done.append({"kind": name, "file": str(path)})
        if not common["as_json"]:
            click.echo("\n".join([f"== {name}", *run_lines(run), f"run: {path}", ""]))
    if common["as_json"]:
        print_json({"runs": done, "left_out": left_out})
    if failed:
        return ExitCode.TOOL_FAILED
    return ExitCode.OK if done else ExitCode.REFUSED
