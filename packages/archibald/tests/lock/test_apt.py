"""apt itself against a small signed archive in a folder: no network, nothing of the host's."""

from __future__ import annotations

import hashlib
import re

import pytest

from archibald.errors import ExitCode, ToolFailedError
from archibald.lock.apt import (
    AptRoom,
    MirrorUnreachableError,
    SignatureError,
    UnknownPackageError,
    UnsatisfiableError,
)
from archibald.lock.sources import Source
from archibald.lock.store import sha256_of


def test_the_closure_of_what_is_wanted(archive, key, room):
    archive.publish(key)
    apt = room()
    apt.update()
    packages = apt.resolve({"synth": "module tests"})
    assert [(p.name, p.version) for p in packages] == [
        ("apt", "3.0"),
        ("base-thing", "1:1.0+b1"),
        ("libtone++", "2.0~rc1"),
        ("synth", "1.0"),
    ]
    for package in packages:
        path = archive.folder / package.path
        assert sha256_of(path) == package.sha256
        assert path.stat().st_size == package.size
        assert package.archive == "debian"


def test_the_signed_index_is_recorded(archive, key, room):
    archive.publish(key)
    apt = room()
    apt.update()
    (release,) = apt.releases()
    content = (archive.folder / "dists/forky/InRelease").read_bytes()
    assert release.sha256 == hashlib.sha256(content).hexdigest()
    assert (release.suite, release.date) == ("forky", "2026-10-02T08:00:00Z")
    (signer,) = release.signed_by
    assert re.fullmatch("[0-9A-F]{40}", signer)


def test_hashes_of_all_versions_in_the_index(archive, key, room):
    archive.add("synth", "1.1")
    archive.publish(key)
    apt = room()
    apt.update()
    rows = apt.hashes(["synth", "libtone++"])
    assert {(name, version) for name, version, _ in rows} == {
        ("synth", "1.0"), ("synth", "1.1"), ("libtone++", "2.0~rc1"),
    }  # fmt: skip
    assert ("synth", "1.1", sha256_of(archive.file("synth", "1.1"))) in rows
    assert apt.hashes(["nothing-of-this-name"]) == set()


def test_download_checks_the_hash_that_it_is_told(archive, key, room, tmp_path):
    archive.publish(key)
    apt = room()
    apt.update()
    path = archive.file("synth", "1.0")
    address = f"{archive.address}/pool/{path.name}"
    good, bad = tmp_path / "good.deb", tmp_path / "bad.deb"
    assert apt.download([(address, good, sha256_of(path))])
    assert good.read_bytes() == path.read_bytes()
    assert not apt.download([(address, bad, "0" * 64)])
    assert not bad.exists() or sha256_of(bad) != "0" * 64
    assert not apt.download([(f"{address}.gone", bad, "0" * 64)])


def test_a_changed_index_is_refused(archive, key, room):
    archive.publish(key)
    index = archive.index()
    index.write_text(index.read_text().replace("Version: 3.0", "Version: 4.0"))
    with pytest.raises(SignatureError) as caught:
        room().update()
    assert caught.value.exit_code == ExitCode.REFUSED


def test_an_index_of_another_size_is_refused(archive, key, room):
    archive.publish(key)
    index = archive.index()
    index.write_text(index.read_text() + "\nPackage: trojan\nVersion: 1\n")
    with pytest.raises(SignatureError):
        room().update()


def test_a_changed_signed_file_is_refused(archive, key, room):
    archive.publish(key)
    signed = archive.folder / "dists/forky/InRelease"
    signed.write_text(signed.read_text().replace("Origin: Tests", "Origin: Texts"))
    with pytest.raises(SignatureError):
        room().update()


def test_an_unsigned_archive_is_refused(archive, room):
    archive.publish(None)
    with pytest.raises(SignatureError) as caught:
        room().update()
    assert "not signed" in caught.value.why
    assert "--keyring" in caught.value.next_step


