"""A trunk whose links are up and that carries nothing: it begins anew by itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

import pytest
from packages.hydramesh.tests.daemon.test_daemons import _PORTS
from packages.hydramesh.tests.library.members import band, until

from hydramesh.membership.detector import Peer
from hydramesh.membership.model import Status
from hydramesh.trunk.silence import DEAF_S, GAP_S, Silence


@pytest.fixture
def folder():
    made = Path("/tmp", f"hs{os.getpid()}-{next(_PORTS)}")  # sockets want short paths
    made.mkdir(mode=0o700)
    yield made
    shutil.rmtree(made)


def test_only_who_is_linked_and_silent_for_long_counts():
    peers = {name: Peer(name, status=Status.ALIVE) for name in ("a", "b", "c")}
    silence = Silence()
    assert silence.watch(["a", "b"], peers, 0.0) == ""
    peers["a"].status = peers["c"].status = Status.DEAD
    # Its link is taken down and made again meanwhile.
    for now in (1.0, 4.0, 8.0, 10.9):
        assert silence.watch(["a", "b"], peers, now) == ""
        assert silence.watch(["b"], peers, now + 0.5) == ""
    assert silence.watch(["b"], peers, 1.0 + DEAF_S) == ""
    assert silence.watch(["a", "b"], peers, 1.0 + DEAF_S) == "a"
    silence.forget()
    assert silence.watch(["a", "b"], peers, 12.0) == ""
    # Cut off: no link comes up any more. That is no silence of the trunk.
    assert silence.watch(["b"], peers, 12.1 + GAP_S) == ""
    assert silence.watch(["a"], peers, 12.0 + DEAF_S) == ""
    # Heard for a moment: counted anew.
    peers["a"].status = Status.ALIVE
    assert silence.watch(["a"], peers, 13.0 + DEAF_S) == ""
    peers["a"].status = Status.DEAD
    assert silence.watch(["a"], peers, 14.0 + DEAF_S) == ""
    assert silence.watch(["a"], peers, 18.0 + DEAF_S) == ""


def test_who_does_not_hear_us_gets_more_time_and_strangers_do_not_count():
    peers = {"a": Peer("a", status=Status.ALIVE, deaf=True)}
    silence = Silence()
    for tenths in range(0, 200):
        assert silence.watch(["a", "x"], peers, tenths / 10) == ""
    assert silence.watch(["a", "x"], peers, 2 * DEAF_S) == "a"
    assert silence.watch(["x"], {}, 2 * DEAF_S) == ""


@pytest.mark.slow
@pytest.mark.torture
def test_a_silent_trunk_is_opened_anew_and_carries_again(folder):
    """Zenoh hands on nothing to one node any more, as when its routing has stopped."""

    async def work():
        async with band(folder, "anna", "bert", "carl") as (anna, bert, carl):
            others = {bert.nid, carl.nid}
            await until(lambda: bool(anna.node.links))
            before = anna.node.session
            assert before is not None
            # Really: its session is there, its links are, and nothing of the others comes in.
            for declared in before._declared:
                declared.undeclare()
            before._declared.clear()
            states = anna.node.membership
            await until(lambda: not any(states.status(nid).reachable for nid in others))
            began = time.monotonic()
            await until(lambda: anna.node.session is not before)
            await until(lambda: all(states.status(nid).reachable for nid in others))
            print(f"carried again after {time.monotonic() - began:.1f} s")
            for one in (bert, carl):
                await until(lambda one=one: one.node.membership.status(anna.nid).reachable)
            # What is asked over the trunk is answered again, also by the new session.
            await anna.share("drums", kick=b"boom")
            theirs = await carl.follow("drums")
            await until(lambda: theirs.exists("kick"))
            assert anna.node.problems == {}

    asyncio.run(work())
