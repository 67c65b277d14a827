"""Random operation sequences against a dict, with reopening, snapshots, collection and a scrub."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

from store_machine import StoreMachine

QUICK = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class TestRandom(StoreMachine.TestCase):
    """A few short sequences on every run."""

    settings = QUICK


@pytest.mark.torture
class TestRandomLong(StoreMachine.TestCase):
    """Many long ones."""

    settings = settings(QUICK, max_examples=60, stateful_step_count=50)