def test_a_foreign_signature_is_refused(archive, key, foreign_key, room):
    archive.publish(foreign_key)
    with pytest.raises(SignatureError):
        room().update()
    apt = room(keyring=foreign_key.keyring)
    apt.update()
    assert apt.releases()


def test_gpgv_has_its_own_word(archive, key, foreign_key, room):
    """What is recorded as signer was verified by gpgv, whatever apt verifies with."""
    archive.publish(key)
    signed = archive.folder / "dists/forky/InRelease"
    assert room().verify_signature(signed)
    with pytest.raises(SignatureError, match="is not signed by a key of"):
        room(keyring=foreign_key.keyring).verify_signature(signed)
    with pytest.raises(SignatureError):
        room().verify_signature(archive.index())


def test_a_suite_that_the_mirror_lacks(archive, key, room):
    archive.publish(key)
    with pytest.raises(MirrorUnreachableError) as caught:
        room(suite="trixie").update()
    assert "trixie" in caught.value.why


def test_a_mirror_that_is_not_there(key, tmp_path):
    source = Source("debian", f"file:{tmp_path}/nowhere", "forky", ("main",))
    with pytest.raises(MirrorUnreachableError) as caught:
        AptRoom(tmp_path / "room", [source], key.keyring).update()
    assert "--mirror" in caught.value.next_step


def test_an_unknown_package_names_who_wants_it_and_near_names(archive, key, room):
    archive.publish(key)
    apt = room()
    apt.update()
    with pytest.raises(UnknownPackageError) as caught:
        apt.resolve({"synht": "module apps: the group synth", "synth": "x", "qqqq": "module y"})
    error = caught.value
    assert error.what == "forky does not have qqqq, synht"
    assert "synht (wanted by module apps: the group synth); near names: synth" in error.why
    assert "qqqq (wanted by module y); near names: none" in error.why
    assert error.exit_code == ExitCode.USAGE


def test_a_package_that_others_only_mention_is_unknown(archive, key, room):
    archive.add("host", depends="ghost | synth")
    archive.publish(key)
    apt = room()
    apt.update()
    assert apt.has_candidates(["ghost", "synth"]) == {"synth"}
    with pytest.raises(UnknownPackageError, match="does not have ghost"):
        apt.resolve({"ghost": "x"})
    assert apt.has_candidates([]) == set()


def test_packages_that_exclude_each_other(archive, key, room):
    archive.add("rival", extra="Conflicts: synth\n")
    archive.publish(key)
    apt = room()
    apt.update()
    with pytest.raises(UnsatisfiableError) as caught:
        apt.resolve({"rival": "x", "synth": "y"})
    assert "rival" in caught.value.why
    assert "apps.exclude" in caught.value.next_step


def test_a_dependency_that_is_missing_is_named(archive, key, room):
    archive.add("hollow", depends="libmissing (>= 3)")
    archive.publish(key)
    apt = room()
    apt.update()
    with pytest.raises(UnsatisfiableError) as caught:
        apt.resolve({"hollow": "x"})
    assert "libmissing" in caught.value.why


def test_nothing_of_the_hosts_apt_is_used(archive, key, room, tmp_path):
    archive.publish(key)
    apt = room()
    apt.update()
    assert apt.names() == {"apt", "base-thing", "libtone++", "python3", "synth"}
    dump = apt.runner(["apt-config", "dump"], env=apt._env).stdout
    places = re.findall(r'^Dir::(?:State|Cache|Etc::\w+|Log|State::\w+) "(/[^"]+)"', dump, re.M)
    assert len(places) > 5
    outside = [p for p in places if not p.startswith(str(tmp_path))]
    assert [p for p in outside if "/etc/apt" in p or "/var" in p] == []


def test_a_keyring_that_is_missing_verifies_nothing(archive, key, room, tmp_path):
    archive.publish(key)
    with pytest.raises((SignatureError, ToolFailedError)):
        room(keyring=tmp_path / "missing.gpg").update()
