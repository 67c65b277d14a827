"""Opening a store: what is refused, what is shared, and what a handle keeps to."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from streamdb import codec, errors, place, turns
from streamdb.cache import Cache
from streamdb.crypto import Key
from streamdb.metapack import TRAIN_AFTER
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


def test_what_is_no_store_is_refused(tmp_path, root):
    with pytest.raises(errors.NotFound, match="no store"):
        StreamDB.open(root, create=False)
    with pytest.raises(errors.NotFound):
        StreamDB.open(root, readonly=True)
    assert not root.exists()
    other = tmp_path / "other"
    other.mkdir()
    (other / "song.wav").write_bytes(b"RIFF")
    with pytest.raises(errors.NotAStore, match="not empty"):
        StreamDB.open(other)
    with pytest.raises(errors.NotAStore):
        StreamDB.open(other, create=False)
    with pytest.raises(errors.NotAStore, match="is a file"):
        StreamDB.open(other / "song.wav")
    (other / place.MARKER).write_text('{"magic": "another program"}')
    with pytest.raises(errors.NotAStore, match="not a StreamDB store"):
        StreamDB.open(other)
    assert (other / "song.wav").read_bytes() == b"RIFF"


@pytest.mark.parametrize(
    ("number", "error", "advice"),
    [(99, errors.NewerFormat, "upgrade"), (1, errors.OlderFormat, "export")],
)
def test_another_format_is_refused_by_its_number(root, number, error, advice):
    StreamDB.open(root).close()
    marker = place.read_marker(root)
    assert marker is not None
    (root / place.MARKER).write_bytes(replace(marker, format=number).to_bytes())
    with pytest.raises(error, match=f"format {number}") as caught:
        StreamDB.open(root)
    assert advice in caught.value.next_step


def test_waiting_for_a_writer_holds_up_no_other_thread(root):
    program = (
        "import sys; from streamdb import StreamDB\n"
        "with StreamDB.open(sys.argv[1]) as db, db.transaction() as together:\n"
        "    together.write_document('theirs', b'1')\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    StreamDB.open(root).close()
    lock = root / place.INDEX / "lock.mdb"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(root)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process, ThreadPoolExecutor(1) as threads:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert turns.holder_of(lock) == process.pid
        # Whoever only reads does not wait at all.
        with StreamDB.open(root, readonly=True) as db:
            assert db.search() == []
            assert db.engine.writer_elsewhere() == process.pid
        opening = threads.submit(StreamDB.open, root)
        # This thread runs meanwhile: were it held up, nobody would let the other process end.
        for _ in range(20):
            time.sleep(0.01)
            assert not opening.done()
        process.communicate("\n", timeout=60)
        with opening.result(60) as db:
            assert db.search() == ["theirs"]
            assert db.engine.writer_elsewhere() == turns.holder_of(lock) == 0


@pytest.mark.parametrize("content", ["", "{", "[]", '{"magic": "StreamDB store", "format": "x"}'])
def test_a_damaged_marker_is_named(root, content):
    StreamDB.open(root).close()
    (root / place.MARKER).write_text(content)
    with pytest.raises(errors.CorruptData, match="STREAMDB"):
        StreamDB.open(root)


def test_the_index_of_another_store_is_refused(tmp_path, root):
    StreamDB.open(root).close()
    StreamDB.open(tmp_path / "other").close()
    shutil.copy(tmp_path / "other/index/data.mdb", root / "index/data.mdb")
    with pytest.raises(errors.CorruptData, match="another store"):
        StreamDB.open(root)


def test_a_missing_index_is_never_replaced_by_an_empty_one(root):
    StreamDB.open(root).close()
    (root / "index/data.mdb").unlink()
    for readonly in (False, True):
        with pytest.raises(errors.CorruptData, match="missing"):
            StreamDB.open(root, readonly=readonly)


def test_a_store_without_its_marker_is_not_begun_anew(root):
    with StreamDB.open(root) as db:
        db.write_document("a", b"1")
    (root / place.MARKER).unlink()
    with pytest.raises(errors.NotAStore, match="lost its"):
        StreamDB.open(root)


def test_keys(tmp_path, root):
    key = Key.create_file(tmp_path / "key")
    with StreamDB.open(root, key=key) as db:
        db.write_document("a", NOISE, metadata={"title": "secret title", "rate": 96000})
        db.write_document("b", b"short secret", metadata={"tempo": 120})
        assert db.statistics().encrypted
        assert db.find("rate=96000") == ["a"]
        db.write_document("b", b"other")
        db.restore("b", db.history("b")[1].version)
        db.rename("b", "c")
        assert db.get("c") == b"short secret"
        assert db.check().ok
    with pytest.raises(errors.KeyRequired):
        StreamDB.open(root)
    with pytest.raises(errors.WrongKey):
        StreamDB.open(root, key=Key.create_file(tmp_path / "other"))
    with StreamDB.open(root, key=key) as db:
        assert db.get("a") == NOISE
        assert db.stat("a").metadata["title"] == "secret title"
    whole = b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())
    assert b"secret" not in whole
    assert NOISE[1000:1100] not in whole


def test_a_key_for_a_plain_store_is_refused(tmp_path, root):
    StreamDB.open(root).close()
    with pytest.raises(errors.InvalidArgument, match="not encrypted"):
        StreamDB.open(root, key=Key.create_file(tmp_path / "key"))


def test_reading_only(root):
    with pytest.raises(errors.NotFound):
        StreamDB.open(root, readonly=True)
    with StreamDB.open(root) as db:
        db.write_document("a", NOISE)
        db.write_document("b", b"1")
    with StreamDB.open(root, readonly=True) as db:
        assert db.get("a") == NOISE
        assert db.search("") == ["a", "b"]
        assert db.check().ok
        for call in (
            lambda: db.write_document("c", b""), lambda: db.write_document("c", NOISE),
            lambda: db.delete("a"), lambda: db.transaction().__enter__(), db.gc,
        ):  # fmt: skip
            with pytest.raises(errors.ReadOnlyStore):
                call()
        with pytest.raises(errors.StoreBusy, match="reading only"):
            StreamDB.open(root)
        db.flush()


def test_opened_twice_it_is_shared(root):
    with StreamDB.open(root) as one, StreamDB.open(root) as two:
        one.write_document("a", b"1")
        assert two.get("a") == b"1"
        one.write_document("a", b"2")
        assert two.get("a") == b"2"
        one.close()
        assert two.get("a") == b"2"
    with pytest.raises(errors.StoreClosed):
        two.get("a")


def test_closed_handles_say_so(root):
    db = StreamDB.open(root)
    db.write_document("a", b"1")
    snapshot = db.snapshot()
    db.close()
    db.close()
    for call in (
        lambda: db.get("a"), lambda: db.search(""), lambda: db.write_document("a", b""),
        lambda: db.delete("a"), db.snapshot, db.flush, db.check, lambda: snapshot.get("a"),
    ):  # fmt: skip
        with pytest.raises(errors.StoreClosed):
            call()


def test_arguments_out_of_range(root):
    for options in ({"durability": "eventual"}, {"cache": -1}, {"versions": -1}):
        with pytest.raises(errors.InvalidArgument):
            StreamDB.open(root, **options)
    assert not root.exists()


def test_a_network_file_system_is_refused(monkeypatch, root):
    StreamDB.open(root).close()
    device = root.stat().st_dev
    mounts = f"22 1 {os.major(device)}:{os.minor(device)} / {root} rw - nfs4 server:/x rw\n"
    with pytest.raises(errors.UnsuitableFileSystem, match="nfs4"):
        place.refuse_network(root, mounts)
    place.refuse_network(root, mounts.replace("nfs4", "ext4"))
    monkeypatch.setattr(place, "file_system_type", lambda path, mounts=None: "cifs")
    with pytest.raises(errors.UnsuitableFileSystem, match="cifs"):
        StreamDB.open(root)


def test_a_full_map_is_named_and_nothing_is_half_written(root):
    with StreamDB.open(root, map_bytes=1 << 20) as db:
        written = 0

        def fill():
            nonlocal written
            for n in range(1000):
                db.write_document(f"a/{n}", NOISE[:8000])
                written += 1

        with pytest.raises(errors.StoreFull) as caught:
            fill()
        assert "map_bytes" in caught.value.next_step
        assert db.count("") == written > 20
        assert db.check().ok
    with StreamDB.open(root) as db:
        db.write_document("b", NOISE[:8000])
        assert db.count("") == written + 1
        assert db.check().ok


def test_quick_mode_reads_without_checks(db):
    db.write_document("a", NOISE)
    assert not db.quick
    db.set_quick_mode(True)
    assert db.quick
    assert db.get("a") == NOISE
    db.quick = False
    assert db.get("a") == NOISE


def test_what_is_read_once_displaces_nothing():
    cache = Cache(20, 1 << 20)
    cache.txn = 1
    for n in range(10):
        cache.put(f"{n}", b"x", 1)
    for n in range(10, 60):
        cache.put(f"{n}", b"x", 1)
    assert cache.old.keys() | cache.young.keys() == {f"{n}" for n in range(10)}
    cache.put("50", b"x", 1)
    assert cache.young.keys() == {"50"}


def test_the_cache_is_never_out_of_date(root):
    with StreamDB.open(root, cache=10) as db:
        for n in range(50):
            db.write_document(f"{n}", str(n).encode())
        for n in range(50):
            assert db.get(f"{n}") == db.get(f"{n}") == db.get(f"{n}") == str(n).encode()
        assert 0 < db.statistics().cached_documents <= 10
        assert db.cached("49") == b"49"
        db.write_document("49", b"new")
        assert db.cached("49") is None
        assert db.get("49") == b"new"
        db.delete("49")
        with pytest.raises(errors.NotFound):
            db.get("49")
        db.bind("1", "one")
        assert db.get("one") == db.get("1") == b"1"
        db.write_document("1", b"both")
        assert db.get("one") == db.get("1") == b"both"


DESCRIBED = {"vendor": "Nobody & Sons", "album": "Dusty Breaks", "format": "wav", "rate": 96_000}


def test_a_store_goes_on_with_its_own_dictionary(root, tmp_path):
    key = Key.create_file(tmp_path / "key")

    def write(db, name):
        db.write_document(name, b"", metadata=DESCRIBED | {"title": name})
        return db.stat(name).stored_bytes

    with StreamDB.open(root, key=key) as db:
        before = write(db, "first")
    with StreamDB.open(root, key=key, durability="bulk") as bulk:
        for n in range(TRAIN_AFTER[0]):
            bulk.write_document(f"{n}", b"", metadata=DESCRIBED | {"title": f"Kick {n}"})
        bulk.flush()
        # What was there for the training is packed with what came of it.
        assert bulk.stat("7").stored_bytes < before / 1.25
    with StreamDB.open(root, key=key) as db:
        assert write(db, "later") < before / 1.25
        assert db.metadata("7") == DESCRIBED | {"title": "Kick 7"}
        assert db.check().ok


def test_threads_take_in_data_at_once_in_bulk(root, monkeypatch):
    """All of them are inside the compression at one moment, or the barrier breaks."""
    together = threading.Barrier(3)
    encode = codec.encode

    def meet(chunk, hint=None):
        if not met.is_set():
            together.wait(30)
            met.set()
        return encode(chunk, hint)

    met = threading.Event()
    monkeypatch.setattr(codec, "encode", meet)
    contents = [random.Random(n).randbytes(20_000) for n in range(3)]
    with StreamDB.open(root, durability="bulk") as bulk:
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(lambda n: bulk.write_document(f"{n}", contents[n]), range(3)))
        assert [bulk.get(f"{n}") for n in range(3)] == contents


def test_equal_documents_that_are_taken_in_at_once_are_stored_once(root):
    content = random.Random(1).randbytes(1 << 20)
    with StreamDB.open(root, durability="bulk") as bulk:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: bulk.write_document(f"{n}", content), range(8)))
        bulk.flush()
        stored = sum(path.stat().st_size for path in (root / "segments").iterdir())
        assert stored < 1.1 * len(content)
        assert all(bulk.get(f"{n}") == content for n in range(8))
        assert bulk.check().ok


def test_what_a_batch_found_stays_when_another_thread_commits_the_batch(root):
    with StreamDB.open(root) as db, StreamDB.open(root, durability="bulk") as bulk:
        db.write_document("old", NOISE)

        def slow():
            yield NOISE[:390_000]
            bulk.write_document("other", b"1")
            bulk.flush()
            db.delete("old")
            for n in range(3):
                db.write_document("old", str(n).encode())
            yield NOISE[390_000:]

        bulk.write_document("new", slow())
        db.gc()
        assert bulk.get("new") == NOISE
        bulk.flush()
        db.gc()
        assert db.get("new") == NOISE
        assert db.check().ok


def test_bulk_is_seen_by_its_own_handle_and_after_flush_by_all(root):
    with StreamDB.open(root, durability="bulk") as bulk, StreamDB.open(root) as other:
        guid = bulk.write_document("a", NOISE)
        bulk.write_document("b", NOISE)
        assert not other.exists("a")
        assert bulk.get("a") == NOISE
        assert other.stat("a").guid == guid
        bulk.write_document("a", b"2")
        bulk.write_document("a", b"3")
        bulk.flush()
        assert other.get("a") == b"3"
        assert [v.size for v in other.history("a")] == [1, 1, len(NOISE)]
        assert bulk.write_document("a", b"4") == guid
        bulk.delete("a")
        assert not other.exists("a")
        assert other.statistics().stored_bytes == len(NOISE)


def test_files_are_for_their_owner_as_umask_says(root):
    before = os.umask(0o077)
    try:
        with StreamDB.open(root) as db:
            db.write_document("a", NOISE)
    finally:
        os.umask(before)
    for path in root.rglob("*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path


def test_its_repr_names_the_directory(db, root):
    assert str(root) in repr(db)
    assert db.path == root


def test_the_cache_holds_long_documents_only_where_reading_them_is_work(root):
    plain = random.Random(3).randbytes(300_000)
    packed = b"".join(b"%d bars of rest, " % n for n in range(20_000))
    with StreamDB.open(root) as db:
        db.write_document("plain", plain)
        db.write_document("packed", packed)
        for _ in range(3):
            assert db.get("plain") == plain
            assert db.get("packed") == packed
        assert db.cached("plain") is None
        assert db.cached("packed") == packed
        db.bind("packed", "again")
        for _ in range(3):
            assert db.get("again") == packed
        assert db.cached("again") is None
