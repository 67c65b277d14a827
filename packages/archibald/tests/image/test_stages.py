"""Stages: reused when nothing changed, made anew when something did, nothing half-made ever."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archibald.image.stages import MANIFEST, StageStore, key_of


class _Work:
    """Fills a folder with two files and counts how often it had to."""

    def __init__(self, text: str = "content") -> None:
        self.text, self.times = text, 0

    def __call__(self, out: Path) -> None:
        self.times += 1
        (out / "boot").mkdir()
        (out / "boot/kernel").write_text(self.text)
        (out / "list").write_text("one\n")


@pytest.fixture
def store(tmp_path):
    return StageStore(tmp_path / "stages")


def _everything_but_locks(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*")
        if path.suffix != ".lock" and path.name != "seconds.json"
    )  # fmt: skip


def test_a_stage_is_made_once_for_the_same_inputs(store):
    work = _Work()
    first = store.run("base", {"packages": ["a"]}, work)
    again = StageStore(store.folder).run("base", {"packages": ["a"]}, work)
    assert work.times == 1
    assert (first.reused, again.reused) == (False, True)
    assert (first.key, first.outputs) == (again.key, again.outputs)
    assert sorted(again.outputs) == ["boot/kernel", "list"]
    assert again.path("boot/kernel").read_text() == "content"
    assert [row.reused for row in store.rows] == [False]


def test_another_input_makes_it_anew_and_keeps_the_old(store):
    work = _Work()
    old = store.run("base", {"packages": ["a"]}, work)
    new = store.run("base", {"packages": ["b"]}, work)
    assert work.times == 2
    assert old.folder != new.folder
    assert old.path("list").is_file()
    assert store.run("base", {"packages": ["a"]}, work).reused


@given(st.dictionaries(st.text(), st.lists(st.integers() | st.text())), st.randoms())
def test_the_key_depends_on_the_values_not_on_their_order(inputs, order):
    rows = list(inputs.items())
    order.shuffle(rows)
    assert key_of(dict(rows)) == key_of(inputs)
    assert key_of({**inputs, "one more": inputs}) != key_of(inputs)


def _change(path: Path) -> None:
    path.write_text("something else")


def _damage_manifest(text: str):
    return lambda place: (place / MANIFEST).write_text(text)


@pytest.mark.parametrize(
    "damage",
    [
        lambda place: _change(place / "boot/kernel"),
        lambda place: (place / "list").unlink(),
        lambda place: (place / MANIFEST).unlink(),
        _damage_manifest(""),
        _damage_manifest("[]"),
        _damage_manifest("{}"),
        _damage_manifest('{"outputs": [1]}'),
        _damage_manifest('{"outputs": {"list": "0"}, "seconds": 1}'),
    ],
)
def test_a_damaged_result_is_made_anew(store, damage):
    work = _Work()
    first = store.run("base", {}, work)
    damage(first.folder)
    again = store.run("base", {}, work)
    assert (work.times, again.reused) == (2, False)
    assert again.outputs == first.outputs
    assert store.run("base", {}, work).reused


@pytest.mark.parametrize(
    "error", [RuntimeError("broken"), KeyboardInterrupt(), OSError(28, "full")]
)
def test_a_stage_that_fails_leaves_nothing(store, error):
    def work(out: Path) -> None:
        (out / "half").write_text("half")
        raise error

    with pytest.raises(type(error)):
        store.run("base", {}, work)
    assert _everything_but_locks(store.folder) == ["base", "scratch"]
    assert store.remove_leftovers() == []
    assert store.run("base", {}, _Work()).reused is False


def test_scratch_is_gone_at_the_end(store):
    with store.scratch("work") as folder:
        (folder / "deep").mkdir()
        (folder / "deep/file").write_text("x")
        assert folder.is_dir()
    assert list((store.folder / "scratch").iterdir()) == []


_HOLDER = """
import sys, time
from pathlib import Path
from archibald.image.stages import StageStore
with StageStore(Path(sys.argv[1])).scratch("base") as folder:
    (folder / "file").write_text("x")
    print(folder, flush=True)
    sys.stdin.read()
"""


def _hold(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that keeps a scratch folder until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_build_left_goes_and_what_a_living_one_uses_stays(store):
    killed, left = _hold(store.folder)
    living, used = _hold(store.folder)
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert (left / "file").is_file()
        assert store.remove_leftovers() == [left.name]
        assert not left.exists()
        assert (used / "file").is_file()
        assert store.remove_leftovers() == []
    finally:
        for process in (killed, living):
            process.communicate("")
    assert living.returncode == 0
    assert list((store.folder / "scratch").iterdir()) == []


def test_a_scratch_folder_that_ends_meanwhile_is_no_error(store, monkeypatch):
    """Another build may finish between the look into the folder and the look at a lock."""
    with store.scratch("base"):
        pass
    gone = store.folder / "scratch/base-1-1.lock"
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [gone])
    assert store.remove_leftovers() == []


def test_a_lock_that_was_taken_away_is_taken_again(store, monkeypatch):
    """Another build may take a lock file for a leftover before it is locked."""
    import fcntl

    real = fcntl.flock
    taken: list[str] = []

    def flock(stream, operation):
        if not taken:
            taken.append(stream.name)
            Path(stream.name).unlink()
        real(stream, operation)

    monkeypatch.setattr("fcntl.flock", flock)
    with store.scratch("base") as folder:
        assert folder.with_suffix(".lock").is_file()
        assert taken
        assert store.remove_leftovers() == []
        assert folder.is_dir()


_WORKER = """
import sys, time
from pathlib import Path
from archibald.image.stages import StageStore
def work(out):
    with open(sys.argv[2], "a") as stream:
        stream.write("made\\n")
    time.sleep(0.3)
    (out / "file").write_text("x")
print(StageStore(Path(sys.argv[1])).run("base", {}, work).reused)
"""


def test_two_builds_of_one_stage_do_the_work_once(store, tmp_path):
    command = [sys.executable, "-c", _WORKER, str(store.folder), str(tmp_path / "made")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate()[0].strip() for process in both)
    assert said == ["False", "True"]
    assert (tmp_path / "made").read_text() == "made\n"


def test_how_long_it_took_is_remembered(store):
    assert store.expected_seconds("base") is None
    result = store.run("base", {}, _Work())
    expected = store.expected_seconds("base")
    assert expected == pytest.approx(result.seconds, abs=0.01)
    assert store.expected_seconds("system") is None
    store.run("base", {}, _Work())
    assert StageStore(store.folder).expected_seconds("base") == expected


@pytest.mark.parametrize("text", ["", "[]", "5", '{"base": []}', '{"base": "x"}', "\x00"])
def test_a_damaged_note_of_times_is_no_error(store, text):
    store.folder.mkdir()
    (store.folder / "seconds.json").write_text(text)
    assert store.expected_seconds("base") is None
    store.run("base", {}, _Work())
    assert store.expected_seconds("base") is not None


def test_reuse_is_noted_for_pruning_by_age(store):
    result = store.run("base", {}, _Work())
    os.utime(result.folder, (0, 0))
    store.run("base", {}, _Work())
    assert time.time() - result.folder.stat().st_mtime < 3600
    record = json.loads((result.folder / MANIFEST).read_text())
    assert record["inputs"] == {}
