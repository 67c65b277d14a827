"""Files below a folder: whole, never outside, never over what somebody changed."""

from __future__ import annotations

import io

import pytest
from blake3 import blake3

from hydramesh.library.files import Folder


@pytest.fixture
def files(tmp_path):
    (tmp_path / "root").mkdir()
    with Folder(tmp_path / "root", ".part", ".aside") as opened:
        yield opened


def digest(data: bytes) -> bytes:
    return blake3(data).digest()


def test_files_are_made_replaced_and_removed(files, tmp_path):
    root = tmp_path / "root"
    assert files.digest("a/b/kick") == b""
    assert files.write("a/b/kick", io.BytesIO(b"1"), 5_000_000_000, expected=b"")
    assert (root / "a/b/kick").read_bytes() == b"1"
    assert (root / "a/b/kick").stat().st_mtime_ns == 5_000_000_000
    assert (root / "a/b/kick").stat().st_mode & 0o777 == root.stat().st_mode & 0o666
    assert files.write("a/b/kick", io.BytesIO(b"2"), 6, expected=digest(b"1"))
    assert files.digest("a/b/kick") == digest(b"2")
    assert files.remove("a/b/kick", digest(b"2"))
    assert list(root.iterdir()) == []


def test_what_somebody_changed_stays(files, tmp_path):
    kick = tmp_path / "root/kick"
    kick.write_bytes(b"mine")
    assert not files.write("kick", io.BytesIO(b"2"), 6, expected=digest(b"1"))
    assert not files.write("kick", io.BytesIO(b"2"), 6, expected=b"")
    assert not files.remove("kick", digest(b"1"))
    assert kick.read_bytes() == b"mine"
    assert [each.name for each in kick.parent.iterdir()] == ["kick"]


def test_links_lead_nowhere(files, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"s")
    (tmp_path / "root/link").symlink_to(outside)
    (tmp_path / "root/file").symlink_to(outside / "secret")
    for path in ("link/new", "link/secret", "file"):
        with pytest.raises(OSError, match=r".*"):
            files.digest(path)
    with pytest.raises(OSError, match=r".*"):
        files.write("link/new", io.BytesIO(b"x"), 1, expected=b"")
    assert not files.write("file", io.BytesIO(b"x"), 1, expected=b"")
    assert [each.name for each in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_bytes() == b"s"
