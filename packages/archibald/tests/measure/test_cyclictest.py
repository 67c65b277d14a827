"""cyclictest's command, its stream of values, and what it says when it may not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archibald.errors import ExitCode
from archibald.measure.cyclictest import (
    MOST_BLOCKS,
    Request,
    Stream,
    ThreadStream,
    command_line,
    failure,
    outcome,
)
from archibald.measure.histogram import from_values, merged

REQUEST = Request((1,), 0, 88, 333, 20, 400)


def text_of(values, *, first=0, thread=0):
    """What cyclictest prints for latencies."""
    lines = [f"{thread:8d}:{first + n:8d}:{value:8d}\n" for n, value in enumerate(values)]
    return "".join(lines).encode()


def test_the_command_is_that_of_the_data_loop():
    words = command_line(REQUEST, Path("x.json"))
    assert words[0] == "cyclictest"
    for word in (
        "--affinity=1", "--threads=1", "--mlockall", "--priority=88", "--interval=333",
        "--histogram=400", "--duration=20", "--default-system", "--mainaffinity=0",
    ):  # fmt: skip
        assert word in words
    awake = command_line(Request((1, 3), None, 80, 333, 20, 400, hold_awake=True), Path("x"))
    assert "--default-system" not in awake
    assert "--affinity=1,3" in awake
    assert not any("mainaffinity" in word for word in awake)


def test_a_day_has_no_more_blocks_than_an_hour():
    for seconds in (1, 20, 3600, 86400):
        request = Request((1,), 0, 88, 333, seconds, 400)
        assert seconds * 1e6 / 333 / request.block_cycles <= MOST_BLOCKS + 1
    assert REQUEST.block_cycles == 3003


@given(st.lists(st.integers(0, 900), min_size=1, max_size=200), st.data())
def test_pieces_of_the_stream_give_what_the_whole_gives(values, data):
    request = Request((0,), None, 88, 100_000, 5, 400)
    stream, rest = Stream(request), b"# header\nThread 0 Interval: 333\n" + text_of(values)
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        stream.feed(rest[:size])
        rest = rest[size:]
    assert stream.bins().total() == len(values)
    assert stream.max_us == max(values)
    final = from_values(values, limit_us=400)
    found = outcome(stream.threads[0], final, most_unread=0)
    assert found.histogram == merged(found.blocks)
    assert found.histogram.bins == final.bins
    assert found.histogram.overflow == final.overflow
    assert sum(block.cycles for block in found.blocks) == len(values)
    assert all(block.cycles == 10 for block in found.blocks[:-1])


def _stream(values, **changes):
    stream = ThreadStream(1000, 400)
    for cycle, value in enumerate(values):
        stream.take(changes.get("first", 0) + cycle, value)
    return stream


def test_what_the_stream_did_not_tell_any_more_is_added():
    rng = random.Random(1)
    values = [rng.randrange(600) for _ in range(5000)]
    final = from_values([*values, 7, 450, 2000], limit_us=400)
    found = outcome(_stream(values), final, most_unread=5)
    assert found.blocks
    assert found.histogram.bins == final.bins
    assert found.histogram.overflow == final.overflow
    assert found.histogram.max_us == 2000


@pytest.mark.parametrize(
    "case", ["a gap", "too much unread", "more than in the end", "nothing", "an unknown overflow"]
)
def test_a_stream_that_is_not_trusted_leaves_no_blocks(case):
    values = [10, 11, 12] * 100
    final = from_values([*values, 13], limit_us=400)
    stream = _stream(values)
    if case == "a gap":
        stream = _stream(values, first=1)
    elif case == "too much unread":
        final = from_values([*values, *([13] * 50)], limit_us=400)
    elif case == "more than in the end":
        final = from_values([10, 11] * 150, limit_us=400)
    elif case == "nothing":
        stream = ThreadStream(1000, 400)
    else:
        stream = _stream([*values[:-1], 999])
        final = from_values([*values, 12], limit_us=400)
    found = outcome(stream, final, most_unread=5)
    assert found.blocks == ()
    assert found.histogram == final


def test_threads_are_told_apart():
    stream = Stream(Request((1, 3), 0, 88, 1000, 5, 400))
    stream.feed(text_of([1, 2, 3]) + text_of([40, 50], thread=1) + text_of([9], thread=7))
    assert [thread.cycles for thread in stream.threads.values()] == [3, 2]
    assert stream.max_us == 50


NO_RIGHT = (
    "WARN: not setting cpu_dma_latency from cyclictest\nUnable to change scheduling policy!\n"
    "Probably missing capabilities, either run as root or increase RLIMIT_RTPRIO limits.\n"
)


@pytest.mark.parametrize(
    ("said", "what", "code"),
    [
        (NO_RIGHT, "no right to real-time priority 88", ExitCode.REFUSED),
        ("mlockall: Cannot allocate memory\n", "no right to lock memory", ExitCode.REFUSED),
        ("something else\n", "cyclictest failed with exit status 1", ExitCode.TOOL_FAILED),
        ("", "cyclictest failed with exit status 1", ExitCode.TOOL_FAILED),
    ],
)
def test_failures_say_what_is_missing(said, what, code):
    error = failure(["cyclictest"], 1, said, REQUEST)
    assert (error.what, error.exit_code) == (what, code)
    assert error.next_step
