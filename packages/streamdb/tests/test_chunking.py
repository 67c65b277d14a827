"""Cut points: fixed over versions, chosen by content, the same however the source comes."""

from __future__ import annotations

import hashlib
import io
import os
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdb.chunking import split

DATA = hashlib.shake_128(b"golden").digest(1_000_000)

#: Lengths of the chunks of DATA. If these change, stores no longer share chunks with themselves.
GOLDEN = [
    73060,
    66403,
    51057,
    89306,
    49759,
    75294,
    46473,
    76139,
    57978,
    64187,
    59886,
    50253,
    50427,
    46159,
    48483,
    51445,
    43691,
]
GOLDEN_SEEDED = [
    82012,
    50438,
    73105,
    55720,
    67090,
    62237,
    51708,
    58915,
    59354,
    56369,
    71287,
    77027,
    63479,
    56700,
    51028,
    60483,
    3048,
]


def lengths(source, **options):
    return [len(chunk) for chunk in split(source, **options)]


def test_cut_points_are_those_of_every_version():
    assert lengths(DATA) == GOLDEN
    assert lengths(DATA, seed=12345) == GOLDEN_SEEDED


def test_the_pure_twin_of_the_library_cuts_alike():
    # Where there is no wheel, the library falls back to Python: slower, but the same cuts.
    from pyfastcdc.py import FastCDC

    slow = FastCDC(45056, min_size=45056, max_size=262144, normalized_chunking=1)
    assert [chunk.length for chunk in slow.cut_buf(DATA[:400_000])] == lengths(DATA[:400_000])


def test_the_compiled_library_is_in_use():
    import pyfastcdc

    assert pyfastcdc.FastCDC.__module__.startswith("pyfastcdc.cy")


class Dribble(io.RawIOBase):
    """A raw file that gives as little as it likes."""

    def __init__(self, data, most):
        self._data = memoryview(data)
        self._most = most

    def readable(self):
        return True

    def readinto(self, buffer):
        count = min(len(buffer), self._most, len(self._data))
        buffer[:count] = self._data[:count]
        self._data = self._data[count:]
        return count


class OnlyRead:
    """The least that a source may be: something with read()."""

    def __init__(self, data):
        self._file = io.BytesIO(data)

    def read(self, size):
        return self._file.read(min(size, 1000))


@pytest.mark.parametrize(
    "source",
    [
        DATA,
        bytearray(DATA),
        memoryview(DATA),
        io.BytesIO(DATA),
        io.BufferedReader(Dribble(DATA, 777)),
        Dribble(DATA, 12_345),
        OnlyRead(DATA),
        [DATA],
        [DATA[:1], b"", DATA[1:500_000], memoryview(DATA)[500_000:]],
        (DATA[at : at + 999] for at in range(0, len(DATA), 999)),
    ],
    ids=lambda source: type(source).__name__,
)
def test_every_kind_of_source_is_cut_alike(source):
    chunks = [bytes(chunk) for chunk in split(source)]
    assert b"".join(chunks) == DATA
    assert [len(chunk) for chunk in chunks] == GOLDEN


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 300_000), st.lists(st.integers(1, 60_000), min_size=1, max_size=5))
def test_pieces_of_any_length_are_cut_alike(size, steps):
    data = DATA[:size]
    pieces, at, turn = [], 0, 0
    while at < size:
        pieces.append(data[at : at + steps[turn % len(steps)]])
        at += steps[turn % len(steps)]
        turn += 1
    assert [bytes(c) for c in split(pieces)] == [bytes(c) for c in split(data)]


@pytest.mark.parametrize("average", [1024, 4096, 65536, 1 << 20])
def test_chunks_keep_their_bounds_and_their_mean(average):
    data = hashlib.shake_128(b"bounds").digest(average * 60)
    found = lengths(data, average=average)
    assert sum(found) == len(data)
    assert all(average * 11 // 16 <= length <= average * 4 for length in found[:-1])
    assert average * 0.75 < len(data) / len(found) < average * 1.3


def test_an_insertion_at_the_front_touches_few_chunks():
    before = {bytes(chunk) for chunk in split(DATA * 4)}
    after = [bytes(chunk) for chunk in split(b"one second of count-in" * 4_000 + DATA * 4)]
    new = sum(len(chunk) for chunk in after if chunk not in before)
    assert new < 88_000 + 2 * 262_144


def test_nothing_gives_no_chunk():
    for source in (
        b"",
        bytearray(),
        memoryview(b""),
        io.BytesIO(),
        [],
        [b"", b""],
        Dribble(b"", 1),
    ):
        assert list(split(source)) == []


def test_buffers_are_cut_without_copying():
    chunk = next(split(DATA))
    assert isinstance(chunk, memoryview)
    assert chunk.obj is DATA
    assert lengths(memoryview(DATA[:80_000]).cast("I")) == lengths(DATA[:80_000])


def test_chunks_of_a_stream_outlive_the_next_one():
    kept = list(split(io.BytesIO(DATA)))
    assert b"".join(kept) == DATA


def test_memory_stays_constant_over_a_long_source():
    piece = DATA[:50_000]
    total = 0
    tracemalloc.start()
    try:
        for chunk in split(piece for _ in range(1_000)):
            total += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == 50_000_000
    assert peak < 3_000_000


@pytest.mark.parametrize(
    ("source", "fragment"),
    [
        ("text", "is text"),
        (io.StringIO("text"), "gives str"),
        (["text"], "gives str"),
        ([1, 2], "gives int"),
        (5, "int"),
        (None, "NoneType"),
    ],
)
def test_what_is_not_bytes_is_refused(source, fragment):
    with pytest.raises(TypeError, match=fragment):
        list(split(source))


def test_arguments_out_of_range_are_refused():
    for average in (0, 1000, 512, 8 << 20):
        with pytest.raises(ValueError, match="average"):
            list(split(b"x", average))
    for seed in (-1, 1 << 63):
        with pytest.raises(ValueError, match="seed"):
            list(split(b"x", seed=seed))


def test_errors_of_the_source_are_passed_on():
    def pieces():
        yield DATA
        raise OSError("the card was pulled out")

    with pytest.raises(OSError, match="pulled out"):
        list(split(pieces()))


def test_a_non_blocking_source_without_data_is_not_taken_for_its_end():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    try:
        with (
            open(reading, "rb", buffering=0, closefd=False) as file,
            pytest.raises(BlockingIOError),
        ):
            list(split(file))
    finally:
        os.close(reading)
        os.close(writing)
