"""Bytes on their way to a file: all of them, in order, and failures that are not lost."""

from __future__ import annotations

import errno
import os
import random
import threading

import pytest

from streamdb.outgoing import BUFFER_BYTES, Outgoing

NOISE = random.Random(5).randbytes(3 << 20)


@pytest.fixture
def descriptor(tmp_path):
    descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def content(descriptor):
    return os.pread(descriptor, 1 << 28, 0)


def writers():
    return [each for each in threading.enumerate() if each.name.startswith("streamdb-segment")]


def test_parts_of_every_length_arrive_in_order(descriptor):
    rng = random.Random(1)
    outgoing = Outgoing()
    outgoing.begin(descriptor, 64)
    wanted = bytearray(64)
    for _ in range(80):
        length = rng.choice([0, 1, 56, 4_000, 70_000, 262_144, BUFFER_BYTES + 3, 2_500_000])
        start = rng.randrange(len(NOISE) - length + 1)
        parts = bytearray(NOISE[start : start + length]), memoryview(NOISE)[:7]
        assert outgoing.end == len(wanted)
        outgoing.add(*parts)
        wanted += parts[0] + parts[1]
        parts[0][:] = bytes(length)  # it was copied
        if rng.random() < 0.1:
            outgoing.finish()
            assert outgoing.written == outgoing.end == len(wanted)
            assert outgoing.waiting == 0
    outgoing.finish()
    assert content(descriptor) == wanted
    outgoing.rest()
    assert not writers()


def test_what_fits_into_a_buffer_needs_no_thread(descriptor):
    outgoing = Outgoing()
    outgoing.begin(descriptor, 0)
    outgoing.add(NOISE[: BUFFER_BYTES - 1])
    assert not writers()
    assert content(descriptor) == b""
    outgoing.finish()
    assert content(descriptor) == NOISE[: BUFFER_BYTES - 1]


def test_a_write_that_fails_in_the_thread_is_told_and_the_rest_dropped(descriptor, monkeypatch):
    real = os.pwrite

    def full(descriptor, data, position):
        if position >= 2 * BUFFER_BYTES:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data, position)

    outgoing = Outgoing()
    outgoing.begin(descriptor, 0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        for _ in range(2):
            outgoing.add(NOISE[:BUFFER_BYTES])
        outgoing.add(NOISE[:BUFFER_BYTES])  # this one fails, behind our back
        with pytest.raises(OSError, match="No space"):
            outgoing.finish()
    assert outgoing.written == 2 * BUFFER_BYTES
    outgoing.drop()
    assert outgoing.waiting == 0
    assert not writers()
    outgoing.add(b"again")
    outgoing.finish()
    assert content(descriptor) == NOISE[:BUFFER_BYTES] * 2 + b"again"


def test_a_short_write_goes_on_where_it_ended(descriptor, monkeypatch):
    real = os.pwrite
    outgoing = Outgoing()
    outgoing.begin(descriptor, 0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", lambda file, data, at: real(file, data[:100_001], at))
        outgoing.add(NOISE)
        outgoing.finish()
    assert content(descriptor) == NOISE
    outgoing.rest()
