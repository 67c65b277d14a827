"""Watching real folders: the store follows."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from streamdb import StreamDB
from streamdb.importing import EmptyFolder, Selection, Work
from streamdb.watching import FolderGone, Happened, Settling, Watcher, inotify
from streamdb.watching.inotify import Inotify, TooManyFolders

QUICK = Settling(quiet_s=0.3, closed_s=0.05)
PATIENCE_S = 30


class Watched:
    """A watcher in a thread, a folder, and a store."""

    def __init__(self, tmp_path: Path, **work):
        self.folder = tmp_path / "samples"
        self.folder.mkdir(exist_ok=True)
        self.happened: list[Happened] = []
        self.error: BaseException | None = None
        self.db = StreamDB.open(tmp_path / "s.sdb", durability="bulk")
        options = {key: work.pop(key) for key in ("rescan_s", "settling") if key in work}
        self.watcher = Watcher(
            self.db,
            Work(self.folder, **{"delete": True, **work}),
            tell=self.happened.append,
            **{"settling": QUICK, **options},
        )
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        try:
            self.watcher.run()
        except BaseException as error:
            self.error = error

    def start(self):
        self.thread.start()
        self.until(lambda: "watching" in self.kinds())
        return self

    def kinds(self):
        return [each.kind for each in self.happened]

    def until(self, condition):
        end = time.monotonic() + PATIENCE_S
        while not condition():
            if self.error is not None:
                raise self.error
            assert time.monotonic() < end, (self.happened, self.db.search())
            time.sleep(0.01)

    def until_stored(self, *paths):
        self.until(lambda: sorted(self.db.search()) == sorted(paths))

    def close(self):
        self.watcher.stop()
        if self.thread.ident is not None:
            self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()
        self.db.close()


@pytest.fixture
def watch(tmp_path):
    made = []

    def make(**work):
        made.append(Watched(tmp_path, **work))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_what_is_there_is_imported_first(watch):
    watched = watch(prefix="p")
    (watched.folder / "a.wav").write_bytes(b"1")
    watched.db.write_document("p/gone.wav", b"x")
    watched.db.write_document("other.wav", b"x")
    watched.start()
    watched.until_stored("other.wav", "p/a.wav")


def test_new_changed_and_deleted_files(watch):
    watched = watch()
    (watched.folder / "anchor").write_bytes(b"x")
    watched.start()
    (watched.folder / "a.wav").write_bytes(b"one")
    watched.until_stored("a.wav", "anchor")
    (watched.folder / "a.wav").write_bytes(b"longer")
    watched.until(lambda: watched.db.get("a.wav") == b"longer")
    (watched.folder / "a.wav").unlink()
    watched.until_stored("anchor")
    # The store has it before the watcher says so.
    watched.until(lambda: watched.kinds() == ["watching", "add", "update", "delete"])


def test_a_file_is_stored_when_it_is_complete(watch):
    watched = watch(settling=Settling(quiet_s=3.0, closed_s=0.05)).start()
    with (watched.folder / "take.wav").open("wb") as file:
        for _ in range(8):
            file.write(b"x" * 1000)
            file.flush()
            time.sleep(0.05)
    watched.until_stored("take.wav")
    assert watched.db.stat("take.wav").size == 8000
    watched.until(lambda: watched.kinds().count("add") == 1)
    assert "update" not in watched.kinds()


def test_a_renamed_file_is_renamed(watch):
    watched = watch()
    (watched.folder / "a.wav").write_bytes(b"x" * 50_000)
    watched.start()
    guid = watched.db.stat("a.wav").guid
    (watched.folder / "sub").mkdir()
    (watched.folder / "a.wav").rename(watched.folder / "sub/b.wav")
    watched.until_stored("sub/b.wav")
    assert watched.db.stat("sub/b.wav").guid == guid
    assert [change.kind for change in watched.db.changes()] == ["put", "rename"]


def test_renames_while_nobody_watched_are_renames(watch):
    watched = watch()
    for name in ("a.wav", "b.wav", "c.wav"):
        (watched.folder / name).write_bytes(name.encode() * 9000)
        os.utime(watched.folder / name, ns=(1, 10**18))
    watched.start()
    guids = [watched.db.stat(name).guid for name in ("a.wav", "b.wav")]
    watched.watcher.stop()
    watched.thread.join()
    (watched.folder / "deep").mkdir()
    (watched.folder / "a.wav").rename(watched.folder / "deep/x.wav")
    (watched.folder / "b.wav").rename(watched.folder / "deep/y.wav")
    (watched.folder / "c.wav").unlink()
    again = Watcher(watched.db, Work(watched.folder, delete=True), settling=QUICK)
    again.stop()
    again.run()
    assert watched.db.search() == ["deep/x.wav", "deep/y.wav"]
    assert [watched.db.stat(f"deep/{name}.wav").guid for name in "xy"] == guids
    assert (again.counts["rename"], again.counts["delete"]) == (2, 1)


def test_a_new_name_with_other_facts_is_read_again(watch):
    watched = watch()
    (watched.folder / "loop_100bpm.mid").write_bytes(b"MThd")
    watched.start()
    assert watched.db.stat("loop_100bpm.mid").metadata["tempo"] == 100
    (watched.folder / "loop_100bpm.mid").rename(watched.folder / "loop_120bpm.mid")
    watched.until(
        lambda: (
            watched.db.search() == ["loop_120bpm.mid"]
            and watched.db.stat("loop_120bpm.mid").metadata["tempo"] == 120
        )
    )


def test_a_renamed_folder_takes_its_documents_along(watch):
    watched = watch()
    for name in ("old/a.wav", "old/deep/b.wav"):
        (watched.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (watched.folder / name).write_bytes(b"x" * 50_000)
    watched.start()
    guid = watched.db.stat("old/deep/b.wav").guid
    (watched.folder / "old").rename(watched.folder / "new")
    watched.until_stored("new/a.wav", "new/deep/b.wav")
    assert watched.db.stat("new/deep/b.wav").guid == guid
    (watched.folder / "new/deep/c.wav").write_bytes(b"y")
    watched.until_stored("new/a.wav", "new/deep/b.wav", "new/deep/c.wav")


def test_a_file_saved_by_way_of_another_keeps_its_identity(watch):
    """As editors save: a temporary file, renamed over the old one."""
    watched = watch(selection=Selection.of(exclude=["*.tmp"]))
    (watched.folder / "a.wav").write_bytes(b"old")
    watched.start()
    guid = watched.db.stat("a.wav").guid
    (watched.folder / "a.wav.tmp").write_bytes(b"newer")
    (watched.folder / "a.wav.tmp").rename(watched.folder / "a.wav")
    watched.until(lambda: watched.db.get("a.wav") == b"newer")
    assert watched.db.stat("a.wav").guid == guid
    assert watched.db.search() == ["a.wav"]


def test_trees_that_come_and_go(watch, tmp_path):
    watched = watch()
    (watched.folder / "anchor").write_bytes(b"x")
    watched.start()
    outside = tmp_path / "outside/deep"
    outside.mkdir(parents=True)
    (outside / "a.wav").write_bytes(b"1")
    (tmp_path / "outside").rename(watched.folder / "in")
    watched.until_stored("anchor", "in/deep/a.wav")
    (watched.folder / "in/deep/b.wav").write_bytes(b"2")
    watched.until_stored("anchor", "in/deep/a.wav", "in/deep/b.wav")
    (watched.folder / "in").rename(tmp_path / "out")
    watched.until_stored("anchor")
    shutil.copytree(tmp_path / "out", watched.folder / "again")
    watched.until_stored("again/deep/a.wav", "again/deep/b.wav", "anchor")
    shutil.rmtree(watched.folder / "again")
    watched.until_stored("anchor")


def test_a_file_becomes_a_folder_and_back(watch):
    watched = watch()
    (watched.folder / "x").write_bytes(b"file")
    watched.start()
    (watched.folder / "x").unlink()
    (watched.folder / "x").mkdir()
    (watched.folder / "x/a").write_bytes(b"1")
    watched.until_stored("x/a")
    shutil.rmtree(watched.folder / "x")
    (watched.folder / "x").write_bytes(b"file")
    watched.until_stored("x")


def test_deletions_are_not_mirrored_when_not_asked(watch):
    watched = watch(delete=False)
    (watched.folder / "a.wav").write_bytes(b"1")
    watched.start()
    (watched.folder / "a.wav").unlink()
    (watched.folder / "b.wav").write_bytes(b"2")
    watched.until_stored("a.wav", "b.wav")


def test_an_overflow_is_survived_by_looking_again(watch, monkeypatch):
    watched = watch()
    (watched.folder / "a.wav").write_bytes(b"1")
    real = Inotify.read
    lose = threading.Event()

    def read(self, timeout_s):
        notices = real(self, timeout_s)
        if lose.is_set() and notices:
            lose.clear()
            return [inotify.Notice(-1, inotify.OVERFLOW, 0, b"")]
        return notices

    monkeypatch.setattr(Inotify, "read", read)
    watched.start()
    lose.set()
    (watched.folder / "new").mkdir()
    (watched.folder / "new/b.wav").write_bytes(b"2")
    watched.until(lambda: "rescan" in watched.kinds())
    watched.until_stored("a.wav", "new/b.wav")
    (watched.folder / "new/c.wav").write_bytes(b"3")
    watched.until_stored("a.wav", "new/b.wav", "new/c.wav")


def test_a_folder_without_events_is_looked_at_from_time_to_time(watch, monkeypatch):
    watched = watch(rescan_s=0.2)
    (watched.folder / "a.wav").write_bytes(b"1")

    def read(self, timeout_s):
        time.sleep(0.02)
        return []

    monkeypatch.setattr(Inotify, "read", read)
    watched.start()
    (watched.folder / "b.wav").write_bytes(b"2")
    watched.until_stored("a.wav", "b.wav")


def test_a_folder_that_goes_away_deletes_nothing(watch, tmp_path):
    watched = watch()
    (watched.folder / "a.wav").write_bytes(b"1")
    watched.start()
    watched.folder.rename(tmp_path / "elsewhere")
    watched.thread.join(PATIENCE_S)
    assert isinstance(watched.error, FolderGone)
    assert watched.db.search() == ["a.wav"]


def test_an_empty_folder_at_the_start_deletes_nothing(watch):
    watched = watch()
    watched.db.write_document("a.wav", b"1")
    watched.watcher.stop()
    with pytest.raises(EmptyFolder):
        watched.watcher.run()
    assert watched.db.search() == ["a.wav"]


def test_the_store_may_lie_in_the_folder(tmp_path):
    folder = tmp_path / "samples"
    folder.mkdir()
    (folder / "a.wav").write_bytes(b"1")
    with StreamDB.open(folder / "lib.sdb", durability="bulk") as db:
        watcher = Watcher(db, Work(folder, delete=True), settling=QUICK)
        thread = threading.Thread(target=watcher.run, daemon=True)
        thread.start()
        end = time.monotonic() + PATIENCE_S
        while watcher.counts.get("watching", 0) == 0 and time.monotonic() < end:
            time.sleep(0.01)
        (folder / "b.wav").write_bytes(b"2")
        while db.count() < 2 and time.monotonic() < end:
            time.sleep(0.01)
        watcher.stop()
        thread.join(PATIENCE_S)
        assert db.search() == ["a.wav", "b.wav"]


def test_a_name_that_is_no_text_is_told(watch):
    watched = watch().start()
    (watched.folder / os.fsdecode(b"\xff.wav")).write_bytes(b"x")
    watched.until(lambda: "failed" in watched.kinds())
    assert watched.db.search() == []


def test_the_kernels_limit_is_named(monkeypatch):
    queue = Inotify()
    try:

        class Full:
            def inotify_add_watch(self, *_args):
                import ctypes

                ctypes.set_errno(28)
                return -1

        monkeypatch.setattr(queue, "_libc", Full())
        with pytest.raises(TooManyFolders, match="watches no more folders") as caught:
            queue.watch(b"/")
        assert "max_user_watches" in caught.value.next_step
    finally:
        queue.close()
        queue.close()
