"""The figures of a run: what its raw data says, in numbers with units. Pure; stored as results."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from typing import Literal

from archibald.measure import xrunstats
from archibald.measure.document import Figure
from archibald.measure.histogram import Histogram
from archibald.measure.latency_fit import FitError, fit_points
from archibald.measure.records import (
    BootData,
    Data,
    JitterData,
    LatencyData,
    MidiData,
    ResourcesData,
    VirtualJitterData,
    XrunData,
)

Better = Literal["lower", "higher", "neither"]


def figures_of(data: Data) -> tuple[Figure, ...]:
    """Return the figures of a run's data; what the sample cannot give is left out."""
    makers = {
        JitterData: _jitter,
        LatencyData: _latency,
        XrunData: _xruns,
        BootData: _boot,
        ResourcesData: _resources,
        MidiData: _midi,
        VirtualJitterData: _virtual_jitter,
    }
    return tuple(makers[type(data)](data))  # type: ignore[operator]


def _figure(
    name: str,
    title: str,
    value: float,
    unit: str,
    *,
    better: Better = "lower",
    low: float | None = None,
    high: float | None = None,
) -> Figure:
    return Figure(id=name, title=title, value=value, unit=unit, better=better, low=low, high=high)


def _of_histogram(prefix: str, title: str, found: Histogram) -> Iterator[Figure]:
    yield _figure(f"{prefix}.max", f"{title}: largest", found.max_us, "us")
    for q, name in ((0.9999, "p99.99"), (0.999, "p99.9"), (0.99, "p99")):
        value = found.quantile_or_none(q)
        if value is not None:
            yield _figure(f"{prefix}.{name}", f"{title}: {name}", value, "us")
    yield _figure(f"{prefix}.mean", f"{title}: mean", found.mean_us, "us")
    yield _figure(
        f"{prefix}.overflow", f"{title}: at or over {found.limit_us} us", found.overflow, "cycles"
    )
    yield _figure(f"{prefix}.cycles", f"{title}: cycles", found.cycles, "cycles", better="neither")


def _jitter(data: JitterData) -> Iterator[Figure]:
    for series in data.series:
        where = "" if series.cpu is None else f" on CPU {series.cpu}"
        prefix = f"jitter.{series.name}" + ("" if series.cpu is None else f".cpu{series.cpu}")
        yield from _of_histogram(prefix, f"wake-up latency, {series.name}{where}", series.histogram)


def _virtual_jitter(data: VirtualJitterData) -> Iterator[Figure]:
    for row in data.rows:
        yield from _of_histogram(
            f"virtual-jitter.{row.kernel}.{row.load}",
            f"virtual wake-up latency, {row.kernel} kernel, {row.load}",
            row.histogram,
        )


def _latency(data: LatencyData) -> Iterator[Figure]:
    for point in data.points:
        if not point.rtts_frames:
            continue
        frames = statistics.median(point.rtts_frames)
        name = f"latency.{point.rate}.{point.quantum}"
        title = f"round trip at {point.quantum} / {point.rate}"
        yield _figure(f"{name}.frames", title, frames, "frames")
        yield _figure(f"{name}.ms", title, 1000 * frames / point.rate, "ms")
    try:
        fit = fit_points(data.points, path=data.path)
    except FitError:
        return
    yield _figure("latency.slope", "periods per round trip", fit.slope, "periods")
    yield _figure(
        "latency.constant", "what does not depend on the quantum", fit.constant_ms, "ms",
        low=fit.constant_low_ms, high=fit.constant_high_ms,
    )  # fmt: skip


def _xruns(data: XrunData) -> Iterator[Figure]:
    for node in data.nodes:
        found = xrunstats.summarize(node.events, data.observed_s, resolution_s=data.resolution_s)
        title = f"dropouts of {node.name}"
        prefix = f"xruns.{node.name}"
        yield _figure(f"{prefix}.count", title, len(found.clusters), "dropouts")
        yield _figure(f"{prefix}.missed", f"{title}: missed wake-ups", found.missed, "cycles")
        yield _figure(
            f"{prefix}.rate", f"{title}: per minute", 60 * found.rate.per_s, "1/min",
            low=60 * found.rate.low, high=60 * found.rate.high,
        )  # fmt: skip
        value, low, high = found.rate.none_within(600)
        yield _figure(
            f"{prefix}.none", f"{title}: P(none in 10 min)", value, "", better="higher", low=low,
            high=high,
        )  # fmt: skip
        if found.fano:
            yield _figure(
                f"{prefix}.fano", f"{title}: Fano factor", found.fano.statistic, "",
                better="neither",
            )  # fmt: skip
        if found.poisson_p is not None:
            yield _figure(
                f"{prefix}.poisson", f"{title}: p of a Poisson process", found.poisson_p, "",
                better="neither",
            )  # fmt: skip


def _boot(data: BootData) -> Iterator[Figure]:
    phases = {
        "firmware": data.firmware_s,
        "loader": data.loader_s,
        "kernel": data.kernel_s,
        "initrd": data.initrd_s,
        "userspace": data.userspace_s,
    }
    known = {name: value for name, value in phases.items() if value is not None}
    yield _figure("boot.total", "boot, all phases", math.fsum(known.values()), "s")
    for name, value in known.items():
        yield _figure(f"boot.{name}", f"boot: {name}", value, "s")


def _resources(data: ResourcesData) -> Iterator[Figure]:
    yield _figure("resources.memory", "memory in use at rest", _mib(data.memory_used_bytes), "MiB")
    if data.wakeups_per_s is not None:
        yield _figure("resources.wakeups", "CPU wake-ups at rest", data.wakeups_per_s, "1/s")
    for use in sorted(data.services, key=lambda use: -use.memory_bytes)[:10]:
        yield _figure(
            f"resources.service.{use.name}", f"memory of {use.name}", _mib(use.memory_bytes), "MiB"
        )


def _mib(count: int) -> float:
    return round(count / 2**20, 3)


def _midi(data: MidiData) -> Iterator[Figure]:
    values = sorted(data.rtts_us)
    if not values:
        return
    yield _figure("midi.median", "MIDI round trip: median", statistics.median(values), "us")
    yield _figure("midi.max", "MIDI round trip: largest", values[-1], "us")
    jitter = values[-1] - values[0]
    yield _figure("midi.jitter", "MIDI round trip: largest - smallest", jitter, "us")
    yield _figure("midi.spread", "MIDI round trip: p90 - p10", _spread(values), "us")
    lost = max(0, data.sent - len(values))
    yield _figure("midi.lost", "MIDI messages lost", lost, "messages")


def _spread(values: Sequence[float]) -> float:
    if len(values) < 10:
        return values[-1] - values[0]
    deciles = statistics.quantiles(values, n=10)
    return deciles[-1] - deciles[0]
