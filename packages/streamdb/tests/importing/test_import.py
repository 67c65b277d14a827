"""Importing: what ends up in the store, what is told, and what an interruption leaves."""

from __future__ import annotations

import os
import threading

import pytest
from packages.streamdb.tests.sounds import wav

from streamdb import StreamDB
from streamdb.errors import NotFound, StoreFull
from streamdb.importing import (
    EmptyFolder,
    Importer,
    ImportInterrupted,
    Work,
    import_folder,
    source,
)
from streamdb.importing.source import SourceChanged, Stopped, take
from streamdb.model import Progress


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "samples"
    made.mkdir()
    return made


@pytest.fixture
def db(tmp_path):
    with StreamDB.open(tmp_path / "s.sdb", durability="bulk") as opened:
        yield opened


def put(folder, name, data=b"x"):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def test_bytes_times_and_facts_are_kept(folder, db):
    file = put(folder, "drums/kick_120bpm.wav", wav(rate=48000, channels=2, frames=480))
    os.utime(file, ns=(1, 1_700_000_000_123_456_789))
    report = import_folder(db, folder, prefix="packs/one")
    assert (report.added, report.failed, report.problems) == (1, (), 0)
    known = db.stat("packs/one/drums/kick_120bpm.wav")
    assert known.mtime_ns == 1_700_000_000_123_456_789
    assert known.metadata["rate"] == 48000
    assert known.metadata["tempo"] == 120
    assert db.get("packs/one/drums/kick_120bpm.wav") == file.read_bytes()


def test_a_second_import_reads_nothing(folder, db):
    for number in range(20):
        put(folder, f"{number}.bin", bytes(number))
    first = import_folder(db, folder)
    assert (first.added, first.bytes_read) == (20, sum(range(20)))
    again = import_folder(db, folder)
    assert (again.added, again.updated, again.unchanged, again.bytes_read) == (0, 0, 20, 0)


def test_updates_and_deletions(folder, db):
    put(folder, "a.bin", b"old")
    put(folder, "b.bin")
    import_folder(db, folder)
    put(folder, "a.bin", b"newer")
    (folder / "b.bin").unlink()
    report = import_folder(db, folder, delete=True)
    assert (report.updated, report.deleted, report.added) == (1, 1, 0)
    assert db.search() == ["a.bin"]
    assert db.get("a.bin") == b"newer"
    assert [version.reason for version in db.history("b.bin")] == ["deleted"]


def test_a_broken_file_is_stored_with_its_problem(folder, db):
    put(folder, "broken.wav", b"RIFF\x10\x00\x00\x00WAVEfmt ")
    report = import_folder(db, folder)
    assert (report.added, report.problems, report.ok) == (1, 1, True)
    assert db.find("has:problem") == ["broken.wav"]


def test_an_empty_file_is_a_document(folder, db):
    put(folder, "empty.txt", b"")
    import_folder(db, folder)
    assert db.get("empty.txt") == b""


def test_large_files_are_streamed(folder, db, monkeypatch):
    monkeypatch.setattr(source, "SMALL_BYTES", 1000)
    file = put(folder, "long.wav", wav(rate=44100, channels=1, frames=200_000))
    import_folder(db, folder)
    assert db.get("long.wav") == file.read_bytes()
    assert db.stat("long.wav").metadata["frames"] == 200_000


def test_an_unreadable_file_is_listed_and_the_others_go_on(folder, db, monkeypatch):
    put(folder, "a.bin")
    put(folder, "bad.bin")
    put(folder, "c.bin")
    real = os.open

    def opening(path, *args, **more):
        if str(path).endswith("bad.bin"):
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **more)

    monkeypatch.setattr(os, "open", opening)
    report = import_folder(db, folder)
    assert (report.added, report.ok) == (2, False)
    assert [(each.path, each.reason) for each in report.failed] == [
        ("bad.bin", "permission denied")
    ]


def test_a_file_that_vanishes_in_between_is_listed(folder, db, monkeypatch):
    put(folder, "a.bin")
    file = put(folder, "gone.bin")
    importer = Importer(db, Work(folder))
    real = importer._take

    def vanish(step):
        file.unlink(missing_ok=True)
        return real(step)

    monkeypatch.setattr(importer, "_take", vanish)
    report = importer.run()
    assert [each.reason for each in report.failed] == ["no such file or directory"]


