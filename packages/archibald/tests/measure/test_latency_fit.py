"""Round trips over quanta: slope, constant, and what they mean."""

from __future__ import annotations

import pytest

from archibald.measure.latency_fit import FitError, fit_points
from archibald.measure.records import LatencyPoint


def points(slope: float, frames: float, quanta: tuple[int, ...] = (32, 64, 128, 256)):
    return [
        LatencyPoint(quantum=q, rate=96000, rtts_frames=(slope * q + frames,) * 6) for q in quanta
    ]


def test_a_software_loop_has_one_period_and_no_constant() -> None:
    found = fit_points(points(1, 0, (16, 32, 64, 256)), path="software-loop")
    assert found.slope == pytest.approx(1)
    assert found.constant_ms == pytest.approx(0, abs=1e-9)
    assert found.meaning.startswith("one period")


@pytest.mark.parametrize(
    ("slope", "word"), [(2, "interrupts"), (3, "timer"), (4, "timer"), (7, "check the loop")]
)
def test_the_slope_says_what_wakes_the_graph(slope: int, word: str) -> None:
    found = fit_points(points(slope, 61), path="cable")
    assert (found.periods, found.exact) == (slope, True)
    assert word in found.meaning
    assert found.constant_ms == pytest.approx(61 / 96)
    assert [one.buffering_ms for one in found.points] == pytest.approx(
        [slope * q / 96 for q in (32, 64, 128, 256)]
    )


def test_one_wrong_point_does_not_move_the_line() -> None:
    measured = points(2, 61, (32, 64, 128, 256, 512))
    measured[2] = LatencyPoint(quantum=128, rate=96000, rtts_frames=(900.0,) * 6)
    found = fit_points(measured, path="cable")
    assert found.periods == 2
    assert found.constant_ms == pytest.approx(61 / 96)
    assert max(abs(one.residual_ms) for one in found.points) > 5


def test_half_periods_are_said_to_be_none() -> None:
    found = fit_points(points(2.5, 61), path="cable")
    assert not found.exact
    assert "no whole number" in found.meaning


@pytest.mark.parametrize("quanta", [(), (64,), (64, 64)])
def test_one_quantum_is_too_few(quanta: tuple[int, ...]) -> None:
    with pytest.raises(FitError, match="cannot be told apart"):
        fit_points(points(2, 61, quanta), path="cable")


def test_points_without_readings_do_not_count() -> None:
    empty = LatencyPoint(quantum=512, rate=96000, rtts_frames=())
    assert len(fit_points([*points(2, 0), empty], path="cable").points) == 4
