"""Single rules of membership, each by hand; the schedules test them together."""

from __future__ import annotations

import doctest
from dataclasses import replace

import pytest

import hydramesh.membership.machine
import hydramesh.membership.neighbours
import hydramesh.membership.quality
from hydramesh.membership import Changed, Duplicate, Heartbeat, Membership, Send, Status
from hydramesh.membership.quality import Quality


def _beat(node="b", instance=7, seq=1, **more):
    stamp = more.pop("stamp_us", seq * 250_000)
    return Heartbeat(node, instance, more.pop("incarnation", 0), seq, stamp, **more)


def _changes(actions):
    return [(action.node, action.after) for action in actions if isinstance(action, Changed)]


def _sent(actions):
    return [action.beat for action in actions if isinstance(action, Send)]


@pytest.mark.parametrize(
    "module",
    [
        hydramesh.membership.machine,
        hydramesh.membership.neighbours,
        hydramesh.membership.quality,
    ],
)
def test_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def _silence(one, start, end):
    found, now = [], start
    while now < end:
        now += 0.05
        found += [(node, after, now) for node, after in _changes(one.tick(now))]
    return found


def test_two_misses_make_suspect_and_a_second_makes_dead():
    one = Membership("a", 1, 0.0)
    assert _changes(one.heard(_beat(), 0.0)) == [("b", Status.ALIVE)]
    [suspect, dead] = _silence(one, 0.0, 1.2)
    assert suspect[:2] == ("b", Status.SUSPECT)
    assert 0.5 <= suspect[2] <= 0.65
    assert dead[:2] == ("b", Status.DEAD)
    assert 1.0 <= dead[2] <= 1.1


def test_a_suspected_node_contradicts_with_a_higher_incarnation():
    one, two = Membership("a", 1, 0.0), Membership("b", 2, 0.0)
    [first] = _sent(two.tick(0.0))
    one.heard(first, 0.0)
    _silence(one, 0.0, 0.7)
    assert one.status("b") is Status.SUSPECT
    [doubt] = _sent([*one.tick(0.9)])[-1:]
    [answer] = _sent(two.heard(doubt, 0.9))
    assert answer.incarnation == 1
    assert one.status("b") is not Status.DEAD
    one.heard(answer, 0.95)
    assert one.status("b") is Status.ALIVE


def test_an_old_heartbeat_does_not_wake_the_dead():
    one = Membership("a", 1, 0.0)
    one.heard(_beat(seq=5), 0.0)
    _silence(one, 0.0, 1.2)
    one.heard(_beat(seq=6), 1.3)
    assert one.status("b") is Status.DEAD
    one.heard(_beat(seq=7, incarnation=1), 1.4)
    assert one.status("b") is Status.ALIVE


def test_who_does_not_hear_us_counts_as_dead():
    one, deaf = Membership("a", 1, 0.0), Membership("b", 2, 0.0)
    [first] = _sent(one.tick(0.0))
    deaf.heard(first, 0.0)
    now = 0.0
    while now < 1.6:
        now += 0.05
        one.tick(now)
        for beat in _sent(deaf.tick(now)):
            one.heard(beat, now)
    assert one.status("b") is Status.DEAD


def test_a_pause_of_our_own_kills_nobody():
    one = Membership("a", 1, 0.0)
    one.heard(_beat(), 0.0)
    assert _changes(one.tick(30.0)) == []
    assert one.status("b") is Status.ALIVE
    assert _changes(one.tick(-5000.0)) == []
    assert _silence(one, -5000.0, -4998.0)[-1][:2] == ("b", Status.DEAD)


def test_a_restart_is_followed_at_once():
    one = Membership("a", 1, 0.0)
    one.heard(_beat(seq=50), 0.0)
    one.heard(_beat(instance=8, seq=1), 0.1)
    assert one.peers["b"].instance == 8
    one.heard(_beat(seq=51), 0.12)
    assert one.peers["b"].instance == 8


def test_two_processes_with_one_id_are_told_of_once():
    one = Membership("a", 1, 0.0)
    told = []
    for seq in range(1, 20):
        for instance in (7, 8):
            told += one.heard(_beat(instance=instance, seq=seq), seq * 0.25)
    found = [action for action in told if isinstance(action, Duplicate)]
    assert [action.node for action in found] == ["b"]
    assert set(found[0].instances) == {7, 8}


@pytest.mark.parametrize(("ours", "yields"), [(1, True), (9, False)])
def test_of_two_processes_with_one_id_the_smaller_number_yields(ours, yields):
    one = Membership("b", ours, 0.0)
    told = [action for seq in range(1, 9) for action in one.heard(_beat(seq=seq), seq * 0.25)]
    [found] = [action for action in told if isinstance(action, Duplicate)]
    assert (found.own, found.yields) == (True, yields)


def test_the_round_trip_is_measured_without_a_common_clock():
    one, two = Membership("a", 1, 1000.0), Membership("b", 2, 5.0)
    for turn in range(40):
        now = turn * 0.05
        for beat in _sent(one.tick(1000.0 + now)):
            for answer in _sent(two.heard(replace(beat), 5.0 + now + 0.010)):
                one.heard(answer, 1000.0 + now + 0.030)
        for beat in _sent(two.tick(5.0 + now + 0.011)):
            one.heard(beat, 1000.0 + now + 0.031)
    assert one.peers["b"].quality.rtt_s == pytest.approx(0.030, abs=0.002)


def test_good_byes_are_heeded():
    one = Membership("a", 1, 0.0)
    one.heard(_beat(), 0.0)
    assert _changes(one.heard(_beat(seq=2, leaving=True), 0.1)) == [("b", Status.LEFT)]
    assert _sent(one.leave(0.2))[0].leaving
    assert _sent(one.tick(1.0)) == []


def test_loss_and_jitter_follow_the_gaps():
    way = Quality()
    for seq in range(1, 400, 2):
        way.on_arrival(seq, seq * 250_000, seq * 0.25 + (0.01 if seq % 4 == 1 else 0.0))
    assert way.loss == pytest.approx(0.5, abs=0.1)
    assert way.jitter_s == pytest.approx(0.01, abs=0.002)


def test_a_flood_of_names_does_not_fill_the_table():
    one = Membership("a", 1, 0.0)
    for at in range(1000):
        one.heard(_beat(node=f"n{at}"), 0.1)
    assert len(one.peers) == one.settings.max_members