def test_a_document_over_the_limit_is_listed(tmp_path, folder):
    put(folder, "big.bin", bytes(2000))
    put(folder, "small.bin", bytes(10))
    with StreamDB.open(tmp_path / "l.sdb", max_document=1000) as db:
        report = import_folder(db, folder)
        assert report.failed[0].reason == "the document has 2000 bytes, the limit is 1000"
        assert db.search() == ["small.bin"]


@pytest.mark.parametrize("small", [True, False])
def test_a_file_that_is_written_to_meanwhile_is_not_stored(folder, db, monkeypatch, small):
    if not small:
        monkeypatch.setattr(source, "SMALL_BYTES", 1000)
    file = put(folder, "growing.bin", bytes(50_000))

    def grow(_count):
        with file.open("ab") as more:
            more.write(b"more")

    with pytest.raises(SourceChanged, match="changed while it was read"):
        take(db, file, "growing.bin", stop=threading.Event(), tell=grow)
    assert not db.exists("growing.bin")


def test_a_link_in_place_of_a_file_is_refused(folder, db):
    put(folder, "real.bin")
    (folder / "link.bin").symlink_to("real.bin")
    with pytest.raises(OSError, match="symbolic links"):
        take(db, folder / "link.bin", "link.bin", stop=threading.Event())
    os.mkfifo(folder / "pipe")
    with pytest.raises(SourceChanged, match="named pipe"):
        take(db, folder / "pipe", "pipe", stop=threading.Event())


def test_a_stop_in_the_middle_of_a_file_stores_nothing_of_it(folder, db):
    file = put(folder, "a.bin", bytes(100))
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        take(db, file, "a.bin", stop=stop)
    assert db.search() == []


def test_an_interruption_keeps_what_is_whole_and_says_what(folder, db, monkeypatch):
    # Told at once: on a fast machine all is stored before the first time is up.
    monkeypatch.setattr("streamdb.importing._TELL_SECONDS", 0.0)
    for number in range(300):
        put(folder, f"{number:03}.bin", bytes(100))
    seen = []

    def progress(state):
        if state.stage == "importing":
            seen.append(state)
            raise KeyboardInterrupt

    importer = Importer(db, Work(folder), workers=2)
    with pytest.raises(ImportInterrupted) as caught:
        importer.run(progress)
    kept = db.search()
    assert caught.value.report.added == len(kept) < 300
    assert db.check().ok
    assert import_folder(db, folder).added == 300 - len(kept)


def test_a_full_store_ends_the_import_with_its_name(folder, db, monkeypatch):
    for number in range(50):
        put(folder, f"{number:03}.bin", bytes(100))
    real = db.write_document

    def write(path, data, **more):
        if path == "025.bin":
            raise StoreFull("no space", next_step="free some")
        return real(path, data, **more)

    monkeypatch.setattr(db, "write_document", write)
    importer = Importer(db, Work(folder), workers=1)
    with pytest.raises(StoreFull):
        importer.run()
    assert importer.report.added == len(db.search()) >= 25


def test_batches_are_flushed_while_it_runs(folder, db, monkeypatch, tmp_path):
    monkeypatch.setattr("streamdb.importing.BATCH_DOCUMENTS", 10)
    monkeypatch.setattr("streamdb.importing._TOGETHER_FILES", 4)
    for number in range(100):
        put(folder, f"{number:03}.bin", bytes(10))
    flushes = []
    real = db.flush

    def flush():
        flushes.append(1)
        real()

    monkeypatch.setattr(db, "flush", flush)
    report = import_folder(db, folder)
    assert report.added == 100
    assert len(flushes) >= 5


def test_progress_ends_at_its_total(folder, db):
    for number in range(30):
        put(folder, f"{number}.bin", bytes(1000))
    told: list[Progress] = []
    import_folder(db, folder, progress=told.append)
    assert told[-1].stage == "importing"
    assert told[-1].done == told[-1].total >= 30_000


def test_nothing_to_import_from(db, folder, tmp_path):
    with pytest.raises(NotFound):
        import_folder(db, tmp_path / "nowhere")
    put(folder, "a.bin")
    import_folder(db, folder)
    (folder / "a.bin").unlink()
    with pytest.raises(EmptyFolder):
        import_folder(db, folder, delete=True)
    assert db.search() == ["a.bin"]
