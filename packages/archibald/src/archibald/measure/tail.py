"""Extreme values: how often a latency will exceed a budget that was hardly ever exceeded yet.

Peaks over threshold (Davison and Smith 1990): counts beyond a threshold are fitted by a generalized
Pareto distribution (:mod:`.gpd`). Where the sample reaches, it answers itself; beyond it the fit
does, with a profile-likelihood interval that is widened by as much as whole blocks of the
measurement vary more than independent cycles would (block bootstrap; Chandler and Bate 2007). A
tail that does not fit, has too few values or changes with the threshold gives no prediction, and
nothing is ever called impossible: what was never seen is below 3 / cycles (the rule of three), and
an upper bound never falls faster than exponentially.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from archibald.errors import FindingsError
from archibald.measure.gpd import Cell, Fit, fit_cells, region
from archibald.measure.histogram import Histogram
from archibald.measure.records import JitterSeries
from archibald.measure.special import chi_square_beyond
from archibald.measure.xrunstats import poisson_rate

#: Excesses below this number say too little about a shape.
MIN_EXCESSES = 60

#: The threshold leaves one of these shares of all cycles beyond it.
SHARES = (0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005)

MAX_XI = 0.5

#: Error of the test of fit over all thresholds.
_ALPHA = 0.01
_REPLICAS = 60
_HALF_95 = 3.841 / 2
_Z_95 = 1.96


class TailError(FindingsError):
    """The measurement gives no prediction."""


class ShortTailError(TailError):
    """Too few latencies lie in the tail."""


class HeavyTailError(TailError):
    """The tail falls so slowly that its extremes are unbounded for all practical ends."""


class UnstableTailError(TailError):
    """No threshold gives a fit that holds above it: the tail has more than one cause."""


@dataclass(frozen=True)
class Probability:
    """A probability per cycle with its 95 % interval. ``method`` says where it comes from:
    counted, extrapolated, or bounded (never seen: value and high are an upper bound)."""

    value: float
    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Tail:
    """A fitted tail. ``inflation`` is how much more blocks vary than independent cycles."""

    histogram: Histogram
    threshold_us: int
    cells: tuple[Cell, ...]
    fit: Fit
    inflation: float
    blocks: int

    @property
    def excesses(self) -> int:
        """How many latencies lie beyond the threshold."""
        return sum(cell.hits for cell in self.cells)

    @cached_property
    def edge(self) -> list[tuple[float, float]]:
        """The edge of the region of (sigma, xi) that the sample supports."""
        return region(self.cells, self.fit, _HALF_95 * self.inflation)

    def exceed(self, budget_us: float) -> Probability:
        """Return P(latency >= budget) per cycle; never 0."""
        counted = self.histogram.above(budget_us)
        within = math.ceil(budget_us) <= self.histogram.limit_us
        if within and (budget_us <= self.threshold_us or counted >= MIN_EXCESSES):
            return _counted(counted, self.histogram.cycles, self.inflation)
        over = budget_us - self.threshold_us
        share = self.excesses / self.histogram.cycles
        middle = share * self.fit.survival(over)
        found = [
            Fit(sigma, xi, 0.0, at_bound=False).survival(over) * share for sigma, xi in self.edge
        ]
        wide = _Z_95 * math.sqrt(self.inflation / self.excesses)
        low, high = _widened(min(found), middle, -wide), _widened(max(found), middle, wide)
        # No sample can know that a tail ends: an exponential one, the lightest without an end, is
        # the least that the upper bound may be.
        high = max(high, share * math.exp(wide - over / self.fit.sigma), 1e-300)
        if middle <= 1e-300:
            bound = min(high, 3 / self.histogram.cycles)
            return Probability(bound, 0.0, bound, "bounded")
        return Probability(middle, low, min(1.0, high), "extrapolated")


def _widened(edge: float, middle: float, by: float) -> float:
    """Add the uncertainty of the share beyond the threshold to that of the shape (logarithms)."""
    if edge <= 0 or middle <= 0:
        return max(0.0, edge) * math.exp(by)
    off = math.log(edge / middle)
    return middle * math.exp(math.copysign(math.hypot(off, by), by))


def _counted(count: int, cycles: int, inflation: float) -> Probability:
    if not count:
        return Probability(3 / cycles, 0.0, 3 / cycles, "bounded")
    # Counts that vary `inflation` times as much are worth as many fewer independent ones.
    rate = poisson_rate(max(1, round(count / inflation)), cycles / inflation)
    return Probability(count / cycles, rate.low, min(1.0, rate.high), "counted")


def cells_above(histogram: Histogram, threshold_us: int) -> tuple[Cell, ...]:
    """Return what lies at or beyond a threshold, relative to it."""
    found = [
        Cell(us - threshold_us, us + 1 - threshold_us, count)
        for us, count in sorted(histogram.bins.items())
        if us >= threshold_us
    ]
    if histogram.overflow:
        found.append(Cell(histogram.limit_us - threshold_us, math.inf, histogram.overflow))
    return tuple(found)


def fit_tail(series: JitterSeries) -> Tail:
    """Return the fitted tail of a series.

    The threshold is the lowest one at and above which every fit passes. Raises
    :class:`ShortTailError`, :class:`HeavyTailError` or :class:`UnstableTailError`.
    """
    histogram = series.histogram
    found = [_at(histogram, threshold, series.blocks) for threshold in _thresholds(histogram)]
    if not found:
        most = histogram.cycles * SHARES[0]
        raise ShortTailError(
            "the measurement is too short for a prediction",
            why=f"{most:.0f} of {histogram.cycles} latencies would be its tail, "
            f"and {MIN_EXCESSES} in three bins or more are needed",
            next_step="measure at least 5 minutes under load",
        )
    chosen: Tail | None = None
    for tail in reversed(found):
        if _misfit(tail) < _ALPHA / len(found) or (chosen and not _agree(tail, chosen)):
            break
        chosen = tail
    if chosen is None:
        raise UnstableTailError(
            "the tail has more than one cause, so it cannot be predicted",
            why="no threshold gives a fit that its own excesses agree with",
            next_step="look for the rare disturbance (interrupts, firmware, another load), then "
            "measure again",
        )
    if chosen.fit.xi > MAX_XI:
        raise HeavyTailError(
            "the tail is too heavy to be predicted",
            why=f"shape xi = {chosen.fit.xi:.2f} over {chosen.threshold_us} us; above {MAX_XI} "
            "the largest latency is whatever the longest measurement finds",
            next_step="find what causes the largest latencies, then measure again",
        )
    return chosen


def _thresholds(histogram: Histogram) -> list[int]:
    """Return thresholds from low to high, each with enough excesses in three bins or more."""
    found: list[int] = []
    for share in SHARES:
        wanted = share * histogram.cycles
        if wanted < MIN_EXCESSES:
            break
        beyond, threshold = histogram.overflow, histogram.limit_us
        for us in sorted(histogram.bins, reverse=True):
            if beyond + histogram.bins[us] > wanted and beyond >= MIN_EXCESSES:
                break
            beyond, threshold = beyond + histogram.bins[us], us
        spread = sum(us >= threshold for us in histogram.bins)
        if spread >= 3 and threshold not in found:
            found.append(threshold)
    return sorted(found)


def _at(histogram: Histogram, threshold: int, blocks: Sequence[Histogram]) -> Tail:
    cells = cells_above(histogram, threshold)
    fit = fit_cells(cells)
    inflation = _inflation(fit, threshold, blocks) if len(blocks) >= 10 else 1.0
    return Tail(histogram, threshold, cells, fit, inflation, len(blocks))


def _inflation(fit: Fit, threshold: int, blocks: Sequence[Histogram]) -> float:
    """Return how much more a fit varies over resampled blocks than over independent cycles.

    Twice the gain in likelihood of a replica's own fit over the fit has mean 2 (two parameters)
    when excesses are independent.
    """
    parts = [cells_above(block, threshold) for block in blocks]
    random_ = random.Random(len(blocks))  # noqa: S311 - a simulation, no secret
    gains = []
    for _ in range(_REPLICAS):
        counts: Counter[tuple[float, float]] = Counter()
        for part in random_.choices(parts, k=len(parts)):
            for low, high, count in part:
                counts[low, high] += count
        cells = [Cell(low, high, count) for (low, high), count in sorted(counts.items())]
        if len(cells) < 2:
            continue
        start = (fit.sigma, fit.xi)
        base = fit_cells(cells, start=start, steps=0).log_likelihood
        if base > -math.inf:
            gains.append(2 * (fit_cells(cells, start=start, steps=4).log_likelihood - base))
    shape = math.fsum(gains) / len(gains) / 2 if gains else 1.0
    return max(1.0, shape, _dispersion([sum(c.hits for c in part) for part in parts]))


def _dispersion(counts: Sequence[int]) -> float:
    mean = math.fsum(counts) / len(counts)
    return math.fsum((n - mean) ** 2 for n in counts) / (len(counts) - 1) / mean if mean else 1.0


def _misfit(tail: Tail) -> float:
    """Return the p value of the chi-square test of the excesses against their own fit.

    Cells are joined until each is expected to hold five.
    """
    groups = _groups(tail)
    freedom = len(groups) - 3
    if freedom < 1:
        return 1.0
    distance = math.fsum((seen - mean) ** 2 / mean for seen, mean in groups)
    return chi_square_beyond(distance / tail.inflation, freedom)


def _groups(tail: Tail) -> list[tuple[int, float]]:
    """Return (seen, expected) from the far end inwards, so that the far end is a group, too."""
    total = tail.excesses
    seen = {int(cell.low): cell.hits for cell in tail.cells}
    last = max(seen)
    groups: list[tuple[int, float]] = []
    top, count, upper = last, 0, 0.0
    for low in range(top, -1, -1):
        count += seen.get(low, 0)
        mean = total * tail.fit.survival(low) - upper
        if mean >= 5 or low == 0:
            groups.append((count, max(mean, 1e-9)))
            count, upper = 0, total * tail.fit.survival(low)
    if len(groups) > 1 and groups[-1][1] < 5:
        (a, b), (c, d) = groups.pop(), groups.pop()
        groups.append((a + c, b + d))
    return groups


def _agree(lower: Tail, higher: Tail) -> bool:
    """Tell whether the fit of a lower threshold lies where the higher one's excesses allow.

    Above the higher threshold the lower fit is a generalized Pareto distribution, too, with
    sigma + xi * distance and the same shape.
    """
    distance = higher.threshold_us - lower.threshold_us
    sigma = lower.fit.sigma + lower.fit.xi * distance
    if sigma <= 0:
        return False
    same = fit_cells(higher.cells, start=(sigma, lower.fit.xi), steps=0)
    lost = higher.fit.log_likelihood - same.log_likelihood
    # Two parameters, 1 %: chi-square 9.21.
    return lost <= 9.21 / 2 * max(lower.inflation, higher.inflation)


@dataclass(frozen=True)
class Prediction:
    """P(at least one xrun in ``seconds``) at a quantum, a rate and a DSP load."""

    quantum: int
    rate: int
    dsp_load: float
    budget_us: float
    seconds: float
    per_cycle: Probability
    value: float
    low: float
    high: float

    @property
    def bounded(self) -> bool:
        """True when the value is an upper bound: it was never seen."""
        return self.per_cycle.method == "bounded"


def budget_us(quantum: int, rate: int, dsp_load: float, reserve_us: float = 0.0) -> float:
    """Return how late a cycle may start: (1 - u) Q / R - j."""
    return (1 - dsp_load) * 1e6 * quantum / rate - reserve_us


def predict(
    tail: Tail, *, quantum: int, rate: int, dsp_load: float, reserve_us: float = 0.0,
    seconds: float = 600.0,
) -> Prediction:  # fmt: skip
    """Return the prediction of a tail.

    Every late cycle counts as an xrun of its own (extremal index 1): with clusters the true
    probability is lower.
    """
    budget = budget_us(quantum, rate, dsp_load, reserve_us)
    cycles = seconds * rate / quantum
    if budget <= 0:
        certain = Probability(1.0, 1.0, 1.0, "counted")
        return Prediction(quantum, rate, dsp_load, budget, seconds, certain, 1.0, 1.0, 1.0)
    found = tail.exceed(budget)
    value, low, high = (
        -math.expm1(-cycles * min(1.0, p)) for p in (found.value, found.low, found.high)
    )
    return Prediction(quantum, rate, dsp_load, budget, seconds, found, value, low, high)
