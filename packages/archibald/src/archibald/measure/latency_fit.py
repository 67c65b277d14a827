"""Round-trip latency over the quantum: RTT(Q) = slope * Q / R + c.

The slope counts periods of buffering. A loop inside one graph has one (1 Q). A device has one
period in and one out when its interrupts drive the graph (2 Q); with timer scheduling ALSA adds
headroom that often grows with the quantum (3 to 4 Q). The constant is what no quantum changes:
transfer over the bus, converters, fixed headroom.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from archibald.errors import UsageError
from archibald.measure.records import LatencyPoint


class FitError(UsageError):
    """Too little was measured to tell buffering and constant apart."""


@dataclass(frozen=True)
class PointFit:
    """One quantum: what was measured, and how it divides."""

    quantum: int
    rate: int
    measured_ms: float
    buffering_ms: float
    residual_ms: float


@dataclass(frozen=True)
class LatencyFit:
    """The line through the points. The constant's interval is that of single pairs of quanta."""

    slope: float
    periods: int
    constant_ms: float
    constant_low_ms: float
    constant_high_ms: float
    meaning: str
    exact: bool
    points: tuple[PointFit, ...]


def fit_points(points: Iterable[LatencyPoint], *, path: str) -> LatencyFit:
    """Return the robust fit (Theil-Sen: the median of the slopes of all pairs) of a run.

    Buffering is a whole number of periods; the constant is measured against the nearest one.
    Raises :class:`FitError` with fewer than two different quanta.
    """
    medians = [
        (point.quantum, point.rate, statistics.median(point.rtts_frames))
        for point in points
        if point.rtts_frames
    ]
    periods_s = [(quantum / rate, frames / rate) for quantum, rate, frames in medians]
    slopes = [
        (second[1] - first[1]) / (second[0] - first[0])
        for first, second in itertools.combinations(periods_s, 2)
        if not math.isclose(second[0], first[0])
    ]
    if not slopes:
        raise FitError(
            "buffering and constant cannot be told apart",
            why=f"{len(medians)} points with one period in common",
            next_step="measure at two quanta or more",
        )
    slope = statistics.median(slopes)
    periods = max(0, round(slope))
    exact = abs(slope - periods) <= 0.1
    used = periods if exact else slope
    constants = [1000 * (rtt - used * period) for period, rtt in periods_s]
    constant = statistics.median(constants)
    fitted = tuple(
        PointFit(
            quantum=quantum,
            rate=rate,
            measured_ms=1000 * frames / rate,
            buffering_ms=1000 * used * quantum / rate,
            residual_ms=own - constant,
        )
        for (quantum, rate, frames), own in zip(medians, constants, strict=True)
    )
    low, high = _spread(constants)
    return LatencyFit(
        slope=slope, periods=periods, constant_ms=constant, constant_low_ms=low,
        constant_high_ms=high, meaning=_meaning(slope, periods, path, exact=exact), exact=exact,
        points=fitted,
    )  # fmt: skip


def _spread(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _meaning(slope: float, periods: int, path: str, *, exact: bool) -> str:
    if not exact:
        return (
            f"{slope:.2f} periods is no whole number: headroom that grows with the quantum, or a "
            "graph that changed between points"
        )
    if path == "software-loop":
        return {
            0: "no buffering: sender and receiver run in one cycle",
            1: "one period: the edge that closes the loop; nodes inside a cycle add nothing",
        }.get(periods, f"{periods} periods: {periods} edges that wait for the next cycle")
    return {
        2: "one period in, one out: interrupts of the device drive the graph (Pro Audio profile)",
        3: "three periods: timer scheduling with headroom, or one asynchronous edge",
        4: "four periods: timer scheduling with headroom on both sides (batch device)",
    }.get(periods, f"{periods} periods: not what a device with two buffers shows; check the loop")
