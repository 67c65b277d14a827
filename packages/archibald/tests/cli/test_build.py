"""``archibald build``: what a user reads when it cannot, and what it reports when it could."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from archibald.image.stages import StageResult
from archibald.lock import model
from archibald.lock.keep import Kept
from archibald.lock.store import sha256_of


def _left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_an_unknown_target(archibald):
    ended = archibald("build", "floppy")
    assert ended.code == 2
    assert "'floppy' is not one of 'iso', 'rootfs', 'disk'" in ended.err


def test_a_missing_profile(archibald, workplace):
    ended = archibald("build", "iso", "--profile", "none.toml")
    assert ended.code == 2
    assert "none.toml" in ended.err
    assert "cannot be read" in ended.err
    assert _left(workplace) == ["archibald.toml"]


def test_a_wrong_profile(archibald, workplace):
    (workplace / "archibald.toml").write_text("[audio]\nquantum = 33\n")
    ended = archibald("build", "iso")
    assert ended.code == 2
    assert "archibald.toml:2:11: audio.quantum" in ended.err


def test_no_mirror(archibald, apt_without_mirrors, workplace):
    ended = archibald("build", "iso")
    assert ended.code == 3
    assert "archibald: no Debian mirror is known\n" in ended.err
    assert "--mirror http://MIRROR/debian" in ended.err
    assert "image.mirror in the profile" in ended.err
    assert _left(workplace) == ["archibald.toml"]


def test_errors_as_json(archibald, apt_without_mirrors):
    ended = archibald("build", "iso", "--json")
    assert ended.code == 3
    document = json.loads(ended.out)
    assert document["error"] == "NoMirrorError"
    assert document["exit_code"] == 3
    assert "--mirror" in document["next_step"]
    assert set(document) == {"error", "what", "why", "next_step", "exit_code"}


def test_no_tools(archibald, toolbox):
    ended = archibald("build", "iso")
    assert ended.code == 3
    assert "building an image needs unshare, setpriv" in ended.err
    assert "next: sudo apt-get install --no-install-recommends util-linux" in ended.err


def test_no_apt(archibald, toolbox):
    for name in ("unshare", "setpriv", "newuidmap"):
        toolbox.add(name)
    ended = archibald("build", "iso")
    assert ended.code == 3
    assert "needs apt-get" in ended.err


def test_no_keyring(archibald, apt_without_mirrors):
    ended = archibald("build", "iso", "--mirror", "file:/nowhere", "--keyring", "missing.gpg")
    assert ended.code == 3
    assert "keyring" in ended.err
    assert "missing.gpg" in ended.err


def test_offline_without_a_lock(archibald, apt_without_mirrors, tmp_path):
    ended = archibald("build", "iso", "--offline")
    assert ended.code == 3
    assert "a lock is needed, and making one needs the network" in ended.err
    assert "next: archibald lock" in ended.err
    assert [name for name in _left(tmp_path / "cache") if not name.startswith("logs")] == []


def test_locked_without_a_lock(archibald, apt_without_mirrors):
    ended = archibald("build", "iso", "--offline", "--locked")
    assert ended.code == 2
    assert "there is no lock yet" in ended.err


def test_offline_with_an_empty_cache(archibald, apt_without_mirrors, workplace, lock):
    (workplace / "archibald.lock").write_text(model.dump(_fitting(lock)))
    ended = archibald("build", "iso", "--offline")
    assert ended.code == 3
    assert "5 of 5 packages are not in the cache" in ended.err
    assert "build once without --offline" in ended.err


def test_a_damaged_lock(archibald, apt_without_mirrors, workplace):
    (workplace / "archibald.lock").write_text("format = 1\nsuite = ")
    ended = archibald("build", "iso", "--offline")
    assert ended.code == 2
    assert "archibald.lock is damaged" in ended.err
    assert "archibald lock --update" in ended.err


def test_a_full_disk(archibald, apt_without_mirrors, workplace, lock, monkeypatch):
    (workplace / "archibald.lock").write_text(model.dump(_fitting(lock)))
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=100))
    ended = archibald("build", "iso", "--offline")
    assert ended.code == 3
    assert "downloading the packages needs" in ended.err
    assert "archibald cache prune" in ended.err


def test_a_mirror_that_is_away(archibald, toolbox, workplace, key, tmp_path):
    for name in ("unshare", "newuidmap"):
        toolbox.add(name)
    toolbox.add_real("apt-get", "gpgv", "setpriv")
    ended = archibald(
        "build", "iso", "--mirror", f"file:{tmp_path}/nowhere", "--keyring", str(key.keyring)
    )
    assert ended.code == 3
    assert "the Debian mirror cannot be reached" in ended.err
    assert _left(workplace) == ["archibald.toml"]


def _fitting(lock):
    """Return the lock as if it had been made for the profile of the tests."""
    from archibald.image.build import design
    from archibald.lock.wheels import image_requirements
    from archibald.profile.load import load_profile

    profile = load_profile(Path("archibald.toml"))
    return replace(
        lock, components=tuple(profile.image.components), requested=tuple(design(profile).wishes),
        python_requirements=image_requirements(), wheels={},
    )  # fmt: skip


@pytest.fixture
def made(monkeypatch, lock):
    """Let the slow parts be done already: stages that are stored, an image that is there."""

    def install(changed: str = "") -> None:
        def start(request, ui):
            stages = SimpleNamespace(rows=[])
            return SimpleNamespace(
                request=request, ui=ui, stages=stages, lock=lock,
                kept=Kept(lock, changed, 12345, ""),
            )  # fmt: skip

        def build_layers(build):
            with build.ui.stage("base", "installing packages", None):
                build.stages.rows.append(StageResult("base", "k", Path("/x"), {}, 9.0, True))
            return build

        def make_iso(build, layers):
            with build.ui.stage("iso", "the bootable ISO", 3.0):
                build.stages.rows.append(StageResult("iso", "k", Path("/x"), {}, 1.0, False))
            build.request.output.mkdir()
            path = build.request.output / "tiny.iso"
            path.write_bytes(b"image")
            return [path, build.request.output / "tiny.iso.lock"]

        monkeypatch.setattr("archibald.cli.build.start", start)
        monkeypatch.setattr("archibald.image.targets.build_layers", build_layers)
        monkeypatch.setattr("archibald.image.targets.make_iso", make_iso)

    return install


def test_a_build_reports_its_image_and_its_stages(archibald, made, workplace):
    made()
    ended = archibald("build", "iso", "--output", "results")
    assert ended.code == 0
    image = workplace / "results/tiny.iso"
    assert ended.out == f"{image}\n"
    table = [line.split() for line in ended.err.splitlines()]
    assert next(row for row in table if row[:1] == ["base"] and len(row) > 2)[-1] == "reused"
    assert any(row[:1] == ["total"] for row in table)
    assert sha256_of(image) in ended.err
    assert "iso: the bootable ISO, about 3 s last time" in ended.err


def test_a_build_as_json(archibald, made, workplace, lock):
    made("no mirror has synth 1.0")
    ended = archibald("build", "iso", "--json")
    assert ended.code == 0
    report = json.loads(ended.out)
    assert report["image"] == str(workplace / "out/tiny.iso")
    assert report["sha256"] == sha256_of(workplace / "out/tiny.iso")
    assert (report["bytes"], report["packages"]) == (5, len(lock.packages))
    assert report["lock_changed"] == "no mirror has synth 1.0"
    assert report["downloaded_bytes"] == 12345
    assert [(s["name"], s["reused"]) for s in report["stages"]] == [("base", True), ("iso", False)]


def test_a_new_lock_is_said(archibald, made, workplace):
    made("no mirror has synth 1.0")
    ended = archibald("build", "iso")
    new = workplace / "out/tiny.iso.lock"
    said = f"The lock did not hold (no mirror has synth 1.0); the new one: {new}\n"
    assert said in ended.err


def test_ctrl_c_is_130_and_no_traceback(archibald, made, monkeypatch):
    made()

    def interrupt(build):
        with build.ui.stage("base", "installing packages", None):
            raise KeyboardInterrupt

    monkeypatch.setattr("archibald.image.targets.build_layers", interrupt)
    ended = archibald("build", "iso")
    assert ended.code == 130
    assert "interrupted; nothing was left half-done" in ended.err
    assert "Traceback" not in ended.err


def test_a_disk_that_fills_up_is_no_traceback(archibald, made, monkeypatch):
    made()

    def fill(build):
        raise OSError(28, "No space left on device", "/cache/x")

    monkeypatch.setattr("archibald.image.targets.build_layers", fill)
    ended = archibald("build", "iso")
    assert ended.code == 3
    assert "the disk is full: /cache/x" in ended.err
