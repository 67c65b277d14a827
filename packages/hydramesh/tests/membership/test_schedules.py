"""Random faults in a simulated network: members agree, detect in time, and do not flap."""

from __future__ import annotations

from packages.hydramesh.tests.membership.schedule import Schedule


def test_a_few_schedules():
    for seed in range(4):
        Schedule(seed).play()
