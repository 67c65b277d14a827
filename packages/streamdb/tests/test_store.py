"""The store as its users see it."""

from __future__ import annotations

import io
import random

import pytest

from streamdb import errors
from streamdb.model import GUID
from streamdb.store import StreamDB

NOISE = random.Random(7).randbytes(400_000)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def db(root):
    with StreamDB.open(root, segment_bytes=1 << 20) as db:
        yield db
        report = db.check()
        assert report.ok, report.problems


# -- documents -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 65536, 400_000])
def test_documents_come_back_whatever_the_source(db, size):
    content = NOISE[:size]
    sources = {
        "bytes": content,
        "bytearray": bytearray(content),
        "view": memoryview(content),
        "file": io.BytesIO(content),
        "pieces": (content[at : at + 1000] for at in range(0, size, 1000)),
        "one": iter([content]),
    }
    for name, source in sources.items():
        db.write_document(name, source)
    for name in sources:
        assert db.get(name) == content
        assert db.stat(name).size == size
        assert db.stat(name).digest == db.stat("bytes").digest
    assert db.get_many([*sources, "absent"]) == dict.fromkeys(sources, content)


@pytest.mark.parametrize("source", ["text", 7, None, ["text"], io.StringIO("x"), iter([1])])
def test_what_is_no_data_is_refused(db, source):
    with pytest.raises(errors.InvalidArgument):
        db.write_document("a", source)
    assert not db.exists("a")


def test_a_source_that_fails_leaves_nothing(db):
    def broken():
        yield NOISE
        raise RuntimeError("the disk was unplugged")

    with pytest.raises(RuntimeError, match="unplugged"):
        db.write_document("a", broken())
    assert not db.exists("a")
    assert db.count("") == 0


def test_stat_says_what_was_written(db):
    guid = db.write_document("d/a.wav", b"boom", metadata={"tempo": 120.5}, mtime=1.5)
    known = db.stat("d/a.wav")
    assert (known.guid, known.size, known.mtime_ns) == (guid, 4, 1_500_000_000)
    assert known.metadata == {"tempo": 120.5}
    assert known.created_ns == guid.created_ns
    assert db.write_document("d/a.wav", b"bam", mtime_ns=3) == guid
    assert db.stat("d/a.wav").mtime_ns == 3
    assert db.stat("d/a.wav").metadata == {}


def test_metadata_alone(db):
    db.write_document("a", b"x", metadata={"tempo": 120})
    db.write_document("b", b"x" * 20_000)
    long = "y" * 1000
    db.write_document(long, NOISE, metadata={"tags": ["é"]})
    assert db.metadata("a") == {"tempo": 120}
    assert db.metadata("b") == {}
    assert db.metadata(long) == {"tags": ["é"]}
    with db.snapshot() as snapshot:
        db.write_document("a", b"x", metadata={"tempo": 90})
        assert (snapshot.metadata("a"), db.metadata("a")) == ({"tempo": 120}, {"tempo": 90})
    with db.transaction() as together:
        together.write_document("c", b"x", metadata={"key": "Cmin"})
        assert together.metadata("c") == {"key": "Cmin"}
    with pytest.raises(errors.NotFound):
        db.metadata("d")
    with pytest.raises(errors.InvalidPath):
        db.metadata("")


@pytest.mark.parametrize("mtime", ["now", float("nan"), 1e300])
def test_a_time_that_is_none_is_refused(db, mtime):
    with pytest.raises(errors.InvalidArgument, match="modification time"):
        db.write_document("a", b"", mtime=mtime)


def test_paths_of_one_byte_to_4096_work(db):
    names = ["a", "b" * 480, "b" * 481, "b" * 4096, "c/" * 2047 + "cc", "é" * 2048]
    for name in names:
        db.write_document(name, name.encode()[:30])
    assert db.search("") == sorted(names, key=str.encode)
    assert {name: db.get(name) for name in names} == {n: n.encode()[:30] for n in names}
    db.rename("b" * 4096, "z" * 4096)
    assert db.search("z") == ["z" * 4096]
    assert db.count("c/c/") == 1
    for name in db.search(""):
        db.delete(name)
    assert db.count("") == 0


def test_a_document_over_the_limit_is_refused_and_nothing_is_kept(root):
    with StreamDB.open(root, max_document=100_000) as db:
        db.write_document("a", NOISE[:100_000])
        for source in (NOISE[:100_001], io.BytesIO(NOISE), (NOISE[:9] for _ in range(20_000))):
            with pytest.raises(errors.DocumentTooLarge) as caught:
                db.write_document("a", source)
            assert "100000" in caught.value.what
        assert db.get("a") == NOISE[:100_000]
        assert len(db.history("a")) == 1
    with StreamDB.open(root, max_document=10) as db:
        with pytest.raises(errors.DocumentTooLarge):
            db.write_document("b", io.BytesIO(b"x" * 11))
        assert not db.exists("b")


