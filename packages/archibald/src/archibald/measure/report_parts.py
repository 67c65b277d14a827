"""The charts of a report, one per series, fit or list."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from archibald.measure.document import Run
from archibald.measure.forecast import LOADS, Forecast
from archibald.measure.histogram import Histogram, from_values
from archibald.measure.latency_fit import FitError, fit_points
from archibald.measure.plot import Axis, Series, bars, chart, number
from archibald.measure.records import (
    BootData,
    JitterData,
    LatencyData,
    MidiData,
    ResourcesData,
    VirtualJitterData,
    XrunData,
)

Chart = tuple[str, str]


def charts(run: Run) -> Iterator[Chart]:
    """Yield (caption, svg) for a run."""
    data = run.data
    if isinstance(data, JitterData):
        for series in data.series:
            cpu = "" if series.cpu is None else f" on CPU {series.cpu}"
            yield histogram_chart(f"Wake-up latency, {series.name}{cpu}", series.histogram)
    elif isinstance(data, LatencyData):
        yield _latency(data)
    elif isinstance(data, XrunData):
        yield _xruns(data)
    elif isinstance(data, MidiData):
        limit = int(max(data.rtts_us)) + 1
        yield histogram_chart("MIDI round trip", from_values(data.rtts_us, limit_us=limit))
    elif isinstance(data, BootData):
        yield _boot(data)
    elif isinstance(data, ResourcesData):
        yield _resources(data)
    elif isinstance(data, VirtualJitterData):
        rows = [
            (f"{row.load}, {row.kernel}", row.histogram.max_us, f"{row.histogram.max_us:g} us")
            for row in data.rows
        ]
        yield "Largest wake-up latency in virtual time", bars("virtual time", rows)


def histogram_chart(title: str, found: Histogram) -> Chart:
    """Return the chart of a histogram with a logarithmic count."""
    top = max(found.bins, default=1)
    x = Axis("us", min(found.bins, default=0), top + 1)
    y = Axis("cycles per us", 0.5, max(found.bins.values(), default=1) * 1.5, log=True)
    marks = [
        (float(value), name)
        for q, name in ((0.999, "p99.9"),)
        if (value := found.quantile_or_none(q)) is not None
    ]
    beyond = (
        f"; {found.overflow} at or over {found.limit_us} us, the largest {number(found.max_us)} us"
        if found.overflow
        else f"; the largest {number(found.max_us)} us"
    )
    points = [(float(us), float(count)) for us, count in sorted(found.bins.items())]
    svg = chart(title, x, y, [Series("", points, "steps")], marks=marks)
    return f"{title}: {found.cycles} cycles{beyond}", svg


def _latency(data: LatencyData) -> Chart:
    points = [
        (
            1000 * point.quantum / point.rate,
            1000 * statistics.median(point.rtts_frames) / point.rate,
        )
        for point in data.points
        if point.rtts_frames
    ]
    last_x, last_y = max(x for x, _ in points), max(y for _, y in points)
    series = [Series("measured", points, "dots")]
    caption = "Round trip over the period"
    try:
        fit = fit_points(data.points, path=data.path)
    except FitError as error:
        caption += f" ({error.what})"
    else:
        used = fit.periods if fit.exact else fit.slope
        line = [(x, used * x + fit.constant_ms) for x in (0.0, last_x)]
        series.append(Series(f"{used:g} Q/R + {fit.constant_ms:.3f} ms", line))
        last_y = max(last_y, *(y for _, y in line))
        caption += f": {fit.meaning}"
    axes = Axis("period Q/R, ms", 0, last_x * 1.05), Axis("round trip, ms", 0, last_y * 1.1)
    return caption, chart("round trip over the period", *axes, series)


def _xruns(data: XrunData) -> Chart:
    series = []
    for node in data.nodes[:4]:
        total, points = 0, [(0.0, 0.0)]
        for event in sorted(node.events, key=lambda event: event.at_s):
            points.append((event.at_s, float(total)))
            total += event.missed
            points.append((event.at_s, float(total)))
        series.append(Series(node.name, [*points, (data.observed_s, float(total))]))
    top = max((y for one in series for _, y in one.points), default=0)
    axes = Axis("s", 0, data.observed_s), Axis("missed wake-ups", 0, max(1.0, top * 1.1))
    return "Missed wake-ups so far", chart("missed wake-ups", *axes, series)


def _boot(data: BootData) -> Chart:
    phases = (
        ("firmware", data.firmware_s), ("loader", data.loader_s), ("kernel", data.kernel_s),
        ("initrd", data.initrd_s), ("user space", data.userspace_s),
    )  # fmt: skip
    rows = [(name, value, f"{value:.2f} s") for name, value in phases if value is not None]
    return "Boot by phase", bars("boot by phase", rows)


def _resources(data: ResourcesData) -> Chart:
    most = sorted(data.services, key=lambda use: -use.memory_bytes)[:12]
    rows = [
        (use.name, float(use.memory_bytes), f"{use.memory_bytes / 2**20:.1f} MiB") for use in most
    ]
    return "Memory by service", bars("memory by service", rows)


def forecast_chart(found: Forecast) -> Chart:
    """Return P(xrun in 10 min) over the quantum, one line per DSP load."""
    quanta = sorted({p.quantum for p in found.predictions})
    x = Axis("quantum, frames (logarithmic)", quanta[0], quanta[-1], log=True, at=tuple(quanta))
    y = Axis("P(xrun in 10 min)", 1e-6, 1, log=True)
    series = []
    for load in LOADS:
        points = [
            (float(quantum), max(1e-6, p.value))
            for quantum in quanta
            if (p := found.at(quantum, load)) is not None
        ]
        series.append(Series(f"DSP load {100 * load:.0f} %", points))
    return "P(at least one xrun in 10 min)", chart("prediction", x, y, series)
