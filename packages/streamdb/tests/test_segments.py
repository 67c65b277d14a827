"""Segments: appended records, torn tails, locks and full disks."""

from __future__ import annotations

import errno
import os
import random

import pytest

from streamdb import segments
from streamdb.errors import CorruptData, StorageFailure, StoreFull
from streamdb.segments import CHUNK, SegmentReader, SegmentWriter, scan

STORE = b"s" * 16
NOISE = random.Random(2).randbytes(100_000)


def make(path, limit=1 << 20, unusable=(1, frozenset())):
    return SegmentWriter(path, STORE, lambda: unusable, limit)


def put(writer, number):
    payload = NOISE[number * 100 : number * 100 + 1000 + number]
    return payload, writer.append(CHUNK, 0, bytes([number]) * 32, len(payload), payload)


def test_what_is_appended_is_read_back(tmp_path):
    writer = make(tmp_path, limit=5000)
    reader = SegmentReader(tmp_path, writer.flush)
    held = [put(writer, number) for number in range(20)]
    writer.sync()
    for payload, (segment, offset, _) in held:
        assert reader.view(segment, offset, len(payload)) == payload
        assert (offset - segments.RECORD_HEADER_BYTES) % 8 == 0
    numbers = segments.segment_numbers(tmp_path)
    assert numbers == list(range(1, numbers[-1] + 1))
    assert numbers[-1] > 3
    found = [
        (number, offset, payload)
        for number in numbers
        for offset, _, payload in scan(tmp_path / segments.segment_name(number))
    ]
    assert found == [(segment, offset, payload) for payload, (segment, offset, _) in held]
    writer.close()
    reader.close()


def test_two_writers_use_two_segments_and_the_next_goes_on(tmp_path):
    one, two = make(tmp_path), make(tmp_path)
    assert put(one, 1)[1][0] == 1
    assert put(two, 2)[1][0] == 2
    two.close()
    three = make(tmp_path)
    assert put(three, 3)[1][0] == 2
    one.close()
    three.close()
    assert len(list(scan(tmp_path / segments.segment_name(2)))) == 2


def test_doomed_segments_and_used_numbers_are_left_alone(tmp_path):
    one = make(tmp_path)
    put(one, 1)
    one.close()
    two = make(tmp_path, unusable=(7, frozenset({1})))
    assert put(two, 2)[1][0] == 7
    two.close()


def test_filled_segments_stay_locked_while_something_is_prepared(tmp_path):
    writer = make(tmp_path, limit=2000)
    with writer.preparing():
        first = put(writer, 1)[1][0]
        put(writer, 2)
        assert put(writer, 3)[1][0] > first
        path = tmp_path / segments.segment_name(first)
        assert segments.try_lock_segment(path) is None
    descriptor = segments.try_lock_segment(path)
    assert descriptor is not None
    os.close(descriptor)
    writer.close()


@pytest.mark.parametrize("cut", [1, 30, 56, 57, 300])
def test_a_torn_tail_is_passed_over(tmp_path, cut):
    writer = make(tmp_path)
    held = [put(writer, number) for number in range(3)]
    writer.close()
    path = tmp_path / segments.segment_name(1)
    last = held[-1][1][1]
    os.truncate(path, last - segments.RECORD_HEADER_BYTES + cut)
    again = make(tmp_path)
    payload, (_, offset, _) = put(again, 9)
    again.close()
    whole = {at: found for at, _, found in scan(path)}
    assert whole[offset] == payload
    assert whole[held[1][1][1]] == held[1][0]
    assert whole.get(last) != held[2][0]


def test_missing_and_short_segments_are_named(tmp_path):
    writer = make(tmp_path)
    reader = SegmentReader(tmp_path, lambda: None)
    payload, (segment, offset, _) = put(writer, 1)
    writer.close()
    with pytest.raises(CorruptData, match="cut off"):
        reader.view(segment, offset, 1 << 20)
    with pytest.raises(CorruptData, match="cannot be read"):
        reader.view(9, 0, 10)
    reader.view(segment, offset, len(payload))
    reader.forget(segment)
    (tmp_path / segments.segment_name(1)).unlink()
    with pytest.raises(CorruptData):
        reader.view(segment, offset, len(payload))


def test_a_full_disk_ends_the_epoch_and_keeps_what_was_there(tmp_path, monkeypatch):
    writer = make(tmp_path)
    payload, (segment, offset, _) = put(writer, 1)
    writer.flush()
    size = (tmp_path / segments.segment_name(1)).stat().st_size
    put(writer, 2)
    real = os.pwrite

    def half(descriptor, data, position):
        if position > 100:
            real(descriptor, data[:100], position)
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data, position)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", half)
        with pytest.raises(StoreFull, match="no space"):
            writer.flush()
    assert writer.epoch == 1
    assert (tmp_path / segments.segment_name(1)).stat().st_size == size
    put(writer, 3)
    writer.close()
    reader = SegmentReader(tmp_path, lambda: None)
    assert reader.view(segment, offset, len(payload)) == payload


def test_a_disk_that_fills_while_much_is_written_is_told_before_the_sync_returns(
    tmp_path, monkeypatch
):
    writer = make(tmp_path, limit=64 << 20)
    first = put(writer, 1)
    writer.sync()
    real = os.pwrite

    def full(descriptor, data, position):
        if position > 2 << 20:
            real(descriptor, data[:100], position)
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data, position)

    payload = NOISE * 3

    def much():
        for number in range(20):
            writer.append(CHUNK, 0, bytes([number]) * 32, len(payload), payload)
        writer.sync()

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        with pytest.raises(StoreFull, match="no space"):
            much()
    assert writer.epoch == 1
    # The half of a record at the end was cut off again.
    assert (tmp_path / segments.segment_name(1)).stat().st_size <= 3 << 20
    again = put(writer, 2)
    writer.close()
    reader = SegmentReader(tmp_path, lambda: None)
    for content, (segment, offset, _) in (first, again):
        assert reader.view(segment, offset, len(content)) == content


def test_what_will_be_read_can_be_fetched_at_once(tmp_path):
    writer = make(tmp_path)
    reader = SegmentReader(tmp_path, writer.flush)
    payload, (segment, offset, _) = put(writer, 1)
    reader.expect(segment, offset, offset + len(payload))
    assert reader.view(segment, offset, len(payload)) == payload
    with pytest.raises(CorruptData, match="cut off"):
        reader.expect(segment, offset, 1 << 20)
    writer.close()


def test_a_failed_sync_ends_the_epoch(tmp_path, monkeypatch):
    writer = make(tmp_path)
    put(writer, 1)

    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fail)
        with pytest.raises(StorageFailure):
            writer.sync()
    assert writer.epoch == 1
    writer.sync()
    writer.close()


def test_file_headers_tell_their_store_and_number():
    header = segments.pack_file_header(3, STORE)
    assert len(header) == segments.FILE_HEADER_BYTES
    assert segments.check_file_header(header, 3, STORE) is None
    assert segments.store_id_of(header, 3) == STORE
    assert "another segment" in str(segments.check_file_header(header, 4, STORE))
    assert "does not begin" in str(segments.check_file_header(b"RIFF" * 16, 3, STORE))
    assert segments.store_id_of(header, 4) is None
    assert segments.store_id_of(b"", 4) is None


def test_other_files_are_no_segments(tmp_path):
    for name in ("notes.txt", "0000000g.seg", "1.seg", "00000005.seg"):
        (tmp_path / name).touch()
    assert segments.segment_numbers(tmp_path) == [5]
