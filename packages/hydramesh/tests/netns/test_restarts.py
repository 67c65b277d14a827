"""A member that nobody can dial, while the authority is restarted again and again."""

from __future__ import annotations

import signal

import pytest
from packages.hydramesh.tests.netns.lab import until
from packages.hydramesh.tests.netns.test_three import hide

pytestmark = pytest.mark.slow
BACK_S = 30.0


def restart(machine, *, gently):
    machine.peer.stop(signal.SIGTERM if gently else signal.SIGKILL)
    machine.hang_up()
    machine.start()


def linked(machine):
    return any(each.linked for each in machine.peers().values())


@pytest.mark.parametrize(
    ("hidden", "restarts"),
    [
        (2, 1),
        pytest.param(2, 8, marks=pytest.mark.torture),
        pytest.param(1, 8, marks=pytest.mark.torture),
    ],
)
def test_members_that_nobody_dials_come_back_to_a_restarted_authority(lab, hidden, restarts):
    nodes = lab.realm(["anna", "bert", "carl"])
    anna, others = nodes[0], nodes[1:]
    hide(lab, others[2 - hidden :])
    lab.whole(nodes)
    for number in range(restarts):
        lab.settled(nodes)
        restart(anna, gently=number % 2 == 0)
        took = lab.whole(nodes, BACK_S)
        print(f"{hidden} hidden, restart {number}: {took:.2f} s")
        until(lambda: all(linked(each) for each in others[2 - hidden :]), BACK_S, lab.log)