def test_equal_chunks_are_stored_once(db):
    db.write_document("a", NOISE)
    before = db.statistics()
    db.write_document("b", b"one second in front" * 100 + NOISE)
    after = db.statistics()
    assert after.stored_bytes - before.stored_bytes < 150_000
    assert after.logical_bytes == 2 * len(NOISE) + 1900


def test_what_is_compressed_already_is_stored_as_it_is(db):
    padded = b"fLaC" + bytes(700_000) + NOISE
    db.write_document("a.flac", padded)
    db.write_document("b.flac", b"fLaC" + NOISE * 6)
    assert db.get("a.flac") == padded
    assert db.get("b.flac") == b"fLaC" + NOISE * 6
    # Padding is looked for, and found, also where the name of the format says that there is none.
    assert db.stat("a.flac").stored_bytes < len(NOISE) * 1.2


def test_bad_paths_are_refused_everywhere(db):
    db.write_document("a", b"x")
    for bad in ("", "..", "a\0", "/a", "a/", "x" * 4097, b"\xff"):
        for call in (
            lambda bad=bad: db.write_document(bad, b""),
            lambda bad=bad: db.delete(bad),
            lambda bad=bad: db.rename("a", bad),
            lambda bad=bad: db.rename(bad, "b"),
            lambda bad=bad: db.bind("a", bad),
            lambda bad=bad: db.unbind(bad),
            lambda bad=bad: db.restore(bad, 1),
        ):
            with pytest.raises(errors.InvalidPath):
                call()
    for bad in ("", "..", "a\0", "/a", "a/", "\udcff", "x" * 4097):
        for ask in (db.get, db.stat, db.get_stream, db.history, db.exists, db.paths_of):
            with pytest.raises(errors.InvalidPath):
                ask(bad)


def test_what_is_not_there_is_not_found(db):
    for ask in (
        db.get, db.stat, db.get_stream, db.history, db.delete, db.unbind, db.paths_of,
        lambda path: db.rename(path, "x"), lambda path: db.bind(path, "x"),
        lambda path: db.restore(path, 1), lambda path: db.get_version(path, 1),
    ):  # fmt: skip
        with pytest.raises(errors.NotFound) as caught:
            ask("drums/none")
        assert caught.value.next_step
    with pytest.raises(errors.NotFound):
        db.paths_of(GUID.new())
    assert not db.exists("drums/none")


# -- names -----------------------------------------------------------------------------------------


def test_renames_and_bindings(db):
    guid = db.write_document("a", b"1")
    db.write_document("taken", b"2")
    with pytest.raises(errors.AlreadyExists):
        db.rename("a", "taken")
    with pytest.raises(errors.AlreadyExists):
        db.bind("a", "taken")
    db.rename("a", "b")
    assert db.bind("b", "c") == db.bind("b", "c") == guid
    with pytest.raises(errors.AlreadyExists):
        db.rename("b", "c")
    assert db.paths_of("c") == db.paths_of(guid) == ["b", "c"]
    assert db.stat("b").paths == 2
    db.write_document("c", b"new for both")
    assert db.get("b") == db.get("c") == b"new for both"
    assert [v.current for v in db.history("b")] == [True, False]
    db.unbind("b")
    assert db.paths_of(guid) == ["c"]
    with pytest.raises(errors.InvalidArgument, match="only path"):
        db.unbind("c")
    db.rename("c", "taken", overwrite=True)
    assert db.get("taken") == b"new for both"
    assert db.stat("taken").guid == guid


def test_search_pages_and_suffixes(db):
    names = [f"d{n % 3}/{n:03}.{('wav', 'mid')[n % 2]}" for n in range(300)]
    with db.transaction() as together:
        for name in names:
            together.write_document(name, b"")
    names.sort()
    assert db.search("") == names
    assert db.search("d1/", limit=5) == [n for n in names if n.startswith("d1/")][:5]
    pages, after = [], None
    while page := db.search("d", limit=7, after=after):
        pages += page
        after = page[-1]
    assert pages == names
    backwards = sorted((n for n in names if n.endswith("1.mid")), key=lambda n: n[::-1])
    assert db.search_suffix("1.mid") == backwards
    assert db.search_suffix("1.mid", limit=3, after=backwards[1]) == backwards[2:5]
    assert db.search("", limit=0) == db.search_suffix("", limit=0) == []
    assert db.count("d0/") == 100
    assert db.count("d0") == 100
    assert db.count("d0/00") == len(db.search("d0/00"))
    assert db.count("none/") == 0


