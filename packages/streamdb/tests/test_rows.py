"""Rows as bytes: what goes in comes out, and nothing else is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdb import rows
from streamdb.errors import CorruptData
from streamdb.model import GUID
from streamdb.rows import ChunkRef, ChunkRow, FeedItem, FeedRow, Record

GUIDS = st.binary(min_size=16, max_size=16).map(GUID)
PATHS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1).map(str.encode)
SEQS = st.integers(0, 2**63)


@st.composite
def records(draw):
    path = draw(PATHS | st.just(b"y" * 2000))
    inline = draw(st.booleans())
    refs = st.builds(ChunkRef, st.binary(min_size=32, max_size=32), st.integers(0, 2**32 - 1))
    return Record(
        guid=draw(GUIDS),
        version=draw(SEQS),
        seq=draw(SEQS),
        mtime_ns=draw(st.integers(-(2**63), 2**63 - 1)),
        size=draw(SEQS),
        flags=rows.FLAG_INLINE if inline else draw(st.sampled_from([0, rows.FLAG_SHARED])),
        codec=draw(st.integers(0, 255)),
        path=path,
        metadata=draw(st.binary(max_size=50)),
        inline=draw(st.binary(max_size=50)) if inline else b"",
        digest=b"" if inline else draw(st.sampled_from([b"", b"d" * 32])),
        chunks=() if inline else tuple(draw(st.lists(refs, max_size=3))),
        attributes=draw(st.binary(min_size=9, max_size=9)),
    )


@given(records())
def test_records_come_back(record):
    key = rows.fold(record.path)
    assert rows.unpack_record(rows.pack_record(record), key) == record


@given(records(), st.sampled_from(["replaced", "deleted"]), st.integers(0, 2**62))
def test_old_versions_come_back(record, reason, aside):
    body = rows.pack_history(reason, aside, record)
    assert rows.unpack_history(body, rows.fold(record.path)) == (reason, aside, record)


@given(
    st.builds(
        FeedRow,
        SEQS,
        SEQS,
        SEQS,
        SEQS,
        SEQS,
        st.lists(
            st.builds(
                FeedItem,
                st.sampled_from(rows.KINDS),
                GUIDS,
                PATHS,
                PATHS | st.just(b""),
                st.sampled_from(["", "peer-1"]),
            ),
            min_size=1,
            max_size=40,
        ).map(tuple),
    )
)
def test_feed_rows_come_back(row):
    key = row.first.to_bytes(8, "big")
    body = rows.pack_feed(row)
    assert rows.unpack_feed(body, key) == row
    assert rows.feed_header(body, key)[:2] == (row.first, row.last)


@given(
    st.builds(
        ChunkRow,
        *[st.integers(0, 2**32 - 1)] * 4,
        st.integers(0, 255),
        *[st.integers(0, 2**32 - 1)] * 3,
    )
)
def test_chunk_rows_come_back(row):
    assert rows.unpack_chunk(rows.pack_chunk(row), b"k") == row


@given(st.binary(max_size=100), st.integers(0, 10_000))
def test_every_flipped_bit_is_noticed(body, bit):
    value = bytearray(rows.seal(rows.DOC, b"key", body))
    bit %= len(value) * 8
    value[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CorruptData):
        rows.unseal(rows.DOC, b"key", bytes(value))


def test_a_row_under_another_key_or_table_is_noticed():
    value = rows.seal(rows.DOC, b"key", b"body")
    assert rows.unseal(rows.DOC, b"key", value) == b"body"
    assert rows.unseal(rows.DOC, b"kez", value, verify=False) == b"body"
    for table, key in ((rows.DOC, b"kez"), (rows.KV, b"key")):
        with pytest.raises(CorruptData, match="damaged"):
            rows.unseal(table, key, value)


@pytest.mark.parametrize(
    "unpack",
    [
        rows.unpack_record,
        rows.unpack_chunk,
        rows.unpack_feed,
        rows.unpack_history,
        rows.unpack_count,
    ],
)
def test_short_rows_are_damaged_not_a_crash(unpack):
    with pytest.raises(CorruptData):
        unpack(b"123", b"12345678")


def test_folded_keys_fit_and_differ():
    long, longer = b"y" * 481, b"y" * 482
    assert rows.fold(b"y" * 480) == b"y" * 480
    assert rows.fold(long) != rows.fold(longer)
    assert len(rows.history_key(long, 2**64 - 1)) <= 511
    assert len(rows.history_key(b"y" * 480, 1)) <= 511
