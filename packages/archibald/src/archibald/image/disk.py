"""A disk image that boots with both firmwares: BIOS boot, EFI system and ext4 root partitions.

Nothing is mounted and no loop device is needed: mke2fs fills the root from a folder, mtools the EFI
partition, and GRUB's BIOS image is placed by hand the way grub-bios-setup does it (GRUB manual,
"BIOS installation"; the offsets are those of boot.S and diskboot.S).
"""

from __future__ import annotations

import os
import re
import shutil
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archibald.image.grub import Kernel
from archibald.image.iso import GRUB_LIB, make_efi_partition, make_grub_images
from archibald.image.privilege import as_root
from archibald.image.rootfs import unpack_layers
from archibald.lock.model import Lock
from archibald.profile.model import Profile
from archibald.run import Runner, require_tools, run

DISK_TOOLS = (
    "sfdisk", "mke2fs", "dumpe2fs", "debugfs", "unsquashfs", "grub-mkimage", "mformat", "mcopy",
    "du", "find", "touch",
)  # fmt: skip
SECTOR = 512
MIB = 1 << 20
#: First sector of the BIOS boot partition, which is 1 MiB long.
BIOS_START = 2048
#: Where boot.img keeps the sector of GRUB's core image (GRUB_BOOT_MACHINE_KERNEL_SECTOR).
_KERNEL_SECTOR_OFFSET = 0x5C
#: Where the core's first sector keeps its block list: start sector, length, segment.
_BLOCKLIST_OFFSET = SECTOR - 12
_BLOCKLIST_SEGMENT = 0x820

MARKER = "/boot/grub/archibald-disk"


@dataclass(frozen=True)
class DiskPlan:
    """Sizes and identifiers of a disk; the identifiers follow from the lock and the profile."""

    esp_mib: int
    disk_mib: int
    epoch: int
    disk_id: str
    root_uuid: str
    root_partition_id: str
    kernels: tuple[Kernel, ...]

    @classmethod
    def of(cls, profile: Profile, lock: Lock, kernels: Sequence[Kernel]) -> DiskPlan:
        """Return the plan for a profile."""
        space = uuid.uuid5(uuid.NAMESPACE_URL, f"archibaldos:{lock.digest()}")

        def identifier(name: str) -> str:
            return str(uuid.uuid5(space, name))

        return cls(
            esp_mib=profile.storage.esp_mib, disk_mib=profile.storage.disk_mib, epoch=lock.epoch,
            disk_id=identifier("disk"), root_uuid=identifier("root"),
            root_partition_id=identifier("root-partition"), kernels=tuple(kernels),
        )  # fmt: skip

    @property
    def root_arguments(self) -> str:
        """Kernel arguments that find the root: read-write from the start, for the variants."""
        return f"root=UUID={self.root_uuid} rw"

    @property
    def kernel_names(self) -> dict[str, tuple[str, str]]:
        """Flavour → names of kernel and initrd in /boot."""
        return {
            kernel.flavour: (f"vmlinuz-{kernel.version}", f"initrd.img-{kernel.version}")
            for kernel in self.kernels
        }

    def inputs(self) -> dict[str, Any]:
        """Return what decides the disk besides its content."""
        return {"recipe": 2, "esp": self.esp_mib, "disk": self.disk_mib, "ids": self.disk_id}

    def layout(self, root_mib: int) -> str:
        """Return sfdisk's script for a root partition of ``root_mib`` MiB."""
        esp = 2 * 2048
        root = esp + self.esp_mib * 2048
        return "\n".join(
            [
                "label: gpt", f"label-id: {self.disk_id}", "unit: sectors", "first-lba: 34", "",
                f"start={BIOS_START}, size=2048, type=21686148-6449-6E6F-744E-656564454649, "
                f"uuid={uuid.uuid5(uuid.UUID(self.disk_id), 'bios')}, name=bios",
                f"start={esp}, size={self.esp_mib * 2048}, type=uefi, "
                f"uuid={uuid.uuid5(uuid.UUID(self.disk_id), 'esp')}, name=esp",
                f"start={root}, size={root_mib * 2048}, type=linux, "
                f"uuid={self.root_partition_id}, name=root",
                "",
            ]
        )  # fmt: skip


