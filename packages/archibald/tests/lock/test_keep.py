"""From a profile's wishes to files in the cache: when the lock holds, and what else happens."""

from __future__ import annotations

from dataclasses import replace

import pytest

from archibald.errors import ExitCode
from archibald.lock.apt import MirrorUnreachableError, SignatureError
from archibald.lock.fetch import NotCachedError, wanted_of
from archibald.lock.keep import (
    LockedPackageGoneError,
    NoLockError,
    StaleLockError,
    confirm,
    staleness,
    tool_differences,
)
from archibald.lock.store import TamperedFileError


def _in_store(keeper, lock) -> bool:
    checked = keeper.store.check(wanted_of(package) for package in lock.packages)
    return not checked.missing and not checked.tampered


def test_without_a_lock_one_is_made_and_everything_is_fetched(first):
    kept, keeper = first.kept, first.keeper
    assert kept.changed == "there is no lock yet"
    assert keeper.notes == ["resolving anew: there is no lock yet"]
    assert [p.name for p in kept.lock.packages] == [
        "apt", "base-thing", "libtone++", "python3", "synth",
    ]  # fmt: skip
    assert (kept.lock.python, kept.lock.requested) == ("3.14", ("python3", "synth"))
    assert f"{kept.lock.snapshot:%Y-%m-%dT%H:%M:%SZ}" == "2026-10-02T08:00:00Z"
    assert kept.downloaded_bytes == sum(p.size for p in kept.lock.packages)
    assert kept.confirmed == "5 of 5 packages confirmed by the signed index of 2026-10-02T08:00:00Z"
    assert keeper.done[-1] == (kept.downloaded_bytes, kept.downloaded_bytes)
    assert _in_store(keeper, kept.lock)


def test_files_in_the_store_are_its_own(first):
    """A mirror in a folder may be a stick that is taken out."""
    assert [path for path in first.keeper.store.folder.rglob("*") if path.is_symlink()] == []


def test_a_lock_that_fits_holds_though_the_archive_has_newer_versions(
    archive, key, keeper, kept, request_for
):
    archive.add("synth", "2.0")
    archive.publish(key)
    again = keeper.keep(kept.lock, request_for("synth"))
    assert (again.lock, again.changed, again.downloaded_bytes) == (kept.lock, "", 0)
    assert _in_store(keeper, again.lock)


def test_a_full_cache_needs_neither_network_nor_mirror(archive, keeper, kept, request_for):
    archive.folder.rename(archive.folder.with_name("away"))
    assert keeper.keep(kept.lock, request_for("synth")).downloaded_bytes == 0
    assert keeper.keep(kept.lock, request_for("synth"), offline=True).lock == kept.lock


def test_a_version_that_is_gone_is_resolved_anew_and_said(archive, key, keeper, kept, request_for):
    _lose(keeper, kept.lock, "synth")
    archive.add("synth", "2.0")
    archive.remove("synth", "1.0")
    archive.publish(key)
    again = keeper.keep(kept.lock, request_for("synth"))
    assert again.changed == "no mirror has synth 1.0"
    assert again.lock.by_name["synth"].version == "2.0"
    assert "resolving anew: no mirror has synth 1.0" in keeper.notes
    assert _in_store(keeper, again.lock)


def test_a_version_that_is_gone_is_the_end_when_locked(archive, key, keeper, kept, request_for):
    _lose(keeper, kept.lock, "synth")
    archive.add("synth", "2.0")
    archive.remove("synth", "1.0")
    archive.publish(key)
    with pytest.raises(LockedPackageGoneError) as caught:
        keeper.keep(kept.lock, request_for("synth"), locked=True)
    assert caught.value.why == "no mirror has synth 1.0"
    assert "build without --locked" in caught.value.next_step
    assert caught.value.exit_code == ExitCode.REFUSED


@pytest.mark.parametrize("locked", [False, True])
def test_a_mirror_that_is_away_is_not_a_package_that_is_gone(
    archive, keeper, kept, request_for, locked
):
    _lose(keeper, kept.lock, "synth")
    archive.folder.rename(archive.folder.with_name("away"))
    with pytest.raises(MirrorUnreachableError):
        keeper.keep(kept.lock, request_for("synth"), locked=locked)


def test_a_package_that_is_listed_but_not_served(archive, key, keeper, request_for):
    archive.file("synth", "1.0").unlink()
    with pytest.raises(LockedPackageGoneError, match="lists packages that it does not serve"):
        keeper.keep(None, request_for("synth"))


def test_a_served_file_that_is_not_the_signed_one_is_never_taken(archive, keeper, request_for):
    path = archive.file("synth", "1.0")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(LockedPackageGoneError):
        keeper.keep(None, request_for("synth"))
    assert list(keeper.store.partial.iterdir()) == []


