"""Texts for people: sizes, times, escapes."""

from __future__ import annotations

import doctest

import pytest

from streamdb.cli import output, progress
from streamdb.cli.output import size_text, time_text, value_text


@pytest.mark.parametrize("module", [output, progress])
def test_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_sizes_end_at_the_largest_unit():
    assert size_text(0) == "0 B"
    assert size_text(1 << 60) == "1048576.0 TiB"


def test_times_beyond_the_calendar_are_numbers():
    assert time_text(-(1 << 62)).endswith("s") or "-" in time_text(-(1 << 62))
    assert time_text(10**30) == f"{10**21} s"


def test_values_of_metadata():
    assert value_text("warm") == "warm"
    assert value_text(["a", "b"]) == "a, b"
    assert value_text(1.5) == "1.5"
    assert value_text([{"frame": 1}]) == '[{"frame": 1}]'
