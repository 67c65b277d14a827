"""Exporting: the same bytes and times, one folder and nothing outside, nothing overwritten."""

from __future__ import annotations

import os

import pytest

from streamdb import StreamDB
from streamdb.errors import CorruptData, InvalidArgument, InvalidQuery, StoreFull
from streamdb.exporting import Exporter, ExportInterrupted, export_folder
from streamdb.importing import import_folder


@pytest.fixture
def db(tmp_path):
    with StreamDB.open(tmp_path / "s.sdb") as opened:
        yield opened


@pytest.fixture
def target(tmp_path):
    return tmp_path / "out"


def tree(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_an_import_comes_back_as_it_was(tmp_path, db, target):
    source = tmp_path / "in"
    for at, name in enumerate(["a", "b/c.wav", "b/d/e.wav", "b-/f", "z ä.wav"]):
        file = source / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes([at]) * at * 20_000)
        os.utime(file, ns=(1, 1_600_000_000_000_000_001 + at))
    import_folder(db, source, prefix="p")
    report = export_folder(db, target, prefix="p")
    assert (report.written, report.unchanged, report.failed) == (5, 0, ())
    assert report.bytes_written == sum(at * 20_000 for at in range(5))
    assert tree(target) == tree(source)
    for path in source.rglob("*"):
        if path.is_file():
            twin = target / path.relative_to(source)
            assert twin.stat().st_mtime_ns == path.stat().st_mtime_ns
    assert import_folder(db, target, prefix="p").unchanged == 5


def test_what_is_there_already_is_left(db, target):
    db.write_document("a", b"one", mtime_ns=10**18)
    export_folder(db, target)
    before = (target / "a").stat()
    report = export_folder(db, target)
    assert (report.written, report.unchanged) == (0, 1)
    assert (target / "a").stat().st_ino == before.st_ino


def test_equal_bytes_of_another_time_get_the_time(db, target):
    db.write_document("a", b"one", mtime_ns=10**18)
    target.mkdir()
    (target / "a").write_bytes(b"one")
    assert export_folder(db, target).unchanged == 1
    assert (target / "a").stat().st_mtime_ns == 10**18


def test_checksum_finds_a_changed_file_behind_equal_size_and_time(db, target):
    db.write_document("a", b"one", mtime_ns=10**18)
    export_folder(db, target)
    (target / "a").write_bytes(b"two")
    os.utime(target / "a", ns=(10**18, 10**18))
    assert export_folder(db, target).unchanged == 1
    assert export_folder(db, target, checksum=True).failed
    assert export_folder(db, target, checksum=True, overwrite=True).written == 1
    assert (target / "a").read_bytes() == b"one"


def test_another_file_is_kept_unless_asked(db, target):
    db.write_document("a", b"ours")
    db.write_document("b", b"fine")
    target.mkdir()
    (target / "a").write_bytes(b"somebody's")
    report = export_folder(db, target)
    assert report.failed == (("a", "another file is there (--overwrite replaces it)"),)
    assert tree(target) == {"a": b"somebody's", "b": b"fine"}
    assert export_folder(db, target, overwrite=True).ok
    assert tree(target) == {"a": b"ours", "b": b"fine"}


def test_links_never_lead_outside(db, target, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"precious")
    target.mkdir()
    (target / "dir").symlink_to(outside)
    (target / "file").symlink_to(outside / "file")
    for name in ("dir/file", "dir/new", "file"):
        db.write_document(name, b"evil")
    report = export_folder(db, target)
    assert len(report.failed) == 3
    report = export_folder(db, target, overwrite=True)
    assert [path for path, _ in report.failed] == ["dir/file", "dir/new"]
    assert tree(outside) == {"file": b"precious"}
    assert not (target / "file").is_symlink()


