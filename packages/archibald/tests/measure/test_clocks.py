"""A machine that sleeps while it is measured."""

from __future__ import annotations

import pytest

from archibald.errors import ExitCode
from archibald.measure.clocks import SuspendedError, slept_s, without_sleep


def test_a_machine_that_stays_awake_says_nothing():
    with without_sleep("jitter"):
        assert slept_s() >= -0.25


@pytest.mark.parametrize("gone", [0.3, 3600.0])
def test_a_suspended_machine_is_refused(gone):
    readings = iter([100.0, 100.0 + gone])
    with (
        pytest.raises(SuspendedError, match="suspended while jitter was measured") as caught,
        without_sleep("jitter", slept=lambda: next(readings)),
    ):
        pass
    assert caught.value.exit_code == ExitCode.REFUSED
    assert f"{gone:.1f} s" in caught.value.why


def test_an_error_inside_is_not_covered_up():
    readings = iter([0.0, 99.0])
    with (
        pytest.raises(ValueError, match="first"),
        without_sleep("jitter", slept=lambda: next(readings)),
    ):
        raise ValueError("first")
