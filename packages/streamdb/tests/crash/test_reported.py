"""What the crash harness has found, each as small as it can be."""

from __future__ import annotations

import os
import random
import struct
import threading
import time
from types import SimpleNamespace
from typing import Any

import pytest
from packages.streamdb.tests.crash.nursery import Nursery

from streamdb import pages
from streamdb.commit import _Syncer
from streamdb.errors import CorruptData
from streamdb.store import StreamDB

NOISE = random.Random(1).randbytes(16_000)


def test_check_knows_the_order_of_the_free_list(tmp_path):
    """LMDB sorts its free list by number, not by bytes: 255, then 256."""
    with StreamDB.open(tmp_path / "s", durability="normal", versions=0) as db:
        for number in range(240):
            db.write_document(f"a{number % 7}", b"x" * 3000)
        # What a reader holds back stays in the list, over the number where the bytes turn round.
        with db.snapshot():
            for number in range(40):
                db.write_document(f"a{number % 7}", b"y" * 3000)
            assert db.check().problems == ()


def test_check_knows_values_that_shrank_in_place(tmp_path):
    """LMDB keeps a value's pages when it is replaced by a shorter one in the same transaction."""
    with StreamDB.open(tmp_path / "s", versions=0) as db:
        with db.transaction() as together:
            together.write_document("a", NOISE)
            together.write_document("a", NOISE[:5000])
        assert db.get("a") == NOISE[:5000]
        assert db.check().problems == ()
        with db.transaction() as together:
            together.write_document("b", NOISE)
            together.write_document("b", b"short")
        assert db.get("b") == b"short"
        assert db.check().problems == ()


@pytest.mark.parametrize("left", [b"", bytes(4096), bytes(8192), b"\1" * 5000])
def test_a_store_whose_making_was_cut_short_can_be_made(tmp_path, left):
    """Before the marker is there nothing was promised: what a power cut left is begun anew."""
    (tmp_path / "s/index").mkdir(parents=True)
    (tmp_path / "s/segments").mkdir()
    (tmp_path / "s/index/data.mdb").write_bytes(left)
    with StreamDB.open(tmp_path / "s") as db:
        db.write_document("a", b"x")
        assert db.check().problems == ()


@pytest.mark.parametrize("left", [b"", bytes(64), bytes(4096), b"StreamDB segment" + bytes(20)])
def test_a_segment_whose_making_was_cut_short_is_no_damage(tmp_path, left):
    """Its name is on the disk, its first bytes are not: nothing ever referred to it."""
    with StreamDB.open(tmp_path / "s") as db:
        db.write_document("a", b"x" * 20_000)
    (tmp_path / "s/segments/00000002.seg").write_bytes(left)
    with StreamDB.open(tmp_path / "s") as db:
        assert db.check().problems == ()
        db.write_document("b", NOISE * 2)
        db.gc()
        assert db.check().problems == ()
        assert db.get("b") == NOISE * 2


def test_opening_while_another_process_writes(tmp_path):
    """The index grows, and its pages change hands, while somebody looks whether it is whole."""
    store = tmp_path / "s"
    StreamDB.open(store).close()
    with Nursery(tmp_path) as nursery:
        writer = nursery.start(
            "contend", store=str(store), log=str(tmp_path / "log"), name="p", seed=3, calls=250
        )
        opened = 0
        while not writer.ended:
            with StreamDB.open(store, readonly=bool(opened % 2)) as db:
                db.count("")
            opened += 1
        assert writer.wait().ok
    assert opened > 20


def test_histories_that_meet_under_one_name(tmp_path):
    """Both paths keep the same old version of what they shared; then one becomes the other."""
    with StreamDB.open(tmp_path / "s") as db:
        db.write_document("a", NOISE + NOISE)
        db.bind("a", "b")
        db.write_document("a", NOISE[::-1] * 2)
        db.unbind("b")
        db.rename("a", "b")
        assert db.check().problems == ()
        assert [len(db.get_version("b", each.version)) for each in db.history("b")] == [32_000] * 2


def test_closing_just_when_the_window_of_normal_durability_ends():
    """The thread that syncs must not clear the bell that closing has rung, and wait for ever."""
    engine: Any = SimpleNamespace(env=SimpleNamespace(sync=lambda force: None))
    syncer: Any = _Syncer(engine)
    closing = threading.Thread(target=syncer.close, daemon=True)

    def close_meanwhile(timeout_s: float) -> bool:
        closing.start()
        while not syncer._closed.is_set() or not syncer._waiting.is_set():
            time.sleep(0.001)
        time.sleep(0.05)
        return False

    syncer._closed.wait = close_meanwhile
    syncer.wake()
    syncer._thread.join(5)
    closing.join(5)
    assert not closing.is_alive()


def test_bulk_keeps_the_order_of_writes_to_one_document(tmp_path):
    """A batch is sorted by path; two paths of one document must not change places by that."""
    with StreamDB.open(tmp_path / "s") as db:
        db.write_document("z", b"old")
        db.bind("z", "a")
    with StreamDB.open(tmp_path / "s", durability="bulk") as db:
        db.write_document("z", b"first")
        db.write_document("a", b"second")
        db.flush()
        assert (db.get("a"), db.get("z")) == (b"second", b"second")


def test_bulk_shows_its_own_writes_through_every_path(tmp_path):
    with StreamDB.open(tmp_path / "s") as db:
        db.write_document("z", b"old")
        db.bind("z", "a")
    with StreamDB.open(tmp_path / "s", durability="bulk") as db:
        db.write_document("z", b"new")
        assert (db.get("a"), db.get("z")) == (b"new", b"new")


@pytest.mark.parametrize("table", [b"doc", b"forward"])
def test_rows_that_a_damaged_page_shows_twice_are_not_told_twice(tmp_path, table):
    root = tmp_path / "store"
    with StreamDB.open(root, durability="bulk") as db:
        for n in range(6000):
            db.write_document(f"{n * 7919 % 6000:05}/{'x' * 80}", b"", metadata={"tempo": 120})
    with (root / "index" / "data.mdb").open("r+b", buffering=0) as file:
        meta = pages.read_metas(file.fileno())[0]
        top = pages.Walk(file.fileno(), meta).tables()[table].root * pages.PAGE
        first, second = struct.unpack("<HH", os.pread(file.fileno(), 4, top + pages.HEADER))
        os.pwrite(file.fileno(), os.pread(file.fileno(), 6, top + first), top + second)
    with StreamDB.open(root) as db:
        with pytest.raises(CorruptData, match="out of order"):
            db.find("tempo=120") if table == b"doc" else db.search("")
        assert not db.check().ok
