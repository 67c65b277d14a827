"""Results in the output folder: each whole or not at all, checksums that hold."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from archibald.errors import DiskFullError
from archibald.image.build import debian_sources, publish
from archibald.lock.sources import Mirrors, sources_for
from archibald.lock.store import sha256_of


@pytest.fixture
def build(tmp_path):
    """As much of a build as publishing needs."""
    return SimpleNamespace(request=SimpleNamespace(output=tmp_path / "out"))


def _image(tmp_path: Path, text: str = "image") -> Path:
    path = tmp_path / "cache-image"
    path.unlink(missing_ok=True)
    path.write_text(text)
    return path


def _sums(folder: Path) -> dict[str, str]:
    rows = [line.split("  ") for line in (folder / "SHA256SUMS").read_text().splitlines()]
    return {name: sha256 for sha256, name in rows}


def test_files_and_texts_with_their_checksums(build, tmp_path):
    made = publish(build, {"a.iso": _image(tmp_path)}, {"a.iso.manifest": "list\n"})
    out = tmp_path / "out"
    assert made == [out / "a.iso", out / "a.iso.manifest"]
    assert sorted(path.name for path in out.iterdir()) == ["SHA256SUMS", "a.iso", "a.iso.manifest"]
    assert _sums(out) == {path.name: sha256_of(path) for path in made}


def test_other_images_keep_their_checksums_and_lost_ones_go(build, tmp_path):
    publish(build, {"a.iso": _image(tmp_path, "a")}, {})
    publish(build, {"b.iso": _image(tmp_path, "b")}, {})
    out = tmp_path / "out"
    assert list(_sums(out)) == ["a.iso", "b.iso"]
    (out / "a.iso").unlink()
    publish(build, {"b.iso": _image(tmp_path, "new b")}, {})
    assert _sums(out) == {"b.iso": sha256_of(out / "b.iso")}


def test_a_failure_leaves_the_old_image_and_no_part_of_the_new(build, tmp_path, monkeypatch):
    publish(build, {"a.iso": _image(tmp_path, "old")}, {})
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def fail(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "hardlink_to", fail)
    monkeypatch.setattr("shutil.copyfile", fail)
    with pytest.raises(OSError, match="No space left"):
        publish(build, {"a.iso": _image(tmp_path, "new")}, {})
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_full_disk_is_said_before_anything_is_written(build, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(DiskFullError):
        publish(build, {"a.iso": _image(tmp_path)}, {})
    assert list((tmp_path / "out").iterdir()) == []


def test_another_file_system_gets_a_copy(build, tmp_path, monkeypatch):
    def refuse(self, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    image = _image(tmp_path)
    publish(build, {"a.iso": image}, {})
    assert not (tmp_path / "out/a.iso").samefile(image)


def test_under_sudo_the_results_are_the_callers(build, tmp_path, monkeypatch):
    given = []
    monkeypatch.setenv("SUDO_UID", "1000")
    monkeypatch.setenv("SUDO_GID", "1001")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: given.append((path.name, uid, gid)))
    publish(build, {"a.iso": _image(tmp_path)}, {"a.iso.lock": ""})
    assert {row[0] for row in given} == {"out", "SHA256SUMS", "a.iso", "a.iso.lock"}
    assert {row[1:] for row in given} == {(1000, 1001)}


def test_the_package_sources_of_the_image():
    mirrors = Mirrors("http://one.example/debian", "http://two.example/debian-security")
    text = debian_sources(sources_for("trixie", ("main", "contrib"), mirrors)).decode()
    first, second = text.split("\n\n")
    assert first.splitlines()[:4] == [
        "Types: deb", "URIs: http://one.example/debian", "Suites: trixie trixie-updates",
        "Components: main contrib",
    ]  # fmt: skip
    assert "Suites: trixie-security\n" in second
    assert text.count("Signed-By: ") == 2
