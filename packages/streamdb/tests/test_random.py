"""Random operation sequences against a dict, with reopening, snapshots, collection and a scrub."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from packages.streamdb.tests.store_machine import StoreMachine

QUICK = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def test_a_few_short_sequences():
    run_state_machine_as_test(StoreMachine, settings=QUICK)


@pytest.mark.torture
def test_many_long_sequences():
    long = settings(QUICK, max_examples=60, stateful_step_count=50)
    run_state_machine_as_test(StoreMachine, settings=long)
