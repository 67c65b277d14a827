"""Groups are complete-link clusters, do not depend on order, and change slowly."""

from __future__ import annotations

import random
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydramesh.groups import Grouping, GroupSettings, cluster


@given(st.integers(1, 9), st.integers(0, 2**32))
def test_every_pair_of_a_group_is_near_and_order_does_not_matter(count, seed):
    chance = random.Random(seed)
    nodes = [f"n{at}" for at in range(count)]
    trips = {
        pair: chance.uniform(0, 0.1) for pair in combinations(nodes, 2) if chance.random() < 0.9
    }
    groups = cluster(nodes, trips, 0.05)
    assert sorted(node for group in groups for node in group) == nodes
    for group in groups:
        assert all(trips[pair] <= 0.05 for pair in combinations(group, 2))
    # No two groups could be joined.
    for one, other in combinations(groups, 2):
        pairs = [(min(a, b), max(a, b)) for a in one for b in other]
        assert any(trips.get(pair, 1.0) > 0.05 for pair in pairs)
    chance.shuffle(nodes)
    assert cluster(nodes, trips, 0.05) == groups


def test_a_round_trip_near_the_threshold_does_not_flap():
    grouping = Grouping()
    near, edge, far = ({("a", "b"): ms / 1000} for ms in (30, 55, 70))
    for second in range(12):
        grouping.update("ab", near, second)
    assert list(grouping.groups) == [("a", "b")]
    for second in range(12, 60):
        grouping.update("ab", edge, second)
    assert list(grouping.groups) == [("a", "b")]
    grouping.update("ab", far, 60)
    grouping.update("ab", edge, 65)
    grouping.update("ab", far, 71)
    assert list(grouping.groups) == [("a", "b")]
    grouping.update("ab", far, 82)
    assert list(grouping.groups) == [("a",), ("b",)]
    for second in range(90, 120):
        grouping.update("ab", edge, second)
    assert list(grouping.groups) == [("a",), ("b",)]


def test_who_goes_is_gone_at_once():
    grouping = Grouping(GroupSettings(dwell_s=0.0))
    grouping.update("ab", {("a", "b"): 0.001}, 0)
    assert grouping.update("a", {}, 1) == (("a",),)


@pytest.mark.parametrize("threshold", [-1.0, 1000.1, float("nan")])
def test_thresholds_out_of_range_are_refused(threshold):
    with pytest.raises(ValueError, match="group-rtt-threshold"):
        GroupSettings(threshold_ms=threshold)


def test_threshold_zero_groups_nobody():
    assert cluster("ab", {("a", "b"): 0.0}, 0.0) == (("a",), ("b",))
