"""A disk image: its layout in numbers, and GRUB's BIOS image placed by hand."""

from __future__ import annotations

import json
import os
import re
import struct
import time
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archibald.image import disk as disk_module
from archibald.image.disk import BIOS_START, MIB, SECTOR, DiskPlan, fstab, place_bios_boot
from archibald.image.grub import Kernel
from archibald.run import run

_KERNELS = (Kernel("rt", "7.2.12+deb14-rt-amd64"), Kernel("generic", "7.2.12+deb14-amd64"))


@pytest.fixture
def plan(core, lock) -> DiskPlan:
    made: DiskPlan = DiskPlan.of(core, lock, _KERNELS)
    return made


def _partitions(text: str) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in re.findall(r"^start=(\d+), size=(\d+)", text, re.M)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # plan is a constant
@given(esp_mib=st.integers(33, 4096), root_mib=st.integers(1, 1 << 20))
def test_partitions_are_aligned_apart_and_inside_the_disk(plan, esp_mib, root_mib):
    layout = replace(plan, esp_mib=esp_mib).layout(root_mib)
    partitions = _partitions(layout)
    assert len(partitions) == 3
    sectors = (esp_mib + root_mib + 4) * MIB // SECTOR
    end = 34
    for start, size in partitions:
        assert start % 2048 == 0
        assert start >= end
        end = start + size
    # The backup of the table takes the last 33 sectors.
    assert end <= sectors - 33
    assert partitions[0] == (BIOS_START, 2048)
    assert partitions[1:] == [(4096, esp_mib * 2048), (4096 + esp_mib * 2048, root_mib * 2048)]


def test_identifiers_follow_from_the_content_alone(core, lock, plan):
    assert DiskPlan.of(core, replace(lock, tools={}), _KERNELS) == plan
    moved = replace(lock, packages=lock.packages[1:])
    other = DiskPlan.of(core, moved, _KERNELS)
    assert other.disk_id != plan.disk_id
    assert len({plan.disk_id, plan.root_uuid, plan.root_partition_id}) == 3


def test_the_root_is_found_by_its_identifier(plan):
    assert plan.root_arguments == f"root=UUID={plan.root_uuid} rw"
    lines = [line.split() for line in fstab(plan).splitlines()]
    assert lines[0][:3] == [f"UUID={plan.root_uuid}", "/", "ext4"]
    assert lines[1][1:3] == ["/boot/efi", "vfat"]
    esp = lines[1][0].removeprefix("PARTUUID=")
    assert f"uuid={esp}, name=esp" in plan.layout(100)


def test_boot_files_have_the_names_of_an_installed_system(plan):
    assert plan.kernel_names["rt"] == (
        "vmlinuz-7.2.12+deb14-rt-amd64", "initrd.img-7.2.12+deb14-rt-amd64",
    )  # fmt: skip
    assert set(plan.kernel_names) == {"rt", "generic"}


@pytest.fixture
def grub(tmp_path, monkeypatch):
    """GRUB's boot sector as a pattern, where the code looks for it."""
    folder = tmp_path / "grub" / "i386-pc"
    folder.mkdir(parents=True)
    (folder / "boot.img").write_bytes(bytes([0xB0]) * SECTOR)
    monkeypatch.setattr(disk_module, "GRUB_LIB", tmp_path / "grub")
    return tmp_path


def _placed(folder, core: bytes, *, start: int = BIOS_START, sectors: int = 8192) -> bytes:
    disk, image = folder / "disk.img", folder / "core.img"
    table = bytes([0xAA]) * 440 + b"disk id and partition table".ljust(70, b"T") + b"\x55\xaa"
    disk.write_bytes(table + bytes([0xDD]) * (sectors - 1) * SECTOR)
    image.write_bytes(core)
    place_bios_boot(disk, image, start=start)
    content = disk.read_bytes()
    assert len(content) == sectors * SECTOR
    return content


