"""The engine: shared handles, address space, and what opening leaves behind when it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamdb import engine, errors, place
from streamdb.store import StreamDB


def descriptors():
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_opening_and_closing_leaves_nothing_open(tmp_path):
    root = tmp_path / "store"
    StreamDB.open(root).close()
    before = descriptors()
    for _ in range(5):
        with StreamDB.open(root) as db:
            db.write_document("a", b"x" * 50_000)
            db.get("a")
    assert descriptors() == before
    assert not engine.is_open_here(root)


def test_a_refused_opening_leaves_nothing_open(tmp_path):
    root = tmp_path / "store"
    StreamDB.open(root).close()
    os.truncate(root / "index/data.mdb", 4096)
    before = descriptors()
    for _ in range(5):
        with pytest.raises(errors.CorruptData):
            StreamDB.open(root)
    assert descriptors() == before
    assert not engine.is_open_here(root)


def test_the_number_of_the_last_commit_is_read_from_shared_memory(tmp_path):
    with StreamDB.open(tmp_path / "store") as db:
        view = db.engine.txnid
        assert view is not None
        before = view[0]
        db.write_document("a", b"1")
        assert view[0] == before + 1 == db.engine.env.info()["last_txnid"]


def test_without_that_number_every_read_asks(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "_LOCK_MAGIC", 0)
    with StreamDB.open(tmp_path / "store") as db, StreamDB.open(tmp_path / "store") as other:
        assert db.engine.txnid is None
        db.write_document("a", b"1")
        assert db.get("a") == db.get("a") == other.get("a") == b"1"
        assert db.cached("a") is None
        other.write_document("a", b"2")
        assert db.get("a") == b"2"


CRAMPED = """
import resource, sys
from streamdb import StreamDB
resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
with StreamDB.open(sys.argv[1]) as db:
    db.write_document("a", b"x" * 100_000)
    assert db.get("a") == b"x" * 100_000
    print(db.engine.env.info()["map_size"])
"""


def test_little_address_space_gives_a_smaller_map(tmp_path):
    said = subprocess.run(
        [sys.executable, "-c", CRAMPED, str(tmp_path / "store")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert said.returncode == 0, said.stderr
    assert 1 << 28 <= int(said.stdout) <= 4 << 30


def test_file_systems_are_known_by_their_mounts():
    mounts = Path("/proc/self/mountinfo").read_text()
    assert place.file_system_type(Path("/proc"), mounts) == "proc"
    assert place.file_system_type(Path("/proc"), "") == ""


@pytest.mark.parametrize("readonly", [False, True])
def test_an_emptied_index_is_named_and_left_alone(tmp_path, readonly):
    with StreamDB.open(tmp_path / "store") as db:
        db.write_document("a", b"1")
    data = tmp_path / "store/index/data.mdb"
    os.truncate(data, 0)
    with pytest.raises(errors.CorruptData, match="is empty"):
        StreamDB.open(tmp_path / "store", readonly=readonly)
    assert data.stat().st_size == 0
