"""How late a real-time thread wakes up: cyclictest at the profile's period, idle and under load."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from archibald.errors import UsageError
from archibald.measure.clocks import without_sleep
from archibald.measure.cyclictest import Outcome, Request, Stream, run_cyclictest
from archibald.measure.document import Kind, Run
from archibald.measure.loads import Load, running
from archibald.measure.records import JitterData, JitterSeries
from archibald.measure.session import Bench, Clock, Notes, require_cpus
from archibald.profile.model import Profile
from archibald.tune.hardware import CPU_ROOT
from archibald.tune.observe import Sight
from archibald.vm.selftest.model import UnreadableError

#: A sleep state that takes longer to leave than this (us) shows in latencies.
_NOTICEABLE_US = 5

#: Called about 5 times a second: the load that runs, what was measured, seconds so far.
OnLook = Callable[[Load, Stream, float], None]


class SleepState(NamedTuple):
    """A sleep state of a CPU that is not disabled, and how long it takes to leave it (us)."""

    name: str
    latency_us: int


@dataclass(frozen=True)
class JitterRequest:
    """What to measure: each load for ``duration_s``. None takes what the profile says."""

    loads: tuple[Load, ...]
    duration_s: int
    cpus: tuple[int, ...] = ()
    priority: int | None = None
    interval_us: int | None = None
    limit_us: int = 1000
    hold_awake: bool = False


def resolved(request: JitterRequest, profile: Profile, known_cpus: Sequence[int]) -> Request:
    """Return what cyclictest is asked for: the period, CPUs and priority of the data loop.

    Raises UsageError for CPUs that are not there. Without audio CPUs in the profile it is the last
    CPU of the machine.
    """
    cpus = request.cpus or tuple(sorted(profile.cpu.audio)) or (max(known_cpus),)
    require_cpus(cpus, known_cpus)
    others = [cpu for cpu in known_cpus if cpu not in cpus]
    return Request(
        cpus=cpus,
        other_cpu=others[0] if others else None,
        priority=request.priority or profile.audio.data_loop_priority,
        interval_us=request.interval_us or max(1, round(profile.audio.cycle_us)),
        duration_s=request.duration_s,
        limit_us=request.limit_us,
        hold_awake=request.hold_awake,
    )


def measure_jitter(
    bench: Bench,
    request: JitterRequest,
    *,
    on_look: OnLook = lambda _load, _stream, _elapsed_s: None,
) -> Run:
    """Measure and return the run document.

    Raises UsageError, PreconditionError (rights, tools, a suspended machine) and ToolFailedError.
    """
    if not request.loads:
        raise UsageError("there is nothing to measure", next_step="name a load, or idle")
    asked = resolved(request, bench.scene.profile, bench.cpus)
    _require_allowed(asked.cpus)
    remarks, clock = Notes(), Clock.now()
    series: list[JitterSeries] = []
    for load in request.loads:
        with without_sleep("jitter"):
            found = _one(load, asked, on_look)
        series += [_series(load, asked, cpu, outcome) for cpu, outcome in found.items()]
    _remark(remarks, series, asked, sleep_states(bench.scene.sight, asked.cpus))
    return bench.document(
        Kind.JITTER,
        JitterData(series=tuple(series)),
        clock=clock,
        settings={
            "interval_us": asked.interval_us,
            "priority": asked.priority,
            "duration_s": asked.duration_s,
            "loads": ", ".join(load.name for load in request.loads),
            "hold_awake": asked.hold_awake,
        },
        remarks=remarks,
    )


def _one(load: Load, asked: Request, on_look: OnLook) -> dict[int, Outcome]:
    with running(load) as check:

        def look(stream: Stream, elapsed_s: float) -> None:
            check()
            on_look(load, stream, elapsed_s)

        return run_cyclictest(asked, on_look=look)


def _series(load: Load, asked: Request, cpu: int, outcome: Outcome) -> JitterSeries:
    return JitterSeries(
        name=load.name,
        load=load.command,
        cpu=cpu,
        priority=asked.priority,
        interval_us=asked.interval_us,
        idle_states_hidden=asked.hold_awake,
        histogram=outcome.histogram,
        block_s=asked.block_cycles * asked.interval_us / 1e6 if outcome.blocks else 0.0,
        blocks=outcome.blocks,
    )


def _require_allowed(cpus: Sequence[int]) -> None:
    """Raise UsageError when this process may not use a CPU (cpusets, taskset)."""
    allowed = os.sched_getaffinity(0)
    barred = [cpu for cpu in cpus if cpu not in allowed]
    if barred:
        raise UsageError(
            f"CPU {barred[0]} may not be used by this session",
            why=f"it may run on {', '.join(map(str, sorted(allowed)))} only",
            next_step="name others with --cpu, or run it outside of the cpuset",
        )


def sleep_states(sight: Sight, cpus: Sequence[int]) -> list[SleepState]:
    """Return the sleep states of CPUs that may be entered and are slow to leave."""
    found: dict[str, SleepState] = {}
    for cpu in cpus:
        folder = f"{CPU_ROOT}/cpu{cpu}/cpuidle"
        with contextlib.suppress(UnreadableError, ValueError):
            for name in sight.names(folder):
                state = SleepState(
                    sight.value(f"{folder}/{name}/name"),
                    int(sight.value(f"{folder}/{name}/latency")),
                )
                disabled = sight.optional(f"{folder}/{name}/disable") not in (None, "0")
                if state.latency_us > _NOTICEABLE_US and not disabled:
                    found[state.name] = state
    return list(found.values())


def _remark(
    remarks: Notes, series: Sequence[JitterSeries], asked: Request, states: Sequence[SleepState]
) -> None:
    listed = ", ".join(f"{state.name} ({state.latency_us} us)" for state in states)
    if asked.hold_awake and states:
        remarks.warnings.append(
            f"cyclictest held /dev/cpu_dma_latency at 0, so sleep states were hidden: {listed}; "
            "the data loop meets them, unless something holds them off, too"
        )
    elif asked.hold_awake:
        remarks.notes.append(
            "cyclictest held /dev/cpu_dma_latency at 0; there is no slow sleep state to hide"
        )
    elif states:
        remarks.notes.append(f"sleep states as they are set, slow ones among them: {listed}")
    for one in series:
        where = f"{one.name} on CPU {one.cpu}"
        if not one.blocks:
            remarks.warnings.append(
                f"{where}: cyclictest's stream of values was not complete; without blocks of one "
                "second a prediction cannot tell how latencies follow each other"
            )
        if one.histogram.quantile_or_none(0.9999) is None:
            remarks.warnings.append(
                f"{where}: {one.histogram.cycles} cycles give no p99.99; measure longer "
                "(or with a larger --limit, if they overflowed)"
            )
