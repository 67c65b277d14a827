"""Updating some packages of a lock: they move, and what must move with them; nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from archibald.errors import ToolFailedError
from archibald.lock import model
from archibald.lock.apt import UnsatisfiableError
from archibald.lock.resolve import python_version, tool_versions, update_some
from archibald.run import Result


@pytest.fixture
def update(archive, keeper, kept, request_for):
    """Update packages of the first lock against the archive of today."""

    def run(*names: str, wanted: tuple[str, ...] = ("synth",)):
        folder = keeper.folder / "apt"
        folder.mkdir(parents=True, exist_ok=True)
        return update_some(
            kept.lock, names, request_for(*wanted), archive.mirrors, keeper.keyring,
            folder=folder, store=keeper.store, note=keeper.notes.append,
        )  # fmt: skip

    return run


def test_only_the_named_package_moves(archive, key, kept, update):
    archive.add("synth", "2.0", depends="libtone++ (>= 2)")
    archive.add("libtone++", "2.1")
    archive.add("apt", "4.0")
    archive.publish(key)
    lock = update("synth")
    changes = model.diff(kept.lock, lock)
    assert changes.changed == {"synth": ("1.0", "2.0")}
    assert (changes.added, changes.removed, changes.rehashed) == ({}, {}, ())
    assert {p.archive for p in lock.packages} == {"debian"}
    assert lock.by_name["apt"] == kept.lock.by_name["apt"]
    assert lock.by_name["synth"].path == "pool/synth_2.0_all.deb"
    assert [release.suite for release in lock.releases] == ["forky"]


def test_what_must_move_with_it_moves(archive, key, kept, update):
    archive.add("synth", "2.0", depends="libtone++ (>= 2.1), newlib")
    archive.add("libtone++", "2.1")
    archive.add("newlib", "1.0")
    archive.add("apt", "4.0")
    archive.publish(key)
    changes = model.diff(kept.lock, update("synth"))
    assert changes.changed == {"libtone++": ("2.0~rc1", "2.1"), "synth": ("1.0", "2.0")}
    assert changes.added == {"newlib": "1.0"}


def test_what_depends_on_the_exact_version_moves(archive, key, keeper, kept, request_for):
    for version in ("1.0", "2.0"):
        archive.add("synth-data", version, depends=f"synth (= {version})")
        archive.publish(key)
        if version == "1.0":
            request = request_for("synth", "synth-data")
            old = keeper.keep(None, request).lock
            archive.add("synth", "2.0", depends="libtone++")
            archive.add("apt", "4.0")
    new = update_some(
        old, ["synth"], request, archive.mirrors, keeper.keyring,
        folder=keeper.folder / "apt", store=keeper.store, note=keeper.notes.append,
    )  # fmt: skip
    assert model.diff(old, new).changed == {"synth": ("1.0", "2.0"), "synth-data": ("1.0", "2.0")}


def test_what_cannot_move_says_why(archive, key, update):
    archive.add("synth", "2.0", depends="libmissing")
    archive.publish(key)
    with pytest.raises(UnsatisfiableError) as caught:
        update("synth")
    assert "libmissing" in caught.value.why


def test_nothing_new_changes_nothing(kept, update):
    lock = update("synth")
    assert model.diff(kept.lock, lock).is_empty
    assert model.load(model.dump(lock)) == lock


def test_what_can_no_longer_be_had_moves_as_well(archive, key, keeper, kept, update):
    keeper.store.path(kept.lock.by_name["apt"].sha256).unlink()
    archive.add("apt", "4.0")
    archive.remove("apt", "3.0")
    archive.add("synth", "2.0")
    archive.publish(key)
    changes = model.diff(kept.lock, update("synth"))
    assert changes.changed == {"apt": ("3.0", "4.0"), "synth": ("1.0", "2.0")}
    assert keeper.notes == ["no longer to be had, so they move as well: apt"]


def test_the_local_repository_is_gone_afterwards(keeper, update):
    update("synth")
    assert list((keeper.folder / "apt").glob("locked-*")) == []


def test_the_pythons_version_comes_from_its_package(lock):
    assert python_version(lock.packages) == "3.14"
    old = replace(lock.by_name["python3"], version="3.13.5-1+b2")
    assert python_version([old]) == "3.13"
    with pytest.raises(ToolFailedError, match="hold no python3"):
        python_version([p for p in lock.packages if p.name != "python3"])


def test_tool_versions_are_those_of_installed_packages():
    printed = "apt\t3.1.2\tinstalled\nxorriso\t1.5.6\tconfig-files\nmtools\t\tnot-installed\n"

    def runner(argv, **_kwargs):
        assert argv[0] == "dpkg-query"
        return Result(tuple(argv), 1, printed, "dpkg-query: no packages found matching zzz\n")

    assert tool_versions(runner=runner) == {"apt": "3.1.2"}
