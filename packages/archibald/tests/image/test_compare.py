"""Two images side by side: the first path that differs, and in what."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archibald.errors import ExitCode
from archibald.image.compare import (
    Difference,
    Entry,
    NotAnIsoError,
    compare_isos,
    first_difference,
    iso_order,
    parse_squashfs_listing,
    require_iso,
    squashfs_entries,
)
from archibald.image.squashfs import make_squashfs
from archibald.run import Result, run

_LISTING = """\
drwxr-xr-x 0/0                      52 2026-11-23 03:48 squashfs-root
-rw-r--r-- 0/0                       1 2026-11-23 03:48 squashfs-root/a -> b
drwxr-s--- 0/8                      33 2026-11-23 03:48 squashfs-root/etc
-rwsr-xr-x 1000/29                   3 2001-09-09 01:46 squashfs-root/etc/f
lrwxrwxrwx 0/0                       1 2026-11-23 03:48 squashfs-root/etc/l -> f
crw-r--r-- 0/0                   1,  3 2026-11-23 03:48 squashfs-root/null
brw-rw---- 0/6                 254,128 2026-11-23 03:48 squashfs-root/dev/vda
"""


def test_a_listing_of_unsquashfs():
    entries = parse_squashfs_listing(_LISTING + "\nsome other line\n", None)
    assert list(entries) == ["/", "/a -> b", "/etc", "/etc/f", "/etc/l", "/null", "/dev/vda"]
    assert entries["/etc/f"] == Entry("-rwsr-xr-x", "1000/29", "3", "2001-09-09 01:46", "")
    assert entries["/etc/l"].content == "f"
    assert entries["/etc"] == Entry("drwxr-s---", "0/8", "", "2026-11-23 03:48", "")
    assert entries["/dev/vda"].content == "254,128"
    assert entries["/null"].content == "1,  3"


def test_contents_and_times_come_from_the_unpacked_files(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/f").write_text("one")
    os.utime(tmp_path / "etc/f", (1000, 1000))
    entries = parse_squashfs_listing(_LISTING, tmp_path)
    assert len(entries["/etc/f"].content) == 64
    assert entries["/etc/f"].time == "1000"


_ENTRY = Entry("-rw-r--r--", "0/0", "3", "1000", "a" * 64)


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        ("content", "b" * 64, "content"), ("mode", "-rwxr-xr-x", "mode"), ("owner", "1/0", "owner"),
        ("size", "4", "content"), ("time", "1001", "time"),
    ],
)  # fmt: skip
def test_each_kind_of_difference(field, value, kind):
    tree = {"/a": _ENTRY, "/b": _ENTRY}
    other = {"/a": _ENTRY, "/b": replace(_ENTRY, **{field: value})}
    found = first_difference(tree, other)
    assert found == Difference("/b", kind, getattr(_ENTRY, field), value)
    assert f"/b: {kind} differs: " in found.text()


def test_a_path_that_only_one_has():
    found = first_difference({"/a": _ENTRY}, {})
    assert found == Difference("/a", "presence", "-rw-r--r--", "")
    assert found.text() == "/a: presence differs: -rw-r--r-- / absent"
    assert first_difference({}, {"/a": _ENTRY}) == Difference("/a", "presence", "", "-rw-r--r--")


def test_the_first_path_is_named_and_content_before_time():
    later = replace(_ENTRY, time="2", content="b")
    found = first_difference({"/b": _ENTRY, "/a": _ENTRY}, {"/a": later, "/b": later})
    assert found is not None
    assert (found.path, found.kind) == ("/a", "content")


_ENTRIES = st.builds(Entry, *[st.sampled_from("xy")] * 5)
_TREES = st.dictionaries(st.sampled_from(["/a", "/b", "/b/c"]), _ENTRIES)


@given(_TREES, _TREES)
def test_there_is_a_difference_exactly_when_trees_differ(one, other):
    found = first_difference(one, other)
    assert (found is None) == (one == other)
    if found is not None:
        assert one.get(found.path) != other.get(found.path)
        assert found.first != found.second


def _no_iso(tmp_path: Path, content: bytes | None) -> Path:
    path = tmp_path / "image.iso"
    if content is not None:
        path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "content", [None, b"", b"short", os.urandom(40000), b"\0" * 0x8001 + b"CD00", b"CD001" * 9000]
)
def test_what_is_no_iso_is_said(tmp_path, content):
    path = _no_iso(tmp_path, content)
    with pytest.raises(NotAnIsoError) as caught:
        require_iso(path)
    assert str(path) in caught.value.what
    assert "archibald build iso" in caught.value.next_step
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_folder_is_no_iso(tmp_path):
    with pytest.raises(NotAnIsoError, match="is a folder"):
        require_iso(tmp_path)


def test_a_file_that_cannot_be_read_is_said(tmp_path, monkeypatch):
    path = _no_iso(tmp_path, b"x" * 40000)

    def refuse(self, *_args, **_kwargs):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(NotAnIsoError) as caught:
        require_iso(path)
    assert "Permission denied" in caught.value.why


def test_the_signature_is_enough_to_go_on(tmp_path):
    require_iso(_no_iso(tmp_path, b"\0" * 0x8001 + b"CD001"))


def test_the_order_of_files_on_the_medium():
    printed = (
        "Report layout: xt , Startlba ,   Blocks , Filesize , ISO image path\n"
        "File data lba:  0 ,       34 ,        1 ,        3 , '/d/b'\n"
        "File data lba:  0 ,      101 ,        1 ,        2 , '/a name'\n"
        "File data lba:  0 ,       33 ,       12 ,    22222 , '/a'\n"
    )
    order = iso_order(Path("x"), runner=lambda argv, **_: Result(tuple(argv), 0, printed, ""))
    assert order == ["/a", "/d/b", "/a name"]


# What follows needs the host's tools, which `make test` installs.


def _tree(folder: Path) -> Path:
    (folder / "live").mkdir(parents=True)
    (folder / "boot").mkdir()
    (folder / "live/a").write_text("content a")
    (folder / "boot/b").write_text("content b")
    (folder / "boot/link").symlink_to("b")
    for path in [folder, *folder.rglob("*")]:
        os.utime(path, (1000, 1000), follow_symlinks=False)
    return folder


def _touched(path: Path) -> None:
    os.utime(path, (2000, 2000))


def _iso(tree: Path, target: Path, *options: str) -> Path:
    run(
        ["xorriso", "-as", "mkisofs", "-quiet", "-R", "-V", "TEST", *options, "-o", target, tree],
        env={"SOURCE_DATE_EPOCH": "1000"},
    )
    return target


@pytest.fixture
def isos(tmp_path):
    """Make two ISOs, the second from a tree that a function has changed, and compare them."""

    def make(change, *options: str) -> Difference | None:
        assert shutil.which("xorriso"), "xorriso is a tool of make test"
        first = _iso(_tree(tmp_path / "one"), tmp_path / "one.iso")
        tree = _tree(tmp_path / "two")
        change(tree)
        second = _iso(tree, tmp_path / "two.iso", *options)
        return compare_isos(first, second, tmp_path / "scratch")

    return make


def _write(path: Path, text: str) -> None:
    status = path.stat() if path.exists() else None
    folder = path.parent.stat()
    path.write_text(text)
    if status:
        os.utime(path, (status.st_atime, status.st_mtime))
    os.utime(path.parent, (folder.st_atime, folder.st_mtime))


@pytest.mark.vm
@pytest.mark.parametrize(
    ("change", "path", "kind"),
    [
        (lambda tree: _write(tree / "live/a", "content A"), "/live/a", "content"),
        (lambda tree: (tree / "live/a").chmod(0o755), "/live/a", "mode"),
        (lambda tree: _touched(tree / "live/a"), "/live/a", "time"),
        (lambda tree: _write(tree / "live/c", "more"), "/live/c", "presence"),
    ],
    ids=["content", "mode", "time", "presence"],
)
def test_isos_that_differ(isos, change, path, kind):
    found = isos(change)
    assert found is not None
    assert (found.path, found.kind) == (path, kind)


@pytest.mark.vm
def test_isos_with_another_order(isos):
    found = isos(lambda tree: None, "--sort-weight", "5", "/live/a")
    assert found is not None
    assert found.kind == "order"
    assert {found.first, found.second} == {"/live/a", "/boot/b"}


@pytest.mark.vm
def test_isos_with_another_volume(isos):
    found = isos(lambda tree: None, "-V", "OTHER")
    assert found is not None
    assert found.kind == "layout"
    assert found.path.startswith("byte ")


@pytest.mark.vm
def test_isos_that_are_the_same(isos):
    assert isos(lambda tree: None) is None


def _layer(folder: Path, target: Path, log_file: Path) -> Path:
    tar = log_file.with_suffix(".tar")
    run(["tar", "--create", "--sort=name", "--owner=0", "--group=0", "--file", tar,
         "--directory", folder, "."])  # fmt: skip
    with tar.open("rb") as stream:
        make_squashfs(stream, target, level=1, epoch=1000, log_file=log_file)
    return target


@pytest.mark.vm
@pytest.mark.parametrize(
    ("change", "path", "kind"),
    [
        (lambda tree: _write(tree / "live/a", "content A"), "/live/a", "content"),
        (lambda tree: (tree / "live/a").chmod(0o4755), "/live/a", "mode"),
        (lambda tree: os.utime(tree / "live/a", (500, 500)), "/live/a", "time"),
        (lambda tree: _write(tree / "live/c", "more"), "/live/c", "presence"),
    ],
    ids=["content", "mode", "time", "presence"],
)
def test_a_difference_inside_a_layer(tmp_path, change, path, kind):
    isos = []
    for name in ("one", "two"):
        tree = _tree(tmp_path / name / "tree")
        if name == "two":
            change(tree)
        medium = tmp_path / name / "medium" / "live"
        medium.mkdir(parents=True)
        _layer(tree, medium / "x.squashfs", tmp_path / "log")
        for place in (medium.parent, medium, medium / "x.squashfs"):
            os.utime(place, (1000, 1000))
        isos.append(_iso(medium.parent, tmp_path / f"{name}.iso"))
    found = compare_isos(isos[0], isos[1], tmp_path / "scratch")
    assert found is not None
    assert (found.path, found.kind) == (f"/live/x.squashfs:{path}", kind)


@pytest.mark.vm
def test_the_entries_of_a_layer(tmp_path):
    layer = _layer(_tree(tmp_path / "tree"), tmp_path / "x.squashfs", tmp_path / "log")
    entries = squashfs_entries(layer, tmp_path / "unpacked")
    assert sorted(entries) == ["/", "/boot", "/boot/b", "/boot/link", "/live", "/live/a"]
    assert (entries["/boot/b"].owner, entries["/boot/b"].time) == ("0/0", "1000")
    assert entries["/boot/link"].content == "b"


@pytest.mark.vm
def test_the_root_of_a_layer_is_roots_alone(tmp_path):
    """In an overlay the root folder of the topmost layer is the one that everybody sees."""
    tree = _tree(tmp_path / "tree")
    tree.chmod(0o777)
    layer = _layer(tree, tmp_path / "x.squashfs", tmp_path / "log")
    root = squashfs_entries(layer, tmp_path / "unpacked")["/"]
    assert (root.mode, root.owner) == ("drwxr-xr-x", "0/0")


@pytest.mark.vm
def test_a_layer_is_the_same_bytes_at_another_time(tmp_path):
    tree = _tree(tmp_path / "tree")
    layers = [
        _layer(tree, tmp_path / f"{name}.squashfs", tmp_path / "log").read_bytes()
        for name in ("one", "two")
    ]
    assert layers[0] == layers[1]
