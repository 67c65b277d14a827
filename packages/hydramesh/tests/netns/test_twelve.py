"""Twelve machines in network namespaces: halves that part and meet, and a first node that dies."""

from __future__ import annotations

import pytest
from packages.hydramesh.tests.netns import scenarios
from packages.hydramesh.tests.netns.lab import NotHere, laboratory

pytestmark = pytest.mark.torture
DETECTED_S, HEALED_S, TOGETHER_S = 8.0, 30.0, 30.0
NAMES = [f"node-{number}" for number in range(12)]


@pytest.fixture(scope="module")
def mesh():
    try:
        with laboratory() as lab:
            nodes = lab.realm(NAMES)
            lab.settled(nodes)
            yield lab, nodes
    except NotHere as error:
        pytest.skip(f"network namespaces cannot be made here: {error}")


def test_no_node_has_many_links(mesh):
    _, nodes = mesh
    assert all(sum(each.linked for each in node.peers().values()) <= 4 for node in nodes)


@pytest.mark.parametrize("away", [1, 6])
def test_cut_off_and_back(mesh, away):
    lab, nodes = mesh
    found = scenarios.partitioned(lab, nodes, nodes[-away:])
    lab.settled(nodes)
    assert found["detected"] < DETECTED_S
    assert found["healed"] < HEALED_S


def test_the_first_node_dies(mesh):
    lab, nodes = mesh
    found = scenarios.bootstrap_dies(lab, nodes)
    assert found["detected"] < DETECTED_S
    assert found["together"] < TOGETHER_S
