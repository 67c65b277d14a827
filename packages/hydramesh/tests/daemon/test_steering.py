"""Real daemons: roles, groups, simulated failures, healing, measurements; renewal without a gap."""

from __future__ import annotations

import time

import pytest
from packages.hydramesh.tests.daemon.test_daemons import folder, free_port, make, wait_for

from hydramesh.cli.looking import dot_text
from hydramesh.v1 import control_pb2 as pb

__all__ = ["folder", "make"]
pytestmark = pytest.mark.slow


def realm(make, *names, life="24h"):
    """Daemons that all see all."""
    peers = [make(name) for name in names]
    first, *others = peers
    first.ok("init", "--certificate-life", life)
    for each in others:
        each.ok("join", "-", text=first.ok("invite")["code"])
    whole(peers)
    return peers


def whole(peers):
    for each in peers:
        expected = {other.name: "alive" for other in peers if other is not each}
        wait_for(lambda e=each, x=expected: e.states() == x, each.log)


def test_roles_and_groups(make):
    anna, bert, carl = peers = realm(make, "anna", "bert", "carl")
    assert anna.ok("role")["mode"] == "p2p"
    bert.ok("role", "set", "auto")
    carl.ok("role", "set", "master")
    anna.ok("role", "set", "client")
    for each in peers:
        wait_for(lambda e=each: e.ok("role")["master_name"] == "carl", each.log)
    carl.stop()
    wait_for(lambda: anna.ok("role")["master_name"] == "bert", anna.log)
    carl.start()
    wait_for(lambda: carl.run("role")[1].get("mode") == "master", carl.log)
    for each in peers:
        wait_for(lambda e=each: e.ok("role")["master_name"] == "carl", each.log)
    wait_for(lambda: len(anna.ok("groups")["groups"]) == 1, anna.log)
    shown = anna.ok("topology")
    assert {each["name"]: each["role"] for each in shown["nodes"]} == {
        "anna": "client", "bert": "auto", "carl": "master"
    }  # fmt: skip
    graph = pb.Topology()
    for each in shown["nodes"]:
        graph.nodes.add(nid=each["nid"], name=each["name"], leads=each["leads"], role=each["role"])
    assert r"carl\nthe master" in dot_text(graph)


@pytest.mark.torture
def test_simulated_failures_end_by_themselves(make):
    anna, bert, carl = peers = realm(make, "anna", "bert", "carl")
    wait_for(lambda: len(anna.ok("links")["links"]) == 2, anna.log)
    anna.ok("simulate-failure", "link", "bert", "--for", "6s")
    wait_for(lambda: [e["name"] for e in anna.ok("links")["links"]] == ["carl"], anna.log)
    assert any("simulated" in each for each in anna.run("status")[1]["problems"])
    time.sleep(2.0)
    assert anna.states()["bert"] in ("alive", "suspect")
    wait_for(lambda: len(anna.ok("links")["links"]) == 2, anna.log)
    # A node: silent on every way, and both sides know.
    anna.ok("simulate-failure", "bert", "--for", "60s")
    wait_for(lambda: anna.states()["bert"] == "dead", anna.log)
    wait_for(lambda: bert.states()["anna"] == "dead", bert.log)
    assert carl.states() == {"anna": "alive", "bert": "alive"}
    assert anna.ok("simulate-failure")["failures"][0]["name"] == "bert"
    code, report = anna.run("heal", "--wait", "2s")
    assert (code, report["nodes"][0]["after"]) == (1, "dead")
    # A restart ends it.
    anna.stop()
    anna.start()
    whole(peers)
    assert anna.ok("simulate-failure")["failures"] == []
    assert anna.run("simulate-failure", "anna")[1]["error"] == "InvalidArgument"
    assert anna.run("simulate-failure", "dora")[1]["error"] == "NotFound"


def test_heal_says_who_came_back(make):
    anna, _ = realm(make, "anna", "bert")
    anna.ok("simulate-failure", "bert", "--for", "60s")
    wait_for(lambda: anna.states()["bert"] == "dead", anna.log)
    anna.ok("simulate-failure", "bert", "--stop")
    report = anna.ok("heal", "--wait", "20s")
    assert (report["alive"], report["known"]) == (1, 1)
    assert anna.ok("heal")["nodes"] == []


def test_the_way_to_a_node_is_measured(make):
    anna, _ = realm(make, "anna", "bert")
    found = anna.ok("benchmark", "bert", "--count", "50", "--chunks", "16")
    assert (found["name"], found["linked"], found["chunks"]) == ("bert", True, 16)
    assert found["idle"]["count"] == 50
    assert 0 < found["idle"]["least"] <= found["idle"]["median"] <= found["idle"]["p99"]
    assert found["mb_per_s"] > 0
    assert anna.run("benchmark", "dora")[1]["error"] == "NotFound"


@pytest.mark.torture
def test_nobody_is_believed_dead_while_certificates_are_renewed(make):
    peers = realm(make, "anna", "bert", "carl", life="15s")
    before = {each.name: len(each.log()) for each in peers}
    for each in peers:
        wait_for(lambda e=each: e.log().count("the certificate was renewed") >= 2, each.log)
    for each in peers:
        since = each.log()[before[each.name] :]
        assert ": dead" not in since, since
        assert each.ok("status")["problems"] == []
    whole(peers)


def test_endpoints_of_the_configuration_are_tried(make):
    """Nodes whose addresses changed while both were away meet when one knows where the other is."""
    anna, bert = realm(make, "anna", "bert")
    anna.stop()
    bert.stop()
    anna.port, bert.port = free_port(), free_port()  # nobody was told
    anna.configure(host="127.0.0.1")
    anna.start()
    bert.configure(host="127.0.0.1", peers=[f"127.0.0.1:{anna.port}"])
    bert.start()
    wait_for(lambda: bert.states() == {"anna": "alive"}, bert.log)
