"""Documents as files to read."""

from __future__ import annotations

import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdb.store import StreamDB

NOISE = random.Random(4).randbytes(500_000)


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    with StreamDB.open(tmp_path_factory.mktemp("data") / "store") as db:
        db.write_document("long", NOISE)
        db.write_document("short", NOISE[:500])
        db.write_document("empty", b"")
        yield db


STEPS = st.lists(
    st.tuples(st.sampled_from([0, 1, 2]), st.integers(-600_000, 600_000), st.integers(0, 200_000)),
    max_size=8,
)


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(["long", "short", "empty"]), steps=STEPS)
def test_a_stream_behaves_as_a_file_does(db, name, steps):
    content = {"long": NOISE, "short": NOISE[:500], "empty": b""}[name]
    with db.get_stream(name) as stream, io.BytesIO(content) as file:
        for whence, offset, count in steps:
            base = {0: 0, 1: file.tell(), 2: len(content)}[whence]
            if base + offset < 0:
                continue
            assert stream.seek(offset, whence) == file.seek(base + offset)
            assert stream.read(count) == file.read(count)
            assert stream.tell() == file.tell()


def test_a_stream_is_read_only_and_closes(db):
    stream = db.get_stream("long")
    assert stream.readable()
    assert stream.seekable()
    assert not stream.writable()
    assert stream.raw.name == "long"
    with pytest.raises(ValueError, match="negative"):
        stream.seek(-1)
    with pytest.raises(ValueError, match="whence"):
        stream.raw.seek(0, 9)
    stream.close()
    with pytest.raises(ValueError, match="closed"):
        stream.read(1)


def test_a_stream_outlives_what_it_shows(tmp_path):
    with StreamDB.open(tmp_path / "store", versions=0, segment_bytes=1 << 17) as db:
        db.write_document("a", NOISE)
        stream = db.get_stream("a")
        assert stream.read(10) == NOISE[:10]
        db.write_document("a", b"new")
        db.gc()
        db.gc()
        assert db.statistics().stored_bytes == 0
        assert stream.read() == NOISE[10:]
        stream.close()


def test_reading_a_large_document_holds_little(tmp_path):
    import tracemalloc

    def pieces():
        for n in range(300):
            yield random.Random(n).randbytes(100_000)

    with StreamDB.open(tmp_path / "store") as db:
        tracemalloc.start()
        db.write_document("large", pieces())
        with db.get_stream("large") as stream:
            size = 0
            while piece := stream.read(1 << 16):
                size += len(piece)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert size == 30_000_000
    assert peak < 12_000_000