def test_the_target_itself_may_be_a_link(db, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    db.write_document("a", b"x")
    assert export_folder(db, tmp_path / "link").written == 1
    assert (tmp_path / "real/a").exists()


def test_a_document_and_a_folder_of_one_name(db, target):
    db.write_document("a", b"document")
    db.write_document("a/b", b"below")
    report = export_folder(db, target)
    assert report.failed == (("a/b", "'a' is there, and is no folder"),)
    (target / "a").unlink()
    (target / "a").mkdir()
    assert export_folder(db, target).failed == (("a", "a folder of that name is there"),)


def test_names_too_long_for_the_disk_are_listed(db, target):
    db.write_document("x" * 300, b"1")
    db.write_document("y", b"2")
    report = export_folder(db, target)
    assert report.failed == (("x" * 300, "file name too long"),)
    assert tree(target) == {"y": b"2"}


def test_a_query_narrows(db, target):
    db.write_document("p/a.wav", b"1", metadata={"rate": 96000})
    db.write_document("p/b.wav", b"2", metadata={"rate": 44100})
    db.write_document("q/c.wav", b"3", metadata={"rate": 96000})
    export_folder(db, target, prefix="p", query="rate=96kHz")
    assert tree(target) == {"a.wav": b"1"}
    with pytest.raises(InvalidQuery):
        export_folder(db, target, query="rate=loud")


def test_names_that_the_file_system_takes_for_one(db, target, monkeypatch):
    """As on a memory stick: the second name opens the first one's file."""
    db.write_document("Kick", b"1")
    db.write_document("kick", b"2")
    real = os.stat

    def stat(path, **more):
        return real("Kick" if path == "kick" else path, **more)

    monkeypatch.setattr(os, "stat", stat)
    report = export_folder(db, target, overwrite=True)
    assert report.failed[0][0] == "kick"
    assert "upper and lower" in report.failed[0][1]
    assert (target / "Kick").read_bytes() == b"1"


def test_a_file_system_without_hard_links(db, target, monkeypatch):
    def link(*_args, **_more):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    db.write_document("a", b"1")
    assert export_folder(db, target).written == 1
    assert tree(target) == {"a": b"1"}


def test_a_file_that_appears_in_between_is_kept(db, target, monkeypatch):
    db.write_document("a", b"ours")
    real = os.link

    def link(source, name, **more):
        (target / "a").write_bytes(b"quick")
        return real(source, name, **more)

    monkeypatch.setattr(os, "link", link)
    assert export_folder(db, target).failed
    assert tree(target) == {"a": b"quick"}


def test_a_dry_run_writes_nothing(db, target):
    db.write_document("a/b", b"12")
    report = export_folder(db, target, dry_run=True)
    assert (report.written, report.bytes_written) == (1, 2)
    assert not target.exists()
    export_folder(db, target)
    (target / "a/b").write_bytes(b"other")
    before = (target / "a/b").stat()
    assert export_folder(db, target, dry_run=True, overwrite=True).written == 1
    assert (target / "a/b").stat() == before


def test_a_damaged_document_is_listed_and_leaves_no_file(db, target, monkeypatch):
    db.write_document("a", b"1")
    db.write_document("b", b"2")
    real = Exporter._write

    def write(self, folder, name, source, *args):
        if name == "a":
            source = Broken()
        return real(self, folder, name, source, *args)

    class Broken:
        def read(self, _size):
            raise CorruptData("chunk 12 is damaged")

    monkeypatch.setattr(Exporter, "_write", write)
    report = export_folder(db, target)
    assert report.failed == (("a", "chunk 12 is damaged"),)
    assert [file.name for file in target.iterdir()] == ["b"]


def test_a_full_disk_ends_it_and_leaves_nothing_half_written(db, target, monkeypatch):
    db.write_document("a", b"1")

    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "utime", full)
    with pytest.raises(StoreFull, match="has no space left"):
        export_folder(db, target)
    assert not list(target.iterdir())


def test_an_interruption_tells_what_was_written(db, target):
    for number in range(10):
        db.write_document(str(number), b"x")

    def progress(state):
        if state.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(ExportInterrupted) as caught:
        export_folder(db, target, progress=progress)
    assert caught.value.report.written == 4 == len(list(target.iterdir()))


def test_a_leftover_of_a_killed_export_is_no_obstacle(db, target):
    target.mkdir()
    (target / f".streamdb-{os.getpid()}").write_bytes(b"old")
    db.write_document("a", b"1")
    assert export_folder(db, target).written == 1
    assert [file.name for file in target.iterdir()] == ["a"]


def test_a_target_that_is_a_file_is_refused(db, tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(InvalidArgument, match="is not a folder"):
        export_folder(db, tmp_path / "file")


def test_the_export_shows_one_state(db, target, monkeypatch):
    monkeypatch.setattr("streamdb.exporting._PAGE", 2)
    for number in range(6):
        db.write_document(str(number), b"old")

    def progress(state):
        if state.done == 1:
            db.write_document("5", b"new")
            db.write_document("9", b"new")

    export_folder(db, target, progress=progress)
    assert set(tree(target).values()) == {b"old"}