def test_children_are_browsed(db):
    for name in ("a", "a/b", "a/c/d", "a/c/e", "a-z", "b/x", "0"):
        db.write_document(name, b"")
    top = [(entry.name, entry.is_dir, entry.documents) for entry in db.children()]
    assert top == [
        ("0", False, 1), ("a", False, 1), ("a-z", False, 1), ("a", True, 3), ("b", True, 1),
    ]  # fmt: skip
    assert [entry.path for entry in db.children("a/")] == ["a/b", "a/c"]
    assert [entry.path for entry in db.children("a/c", limit=1)] == ["a/c/d"]
    after = [entry.path for entry in db.children("", after="a/")]
    assert after == ["b"]
    assert db.children("none") == []


def test_children_of_wide_directories(db):
    with db.transaction() as together:
        for n in range(700):
            together.write_document(f"wide/{n:04}", b"")
            together.write_document(f"deep/{n % 40:02}/{n:04}", b"")
    assert [e.name for e in db.children("wide")] == [f"{n:04}" for n in range(700)]
    assert [(e.name, e.documents) for e in db.children("deep")][:2] == [("00", 18), ("01", 18)]
    assert len(db.children("deep")) == 40


def test_find_asks_the_metadata(db):
    db.write_document("drums/a", b"1", metadata={"rate": 96000, "channels": 2, "tempo": 120.0})
    db.write_document("drums/b", b"22", metadata={"rate": 44100, "channels": 2, "tempo": 90})
    db.write_document("bass/c", b"333", metadata={"rate": 96000, "key": "C minor"})
    assert db.find("rate=96000") == ["bass/c", "drums/a"]
    assert db.find("rate=96000 path:/drums/") == ["drums/a"]
    assert db.find("tempo=118..122") == ["drums/a"]
    assert db.find("-rate=96000") == ["drums/b"]
    assert db.find("size>1") == ["bass/c", "drums/b"]
    assert len(db.find("rate=96000", limit=1)) == 1
    with pytest.raises(errors.InvalidQuery):
        db.find("colour=red")


# -- versions and changes --------------------------------------------------------------------------


def test_two_old_versions_are_kept_and_restored(db):
    for n in range(5):
        db.write_document("a", NOISE[: 20_000 + n], metadata={"n": n})
    versions = db.history("a")
    assert [version.size for version in versions] == [20_004, 20_003, 20_002]
    assert db.get_version("a", versions[2].version) == NOISE[:20_002]
    db.restore("a", versions[2].version)
    assert db.get("a") == NOISE[:20_002]
    assert db.stat("a").metadata == {"n": 2}
    db.delete("a")
    gone = db.history("a")
    assert [v.reason for v in gone] == ["deleted", "replaced"]
    guid = gone[0].guid
    assert db.restore("a", gone[0].version) == guid
    assert db.get("a") == NOISE[:20_002]
    with pytest.raises(errors.NotFound, match="not kept"):
        db.restore("a", 99)


def test_without_old_versions(root):
    with StreamDB.open(root, versions=0) as db:
        db.write_document("a", NOISE)
        db.write_document("a", b"2")
        assert len(db.history("a")) == 1
        db.delete("a")
        with pytest.raises(errors.NotFound):
            db.history("a")
        assert db.gc().chunks_removed > 0
        assert db.statistics().chunks == 0


def test_the_feed_tells_every_change(db):
    db.write_document("a", b"1", origin="peer")
    db.bind("a", "b")
    db.unbind("a")
    db.rename("b", "c")
    db.write_document("c", b"22")
    db.delete("c")
    db.restore("c", db.history("c")[0].version)
    feed = db.changes()
    assert [change.seq for change in feed] == list(range(1, 8))
    assert [change.kind for change in feed] == [
        "put", "bind", "unbind", "rename", "put", "delete", "restore",
    ]  # fmt: skip
    assert [change.path for change in feed] == ["a", "b", "a", "c", "c", "c", "c"]
    assert feed[3].old_path == "b"
    assert feed[0].origin == "peer"
    assert feed[1].origin == db.statistics().store_id
    assert (feed[-1].size, feed[-1].digest) == (2, db.stat("c").digest)
    assert (feed[4].size, feed[4].digest) == (-1, "")
    assert [c.hlc for c in feed] == sorted({c.hlc for c in feed})
    assert [c.seq for c in db.changes(5)] == [6, 7]
    assert [c.seq for c in db.changes(2, limit=2)] == [3, 4]
    assert db.changes(7) == db.changes(100) == []
    with pytest.raises(errors.InvalidArgument):
        db.changes(-1)


def test_the_clock_of_the_feed_never_runs_backwards(db, monkeypatch):
    db.write_document("a", b"1")
    monkeypatch.setattr("streamdb.changes.time.time_ns", lambda: 0)
    db.write_document("a", b"2")
    with db.transaction() as txn:
        for name in ("b", "c", "d"):
            txn.write_document(name, b"3")
    db.write_document("e", b"4")
    clocks = [change.hlc for change in db.changes()]
    assert clocks == list(range(clocks[0], clocks[0] + 6))
    assert not db.check().problems
