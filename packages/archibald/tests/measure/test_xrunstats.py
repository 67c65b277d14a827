"""Dropouts: clusters, Poisson tests with honest p values, exact intervals."""

from __future__ import annotations

import math
import random

import pytest

from archibald.measure.records import XrunEvent
from archibald.measure.xrunstats import decluster, fano, gap_test, poisson_rate, summarize


def events(*times: float) -> tuple[XrunEvent, ...]:
    return tuple(XrunEvent(at_s=at, missed=2) for at in times)


def uniform(source: random.Random, count: int, seconds: float) -> list[float]:
    return sorted(source.random() * seconds for _ in range(count))


def test_events_within_50_ms_are_one_dropout() -> None:
    found = decluster(events(1.0, 1.04, 1.08, 1.2, 5.0))
    assert [(c.start_s, c.end_s, c.missed) for c in found] == [
        (1.0, 1.08, 6),
        (1.2, 1.2, 2),
        (5.0, 5.0, 2),
    ]


def test_a_stopped_client_is_one_dropout() -> None:
    """A stop of 100 ms misses 300 cycles of a third of a millisecond."""
    found = decluster(events(*(2 + n / 3000 for n in range(300))))
    assert len(found) == 1
    assert found[0].missed == 600


def test_coarse_times_join_neighbouring_looks() -> None:
    assert len(decluster(events(1, 2, 3, 7), resolution_s=1)) == 2


@pytest.mark.parametrize(
    ("count", "low", "high"),
    [(1, 0.0253, 5.572), (10, 4.795, 18.39), (100, 81.36, 121.6), (5000, 4862.3, 5140.6)],
)
def test_garwood(count: int, low: float, high: float) -> None:
    """Tables of the exact interval of a Poisson mean."""
    found = poisson_rate(count, 10)
    assert found.low * 10 == pytest.approx(low, rel=2e-3)
    assert found.high * 10 == pytest.approx(high, rel=2e-3)


def test_rule_of_three() -> None:
    found = poisson_rate(0, 600)
    assert found.high == pytest.approx(3 / 600, rel=0.01)
    value, low, high = found.none_within(600)
    assert value == low == pytest.approx(0.05)
    assert high == 1.0


@pytest.mark.parametrize(("count", "seconds"), [(-1, 1), (1, 0), (1, math.nan)])
def test_absurd_counts_are_refused(count: int, seconds: float) -> None:
    with pytest.raises(ValueError, match="events within"):
        poisson_rate(count, seconds)


def test_the_interval_covers_as_stated() -> None:
    source = random.Random(5)
    held = 0
    for _ in range(300):
        count = sum(source.random() < 0.01 for _ in range(1000))
        found = poisson_rate(count, 1)
        held += found.low <= 10 <= found.high
    assert held >= 0.93 * 300


def test_poisson_is_rarely_refused() -> None:
    source = random.Random(6)
    fanos = [fano(uniform(source, 20, 600), 600) for _ in range(40)]
    gaps = [gap_test(uniform(source, 20, 600), 600) for _ in range(40)]
    assert sum(test is not None and test.p < 0.05 for test in fanos) <= 7
    assert sum(test is not None and test.p < 0.05 for test in gaps) <= 7


def test_bursts_and_clocks_are_no_poisson() -> None:
    source = random.Random(7)
    bursts = [start + 0.2 * n for start in uniform(source, 6, 590) for n in range(10)]
    regular = [10.0 * n + 1 for n in range(60)]
    for times in (bursts, regular):
        found = summarize(events(*times), 600)
        assert found.poisson is False
    found = summarize(events(*uniform(source, 60, 600)), 600)
    assert found.poisson is True
    assert found.doubt == ""
    assert len(found.clusters) >= 55
    assert "in bursts" in summarize(events(*bursts), 600).doubt
    assert "too regularly" in summarize(events(*regular), 600).doubt


def test_too_few_to_tell() -> None:
    found = summarize(events(1, 2), 600)
    assert found.poisson is None
    assert "2 dropouts do not tell" in found.doubt
    assert summarize((), 600).doubt == ""
    assert (found.rate.count, found.missed) == (2, 4)
