"""Our own command inside the image: wheels unpacked safely, our files, the same bytes each time."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from archibald.errors import ToolFailedError
from archibald.image.app import (
    LAUNCHER,
    SITE,
    app_inputs,
    build_app,
    interpreter_packages,
    own_files,
    unpack_wheel,
)
from archibald.lock.model import Lock, LockedPackage
from archibald.lock.store import Store, sha256_of
from archibald.run import Result


def _wheel(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def _found(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_the_importable_part_of_a_wheel(tmp_path):
    wheel = _wheel(
        tmp_path / "x-1-py3-none-any.whl",
        {
            "x/__init__.py": b"code",
            "x/empty/": b"",
            "x-1.data/purelib/y/__init__.py": b"pure",
            "x-1.data/platlib/z.so": b"binary",
            "x-1.data/scripts/x": b"#!python",
            "x-1.data/headers/x.h": b"",
            "x-1.dist-info/METADATA": b"Name: x",
            "x-1.dist-info/RECORD": b"lists what is not there",
        },
    )
    unpack_wheel(wheel, tmp_path / "site")
    assert _found(tmp_path / "site") == {
        "x/__init__.py": b"code",
        "y/__init__.py": b"pure",
        "z.so": b"binary",
        "x-1.dist-info/METADATA": b"Name: x",
    }


@pytest.mark.parametrize(
    "name",
    [
        "../evil.py", "x/../../evil.py", "/evil.py", "//evil.py", "x-1.data/purelib/../../evil.py",
        "x-1.data/platlib//../../evil.py", "..", "x/..",
    ],
)  # fmt: skip
def test_a_member_that_would_leave_the_folder_is_refused(tmp_path, name):
    wheel = _wheel(tmp_path / "x-1-py3-none-any.whl", {"ok.py": b"", name: b"evil"})
    site = tmp_path / "deep" / "site"
    with pytest.raises(ToolFailedError, match="outside its folder"):
        unpack_wheel(wheel, site)
    assert [path for path in tmp_path.rglob("evil.py") if not path.is_relative_to(site)] == []
    assert not Path("/evil.py").exists()


def test_a_link_in_the_folder_is_no_way_out(tmp_path):
    site, outside = tmp_path / "site", tmp_path / "outside"
    for folder in (site, outside):
        folder.mkdir()
    (site / "x").symlink_to(outside)
    with pytest.raises(ToolFailedError, match="outside its folder"):
        unpack_wheel(_wheel(tmp_path / "w.whl", {"x/evil.py": b""}), site)
    assert list(outside.iterdir()) == []


def test_our_files_without_byte_code():
    files = own_files()
    targets = [file.target for file in files]
    assert "archibald/cli/common.py" in targets
    assert "archibald/image/hooks/finish.sh" in targets
    assert "archibald/profile/builtin/core.toml" in targets
    assert [t for t in targets if t.endswith(".pyc") or "__pycache__" in t] == []
    assert len(set(targets)) == len(targets)
    assert all(file.source.is_file() for file in files)


@pytest.fixture
def app_lock(lock) -> Lock:
    """A lock whose image has an interpreter and one wheel."""
    row = lock.packages[0]
    names = ("libc6", "libpython3.14-stdlib", "python3.14-minimal", "synth")
    packages = tuple(replace(row, name=name) for name in names)
    return replace(lock, packages=packages, wheels={})


def test_the_interpreter_is_taken_from_the_locked_packages(app_lock):
    assert [p.name for p in interpreter_packages(app_lock)] == [
        "libc6", "libpython3.14-stdlib", "python3.14-minimal",
    ]  # fmt: skip


def _built(folder: Path, lock: Lock, wheel: bytes, **changes) -> bytes:
    """Build the app with a compiler that writes one file of byte code beside each module."""
    store = Store(folder / "pool")
    (folder / "pool").mkdir(parents=True)
    sha256 = hashlib.sha256(wheel).hexdigest()
    store.path(sha256).parent.mkdir()
    store.path(sha256).write_bytes(wheel)
    asked: list[list[str]] = []

    def runner(argv, **_kwargs):
        words = [str(word) for word in argv]
        asked.append(words)
        if words[0] != "dpkg-deb":
            assert words[-1] == SITE
            (Path(words[-2]) / "compiled.pyc").write_bytes(b"code")
        return Result(tuple(words), 0, "", "")

    for name in ("out", "scratch"):
        (folder / name).mkdir()
    build_app(
        replace(lock, wheels={"x-1-py3-none-any.whl": sha256}), store, folder / "out",
        folder / "scratch", runner=runner, **changes,
    )  # fmt: skip
    assert len(asked) == len(interpreter_packages(lock)) + 1
    return (folder / "out/app.tar").read_bytes()


def _wheel_bytes(tmp_path: Path) -> bytes:
    members = {"x/__init__.py": b"x = 1\n", "x/fast.so": b"binary"}
    return _wheel(tmp_path / "x-1-py3-none-any.whl", members).read_bytes()


def test_the_app_is_a_tar_of_our_command_and_its_libraries(tmp_path, app_lock):
    data = _built(
        tmp_path / "a", app_lock, _wheel_bytes(tmp_path), extra={"/usr/share/x/y": b"extra"}
    )
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {info.name: info for info in tar.getmembers()}
        launcher = tar.extractfile("usr/bin/archibald")
        assert launcher is not None
        assert launcher.read().decode() == LAUNCHER
    site = SITE.lstrip("/")
    assert members["usr/bin/archibald"].mode == 0o755
    assert members[f"{site}/x/fast.so"].mode == 0o755
    assert members[f"{site}/x/__init__.py"].mode == 0o644
    assert f"{site}/compiled.pyc" in members
    assert f"{site}/archibald/cli/__init__.py" in members
    assert any(name.endswith(".dist-info/METADATA") for name in members)
    assert "usr/share/x/y" in members
    assert {(i.uid, i.gid, i.uname, i.gname, i.mtime) for i in members.values()} == {
        (0, 0, "", "", app_lock.epoch)
    }


def test_the_same_bytes_in_another_folder(tmp_path, app_lock):
    wheel = _wheel_bytes(tmp_path)
    one = _built(tmp_path / "a", app_lock, wheel)
    other = _built(tmp_path / "a longer name" / "b", app_lock, wheel)
    assert one == other


def test_every_source_decides_the_stage(app_lock, lock: Lock):
    inputs = app_inputs(app_lock)
    assert inputs == app_inputs(app_lock)
    own = dict(inputs["own"])
    assert own["archibald/errors.py"] == sha256_of(
        next(file.source for file in own_files() if file.target == "archibald/errors.py")
    )
    other: LockedPackage = replace(app_lock.packages[0], sha256="0" * 64)
    moved = replace(app_lock, packages=(other, *app_lock.packages[1:]))
    assert app_inputs(moved) != inputs
    unrelated = replace(app_lock.packages[3], sha256="0" * 64)
    assert app_inputs(replace(app_lock, packages=(*app_lock.packages[:3], unrelated))) == inputs
