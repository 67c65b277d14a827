"""Disks that are full, stores that are away or another one: nothing is lost, and it is said."""

from __future__ import annotations

import asyncio
import os
import subprocess

import pytest
from packages.hydramesh.tests.library.members import Member, band, until

from hydramesh.library import views
from hydramesh.v1 import library_pb2 as pb
from streamdb import StreamDB

pytestmark = pytest.mark.slow


@pytest.fixture
def small(tmp_path):
    """A disk of 24 MiB that can be made larger."""
    disk = tmp_path / "small"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "tmpfs", str(disk)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def info(member: Member) -> pb.CollectionInfo:
    return views.info(member.library, member.shelf("drums").entry.collection)


def test_a_full_disk_is_told_and_then_it_goes_on(tmp_path, small):
    data = os.urandom(40 << 20)

    async def run():
        async with band(tmp_path, "anna") as (anna,):
            await anna.share("drums", take=data, kick=b"boom")
            bert = await Member(small, "bert").join(anna)
            try:
                await until(lambda: bert.library._alive)
                copy = await bert.follow("drums")
                await until(lambda: "no space" in info(bert).problem)
                assert not copy.exists("take")
                subprocess.run(["mount", "-o", "remount,size=300m", str(small)], check=True)
                await until(lambda: copy.exists("take"))
                assert copy.get("take") == data
                assert copy.get("kick") == b"boom"
                assert copy.check().ok
            finally:
                await bert.stop()

    asyncio.run(run())


def test_another_store_in_its_place_deletes_nothing(tmp_path):
    async def run():
        async with band(tmp_path, "anna", "bert") as (anna, bert):
            await anna.share("drums", kick=b"boom")
            copy = await bert.follow("drums")
            await until(lambda: copy.exists("kick"))
            await anna.stop()
            path = anna.root / "drums.sdb"
            path.rename(anna.root / "away")
            StreamDB.open(path).close()
            await anna.start()
            await until(lambda: anna.library.problems)
            (problem,) = anna.library.problems.values()
            assert "another store" in problem
            await asyncio.sleep(2)
            assert copy.get("kick") == b"boom"
            path.rename(anna.root / "wrong")
            await until(lambda: not anna.library.shelves)
            (anna.root / "away").rename(path)
            await until(lambda: anna.library.shelves)
            anna.documents("drums").write_document("snare", b"tack")
            await until(lambda: copy.exists("snare"))

    asyncio.run(run())


def test_a_damaged_catalogue_is_named(tmp_path):
    async def run():
        async with band(tmp_path, "anna") as (anna,):
            await anna.share("drums", kick=b"boom")
            path = anna.library.catalogue.path
            whole = path.read_bytes()
            await anna.stop()
            path.write_bytes(whole[:-10])
            with pytest.raises(Exception, match="damaged"):
                await anna.start()
            await anna.node.stop()
            path.write_bytes(whole)
            await anna.start()
            await until(lambda: anna.library.shelves)

    asyncio.run(run())
