"""Scrub, collection, repair and backup: damage is named, and nothing else is believed."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from streamdb import errors, place
from streamdb.check import check_store
from streamdb.crypto import Key
from streamdb.model import Progress
from streamdb.repair import repair_store
from streamdb.store import StreamDB


def build(root, key=None):
    """A store with a bit of everything, and what it holds."""
    noise = random.Random(5)
    model = {}
    with StreamDB.open(root, key=key, segment_bytes=1 << 18) as db:
        with db.transaction() as together:
            for n in range(60):
                content = noise.randbytes(noise.choice([0, 50, 3000, 20_000, 90_000]))
                together.write_document(f"d{n % 5}/{n}", content, metadata={"tempo": n})
                model[f"d{n % 5}/{n}"] = content
        for n in range(8):
            model[f"d{n % 5}/{n}"] = noise.randbytes(noise.choice([50, 20_000]))
            db.write_document(f"d{n % 5}/{n}", model[f"d{n % 5}/{n}"])
        for n in range(10, 14):
            db.delete(f"d{n % 5}/{n}")
            del model[f"d{n % 5}/{n}"]
        db.bind("d1/1", "bound")
        model["bound"] = model["d1/1"]
        db.rename("d2/2", "moved")
        model["moved"] = model.pop("d2/2")
        assert db.check().ok
    return model


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made") / "store"
    return root, build(root)


@pytest.fixture
def store(made, tmp_path):
    root = tmp_path / "store"
    shutil.copytree(made[0], root)
    return root, dict(made[1])


def contents(root, **options):
    with StreamDB.open(root, **options) as db:
        return {name: db.get(name) for name in db.search("")}


# -- collection ------------------------------------------------------------------------------------


def test_collection_frees_what_nothing_needs(store):
    root, model = store
    with StreamDB.open(root, versions=0) as db:
        before = db.statistics()
        for name in [name for name in model if name.startswith("d3/")]:
            db.delete(name)
            del model[name]
        for name in list(model)[::2]:
            db.write_document(name, b"short")
        seen: list[Progress] = []
        first = db.gc(progress=seen.append)
        second = db.gc()
        after = db.statistics()
        assert first.chunks_removed > 0
        assert first.segments_removed + second.segments_removed > 0
        assert after.disk_bytes < before.disk_bytes
        assert seen[-1].done == seen[-1].total
        assert db.check().ok
        for name in list(model)[1::2]:
            assert db.get(name) in (model[name], b"short")


def test_collection_trims_the_feed(store):
    from streamdb.gc import collect

    root, _ = store
    with StreamDB.open(root) as db:
        last = db.statistics().last_seq
        report = collect(db.engine, feed_changes=5)
        assert report.feed_trimmed > 0
        assert db.statistics().last_seq == last
        with pytest.raises(errors.FeedTrimmed, match="begins at"):
            db.changes(0)
        first = db.statistics().first_seq
        assert [change.seq for change in db.changes(first - 1)] == list(range(first, last + 1))
        db.write_document("new", b"1")
        assert db.check().ok


# -- the scrub -------------------------------------------------------------------------------------


def flip(path, bit):
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def test_damaged_data_is_never_returned(store):
    root, model = store
    with StreamDB.open(root) as db:
        name = max(model, key=lambda name: len(model[name]))
        size = db.stat(name).size
    for path in (root / "segments").iterdir():
        content = bytearray(path.read_bytes())
        content[1000:] = bytes(byte ^ 1 for byte in content[1000:])
        path.write_bytes(content)
    with StreamDB.open(root) as db:
        with pytest.raises(errors.CorruptData) as caught:
            db.get(name)
        assert name in caught.value.what
        with pytest.raises(errors.CorruptData), db.get_stream(name) as file:
            file.read()
        report = db.check()
    assert size > 16384
    assert name in {problem.path for problem in report.problems}


def test_a_cut_off_or_missing_segment_is_named(store):
    root, _ = store
    paths = sorted((root / "segments").iterdir())
    os.truncate(paths[0], 5000)
    paths[1].unlink()
    report = check_store(root)
    assert any(paths[0].name[:8] in str(problem) for problem in report.problems)
    assert any(paths[1].name in str(problem) for problem in report.problems)
    with StreamDB.open(root) as db:
        lost = [str(problem.path) for problem in report.problems if problem.kind == "document"]
        assert lost
        for name in lost:
            with pytest.raises(errors.CorruptData):
                db.get(name)


@pytest.mark.parametrize("keep", [0, 100, 4096, 8192, 50_000])
def test_a_cut_off_index_is_named_and_does_not_end_the_process(store, keep):
    root, _ = store
    os.truncate(root / "index/data.mdb", keep)
    report = check_store(root)
    assert not report.ok
    with pytest.raises(errors.CorruptData, match="index"):
        StreamDB.open(root)


# -- repair ----------------------------------------------------------------------------------------


def test_repairing_a_whole_store_changes_nothing(store):
    root, model = store
    with StreamDB.open(root) as db:
        history = db.history("d0/0")
        report = db.repair()
        assert not report.lost
        assert not report.fixed
        assert report.documents_kept == len(model)
        assert db.check().ok
        assert {name: db.get(name) for name in db.search("")} == model
        assert [v.version for v in db.history("d0/0")] == [v.version for v in history]
        assert db.paths_of("bound") == ["bound", "d1/1"]
        assert db.stat("d4/9").metadata == {"tempo": 9}
        db.write_document("after", b"1")
        assert db.get("after") == b"1"
        assert db.check().ok


def assert_repaired(root, model, *, lost_most=None, **options):
    report = repair_store(root, **options)
    assert check_store(root, **options).problems == ()
    found = contents(root, **options)
    lost = {problem.path for problem in report.lost}
    for name in found.keys() - lost:
        assert found[name] == model.get(name), name
    gone = model.keys() - found.keys()
    if lost_most is not None:
        assert len(gone) <= lost_most
    return report, gone - lost


def test_a_lost_marker_is_written_anew(store):
    root, model = store
    (root / place.MARKER).unlink()
    report, gone = assert_repaired(root, model, lost_most=0)
    assert "written anew" in report.fixed[0]
    assert not gone


def test_a_damaged_page_costs_at_most_what_lay_on_it(store):
    root, model = store
    data = root / "index/data.mdb"
    whole = data.read_bytes()
    for number in range(2, len(whole) // 4096, 7):
        data.write_bytes(whole[: number * 4096] + bytes(4096) + whole[(number + 1) * 4096 :])
        _, gone = assert_repaired(root, model, lost_most=40)
        assert not gone
        data.write_bytes(whole)


def test_a_lost_index_leaves_the_chunked_documents(store):
    root, model = store
    (root / "index/data.mdb").unlink()
    report, _ = assert_repaired(root, model)
    found = contents(root)
    chunked = {name for name, content in model.items() if len(content) > 16384}
    assert chunked <= found.keys()
    assert any("cannot even be named" in str(problem) for problem in report.lost)


def test_a_damaged_chunk_is_put_aside_with_what_is_left(store):
    root, model = store
    with StreamDB.open(root) as db:
        name = max(model, key=lambda name: db.stat(name).chunks)
        with db._view() as view:
            record = view.need(name)
            from streamdb.data import chunk_rows

            row = chunk_rows(db.engine, view.txn, record, True)[0]
    flip(root / f"segments/{row.segment:08x}.seg", row.offset * 8 + 99)
    report, gone = assert_repaired(root, model)
    assert name in {problem.path for problem in report.lost}
    assert not gone
    notes = [
        json.loads(path.read_text()) for path in (root / "quarantine").rglob("document-*.json")
    ]
    left = next(note for note in notes if note["path"] == name)
    assert left["missing_bytes"] == [[0, row.size]]
    saved = next((root / "quarantine").rglob("document-0")).read_bytes()
    assert saved[row.size :] == model[name][row.size :]
    with StreamDB.open(root) as db:
        deletes = [change.path for change in db.changes(50) if change.kind == "delete"]
    assert name in deletes


def test_a_store_in_use_is_not_repaired(store):
    root, _ = store
    with StreamDB.open(root) as db:
        with pytest.raises(errors.StoreBusy, match="in use"):
            repair_store(root)
        with StreamDB.open(root), pytest.raises(errors.StoreBusy, match="more than once"):
            db.repair()
        code = "import sys; from streamdb.repair import repair_store; repair_store(sys.argv[1])"
        other = subprocess.run(
            [sys.executable, "-c", code, str(root)], capture_output=True, text=True, timeout=120
        )
        assert "StoreBusy" in other.stderr


def test_what_was_no_store_cannot_be_repaired(tmp_path):
    with pytest.raises(errors.NotFound):
        repair_store(tmp_path / "none")
    (tmp_path / "segments").mkdir()
    with pytest.raises(errors.NotAStore):
        repair_store(tmp_path)


def test_an_encrypted_store_is_scrubbed_and_repaired_with_its_key(tmp_path):
    root = tmp_path / "store"
    key = Key.create_file(tmp_path / "key")
    model = build(root, key)
    assert check_store(root, key=key).ok
    with pytest.raises(errors.KeyRequired):
        repair_store(root)
    marker = place.read_marker(root)
    assert marker is not None
    assert marker.key is not None
    place.write_marker(root, replace(marker, key=marker.key | {"salt": "00" * 16}))
    with pytest.raises(errors.WrongKey):
        StreamDB.open(root, key=key)
    report, gone = assert_repaired(root, model, key=key, lost_most=0)
    assert "key header" in report.fixed[0]
    assert not gone


# -- backup ----------------------------------------------------------------------------------------


def test_a_backup_is_a_store(store, tmp_path):
    root, model = store
    target = tmp_path / "backup"
    with StreamDB.open(root) as db:
        seen: list[Progress] = []
        report = db.backup(target, progress=seen.append)
        assert report.documents == len(model) - 1
        assert report.check.ok
        assert {step.stage for step in seen} >= {"copy", "index", "segments"}
        assert contents(target) == model
        db.write_document("new", random.Random(1).randbytes(50_000))
        again = db.backup(target)
        assert again.bytes_reused > 0
        assert contents(target).keys() == model.keys() | {"new"}
        with pytest.raises(errors.AlreadyExists):
            db.backup(root)
        (tmp_path / "other").mkdir()
        with pytest.raises(errors.AlreadyExists):
            db.backup(tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "other", "store"]


def test_no_backup_is_made_of_damage(store, tmp_path):
    root, _ = store
    path = sorted((root / "segments").iterdir())[0]
    flip(path, 4000 * 8)
    with StreamDB.open(root) as db:
        assert not db.check().ok
        with pytest.raises(errors.CorruptData, match="no backup"):
            db.backup(tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


def test_a_backup_that_cannot_be_written_leaves_nothing(store, tmp_path):
    root, _ = store
    with StreamDB.open(root) as db, pytest.raises(errors.StorageFailure):
        db.backup(root / "STREAMDB" / "backup")
    assert check_store(root).ok
