"""``archibald lock`` with apt and pip for real, against an archive and an index in folders."""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from archibald.image.build import design
from archibald.lock import model
from archibald.lock.model import Lock
from archibald.lock.store import sha256_of
from archibald.lock.wheels import image_requirements
from archibald.profile.load import load_profile


@pytest.fixture(scope="session")
def index(tmp_path_factory) -> Path:
    """A package index with an empty wheel of everything that our command needs."""
    root: Path = tmp_path_factory.mktemp("index")
    for requirement in image_requirements():
        name, _, version = requirement.partition(">=")
        folder = root / name
        folder.mkdir()
        wheel = folder / f"{name}-{version}-py3-none-any.whl"
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(
                f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            )
            archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
            archive.writestr(f"{info}/RECORD", "")
        link = f'<a href="{wheel.name}#sha256={sha256_of(wheel)}">{wheel.name}</a>'
        (folder / "index.html").write_text(f"<!DOCTYPE html><html><body>{link}</body></html>")
    return root


@pytest.fixture
def locking(archibald, archive, key, index, monkeypatch):
    """Run ``archibald lock`` with the archive's address and key, and pip with the index."""
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", index.as_uri())
    for name in design(load_profile(Path("archibald.toml"))).wishes:
        if (name, "3.0") not in archive.stanzas and name != "python3":
            archive.mention(name)
    archive.publish(key)

    def run(*arguments: str):
        return archibald(
            "lock", *arguments, "--mirror", archive.address, "--keyring", str(key.keyring)
        )

    return run


def test_a_lock_is_made_and_updated(locking, archive, key, workplace, index):
    """One story, because every step takes apt and pip seconds."""
    ended = locking()
    assert ended.code == 0, ended.err
    path = workplace / "archibald.lock"
    assert f"wrote {path}\n" in ended.out
    text = path.read_text()
    lock = model.load(text)
    assert lock.python == "3.14"
    assert "pipewire" in lock.requested
    assert dict(lock.wheels) == {p.name: sha256_of(p) for p in sorted(index.rglob("*.whl"))}
    assert archive.address not in text
    assert "file:" not in text

    archive.mention("pipewire", "2.0")
    archive.publish(key)
    document = json.loads(locking("--update", "--json").out)
    assert document["written"] is True
    assert document["changes"]["changed"] == {"pipewire": ["1.0", "2.0"]}
    assert model.load(path.read_text()).by_name["pipewire"].version == "2.0"
    assert sorted(p.name for p in workplace.iterdir()) == ["archibald.lock", "archibald.toml"]


@pytest.fixture
def today(archibald, monkeypatch, key):
    """Run ``archibald lock`` on a day when the archive gives the lock that the test says."""

    def run(new: Lock, *arguments: str):
        monkeypatch.setattr("archibald.lock.resolve.make_lock", lambda *_args, **_kwargs: new)
        return archibald("lock", *arguments, "--mirror", "file:/x", "--keyring", str(key.keyring))

    return run


def test_looking_shows_what_would_change_and_writes_nothing(today, workplace, lock):
    path = workplace / "archibald.lock"
    path.write_text(model.dump(lock))
    packages = list(lock.packages)
    packages[0] = replace(packages[0], version="1:2.0")
    packages[1] = replace(packages[1], sha256="0" * 64)
    packages[2] = replace(packages[2], name="zita", version="3")
    ended = today(replace(lock, packages=tuple(packages)))
    assert ended.code == 0
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["busybox", "1:1.38.0-3+b1", "1:2.0"] in rows
    assert ["libstdc++6", "(same", "version)", "(other", "content)"] in rows
    assert ["openssl", "3.6.0-1~deb14u1"] in rows
    assert ["zita", "3"] in rows
    assert "nothing written; archibald lock --update writes it" in ended.out
    assert path.read_text() == model.dump(lock)


def test_a_current_lock_is_said_to_be_current(today, workplace, lock):
    (workplace / "archibald.lock").write_text(model.dump(lock))
    ended = today(lock)
    assert "archibald.lock is current" in ended.out
    assert "does not fit the profile" in ended.out


@pytest.mark.parametrize("damage", ["not a lock", "format = 99\n"])
def test_a_damaged_lock_is_replaced_when_asked(today, workplace, lock, damage):
    path = workplace / "archibald.lock"
    path.write_text(damage)
    ended = today(lock)
    assert ended.code == 2
    assert "archibald lock --update" in ended.err
    assert path.read_text() == damage
    ended = today(lock, "--update")
    assert ended.code == 0
    assert "note: archibald.lock " in ended.err.replace(f"{workplace}/", "")
    assert path.read_text() == model.dump(lock)


def test_a_package_that_the_suite_lacks(locking, archive, key, workplace):
    del archive.stanzas["wireplumber", "1.0"]
    archive.mention("wireplumbar")
    archive.publish(key)
    ended = locking("--json")
    assert ended.code == 2
    document = json.loads(ended.out)
    assert document["error"] == "UnknownPackageError"
    assert document["what"] == "forky does not have wireplumber"
    assert "wanted by module audio: " in document["why"]
    assert "near names: wireplumbar" in document["why"]
    assert not (workplace / "archibald.lock").exists()


def test_packages_without_update_are_usage(archibald):
    ended = archibald("lock", "pipewire")
    assert ended.code == 2
    assert "archibald lock --update pipewire" in ended.err


def test_an_unknown_package_to_update(archibald, workplace, lock, key):
    (workplace / "archibald.lock").write_text(model.dump(lock))
    ended = archibald(
        "lock", "--update", "pipewir", "--mirror", "file:/x", "--keyring", str(key.keyring)
    )
    assert ended.code == 2
    assert "the lock does not hold pipewir" in ended.err
    assert "near names: pipewire" in ended.err


def test_a_missing_profile(archibald):
    ended = archibald("lock", "--profile", "none.toml")
    assert ended.code == 2
    assert "none.toml" in ended.err


def test_no_mirror(archibald, apt_without_mirrors, workplace):
    ended = archibald("lock", "--json")
    assert ended.code == 3
    assert json.loads(ended.out)["error"] == "NoMirrorError"
    assert not (workplace / "archibald.lock").exists()


def test_a_disk_that_is_full_leaves_the_old_lock(workplace, lock, monkeypatch):
    from archibald.cli.lock import _write

    path = workplace / "archibald.lock"
    path.write_text("old")

    def fail(self, *_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(OSError, match="No space left"):
        _write(path, lock)
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(workplace.glob(".*")) == []
