"""Histograms: bins, overflow, quantiles that the sample can give, cyclictest's file."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packages.archibald.tests.measure.samples import DATA, recorded
from pydantic import ValidationError

from archibald.measure.histogram import (
    Histogram,
    HistogramError,
    QuantileError,
    from_values,
    merged,
    parse_cyclictest,
)

VALUES = st.lists(st.floats(0, 999, allow_nan=False), min_size=1, max_size=200)


def test_recorded_file_of_cyclictest() -> None:
    found = recorded()
    assert (found.cycles, found.overflow, found.limit_us) == (60038, 6, 400)
    assert (found.max_us, found.mean_us) == (1520, 30.42)
    assert sum(found.bins.values()) == 60032


def test_quantiles_of_the_recorded_file() -> None:
    found = recorded()
    values = sorted(us for us, count in found.bins.items() for _ in range(count))
    assert found.quantile(0.999) == values[round(0.999 * found.cycles)] == 231


def test_a_quantile_with_too_few_beyond_it_is_refused() -> None:
    with pytest.raises(QuantileError, match=r"60038 cycles are too few for p99\.99"):
        recorded().quantile(0.9999)
    assert recorded().quantile_or_none(0.9999) is None


def test_a_quantile_in_the_overflow_is_refused() -> None:
    found = Histogram(bins={5: 9900}, overflow=100, limit_us=50, max_us=900, mean_us=9)
    with pytest.raises(QuantileError, match="lies beyond the last bin"):
        found.quantile(0.999)
    assert found.quantile(0.9) == 5


def test_the_boundary_of_ten_beyond() -> None:
    found = Histogram(bins={1: 9990, 2: 10}, limit_us=50, max_us=2, mean_us=1)
    assert found.quantile(0.999) == 1
    with pytest.raises(QuantileError):
        Histogram(bins={1: 9989, 2: 10}, limit_us=50, max_us=2, mean_us=1).quantile(0.999)


@given(VALUES, st.integers(1, 999))
def test_counts_are_those_of_the_values(values: list[float], limit: int) -> None:
    found = from_values(values, limit_us=limit)
    assert found.cycles == len(values)
    assert found.overflow == sum(value >= limit for value in values)
    for us in (1, limit // 2 + 1, limit):
        if us <= limit:
            assert found.above(us) == sum(value >= us for value in values)


@given(VALUES, VALUES)
def test_merging_is_measuring_in_one_go(first: list[float], second: list[float]) -> None:
    both = merged([from_values(first, limit_us=500), from_values(second, limit_us=700)])
    whole = from_values(first + second, limit_us=500)
    assert both.bins == whole.bins
    assert (both.overflow, both.max_us) == (whole.overflow, whole.max_us)
    assert both.mean_us == pytest.approx(whole.mean_us)


def test_nothing_cannot_be_merged() -> None:
    with pytest.raises(HistogramError, match="nothing"):
        merged([])
    with pytest.raises(HistogramError, match="nothing"):
        from_values([], limit_us=5)


@pytest.mark.parametrize(
    "changes",
    [
        {"bins": {50: 1}},
        {"bins": {-1: 1}},
        {"bins": {1: 0}},
        {"overflow": -1},
        {"overflow": 1, "max_us": 3},
        {"max_us": 1},
        {"max_us": float("nan")},
    ],
)
def test_a_histogram_that_contradicts_itself_is_refused(changes: dict) -> None:
    good = {"bins": {3: 7}, "overflow": 0, "limit_us": 50, "max_us": 3.5, "mean_us": 3}
    assert Histogram.model_validate(good).cycles == 7
    with pytest.raises(ValidationError):
        Histogram.model_validate({**good, **changes})


def changed(**changes: object) -> str:
    data = json.loads((DATA / "cyclictest.json").read_text("utf-8"))
    data["thread"]["0"].update(changes)
    return json.dumps(data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no JSON"),
        ("[" * 100_000, "is no JSON"),
        ("[1]", "not a file of cyclictest"),
        ('{"thread": {}}', "not a file of cyclictest"),
        (changed(cycles=5), "counts [0-9]+ more than its 5 cycles"),
        (changed(cycles=0), "ran no cycle"),
        (changed(cycles=None), "cannot be understood"),
        (changed(histogram=[1]), "cannot be understood"),
        (changed(histogram={"x": 1}), "cannot be understood"),
        (changed(max="NaN"), "cannot be understood"),
    ],
)
def test_bad_files_are_named(text: str, message: str) -> None:
    with pytest.raises(HistogramError, match=message) as caught:
        parse_cyclictest(text, filename="some.json")
    assert "some.json" in str(caught.value)


@pytest.mark.parametrize(
    ("option", "limit"),
    [("-h 400", 400), ("-h400", 400), ("--histogram=500", 500), ("--histofall 600", 600)],
)
def test_the_limit_is_read_from_the_command(option: str, limit: int) -> None:
    data = json.loads((DATA / "cyclictest.json").read_text("utf-8"))
    data["cmdline:"] = f"cyclictest -m {option} -q"
    assert parse_cyclictest(json.dumps(data), filename="x")[0].limit_us == limit
