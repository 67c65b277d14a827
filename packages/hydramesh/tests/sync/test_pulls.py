"""Pieces come from several peers, survive interruptions, stalls and lies."""

from __future__ import annotations

import random

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from hydramesh.sync.errors import BadMessage
from hydramesh.sync.pulls import PIECE, TIMEOUT_S, WINDOW, Fetch, Planner


def _fetch(size: int) -> tuple[Fetch, list[bytes]]:
    data = [bytes([at % 251]) * min(PIECE, size - at * PIECE) for at in range(-(-size // PIECE))]
    return Fetch.of(bytes(32), size, [blake3(piece).digest() for piece in data]), data


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12 * PIECE), st.integers(0, 2**32))
def test_a_content_arrives_whatever_peers_do(size, seed):
    chance = random.Random(seed)
    fetch, data = _fetch(size)
    planner = Planner()
    planner.add(fetch)
    planner.offers("good", [fetch.digest])
    planner.offers("lies", [fetch.digest])
    planner.offers("stalls", [fetch.digest])
    now, got = 0.0, dict[int, bytes]()
    for _ in range(200):
        pulls = planner.plan(now)
        for peer in ("good", "lies", "stalls"):
            under_way = [asked for asked in fetch.asked.values() if asked.peer == peer]
            assert len(under_way) <= WINDOW
        chance.shuffle(pulls)
        for pull in pulls:
            if pull.peer == "good":
                assert planner.arrived("good", pull.digest, pull.index, data[pull.index])
                got[pull.index] = data[pull.index]
            elif pull.peer == "lies":
                with pytest.raises(BadMessage):
                    planner.arrived("lies", pull.digest, pull.index, b"x")
        now += TIMEOUT_S / 3
        if fetch.done:
            break
    assert [got[at] for at in range(len(data))] == data
    assert planner.left == 0


def test_an_interrupted_fetch_goes_on():
    fetch, data = _fetch(5 * PIECE + 7)
    planner = Planner()
    planner.add(fetch)
    planner.offers("a", [fetch.digest])
    for pull in planner.plan(0.0):
        planner.arrived("a", pull.digest, pull.index, data[pull.index])
    again = Fetch.resume(fetch.journal())
    assert again is not None
    assert again.here == {0, 1, 2, 3}
    rest = Planner()
    rest.add(again)
    rest.offers("b", [again.digest])
    assert [pull.index for pull in rest.plan(0.0)] == [4, 5]
    assert rest.left == PIECE + 7


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_torn_journal_is_not_believed(at, flip):
    journal = bytearray(_fetch(3 * PIECE)[0].journal())
    journal[at % len(journal)] ^= flip
    assert Fetch.resume(bytes(journal)) is None
    assert Fetch.resume(bytes(journal[: at % len(journal)])) is None


def test_what_was_not_asked_for_is_not_taken():
    fetch, data = _fetch(PIECE)
    planner = Planner()
    planner.add(fetch)
    assert not planner.arrived("a", fetch.digest, 0, data[0])
    planner.offers("a", [fetch.digest])
    planner.paused = True
    assert planner.plan(0.0) == []
    planner.paused = False
    assert len(planner.plan(0.0)) == 1
    assert not planner.arrived("b", fetch.digest, 0, data[0])
    planner.gone("a")
    assert planner.plan(0.0) == []


@pytest.mark.parametrize(("size", "pieces"), [(0, 0), (1 << 50, 3), (PIECE, 2), (2 * PIECE, 1)])
def test_sizes_that_do_not_fit_are_refused(size, pieces):
    with pytest.raises(BadMessage):
        Fetch.of(bytes(32), size, [bytes(32)] * pieces)


def test_nobody_is_blamed_for_what_is_put_back_and_who_lied_waits():
    fetch, data = _fetch(2 * PIECE)
    planner = Planner()
    planner.add(fetch)
    for peer in ("a", "b"):
        planner.offers(peer, [fetch.digest])
    for _ in range(5):
        for pull in planner.plan(0.0):
            planner.put_back(pull.peer, pull.digest, pull.index)
    assert planner.stuck() == []
    planner.ban("a")
    assert {pull.peer for pull in planner.plan(0.0)} == {"b"}
    for index in range(2):
        planner.put_back("b", fetch.digest, index, absent=True)
    assert planner.stuck() == [fetch.digest]
    planner.forgive("a")
    assert planner.stuck() == []
    assert len(planner.plan(0.0)) == 2
    planner.drop(fetch.digest)
    assert planner.left == 0
    assert not planner.arrived("a", fetch.digest, 0, data[0])


def test_short_contents_take_little_of_a_window():
    planner = Planner()
    fetches = [Fetch.of(bytes([at]) * 32, 5, [bytes([at]) * 32]) for at in range(1, 201)]
    for fetch in fetches:
        planner.add(fetch)
        planner.offers("a", [fetch.digest])
    assert len(planner.plan(0.0)) == 200
    long, _ = _fetch(WINDOW * PIECE)
    planner.add(long)
    planner.offers("a", [long.digest])
    assert planner.plan(0.0) == []
    for fetch in fetches:
        planner.put_back("a", fetch.digest, 0, absent=True)
    assert [pull.index for pull in planner.plan(0.0)] == [*range(WINDOW)]
