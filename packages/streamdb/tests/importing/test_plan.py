"""The walk and the plan: what is found, in which order, and what would be done about it."""

from __future__ import annotations

import os
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdb import StreamDB
from streamdb.errors import InvalidArgument, NotFound
from streamdb.importing.plan import EmptyFolder, Step, Work, plan
from streamdb.importing.selection import Selection
from streamdb.importing.walk import FoundFile, LeftOut, need_folder, walk


def put(folder, *names, data=b"x"):
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def found(folder, **selection):
    return list(walk(folder, Selection.of(**selection)))


def paths(folder, **selection):
    return [each.path for each in found(folder, **selection)]


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "samples"
    made.mkdir()
    return made


@pytest.fixture
def db(tmp_path):
    with StreamDB.open(tmp_path / "s.sdb", durability="bulk") as opened:
        yield opened


def steps(db, folder, **how):
    return [
        (step.kind, step.path) if isinstance(step, Step) else ("left", step.path)
        for step in plan(db, Work(folder, **how))
    ]


# -- the walk ------------------------------------------------------------------------------------


def test_files_come_in_the_order_of_the_bytes_of_their_paths(folder):
    names = ["a/z", "a-b", "a/b/c", "a0", "B", "ä", "a/b-c", "a.b"]
    put(folder, *names)
    assert paths(folder) == sorted(names, key=str.encode)


def test_a_folder_that_is_named_by_its_link_is_walked(folder, tmp_path):
    put(folder, "a.wav")
    (tmp_path / "link").symlink_to(folder)
    assert paths(need_folder(tmp_path / "link")) == ["a.wav"]


def test_links_and_loops_are_left_out_and_named(folder):
    put(folder, "deep/a.wav")
    (folder / "deep/loop").symlink_to(folder)
    (folder / "one.wav").symlink_to("deep/a.wav")
    (folder / "dangling").symlink_to("nowhere")
    left = [each for each in found(folder) if isinstance(each, LeftOut)]
    assert [each.path for each in left] == ["dangling", "deep/loop", "one.wav"]
    assert {each.reason for each in left} == {"a symbolic link"}
    assert not any(each.failed for each in left)


def test_special_files_are_left_out_and_named(folder):
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "sock"))
        assert [(each.path, each.reason) for each in found(folder)] == [
            ("pipe", "a named pipe"),
            ("sock", "a socket"),
        ]


def test_names_that_are_not_utf_8_are_failures(folder):
    put(folder, "good.wav")
    (folder / os.fsdecode(b"k\xe4se.wav")).write_bytes(b"x")
    bad = folder / os.fsdecode(b"\xff")
    bad.mkdir()
    (bad / "inside.wav").write_bytes(b"x")
    left = [each for each in found(folder) if isinstance(each, LeftOut)]
    assert [os.fsencode(each.path) for each in left] == [b"k\xe4se.wav", b"\xff"]
    assert all(each.failed and each.reason == "its name is not UTF-8" for each in left)


def test_a_path_that_no_document_can_have_is_a_failure(folder, db):
    part = "x" * 250
    deep = folder
    for _ in range(12):
        deep = deep / part
    deep.mkdir(parents=True)
    put(deep, "a.wav")
    assert steps(db, folder) == [("add", "/".join([part] * 12 + ["a.wav"]))]
    prefix = "/".join(["y" * 250] * 6)
    assert steps(db, folder, prefix=prefix) == [("left", "/".join([part] * 12 + ["a.wav"]))]