@pytest.mark.parametrize(
    "size", [1, SECTOR - 1, SECTOR, SECTOR + 1, 60 * SECTOR + 7, 2048 * SECTOR]
)
@pytest.mark.parametrize("start", [BIOS_START, 4096])
def test_the_boot_sector_finds_the_core_and_the_core_its_rest(grub, size, start):
    core = bytes([0xC0]) * size
    content = _placed(grub, core, start=start)
    sectors = -(-size // SECTOR)
    assert content[440:512] == b"disk id and partition table".ljust(70, b"T") + b"\x55\xaa"
    (kernel_sector,) = struct.unpack_from("<Q", content, 0x5C)
    assert kernel_sector == start
    assert content[:0x5C] + content[0x64:440] == bytes([0xB0]) * (440 - 8)
    at = start * SECTOR
    first, length, segment = struct.unpack_from("<QHH", content, at + SECTOR - 12)
    assert (first, length, segment) == (start + 1, sectors - 1, 0x820)
    rest = content[at + SECTOR : at + sectors * SECTOR]
    assert rest == core[SECTOR:].ljust((sectors - 1) * SECTOR, b"\0")
    after = content[at + sectors * SECTOR :]
    assert set(after) <= {0xDD}
    assert set(content[SECTOR:at]) == {0xDD}


def test_a_core_that_does_not_fit_is_refused(grub):
    with pytest.raises(ValueError, match="2049 sectors"):
        _placed(grub, bytes(2048 * SECTOR + 1))


@pytest.mark.vm
def test_sfdisk_makes_what_the_layout_says(plan, tmp_path):
    disk = tmp_path / "disk.img"
    root_mib = 64
    with disk.open("wb") as stream:
        stream.truncate((plan.esp_mib + root_mib + 4) * MIB)
    run(["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", disk],
        stdin=plan.layout(root_mib).encode())  # fmt: skip
    table = json.loads(run(["sfdisk", "--json", disk]).stdout)["partitiontable"]
    assert table["id"].lower() == plan.disk_id
    rows = table["partitions"]
    assert [(row["start"], row["size"]) for row in rows] == _partitions(plan.layout(root_mib))
    assert [row["name"] for row in rows] == ["bios", "esp", "root"]
    assert rows[2]["uuid"].lower() == plan.root_partition_id
    assert run(["sfdisk", "--verify", disk]).returncode == 0


def _tree(root, *, mtime: int) -> None:
    for name in ("etc", "usr/bin", "var/log"):
        (root / name).mkdir(parents=True)
        for number in range(20):
            path = root / name / f"file {number}"
            path.write_text(f"{name} {number}")
            os.utime(path, (mtime - number, mtime - number))
    (root / "etc/link").symlink_to("file 1")


@pytest.mark.slow
def test_a_root_partition_made_later_is_the_same(plan, tmp_path):
    """Change times come from the clock, access times from whoever looked: neither may show."""
    made: list[bytes] = []
    for name in ("one", "two"):
        root = tmp_path / name
        _tree(root, mtime=plan.epoch - 1000)
        (root / "var/log").touch()  # a folder that is younger than the lock
        if made:
            time.sleep(1.1)
            (root / "etc/file 1").chmod(0o600)
            (root / "etc/file 1").chmod(0o644)
            os.utime(root / "etc/file 2", (plan.epoch + 5, plan.epoch - 1000 - 2))
        partition = tmp_path / f"{name}.ext4"
        disk_module.make_root_partition(plan, root, partition, 16, log_file=tmp_path / "log")
        made.append(partition.read_bytes())
    assert made[0] == made[1]
    run(["e2fsck", "-fn", tmp_path / "two.ext4"])


def test_used_inodes_are_those_that_are_not_free():
    description = (
        "Inode count:              40\nFirst inode:              11\n"
        "Group 0:\n  Free inodes: 14, 16-20\nGroup 1:\n  Free inodes: 23-40\n"
    )
    assert disk_module.used_inodes(description) == [2, 11, 12, 13, 15, 21, 22]
    with pytest.raises(ValueError, match="no description"):
        disk_module.used_inodes("dumpe2fs: Bad magic number\n")
