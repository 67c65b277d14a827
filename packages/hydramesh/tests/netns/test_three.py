"""Three machines in network namespaces: killed, cut off, cut in one direction, behind NAT."""

from __future__ import annotations

import pytest
from packages.hydramesh.tests.netns import scenarios
from packages.hydramesh.tests.netns.lab import wait_for

pytestmark = pytest.mark.slow
#: Targets are 1.5 s, 2 s and 3 s (bench/healing.py measures); here a busy machine may be slower.
DETECTED_S, REROUTED_S, HEALED_S = 4.0, 8.0, 12.0


def test_killed_and_back(lab):
    nodes = lab.realm(["anna", "bert", "carl"])
    lab.settled(nodes)
    found = scenarios.killed(lab, nodes)
    assert found["detected"] < DETECTED_S
    assert found["back"] - found["started"] < HEALED_S


def test_cut_off_and_back(lab):
    nodes = lab.realm(["anna", "bert", "carl"])
    lab.settled(nodes)
    found = scenarios.partitioned(lab, nodes, nodes[2:])
    assert found["detected"] < DETECTED_S
    assert found["healed"] < HEALED_S


@pytest.mark.torture
def test_the_direct_way_is_cut(lab):
    nodes = lab.realm(["anna", "bert", "carl"])
    lab.settled(nodes)
    found = scenarios.rerouted(lab, nodes[0], nodes[1])
    assert found["rerouted"] < REROUTED_S


@pytest.mark.torture
def test_one_direction_is_lost(lab):
    nodes = lab.realm(["anna", "bert"])
    found = scenarios.one_way(lab, *nodes)
    assert found["detected"] < DETECTED_S
    assert found["healed"] < HEALED_S


def hide(lab, nodes):
    """Put nodes behind NAT: nobody can dial them from now on."""
    for hidden in nodes:
        hidden.kill()
        lab.no_way_in(hidden)
    for hidden in nodes:
        hidden.start()


def test_two_behind_nat_meet_through_a_relay(lab):
    anna, bert, carl = nodes = lab.realm(["anna", "bert", "carl"])
    anna.peer.ok("relay", "on", "--advertise", f"{anna.address}:50051")
    hide(lab, [bert, carl])
    lab.whole(nodes)
    lab.settled(nodes)
    seen = bert.peers()
    assert seen["anna"].linked
    assert seen["anna"].relay
    assert not seen["carl"].linked
    assert [each["name"] for each in carl.peer.ok("relay")["relays"]] == ["anna"]
    result = bert.echo(carl)
    assert (result.chunks, result.linked, result.idle.lost) == (4, False, 0)


@pytest.mark.torture
def test_an_authority_behind_nat_renews_certificates(lab):
    anna, bert, carl = nodes = lab.realm(["anna", "bert", "carl"], life="40s")
    bert.peer.ok("relay", "on")
    hide(lab, [anna, carl])
    lab.whole(nodes)
    for each in nodes:
        wait_for(lambda e=each: "the certificate was renewed" in e.peer.log(), lab.log)
    lab.whole(nodes)
    assert not carl.peers()["anna"].linked
    assert carl.peer.ok("status")["problems"] == []


@pytest.mark.torture
def test_every_fifth_segment_is_lost(lab):
    """50 ms one way and every fifth segment lost: slow, sometimes silent, never split for good.

    Nothing long is pulled: TCP carries some kilobytes a second on such a way.
    """
    nodes = [lab.add(name) for name in ("anna", "bert", "carl")]
    for each in nodes:
        each.behind(delay_ms=50, loss=0.2)
        each.start()
    first, *others = nodes
    first.peer.ok("init")
    for each in others:
        each.peer.ok("join", "-", text=first.peer.ok("invite")["code"])
    lab.whole(nodes)
    found = scenarios.shaken(lab, nodes, 15.0)
    assert found["median_rtt_ms"] > 90
    assert found["share_whole"] > 0.3


@pytest.mark.torture
def test_heartbeats_get_through_beside_chunks_on_a_slow_line(lab):
    anna, bert = lab.realm(["anna", "bert"])
    lab.settled([anna, bert])
    before = {each.name: len(each.peer.log()) for each in (anna, bert)}
    found = scenarios.pulled(lab, anna, bert, 10, 6)
    assert 0.3 < found["mb_per_s"] < 1.3
    lab.whole([anna, bert])
    since = [each.peer.log()[before[each.name] :] for each in (anna, bert)]
    # With long queues it is a death a second, and the chunks never come. On a busy machine one may
    # be late all the same.
    assert sum(text.count(": dead") for text in since) <= 2, since


def test_who_reaches_only_a_relay_is_let_in_through_it(lab):
    """The authority is behind NAT, and what it and the joiner send to each other is lost."""
    anna, bert = lab.realm(["anna", "bert"])
    bert.peer.ok("relay", "on", "--advertise", f"{bert.address}:50051")
    hide(lab, [anna])
    lab.whole([anna, bert])
    wait_for(lambda: anna.peers()["bert"].relay, lab.log)
    carl = lab.add("carl")
    lab.apart(anna, carl, cut=True)
    carl.start()
    invite = anna.peer.ok("invite")
    assert invite["endpoints"] == [f"{anna.address}:50051", f"{bert.address}:50051"]
    carl.peer.ok("join", "-", text=invite["code"])
    lab.whole([anna, bert, carl])
    assert not carl.peers()["anna"].linked
    assert [each["name"] for each in anna.peer.ok("members")["members"]] == ["anna", "bert", "carl"]
    # Any member will do; here the joiner is told of no other.
    bert.peer.ok("relay", "off")
    carl.peer.ok("leave")
    carl.peer.ok("join", "-", text=anna.peer.ok("invite", "--endpoint", bert.address)["code"])
    lab.whole([anna, bert, carl])
