"""Simulated failures: what they cut, and that they end."""

from __future__ import annotations

import pytest

from hydramesh.errors import InvalidArgument
from hydramesh.failures import LONGEST_S, Failures


def test_a_node_is_lost_for_a_while():
    acted = Failures()
    acted.begin("a", link_only=False, for_s=5, now=100.0)
    assert acted.cuts("a", 104.9)
    assert acted.mutes("a", 104.9)
    assert not acted.cuts("b", 104.9)
    assert acted.over(104.9) == []
    assert not acted.mutes("a", 105.0)
    assert acted.active(105.0) == []
    assert acted.over(105.0) == ["a"]
    assert acted.over(105.0) == []


def test_a_link_alone_leaves_the_node_to_be_heard():
    acted = Failures()
    acted.begin("a", link_only=True, for_s=5, now=0.0)
    assert acted.cuts("a", 1.0)
    assert not acted.mutes("a", 1.0)


def test_it_can_be_ended_and_begun_anew():
    acted = Failures()
    acted.begin("a", link_only=True, for_s=5, now=0.0)
    assert acted.end("a")
    assert not acted.end("a")
    acted.begin("a", link_only=False, for_s=9, now=0.0)
    assert [each.until for each in acted.active(1.0)] == [9.0]


@pytest.mark.parametrize("for_s", [0, -1, LONGEST_S + 1, float("nan"), float("inf")])
def test_how_long_is_bounded(for_s):
    with pytest.raises(InvalidArgument):
        Failures().begin("a", link_only=False, for_s=for_s, now=0.0)