def test_a_folder_that_cannot_be_listed_is_a_failure(folder, monkeypatch):
    put(folder, "bad/a.wav", "good/b.wav")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("bad"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert found(folder)[0] == LeftOut("bad", "permission denied", failed=True)
    assert paths(folder)[1:] == ["good/b.wav"]


def test_a_store_in_the_folder_is_left_out(folder):
    put(folder, "a.wav")
    StreamDB.open(folder / "lib.sdb").close()
    assert found(folder)[1] == LeftOut("lib.sdb", "a StreamDB store", failed=False)


def test_excluded_folders_are_not_looked_into(folder):
    put(folder, "old/a.wav", "new/a.wav", "new/b.txt")
    assert paths(folder, exclude=["old"], include=["*.wav"]) == ["new/a.wav"]


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(NotFound):
        need_folder(tmp_path / "nowhere")
    (tmp_path / "file.wav").write_bytes(b"x")
    with pytest.raises(InvalidArgument, match="is not a folder"):
        need_folder(tmp_path / "file.wav")


# -- the plan ------------------------------------------------------------------------------------


def stored(db, folder, *names):
    for name in names:
        status = (folder / name).stat()
        db.write_document(name, (folder / name).read_bytes(), mtime_ns=status.st_mtime_ns)
    db.flush()


def test_new_changed_and_kept(folder, db):
    put(folder, "kept.wav", "longer.wav", "touched.wav", "new.wav")
    stored(db, folder, "kept.wav", "longer.wav", "touched.wav")
    (folder / "longer.wav").write_bytes(b"xx")
    os.utime(folder / "touched.wav", ns=(1, 1))
    assert steps(db, folder) == [
        ("keep", "kept.wav"),
        ("update", "longer.wav"),
        ("add", "new.wav"),
        ("update", "touched.wav"),
    ]


def test_checksum_finds_what_size_and_time_hide(folder, db):
    put(folder, "a.wav", "b.wav", data=b"old")
    stored(db, folder, "a.wav", "b.wav")
    times = (folder / "a.wav").stat().st_mtime_ns
    (folder / "a.wav").write_bytes(b"new")
    os.utime(folder / "a.wav", ns=(times, times))
    assert steps(db, folder) == [("keep", "a.wav"), ("keep", "b.wav")]
    assert steps(db, folder, checksum=True) == [("update", "a.wav"), ("keep", "b.wav")]


def test_removals_are_mirrored_only_when_asked(folder, db):
    put(folder, "a.wav", "m/b.wav", "z.wav")
    stored(db, folder, "a.wav", "m/b.wav", "z.wav")
    (folder / "m/b.wav").unlink()
    (folder / "z.wav").unlink()
    assert steps(db, folder) == [("keep", "a.wav")]
    assert steps(db, folder, delete=True) == [
        ("keep", "a.wav"),
        ("delete", "m/b.wav"),
        ("delete", "z.wav"),
    ]


def test_removals_keep_to_the_prefix_and_to_the_selection(folder, db):
    put(folder, "kept.wav")
    for name in ("p/gone.wav", "p/gone.txt", "q/other.wav", "p-q.wav"):
        db.write_document(name, b"x")
    db.flush()
    selection = Selection.of(include=["*.wav"])
    assert steps(db, folder, delete=True, prefix="p", selection=selection) == [
        ("delete", "p/gone.wav"),
        ("add", "p/kept.wav"),
    ]


def test_what_cannot_be_looked_at_is_not_deleted(folder, db, monkeypatch):
    put(folder, "bad/a.wav", "link", "z.wav")
    stored(db, folder, "bad/a.wav", "link", "z.wav")
    db.write_document("link/below", b"x")
    db.write_document("link-x", b"x")
    (folder / "link").unlink()
    (folder / "link").symlink_to("z.wav")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("bad"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert steps(db, folder, delete=True) == [
        ("left", "bad"),
        ("left", "link"),
        ("delete", "link-x"),
        ("keep", "z.wav"),
    ]


def test_a_file_that_became_a_folder(folder, db):
    put(folder, "a")
    stored(db, folder, "a")
    (folder / "a").unlink()
    put(folder, "a/b")
    assert steps(db, folder, delete=True) == [("delete", "a"), ("add", "a/b")]


def test_an_empty_folder_deletes_nothing(folder, db):
    db.write_document("a.wav", b"x")
    db.flush()
    with pytest.raises(EmptyFolder, match="every document of the store would go"):
        steps(db, folder, delete=True)
    assert steps(db, folder) == []
    assert steps(db, folder, delete=True, prefix="other") == []


names = st.lists(
    st.lists(st.sampled_from(["a", "b", "a-", "a0", "ä"]), min_size=1, max_size=3).map("/".join),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(before=names, after=names)
def test_following_the_plan_makes_the_store_as_the_folder(tmp_path_factory, before, after):
    folder = tmp_path_factory.mktemp("tree")
    made: list[str] = []
    for name in after:
        # A name may be a file or a folder, not both.
        if not any(name.startswith(f"{other}/") or other.startswith(f"{name}/") for other in made):
            put(folder, name)
            made.append(name)
    put(folder, "anchor")
    with StreamDB.open(tmp_path_factory.mktemp("s") / "s.sdb", durability="bulk") as db:
        for name in before:
            db.write_document(name, b"x")
        db.flush()
        held = set(db.search())
        listed = [step for step in plan(db, Work(folder, delete=True)) if isinstance(step, Step)]
    assert [step.path for step in listed] == sorted(held | set(made) | {"anchor"}, key=str.encode)
    kinds = {step.path: step.kind for step in listed}
    assert {path for path, kind in kinds.items() if kind == "delete"} == held - {*made, "anchor"}
    assert {path for path, kind in kinds.items() if kind == "add"} == {*made, "anchor"} - held


def test_the_found_file_says_size_and_time(folder):
    put(folder, "a.wav", data=b"four")
    os.utime(folder / "a.wav", ns=(5, 7))
    assert found(folder) == [FoundFile("a.wav", 4, 7)]
