"""Two runs of one kind, figure by figure: better, worse, or not distinguishable.

Blocks of a jitter run are exchanged between the runs (permutation test), because latencies within
a second are not independent; so are single round trips. Counts of dropouts are compared by the
exact conditional test of two Poisson rates. All p values of a comparison are corrected together
(Holm 1979). A figure of which each run has one value has no test, and virtual time needs none.
"""

from __future__ import annotations

import itertools
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from archibald.errors import UsageError
from archibald.measure.document import Figure, Run
from archibald.measure.figures import figures_of
from archibald.measure.histogram import Histogram
from archibald.measure.records import (
    JitterData,
    JitterSeries,
    LatencyData,
    MidiData,
    VirtualJitterData,
    XrunData,
)
from archibald.measure.xrunstats import decluster

ALPHA = 0.05

#: Fewer blocks than this cannot give p < 0.01 whatever they hold.
MIN_BLOCKS = 8

_SHUFFLES = 1999

_QUANTILES = (("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999))


class CompareError(UsageError):
    """The runs measure different things."""


@dataclass(frozen=True)
class Difference:
    """A figure of two runs. ``p`` is corrected; None where there is no test, ``why`` says why."""

    id: str
    title: str
    unit: str
    first: float
    second: float
    verdict: str
    p: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Comparison:
    """All figures that both runs have, and what stands against comparing them."""

    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]
    tests: int

    @property
    def worse(self) -> tuple[Difference, ...]:
        """What became worse."""
        return tuple(d for d in self.differences if d.verdict == "worse")


def compare_runs(first: Run, second: Run) -> Comparison:
    """Return the comparison. Raises :class:`CompareError` for runs of different kinds."""
    if first.kind != second.kind:
        raise CompareError(
            f"a run of {first.kind.value} cannot be compared with one of {second.kind.value}",
            next_step="name two runs of one kind",
        )
    p_values = dict(_tests(first, second))
    corrected = holm(p_values)
    others = {figure.id: figure for figure in figures_of(second.data)}
    found = [
        _difference(figure, others[figure.id], corrected, first)
        for figure in figures_of(first.data)
        if figure.id in others
    ]
    if not found:
        raise CompareError(
            "the runs have no figure in common",
            why="they measured under other loads, on other CPUs or at other quanta",
            next_step="archibald report FILE shows what a run holds",
        )
    return Comparison(tuple(found), tuple(_warnings(first, second)), len(p_values))


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """Return p values corrected for their number (Holm's step-down method)."""
    found: dict[str, float] = {}
    worst = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        worst = max(worst, min(1.0, p * (len(p_values) - rank)))
        found[name] = worst
    return found


def _difference(first: Figure, second: Figure, p_values: dict[str, float], run: Run) -> Difference:
    plain = Difference(
        first.id, first.title, first.unit, first.value, second.value, "not distinguishable"
    )
    if first.better == "neither":
        return replace(plain, verdict="no judgement", why="neither more nor less is better")
    better = (second.value < first.value) == (first.better == "lower")
    verdict = "better" if better else "worse"
    if isinstance(run.data, VirtualJitterData):
        same = second.value == first.value
        text = "virtual time: the same on every run, so any difference is one"
        return replace(plain, verdict="equal" if same else verdict, why=text)
    p = p_values.get(first.id)
    if p is None:
        return replace(plain, why=_untested(first.id, run))
    significant = p < ALPHA and first.value != second.value
    return replace(plain, p=p, verdict=verdict if significant else plain.verdict)


def _untested(name: str, run: Run) -> str:
    if isinstance(run.data, JitterData):
        if name.endswith(".max"):
            return "one largest value each: a test would need many runs"
        return f"no {MIN_BLOCKS} blocks in each run, so cycles would have to be independent"
    return "one value each, or too few: a test needs repeated measurements"


def _tests(first: Run, second: Run) -> Iterator[tuple[str, float]]:
    a, b = first.data, second.data
    if isinstance(a, JitterData) and isinstance(b, JitterData):
        yield from _jitter(a, b)
    elif isinstance(a, LatencyData) and isinstance(b, LatencyData):
        others = {(point.rate, point.quantum): point for point in b.points}
        for point in a.points:
            other = others.get((point.rate, point.quantum))
            if other and min(len(point.rtts_frames), len(other.rtts_frames)) >= 5:
                p = permutation(point.rtts_frames, other.rtts_frames, statistics.median)
                yield f"latency.{point.rate}.{point.quantum}.ms", p
    elif isinstance(a, MidiData) and isinstance(b, MidiData):
        if min(len(a.rtts_us), len(b.rtts_us)) >= 5:
            yield "midi.median", permutation(a.rtts_us, b.rtts_us, statistics.median)
    elif isinstance(a, XrunData) and isinstance(b, XrunData):
        yield from _xruns(a, b)


def _xruns(a: XrunData, b: XrunData) -> Iterator[tuple[str, float]]:
    others = {node.name: node for node in b.nodes}
    for node in a.nodes:
        if node.name in others:
            counts = [
                len(decluster(events, resolution_s=data.resolution_s))
                for events, data in ((node.events, a), (others[node.name].events, b))
            ]
            p = poisson_test(counts[0], a.observed_s, counts[1], b.observed_s)
            yield f"xruns.{node.name}.rate", p


def poisson_test(first: int, first_s: float, second: int, second_s: float) -> float:
    """Return the two-sided p value of equal rates: given the sum, the first count is binomial."""
    total, share = first + second, first_s / (first_s + second_s)
    if not total:
        return 1.0

    def log_probability(n: int) -> float:
        ways = math.lgamma(total + 1) - math.lgamma(n + 1) - math.lgamma(total - n + 1)
        return ways + n * math.log(share) + (total - n) * math.log(1 - share)

    seen = log_probability(first)
    logs = (log_probability(n) for n in range(total + 1))
    return min(1.0, math.fsum(math.exp(value) for value in logs if value <= seen + 1e-9))


def permutation(
    first: Sequence[float], second: Sequence[float], statistic: Callable[[Sequence[float]], float]
) -> float:
    """Return the two-sided p value of the difference of a statistic; never 0."""
    pool = [*first, *second]
    seen = abs(statistic(first) - statistic(second))
    source = random.Random(len(pool))  # noqa: S311 - a simulation, no secret
    beyond = 0
    for _ in range(_SHUFFLES):
        source.shuffle(pool)
        drawn = abs(statistic(pool[: len(first)]) - statistic(pool[len(first) :]))
        beyond += drawn >= seen - 1e-12
    return (beyond + 1) / (_SHUFFLES + 1)


def _jitter(a: JitterData, b: JitterData) -> Iterator[tuple[str, float]]:
    others = {(series.name, series.cpu): series for series in b.series}
    for series in a.series:
        other = others.get((series.name, series.cpu))
        if other and min(len(series.blocks), len(other.blocks)) >= MIN_BLOCKS:
            if series.block_s != other.block_s:
                continue
            cpu = "" if series.cpu is None else f".cpu{series.cpu}"
            for name, p in _exchanged(series, other).items():
                yield f"jitter.{series.name}{cpu}.{name}", p


def _exchanged(first: JitterSeries, second: JitterSeries) -> dict[str, float]:
    """Exchange blocks between two series; all figures from the same exchanges."""
    blocks = [*first.blocks, *second.blocks]
    edges = sorted(set(itertools.chain.from_iterable(block.bins for block in blocks)))
    whole: Counter[int] = Counter()
    for block in blocks:
        whole.update(block.bins)
    statistics_of = _Figures(edges, whole, blocks)
    order = list(range(len(blocks)))
    seen = statistics_of.difference(order[: len(first.blocks)])
    source = random.Random(len(blocks))  # noqa: S311 - a simulation, no secret
    beyond = dict.fromkeys(seen, 0)
    rounds = 999
    for _ in range(rounds):
        source.shuffle(order)
        drawn = statistics_of.difference(order[: len(first.blocks)])
        for name, value in drawn.items():
            beyond[name] += abs(value) >= abs(seen[name]) - 1e-9
    return {name: (count + 1) / (rounds + 1) for name, count in beyond.items()}


@dataclass(frozen=True)
class _Figures:
    edges: list[int]
    whole: Counter[int]
    blocks: list[Histogram]

    def difference(self, chosen: Sequence[int]) -> dict[str, float]:
        """Return each figure of the chosen blocks minus that of the others."""
        mine: dict[int, int] = dict.fromkeys(self.edges, 0)
        overflow = cycles = total = 0.0
        for number in chosen:
            block = self.blocks[number]
            for us, count in block.bins.items():
                mine[us] += count
            overflow += block.overflow
            cycles += block.cycles
            total += block.mean_us * block.cycles
        all_cycles = sum(block.cycles for block in self.blocks)
        all_total = math.fsum(block.mean_us * block.cycles for block in self.blocks)
        all_overflow = sum(block.overflow for block in self.blocks)
        rest = all_cycles - cycles
        if not cycles or not rest:
            return dict.fromkeys(("mean", "overflow", *(name for name, _ in _QUANTILES)), 0.0)
        found = {
            "mean": total / cycles - (all_total - total) / rest,
            "overflow": overflow / cycles - (all_overflow - overflow) / rest,
        }
        theirs = {us: self.whole[us] - count for us, count in mine.items()}
        for name, q in _QUANTILES:
            found[name] = self._quantile(mine, cycles, q) - self._quantile(theirs, rest, q)
        return found

    def _quantile(self, bins: dict[int, int], cycles: float, q: float) -> float:
        left = cycles - q * cycles
        for us in reversed(self.edges):
            left -= bins[us]
            if left < 0:
                return us
        return 0.0


def _warnings(first: Run, second: Run) -> Iterator[str]:
    if first.machine.fingerprint != second.machine.fingerprint:
        yield "the runs are of different machines"
    if isinstance(first.data, JitterData) and isinstance(second.data, JitterData):
        hidden = [{s.idle_states_hidden for s in data.series} for data in (first.data, second.data)]
        if hidden[0] != hidden[1]:
            yield "idle states were hidden in one run only"
    keys = sorted(set(first.settings) | set(second.settings))
    other = [key for key in keys if first.settings.get(key) != second.settings.get(key)]
    if other:
        yield f"different settings: {', '.join(other)}"
    if isinstance(first.data, XrunData):
        yield "the test of dropouts holds for Poisson processes: see the Fano factor of each run"