def fstab(plan: DiskPlan) -> str:
    """Return the disk's /etc/fstab."""
    esp = str(uuid.uuid5(uuid.UUID(plan.disk_id), "esp"))
    return (
        f"UUID={plan.root_uuid} / ext4 defaults,noatime 0 1\n"
        f"PARTUUID={esp} /boot/efi vfat umask=0077,nofail 0 2\n"
    )


def place_bios_boot(disk: Path, core: Path, *, start: int = BIOS_START) -> None:
    """Write GRUB's boot sector and core image into ``disk``, keeping the partition table.

    ``start`` is the sector where the core goes; the core must fit into the BIOS boot partition.
    """
    boot = bytearray((GRUB_LIB / "i386-pc" / "boot.img").read_bytes()[:SECTOR])
    image = bytearray(core.read_bytes())
    image += bytes(-len(image) % SECTOR)
    sectors = len(image) // SECTOR
    if sectors > 2048:
        raise ValueError(f"GRUB's core image has {sectors} sectors, the partition 2048")
    struct.pack_into("<Q", boot, _KERNEL_SECTOR_OFFSET, start)
    # "jmp over the drive check" stays; on hard disks the drive number of the firmware is used.
    struct.pack_into("<QHH", image, _BLOCKLIST_OFFSET, start + 1, sectors - 1, _BLOCKLIST_SEGMENT)
    with disk.open("r+b") as stream:
        old = stream.read(SECTOR)
        boot[440:SECTOR] = old[440:SECTOR]  # disk signature and partition table
        stream.seek(0)
        stream.write(boot)
        stream.seek(start * SECTOR)
        stream.write(image)


def _root_size_mib(plan: DiskPlan, root: Path, runner: Runner) -> int:
    if plan.disk_mib:
        return plan.disk_mib - plan.esp_mib - 4
    used = runner(as_root(["du", "--summarize", "--block-size=1M", root])).stdout.split()[0]
    return int(int(used) * 1.1) + 1024


def build_disk(
    plan: DiskPlan,
    grub_config: str,
    layers: Sequence[Path],
    boot_files: Path,
    target: Path,
    scratch: Path,
    *,
    log_file: Path,
    runner: Runner = run,
) -> None:
    """Write the disk image ``target`` (sparse)."""
    require_tools(DISK_TOOLS, purpose="making the disk image")
    root, boot = scratch / "root", scratch / "boot"
    boot.mkdir()
    unpack_layers(layers, root, log_file=log_file, runner=runner)
    extra = scratch / "extra"
    _write_extra(plan, grub_config, boot_files, extra)
    runner(as_root(["cp", "--recursive", "--no-preserve=ownership", f"{extra}/.", root]))
    size_mib = _root_size_mib(plan, root, runner)
    partition = scratch / "root.ext4"
    make_root_partition(plan, root, partition, size_mib, log_file=log_file, runner=runner)
    config = f"search --no-floppy --set=root --fs-uuid {plan.root_uuid}\n" + (
        "set prefix=($root)/boot/grub\nconfigfile ($root)/boot/grub/grub.cfg\n"
    )
    core, efi = make_grub_images(boot, config, runner=runner, bios_format="i386-pc")
    make_efi_partition(
        efi, boot / "esp.img", plan.epoch, runner=runner, size_kib=plan.esp_mib * 1024
    )
    _assemble(plan, size_mib, boot / "esp.img", partition, core, target, runner)


