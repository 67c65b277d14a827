"""No bytes of the network do harm: they are read or refused by name, in little memory."""

from __future__ import annotations

import random
import resource
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packages.hydramesh.tests.fuzz.decoders import NAMES, decoders
from packages.hydramesh.tests.fuzz.mutate import BOMBS, MOST_BYTES, hostile

from hydramesh.errors import HydraMeshError

#: Of one input of at most 64 KiB; what a decoder builds of it is a few times as much.
MOST_MEMORY = 8 << 20
MOST_GROWTH_KIB = 128 << 10
INPUTS_AT_ONCE = 50
TORTURE_INPUTS = 100_000


def _feed(name: str, data: bytes) -> bool:
    """Whether it was taken as honest; anything but a named error ends the test."""
    try:
        decoders()[name].read(data)
    except HydraMeshError:
        return False
    except Exception as error:
        raise AssertionError(f"{name}: {type(error).__name__} for {data!r}") from error
    return True


@pytest.mark.parametrize("name", NAMES)
def test_honest_bytes_are_taken(name):
    assert set(NAMES) == set(decoders())
    # Of several samples some are honest only in form: a CA's certificate is no node's.
    assert _feed(name, decoders()[name].valid[0])


@pytest.mark.parametrize("name", NAMES)
@given(data=st.binary(max_size=300), seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_some_hostile_bytes(name, data, seed):
    _feed(name, data)
    rng = random.Random(seed)
    for _ in range(10):
        _feed(name, hostile(rng, decoders()[name].valid))


@pytest.mark.parametrize("name", NAMES)
def test_bombs_take_little_memory(name):
    valid = decoders()[name].valid[0]
    inputs = [valid * (MOST_BYTES // len(valid))]
    for bomb in BOMBS:
        inputs += [bomb * (MOST_BYTES // len(bomb)), valid + bomb, bomb + valid]
        inputs += [valid[:at] + bomb + valid[at:] for at in range(0, len(valid), 29)]
    tracemalloc.start()
    try:
        for data in inputs:
            tracemalloc.reset_peak()
            before, _ = tracemalloc.get_traced_memory()
            _feed(name, data[:MOST_BYTES])
            _, peak = tracemalloc.get_traced_memory()
            assert peak - before < MOST_MEMORY, (name, data[:200])
    finally:
        tracemalloc.stop()


@pytest.mark.torture
@pytest.mark.parametrize("name", NAMES)
def test_a_hundred_thousand_hostile_inputs(name):
    _feed(name, decoders()[name].valid[0])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    fed = 0

    @given(seed=st.integers(0, 2**64 - 1))
    @settings(
        max_examples=TORTURE_INPUTS // INPUTS_AT_ONCE,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def feed(seed):
        nonlocal fed
        rng = random.Random(seed)
        for _ in range(INPUTS_AT_ONCE):
            _feed(name, hostile(rng, decoders()[name].valid))
            fed += 1

    feed()
    while fed < TORTURE_INPUTS:
        _feed(name, hostile(random.Random(fed), decoders()[name].valid))
        fed += 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MOST_GROWTH_KIB, f"{name}: {grown} KiB more than before"
