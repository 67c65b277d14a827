"""Comparing runs: differences are found, luck is not."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from packages.archibald.tests.measure.samples import jitter_data, jitter_series, recorded, run_of
from packages.archibald.tests.measure.test_document import ALL_DATA

from archibald.measure.compare import CompareError, compare_runs, holm, permutation, poisson_test
from archibald.measure.document import Run
from archibald.measure.histogram import Histogram
from archibald.measure.records import (
    LatencyData,
    LatencyPoint,
    VirtualJitterData,
    VirtualJitterRow,
)


def block(source: random.Random, mean: float) -> Histogram:
    values = [max(1.0, source.gauss(mean, 3)) for _ in range(400)]
    bins = Counter(int(value) for value in values)
    return Histogram(
        bins=dict(sorted(bins.items())), limit_us=400, max_us=max(values), mean_us=mean
    )


def jitter(seed: int, mean: float, blocks: int = 30) -> Run:
    source = random.Random(seed)
    # Seconds differ more than cycles within a second do.
    parts = [block(source, mean + source.gauss(0, 2)) for _ in range(blocks)]
    return run_of(jitter_data(jitter_series(blocks=parts)))


def verdicts(first: Run, second: Run) -> dict[str, str]:
    return {one.id: one.verdict for one in compare_runs(first, second).differences}


def test_a_real_difference_is_found_both_ways() -> None:
    low, high = jitter(1, 20), jitter(2, 30)
    name = "jitter.idle.cpu1.mean"
    assert verdicts(low, high)[name] == "worse"
    assert verdicts(high, low)[name] == "better"
    assert verdicts(low, low)[name] == "not distinguishable"
    assert verdicts(low, high)["jitter.idle.cpu1.cycles"] == "no judgement"


def test_luck_is_seldom_called_a_difference() -> None:
    wrong = 0
    for seed in range(12):
        found = compare_runs(jitter(seed, 20, 12), jitter(seed + 100, 20, 12))
        wrong += any(one.verdict in ("better", "worse") for one in found.differences)
    assert wrong <= 3


def test_without_blocks_there_is_no_test() -> None:
    data = jitter_data(jitter_series(recorded()))
    other = jitter_data(jitter_series(recorded("cyclictest_load")))
    found = compare_runs(run_of(data), run_of(other))
    judged = [one for one in found.differences if not one.id.endswith(".cycles")]
    assert found.tests == 0
    assert {one.verdict for one in judged} == {"not distinguishable"}
    assert all(one.why for one in judged)


def test_virtual_time_needs_no_test() -> None:
    def run(largest: int) -> Run:
        found = Histogram(bins={4: 5000, largest: 1}, limit_us=400, max_us=largest, mean_us=4)
        row = VirtualJitterRow(kernel="rt", load="idle", histogram=found)
        return run_of(VirtualJitterData(image="a.iso", emulator="QEMU", rows=(row,)))

    name = "virtual-jitter.rt.idle.max"
    assert verdicts(run(7), run(9))[name] == "worse"
    assert verdicts(run(7), run(7))[name] == "equal"


def test_round_trips() -> None:
    def run(extra: float) -> Run:
        rtts = tuple(64.0 + extra + n / 100 for n in range(8))
        point = LatencyPoint(quantum=64, rate=48000, rtts_frames=rtts)
        return run_of(LatencyData(path="cable", method="x", points=(point,)))

    assert verdicts(run(0), run(5))["latency.48000.64.ms"] == "worse"
    assert verdicts(run(0), run(0.01))["latency.48000.64.ms"] == "not distinguishable"


def test_dropouts_by_the_exact_test() -> None:
    assert poisson_test(0, 600, 0, 600) == 1.0
    assert poisson_test(5, 600, 5, 600) == pytest.approx(1)
    # Ten of ten on one side of equal times: 2 / 2^10.
    assert poisson_test(0, 600, 10, 600) == pytest.approx(2 / 1024)
    assert poisson_test(10, 100, 1000, 10000) > 0.9


def test_holm() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "c": 0.06, "b": 0.06}
    )
    assert holm({}) == {}


def test_permutation_is_never_certain() -> None:
    assert permutation([0.0] * 9, [9.0] * 9, max) > 0


@pytest.mark.parametrize("data", ALL_DATA, ids=lambda data: data.kind)
def test_every_kind_can_be_compared_with_itself(data) -> None:
    found = compare_runs(run_of(data), run_of(data))
    assert not found.worse
    assert found.differences


def test_other_kinds_and_other_loads_are_refused() -> None:
    with pytest.raises(CompareError, match="cannot be compared"):
        compare_runs(run_of(ALL_DATA[0]), run_of(ALL_DATA[1]))
    other = run_of(jitter_data(jitter_series(recorded(), name="other")))
    with pytest.raises(CompareError, match="no figure in common"):
        compare_runs(run_of(jitter_data(jitter_series(recorded()))), other)


def test_other_conditions_are_named() -> None:
    run = run_of(ALL_DATA[0])
    machine = run.machine.model_copy(update={"fingerprint": "f" * 16})
    other = run.model_copy(update={"machine": machine, "settings": {"quantum": 64}})
    assert compare_runs(run, other).warnings == (
        "the runs are of different machines",
        "different settings: quantum, rate",
    )