def make_root_partition(
    plan: DiskPlan,
    root: Path,
    partition: Path,
    size_mib: int,
    *,
    log_file: Path,
    runner: Runner = run,
) -> None:
    """Write ``partition``, an ext4 file system with what is in ``root``, the same on every run.

    No file is younger than the lock. mke2fs up to 1.47.0 takes access and change times from
    ``root``, where nothing can set the latter, so both are set afterwards.
    """
    epoch = f"@{plan.epoch}"
    runner(
        as_root(["find", root, "-newermt", epoch,
                 "-exec", "touch", "--no-dereference", f"--date={epoch}", "{}", "+"])
    )  # fmt: skip
    runner(
        as_root(["mke2fs", "-q", "-t", "ext4", "-L", "archibaldos", "-U", plan.root_uuid,
                 "-E", f"hash_seed={plan.root_partition_id},lazy_itable_init=0,root_owner=0:0",
                 "-d", root, partition, f"{size_mib}M"]),
        env={"SOURCE_DATE_EPOCH": str(plan.epoch), "E2FSPROGS_FAKE_TIME": str(plan.epoch)},
        log_file=log_file,
    )  # fmt: skip
    inodes = used_inodes(runner(as_root(["dumpe2fs", partition])).stdout)
    settings = "".join(
        f"set_inode_field <{number}> {name} {epoch}\n"
        for number in inodes
        for name in ("atime", "ctime")
    )
    runner(
        as_root(["debugfs", "-w", "-f", "-", partition]),
        stdin=f"set_current_time {epoch}\n{settings}".encode(),
    )


def used_inodes(description: str) -> list[int]:
    """Return the inodes of files and folders that dumpe2fs's ``description`` does not call free.

    Raises ValueError when it is not dumpe2fs's. The first inodes are the file system's own, but for
    the root folder (2).
    """
    counts = dict(re.findall(r"^(Inode count|First inode): +(\d+)$", description, re.MULTILINE))
    if len(counts) != 2:
        raise ValueError(f"no description of an ext4 file system: {description[:80]!r}")
    free: set[int] = set()
    for line in re.findall(r"^  Free inodes: (.+)$", description, re.MULTILINE):
        for part in line.split(", "):
            first, _, last = part.partition("-")
            free.update(range(int(first), int(last or first) + 1))
    numbers = range(int(counts["First inode"]), int(counts["Inode count"]) + 1)
    return [2, *(number for number in numbers if number not in free)]


def _write_extra(plan: DiskPlan, grub_config: str, boot_files: Path, extra: Path) -> None:
    """Lay out what a disk has and the layers have not: boot files, menu, fstab."""
    (extra / "boot/grub").mkdir(parents=True)
    (extra / "boot/efi").mkdir()
    (extra / "etc").mkdir()
    journal = extra / "etc/systemd/journald.conf.d/disk.conf"  # sorts after archibald.conf
    journal.parent.mkdir(parents=True)
    journal.write_text("[Journal]\nStorage=persistent\n", "utf-8")
    for path in sorted(boot_files.iterdir()):
        shutil.copyfile(path, extra / "boot" / path.name)
    (extra / "boot/grub/grub.cfg").write_text(grub_config, "utf-8")
    (extra / "etc/fstab").write_text(fstab(plan), "utf-8")
    for path in [*extra.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (plan.epoch, plan.epoch))


def _assemble(
    plan: DiskPlan,
    size_mib: int,
    esp: Path,
    root: Path,
    core: Path,
    target: Path,
    runner: Runner,
) -> None:
    with target.open("wb") as stream:
        stream.truncate((plan.esp_mib + size_mib + 4) * MIB)
    runner(
        ["sfdisk", "--quiet", "--no-reread", "--no-tell-kernel", target],
        stdin=plan.layout(size_mib).encode(),
    )
    place_bios_boot(target, core)
    for part, start_mib in ((esp, 2), (root, 2 + plan.esp_mib)):
        runner(
            ["dd", f"if={part}", f"of={target}", "bs=1M", f"seek={start_mib}",
             "conv=notrunc,sparse", "status=none"]
        )  # fmt: skip