def test_a_lock_that_does_not_fit_is_made_anew(keeper, kept, request_for):
    again = keeper.keep(kept.lock, request_for("libtone++"))
    assert again.changed == "the lock lacks libtone++ and has besides synth"
    assert "synth" not in again.lock.by_name
    with pytest.raises(StaleLockError) as caught:
        keeper.keep(kept.lock, request_for("libtone++"), locked=True)
    assert caught.value.why == "the lock lacks libtone++ and has besides synth"
    assert caught.value.exit_code == ExitCode.USAGE


def test_what_makes_a_lock_stale(lock, request_for):
    request = replace(
        request_for("pipewire"), components=lock.components,
        python_requirements=lock.python_requirements,
    )  # fmt: skip
    assert staleness(lock, request) == ""
    assert staleness(lock, replace(request, suite="trixie")) == (
        "suite: the lock has forky, the profile trixie"
    )
    assert staleness(lock, replace(request, components=("main",))).startswith("components: ")
    assert staleness(lock, replace(request, python_requirements=())).startswith("Python packages: ")
    many = {f"package-{i}": "x" for i in range(9)}
    assert staleness(lock, replace(request, packages=many)).count("package-") == 6


def test_offline_without_a_lock(keeper, request_for):
    with pytest.raises(NoLockError) as caught:
        keeper.keep(None, request_for("synth"), offline=True)
    assert "archibald lock" in caught.value.next_step


def test_offline_without_the_packages(keeper, kept, request_for):
    _lose(keeper, kept.lock, "synth")
    with pytest.raises(NotCachedError) as caught:
        keeper.keep(kept.lock, request_for("synth"), offline=True)
    assert caught.value.what == "1 of 5 packages are not in the cache"
    assert "synth_1.0_all.deb" in caught.value.why


def test_a_tampered_file_is_fetched_anew_and_said(keeper, kept, request_for):
    path = _tamper(keeper, kept.lock, "synth")
    again = keeper.keep(kept.lock, request_for("synth"))
    assert again.lock == kept.lock
    assert again.downloaded_bytes == kept.lock.by_name["synth"].size
    assert keeper.notes[-1] == (
        "refused, SHA-256 differs from the lock: synth_1.0_all.deb; fetching anew"
    )
    assert _in_store(keeper, kept.lock)
    rejected = keeper.store.folder / "rejected" / f"{path.name}.synth_1.0_all.deb"
    assert rejected.read_bytes() == b"something else"


def test_a_tampered_file_offline_is_the_end(keeper, kept, request_for):
    path = _tamper(keeper, kept.lock, "synth")
    with pytest.raises(TamperedFileError) as caught:
        keeper.keep(kept.lock, request_for("synth"), offline=True)
    assert "synth_1.0_all.deb" in caught.value.what
    assert not path.exists()
    with pytest.raises(NotCachedError):
        keeper.keep(kept.lock, request_for("synth"), offline=True)


def test_a_lock_whose_hash_the_archive_did_not_sign(keeper, kept, room):
    changed = replace(kept.lock.by_name["synth"], sha256="f" * 64)
    others = [p for p in kept.lock.packages if p.name != "synth"]
    with pytest.raises(SignatureError) as caught:
        confirm(replace(kept.lock, packages=(*others, changed)), room())
    assert "the lock's hash of synth 1.0" in caught.value.what
    assert "do not trust this lock" in caught.value.next_step


@pytest.mark.parametrize("locked", [False, True])
def test_a_changed_hash_in_the_lock_is_not_papered_over(keeper, kept, request_for, locked):
    """Nobody serves such a file; that must not look like a version that is gone."""
    changed = replace(kept.lock.by_name["synth"], sha256="f" * 64)
    others = [p for p in kept.lock.packages if p.name != "synth"]
    forged = replace(kept.lock, packages=tuple(sorted([*others, changed])))
    with pytest.raises(SignatureError, match="not the one that the archive signed"):
        keeper.keep(forged, request_for("synth"), locked=locked)


def test_versions_that_the_index_no_longer_lists_are_said(archive, key, keeper, kept, room):
    archive.add("synth", "2.0")
    archive.remove("synth", "1.0")
    archive.publish(key)
    assert confirm(kept.lock, room()) == (
        "4 of 5 packages confirmed by the signed index of 2026-10-03T08:00:00Z; "
        "1 older ones by the lock's SHA-256"
    )


def test_tools_that_differ_are_named(lock):
    assert tool_differences(lock, lambda: dict(lock.tools)) == []
    assert tool_differences(lock, lambda: {"mmdebstrap": "2", "xorriso": "1.5"}) == [
        "mmdebstrap: lock 1.5.7-3, here 2",
        "squashfs-tools: lock 1:4.7.2-1, here none",
        "xorriso: lock none, here 1.5",
    ]


def _lose(keeper, lock, name: str) -> None:
    keeper.store.path(lock.by_name[name].sha256).unlink()


def _tamper(keeper, lock, name: str):
    path = keeper.store.path(lock.by_name[name].sha256)
    path.write_bytes(b"something else")
    return path
