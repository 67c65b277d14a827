"""The wire's form gives back what went in, and no bytes whatever do harm."""

from __future__ import annotations

import random

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hydramesh.membership import Claim, Heartbeat, Neighbour, Report, Status
from hydramesh.sync.errors import BadMessage
from hydramesh.sync.reconcile import Frame, Kind, Range, Wanted
from hydramesh.sync.replica import Delta
from hydramesh.sync.versions import Item
from hydramesh.wire import (
    pack_delta,
    pack_frame,
    pack_heartbeat,
    pack_wanted,
    unpack_delta,
    unpack_frame,
    unpack_heartbeat,
    unpack_wanted,
)

DECODERS = (unpack_delta, unpack_frame, unpack_heartbeat, unpack_wanted)
BEAT = Heartbeat(
    "ab12", 7, 1, 9, 2_000_000, False,
    (Neighbour("cd34", 1500, True, False),),
    (Report("cd34", 8, 0, Status.SUSPECT, 5, 6, 7),),
    Claim("auto", 3, "cd34"),
)  # fmt: skip
DELTA = Delta(5, 0, 2, False, (Item("a/b.wav", (("a", 1), ("b", 2)), b"x" * 32, 9, -1),))
FRAME = Frame(b"a", (Range(b"ab", Kind.SUM, bytes(12)), Range(b"ac", Kind.LIST, bytes(16))))
WANTED = Wanted(b"a", b"b", frozenset({bytes(8)}))
SAMPLES = (
    pack_delta(DELTA), pack_frame(FRAME), pack_heartbeat(BEAT), pack_wanted(WANTED),
)  # fmt: skip


def test_what_goes_in_comes_out():
    assert unpack_heartbeat(pack_heartbeat(BEAT)) == BEAT
    assert unpack_delta(pack_delta(DELTA)) == DELTA
    assert unpack_frame(pack_frame(FRAME)) == FRAME
    assert unpack_wanted(pack_wanted(WANTED)) == WANTED


def _refused_or_whole(raw: bytes) -> None:
    for decode in DECODERS:
        try:
            decode(raw)
        except BadMessage:
            continue


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_do_harm(raw):
    _refused_or_whole(raw)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats()
    | st.text(max_size=20) | st.binary(max_size=40),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["hb", "delta", "frame", "want"]), st.lists(VALUES, max_size=9))
def test_no_values_do_harm(tag, values):
    _refused_or_whole(msgpack.packb([tag, *values], unicode_errors="surrogatepass"))


def _mutations(seed: int, count: int) -> None:
    chance = random.Random(seed)
    for _ in range(count):
        raw = bytearray(chance.choice(SAMPLES))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(raw) + 1)
            kind = chance.random()
            if kind < 0.6 and at < len(raw):
                raw[at] = chance.randrange(256)
            elif kind < 0.8:
                raw[at:at] = chance.randbytes(chance.randint(1, 9))
            else:
                del raw[at : at + chance.randint(1, 9)]
        _refused_or_whole(bytes(raw))


def test_damaged_messages_do_no_harm():
    _mutations(1, 5_000)


@pytest.mark.torture
def test_a_hundred_thousand_damaged_messages_do_no_harm():
    _mutations(2, 200_000)


@pytest.mark.parametrize(
    "raw",
    [
        b"\xdd\xff\xff\xff\xff",  # a list of four billion
        b"\xc6\xff\xff\xff\xff",  # four gigabytes
        b"\x91" * 100_000,  # nested without end
        b"x" * (5 << 20),
    ],
)
def test_promised_sizes_are_not_believed(raw):
    for decode in DECODERS:
        with pytest.raises(BadMessage):
            decode(raw)
