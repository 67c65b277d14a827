"""The cache of files by SHA-256, and the repository made of it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archibald.errors import ToolFailedError
from archibald.lock.model import LockedPackage
from archibald.lock.repo import write_repository
from archibald.lock.store import Store, Wanted, cache_root, sha256_of


def _wanted(content: bytes, name: str = "file") -> Wanted:
    return Wanted(hashlib.sha256(content).hexdigest(), len(content), name)


def _put(store: Store, content: bytes) -> Wanted:
    wanted = _wanted(content)
    store.partial_path(wanted).write_bytes(content)
    assert store.adopt(wanted, store.partial_path(wanted))
    return wanted


def test_what_arrived_right_is_kept_under_its_hash(tmp_path):
    store = Store(tmp_path / "pool")
    wanted = _put(store, b"right")
    path = store.path(wanted.sha256)
    assert path.read_bytes() == b"right"
    assert path.parent.name == wanted.sha256[:2]
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(store.partial.iterdir()) == []


def test_what_arrived_wrong_is_deleted(tmp_path):
    store = Store(tmp_path / "pool")
    wanted = _wanted(b"right")
    arrived = store.partial_path(wanted)
    arrived.write_bytes(b"wrong")
    assert not store.adopt(wanted, arrived)
    assert not arrived.exists()
    assert not store.path(wanted.sha256).exists()
    assert not store.adopt(wanted, tmp_path / "never-came")


def test_a_link_is_kept_as_a_copy_and_its_target_left_alone(tmp_path):
    store = Store(tmp_path / "pool")
    source = tmp_path / "mirror.deb"
    source.write_bytes(b"right")
    source.chmod(0o600)
    wanted = _wanted(b"right")
    store.partial_path(wanted).symlink_to(source)
    assert store.adopt(wanted, store.partial_path(wanted))
    assert not store.path(wanted.sha256).is_symlink()
    assert source.stat().st_mode & 0o777 == 0o600
    source.unlink()
    assert store.path(wanted.sha256).read_bytes() == b"right"


def test_present_missing_and_tampered(tmp_path):
    store = Store(tmp_path / "pool")
    present, tampered, missing = _put(store, b"one"), _put(store, b"two"), _wanted(b"three")
    store.path(tampered.sha256).write_bytes(b"too")
    checked = store.check([tampered, present, missing])
    assert (checked.present, checked.missing, checked.tampered) == (
        (present,), (missing,), (tampered,),
    )  # fmt: skip
    assert store.reject(tampered).read_bytes() == b"too"
    assert store.check([tampered]).missing == (tampered,)
    assert store.check([]).present == ()


@given(st.lists(st.binary(max_size=40), max_size=5), st.data())
def test_any_changed_byte_is_noticed(tmp_path_factory, contents, data):
    store = Store(tmp_path_factory.mktemp("pool"))
    wanted = [_put(store, content) for content in dict.fromkeys(contents)]
    changed = data.draw(st.sets(st.sampled_from(wanted))) if wanted else set()
    for row in changed:
        with store.path(row.sha256).open("ab") as stream:
            stream.write(b"x")
    checked = store.check(wanted)
    assert set(checked.tampered) == changed
    assert set(checked.present) == set(wanted) - changed


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ARCHIBALD_CACHE": "/srv/cache", "XDG_CACHE_HOME": "/x"}, "/srv/cache"),
        ({"XDG_CACHE_HOME": "/x"}, "/x/archibald"),
        ({"HOME": "/home/someone"}, "/home/someone/.cache/archibald"),
    ],
)
def test_where_the_cache_is(monkeypatch, variables, expected):
    for name in ("ARCHIBALD_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_root() == Path(expected)


@pytest.fixture
def packages(tmp_path, make_deb):
    """Real packages in a store, as a lock knows them."""
    store = Store(tmp_path / "pool")
    rows = []
    for name, version in (("synth", "1:1.0+b1"), ("libtone++", "2.0~rc1")):
        deb = make_deb(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
            "Maintainer: Tests <tests@example.invalid>\nDescription: test\n a second line\n"
        )
        content = deb.read_bytes()
        wanted = _put(store, content)
        rows.append(
            LockedPackage(name, version, "all", wanted.sha256, len(content), f"pool/{name}.deb")
        )
    return store, rows


def test_a_repository_of_exactly_the_locked_packages(tmp_path, packages):
    store, rows = packages
    folder = tmp_path / "repo"
    write_repository(rows, store, folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "Packages", "libtone++_2.0~rc1_all.deb", "synth_1%3a1.0+b1_all.deb",
    ]  # fmt: skip
    stanzas = (folder / "Packages").read_text().split("\n\n")
    assert len(stanzas) == 2
    assert "Package: synth\nVersion: 1:1.0+b1\n" in stanzas[0]
    assert " a second line\nFilename: ./synth_1%3a1.0+b1_all.deb\n" in stanzas[0]
    assert f"SHA256: {rows[0].sha256}" in stanzas[0].splitlines()
    for row in rows:
        assert sha256_of(folder / row.file_name) == row.sha256


def test_what_is_no_package_is_an_error(tmp_path):
    store = Store(tmp_path / "pool")
    wanted = _put(store, b"not a package")
    row = LockedPackage("synth", "1.0", "all", wanted.sha256, 13, "pool/synth.deb")
    with pytest.raises(ToolFailedError, match="dpkg-deb failed"):
        write_repository([row], store, tmp_path / "repo")


def test_another_file_system_gets_copies(tmp_path, packages, monkeypatch):
    store, rows = packages

    def refuse(self, target):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    write_repository(rows, store, tmp_path / "repo")
    assert sha256_of(tmp_path / "repo" / rows[0].file_name) == rows[0].sha256


def test_recover_takes_whole_files_of_killed_downloads_only(tmp_path: Path) -> None:
    store = Store(tmp_path / "pool")
    whole = hashlib.sha256(b"whole").hexdigest()
    cut = hashlib.sha256(b"cut off").hexdigest()
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True).stdout.strip()  # fmt: skip
    store.partial.mkdir(parents=True)
    (store.partial / f"{whole}.{dead}").write_bytes(b"whole")
    (store.partial / f"{cut}.{dead}").write_bytes(b"cut")
    under_way = store.partial / f"{cut}.{os.getpid()}"
    under_way.write_bytes(b"cut")

    store.recover()

    assert store.path(whole).read_bytes() == b"whole"
    assert not store.path(cut).exists()
    assert list(store.partial.iterdir()) == [under_way]
