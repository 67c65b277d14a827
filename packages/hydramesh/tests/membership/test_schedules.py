"""Random faults in a simulated network: members agree, detect in time, and do not flap."""

from __future__ import annotations

import pytest
from packages.hydramesh.tests.membership.schedule import Schedule


def _play(seeds: range) -> None:
    for seed in seeds:
        assert Schedule(seed).play().messages


def test_a_few_schedules():
    _play(range(2))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_dozens_of_schedules(part):
    _play(range(100 + 6 * part, 106 + 6 * part))


@pytest.mark.torture
@pytest.mark.parametrize("part", range(200))
def test_thousands_of_schedules(part):
    _play(range(1000 + 10 * part, 1010 + 10 * part))
