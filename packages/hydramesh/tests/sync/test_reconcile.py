"""Reconciliation finds exactly the differences, with bounded frames, and refuses hostile ones."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hydramesh.sync.errors import BadMessage
from hydramesh.sync.reconcile import (
    MAX_RANGES,
    MAX_ROUNDS,
    Frame,
    Kind,
    Range,
    Session,
    Summary,
    answer,
    check_frame,
    found,
)
from hydramesh.wire import pack_frame, unpack_frame


def reconcile(ours: Summary, theirs: Summary) -> tuple[set[bytes], set[bytes], int, int]:
    """(paths to fetch, paths to send, bytes, messages), all over the wire's form."""
    session = Session(ours)
    asked, size, messages = session.begin(), 0, 0
    while asked:
        replies = []
        for frame in asked:
            raw = pack_frame(frame)
            size, messages = size + len(raw), messages + 1
            replies += answer(theirs, unpack_frame(raw))
        heard = []
        for frame in replies:
            raw = pack_frame(frame)
            size, messages = size + len(raw), messages + 1
            heard.append(unpack_frame(raw))
        asked = session.take(heard) if heard else []
    fetch = {path for wanted in session.wanted for path in found(theirs, wanted)}
    return fetch, set(session.offered), size, messages


def _summary(pairs: dict[str, bytes]) -> Summary:
    return Summary((path.encode(), mark) for path, mark in pairs.items())


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 400), st.integers(0, 60), st.integers(0, 2**32))
def test_all_differences_are_found_and_nothing_else(count, changes, seed):
    chance = random.Random(seed)
    ours = {f"d{chance.randrange(9)}/é{at}.wav": chance.randbytes(16) for at in range(count)}
    theirs = dict(ours)
    for _ in range(changes):
        side = chance.choice((ours, theirs))
        kind = chance.random()
        if kind < 0.4 or not side:
            side[f"n{chance.randrange(1000)}"] = chance.randbytes(16)
        elif kind < 0.7:
            side[chance.choice(sorted(side))] = chance.randbytes(16)
        else:
            del side[chance.choice(sorted(side))]
    fetch, send, _, _ = reconcile(_summary(ours), _summary(theirs))
    assert fetch == {p.encode() for p, mark in theirs.items() if ours.get(p) != mark}
    assert send == {p.encode() for p, mark in ours.items() if theirs.get(p) != mark}


def test_equal_stores_cost_one_small_message():
    held = _summary({f"p{at:05d}": at.to_bytes(16, "big") for at in range(5000)})
    fetch, send, size, messages = reconcile(held, held)
    assert (fetch, send, messages) == (set(), set(), 1)
    assert size < 1000


def test_one_side_empty_is_listed():
    full = _summary({f"p{at:05d}": at.to_bytes(16, "big") for at in range(5000)})
    assert len(reconcile(_summary({}), full)[0]) == 5000
    assert len(reconcile(full, _summary({}))[1]) == 5000


@pytest.mark.parametrize(
    "frame",
    [
        Frame(b"", ()),
        Frame(b"b", (Range(b"a", Kind.SAME),)),
        Frame(b"", (Range(b"b", Kind.SAME), Range(b"b", Kind.SAME))),
        Frame(b"", (Range(b"b", Kind.SUM, b"short"),)),
        Frame(b"", (Range(b"b", Kind.LIST, b"x" * 7),)),
        Frame(b"", (Range(b"b", Kind.LIST, b"x" * 8 * 1000),)),
        Frame(b"", (Range(b"b", Kind.SAME, b"x"),)),
        Frame(b"", (Range(b"\xff" * 5, Kind.SAME),)),
        Frame(b"", (Range(b"x" * 5000, Kind.SAME),)),
        Frame(b"", tuple(Range(b"%05d" % at, Kind.SAME) for at in range(MAX_RANGES + 1))),
    ],
)
def test_frames_that_no_honest_peer_sends_are_named(frame):
    with pytest.raises(BadMessage):
        check_frame(frame)


def test_a_peer_that_never_ends_is_left():
    session = Session(_summary({f"p{at:04d}": bytes(16) for at in range(100)}))
    endless = Frame(b"", (Range(b"\xff\xff\xff\xff", Kind.SUM, bytes(12)),))
    for _ in range(MAX_ROUNDS):
        session.take([endless])
    with pytest.raises(BadMessage, match="rounds"):
        session.take([endless])
