"""Statistics of dropouts: which belong together, is it a Poisson process, how often to expect one.

Counters of missed wake-ups count many for one dropout, so events are declustered first. Rates and
intervals hold for a Poisson process; whether it is one, two tests say: Fano's factor (variance
over mean of counts, 1 for Poisson) and the distribution of gaps (exponential for Poisson).
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archibald.measure.records import XrunEvent
from archibald.measure.special import poisson_at_least

#: Missed wake-ups closer together than this are one dropout for the ear.
CLUSTER_GAP_S = 0.05

#: What the verdict on Poisson rests on.
ALPHA = 0.01

_DRAWS = 2000


@dataclass(frozen=True)
class Cluster:
    """One dropout: when it began, until when, how many wake-ups were missed."""

    start_s: float
    end_s: float
    missed: int


def decluster(
    events: Sequence[XrunEvent], *, gap_s: float = CLUSTER_GAP_S, resolution_s: float = 0.0
) -> list[Cluster]:
    """Return the dropouts: events whose gap is at most ``gap_s`` belong together.

    With times known only to ``resolution_s``, events of neighbouring looks may be one dropout, so
    they are taken as one: the count is then a lower bound.
    """
    longest = max(gap_s, resolution_s * 1.5)
    found: list[Cluster] = []
    for event in sorted(events, key=lambda event: event.at_s):
        last = found[-1] if found else None
        if last and event.at_s - last.end_s <= longest:
            found[-1] = Cluster(last.start_s, event.at_s, last.missed + event.missed)
        else:
            found.append(Cluster(event.at_s, event.at_s, event.missed))
    return found


@dataclass(frozen=True)
class Rate:
    """Events per second with the exact 95 % interval of a Poisson process."""

    count: int
    observed_s: float
    low: float
    high: float

    @property
    def per_s(self) -> float:
        """The observed rate."""
        return self.count / self.observed_s

    def none_within(self, seconds: float) -> tuple[float, float, float]:
        """Return P(no event within ``seconds``): estimate, low and high.

        After no event at all the estimate is that of the bound: three events in the time
        observed, not 0.
        """
        rate = self.per_s if self.count else self.high
        return tuple(math.exp(-r * seconds) for r in (rate, self.high, self.low))  # type: ignore[return-value]


def poisson_rate(count: int, observed_s: float, *, level: float = 0.95) -> Rate:
    """Return the rate with Garwood's exact interval (Garwood, Biometrika 28, 1936).

    With no event the upper bound is one-sided: 3.0 / observed_s at 95 % (the rule of three).
    """
    if count < 0 or not observed_s > 0:
        raise ValueError(f"{count} events within {observed_s} s")
    tail = (1 - level) / 2
    if not count:
        return Rate(0, observed_s, 0.0, -math.log(1 - level) / observed_s)
    low = _solve(lambda mean: poisson_at_least(count, mean) - tail, 0.0, float(count))
    high = _solve(
        lambda mean: tail - (1 - poisson_at_least(count + 1, mean)), float(count), 2.0 * count + 30
    )
    return Rate(count, observed_s, low / observed_s, high / observed_s)


def _solve(function: Callable[[float], float], low: float, high: float) -> float:
    """Return where a rising function is 0, by bisection."""
    for _ in range(60):
        middle = (low + high) / 2
        if function(middle) < 0:
            low = middle
        else:
            high = middle
    return (low + high) / 2


@dataclass(frozen=True)
class Test:
    """The value of a test statistic, and the probability of one as extreme under Poisson."""

    statistic: float
    p: float


def fano(times_s: Sequence[float], observed_s: float, *, seed: int = 1) -> Test | None:
    """Return Fano's factor of counts in equal windows, with a two-sided p value.

    Given their number, the times of a Poisson process are uniform: the p value comes from such
    draws, so it is right for small counts, too. None for fewer than five events.
    """
    count = len(times_s)
    if count < 5:
        return None
    windows = max(4, min(200, count // 2))

    def factor(times: Sequence[float]) -> float:
        counts = [0] * windows
        for at in times:
            counts[min(windows - 1, int(at / observed_s * windows))] += 1
        mean = count / windows
        return math.fsum((n - mean) ** 2 for n in counts) / (windows - 1) / mean

    return _simulated(factor, times_s, observed_s, seed, two_sided=True)


def gap_test(times_s: Sequence[float], observed_s: float, *, seed: int = 2) -> Test | None:
    """Return the Kolmogorov distance of the gaps from an exponential distribution.

    The rate is estimated from the same gaps, so the usual tables do not hold (Lilliefors, JASA 64,
    1969): the p value comes from uniform times, as in :func:`fano`. None for fewer than five.
    """
    if len(times_s) < 5:
        return None

    def distance(times: Sequence[float]) -> float:
        ordered = sorted(times)
        gaps = sorted(b - a for a, b in itertools.pairwise(ordered))
        mean = math.fsum(gaps) / len(gaps)
        if mean <= 0:
            return 1.0
        worst = 0.0
        for rank, gap in enumerate(gaps):
            expected = 1 - math.exp(-gap / mean)
            worst = max(worst, expected - rank / len(gaps), (rank + 1) / len(gaps) - expected)
        return worst

    return _simulated(distance, times_s, observed_s, seed, two_sided=False)


def _simulated(
    statistic: Callable[[Sequence[float]], float],
    times_s: Sequence[float],
    observed_s: float,
    seed: int,
    *,
    two_sided: bool,
) -> Test:
    """Return the statistic and its p value against uniform times; never 0."""
    random_ = random.Random(seed)  # noqa: S311 - a simulation, no secret
    found = statistic(times_s)
    # Long series need fewer draws' worth of time; 400 still resolve p = 0.01.
    draws = _DRAWS if len(times_s) < 200 else 400
    above = below = 0
    for _ in range(draws):
        drawn = statistic([random_.random() * observed_s for _ in times_s])
        above += drawn >= found
        below += drawn <= found
    p = (above + 1) / (draws + 1)
    if two_sided:
        p = min(1.0, 2 * min(p, (below + 1) / (draws + 1)))
    return Test(found, p)


@dataclass(frozen=True)
class XrunSummary:
    """What is known of the dropouts of one node, or of all together."""

    clusters: tuple[Cluster, ...]
    missed: int
    rate: Rate
    fano: Test | None
    gaps: Test | None

    @property
    def poisson(self) -> bool | None:
        """May it be a Poisson process? None: too few dropouts to tell."""
        return None if self.poisson_p is None else self.poisson_p >= ALPHA

    @property
    def poisson_p(self) -> float | None:
        """How often a Poisson process shows as much in one of both tests (Bonferroni)."""
        tests = [test.p for test in (self.fano, self.gaps) if test]
        return min(1.0, len(tests) * min(tests)) if tests else None

    @property
    def doubt(self) -> str:
        """Why rate and P(none) may not hold, "" where they do."""
        if not self.clusters or self.poisson:
            return ""
        if self.fano is None or self.gaps is None or self.poisson_p is None:
            return (
                f"{len(self.clusters)} dropouts do not tell whether they are a Poisson process, "
                "which rate and P(none in 10 min) take for granted"
            )
        manner = "in bursts" if self.fano.statistic > 1 else "too regularly"
        return (
            f"dropouts come {manner} for a Poisson process (Fano factor {self.fano.statistic:.2f}, "
            f"p = {self.fano.p:.2g}; gaps p = {self.gaps.p:.2g}): neither the interval of the rate "
            "nor P(none in 10 min) holds"
        )


def summarize(
    events: Sequence[XrunEvent], observed_s: float, *, resolution_s: float = 0.0
) -> XrunSummary:
    """Decluster, test and estimate."""
    clusters = decluster(events, resolution_s=resolution_s)
    times = [min(cluster.start_s, observed_s) for cluster in clusters]
    # Gaps below the resolution cannot be seen, so a gap test would refuse any such process.
    coarse = resolution_s > CLUSTER_GAP_S and len(times) > 0.1 * observed_s / resolution_s
    return XrunSummary(
        clusters=tuple(clusters),
        missed=sum(event.missed for event in events),
        rate=poisson_rate(len(clusters), observed_s),
        fano=None if coarse else fano(times, observed_s),
        gaps=None if coarse else gap_test(times, observed_s),
    )
