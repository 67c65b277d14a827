"""The bootable ISO: BIOS and UEFI, from CD and USB stick, the same bytes for the same inputs.

Not by grub-mkrescue, whose output differs on every run: GRUB's images are made one by one, the EFI
system partition is a FAT image with fixed ids, and xorriso gets every date.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from archibald.image.grub import BIOS_MODULES, COMMON_MODULES, EFI_MODULES, embedded_cfg
from archibald.run import Runner, require_tools, run

GRUB_LIB = Path("/usr/lib/grub")
ISO_TOOLS = ("xorriso", "grub-mkimage", "mformat", "mcopy", "mmd")
LAYERS = ("10-base.squashfs", "20-system.squashfs")


@dataclass(frozen=True)
class IsoPlan:
    """What goes onto the medium: path below its root → file here, or content."""

    files: Mapping[str, Path]
    texts: Mapping[str, str]
    volume_id: str
    epoch: int

    def inputs(self, hashes: Mapping[str, str], tools: Mapping[str, str]) -> dict[str, Any]:
        """Return everything that decides the ISO's bytes; ``hashes`` are of ``files``."""
        names = ("xorriso", "grub-common", "grub-pc-bin", "grub-efi-amd64-bin", "mtools")
        return {
            "files": dict(hashes),
            "texts": dict(self.texts),
            "volume": self.volume_id,
            "epoch": self.epoch,
            "modules": [COMMON_MODULES, BIOS_MODULES, EFI_MODULES],
            "recipe": 1,
            "tools": {name: tools.get(name, "") for name in names},
        }

    @property
    def marker(self) -> str:
        """Path of the file by which GRUB recognizes this medium among others."""
        text = "\0".join(
            [self.volume_id, str(self.epoch), *(f"{k}={v}" for k, v in self.texts.items())]
        )
        return f"/.disk/archibald-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def require_iso_tools() -> None:
    """Raise when a program or GRUB's files for one of the firmwares are missing."""
    require_tools(ISO_TOOLS, purpose="making the ISO")
    from archibald.errors import MissingToolError

    for platform, package in (("i386-pc", "grub-pc-bin"), ("x86_64-efi", "grub-efi-amd64-bin")):
        if not (GRUB_LIB / platform / "moddep.lst").is_file():
            raise MissingToolError(
                f"making the ISO needs GRUB for {platform}",
                why=f"{GRUB_LIB / platform} is missing",
                next_step=f"sudo apt-get install --no-install-recommends {package}",
            )


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def make_grub_images(
    folder: Path, config: str, *, runner: Runner = run, bios_format: str = "i386-pc-eltorito"
) -> tuple[Path, Path]:
    """Write GRUB's BIOS and EFI images into ``folder``; return their paths."""
    embedded = folder / "embedded.cfg"
    embedded.write_text(config, "utf-8")
    bios, efi = folder / "bios.img", folder / "BOOTX64.EFI"
    for image, kind, library, modules in (
        (bios, bios_format, "i386-pc", BIOS_MODULES),
        (efi, "x86_64-efi", "x86_64-efi", EFI_MODULES),
    ):
        runner(
            ["grub-mkimage", "--format", kind, "--output", image, "--prefix", "/boot/grub",
             "--config", embedded, "--directory", GRUB_LIB / library, *COMMON_MODULES, *modules],
        )  # fmt: skip
    return bios, efi


def make_efi_partition(
    efi: Path, target: Path, epoch: int, *, size_kib: int = 0, runner: Runner = run
) -> None:
    """Write a FAT image that holds ``efi`` where every UEFI firmware looks for it.

    ``size_kib`` 0 takes as much as the file needs.
    """
    size_kib = size_kib or (efi.stat().st_size // 1024 + 512 + 63) // 64 * 64
    with target.open("wb") as stream:
        stream.truncate(size_kib * 1024)
    os.utime(efi, (epoch, epoch))
    env = {"SOURCE_DATE_EPOCH": str(epoch), "MTOOLS_SKIP_CHECK": "1"}
    runner(
        ["mformat", "-i", target, "-N", "41524348", "-T", str(size_kib * 2), "-h", "2", "-s", "32",
         "-v", "ARCHIBALD", "::"], env=env,
    )  # fmt: skip
    runner(["mmd", "-i", target, "::/EFI", "::/EFI/BOOT"], env=env)
    runner(["mcopy", "-m", "-i", target, efi, "::/EFI/BOOT/BOOTX64.EFI"], env=env)


def _set_times(root: Path, epoch: int) -> None:
    for path in [root, *root.rglob("*")]:
        os.utime(path, (epoch, epoch), follow_symlinks=False)


def _iso_date(epoch: int) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y%m%d%H%M%S00")


def xorriso_command(plan: IsoPlan, tree: Path, efi_partition: Path, target: Path) -> list[str]:
    """Return the command that makes the hybrid ISO of ``tree``."""
    date = _iso_date(plan.epoch)
    return [
        "xorriso", "-as", "mkisofs", "-iso-level", "3", "-r", "-J", "-joliet-long",
        "-V", plan.volume_id, f"--modification-date={date}", "--gpt_disk_guid", "modification-date",
        "--grub2-mbr", str(GRUB_LIB / "i386-pc" / "boot_hybrid.img"),
        "-partition_offset", "16", "--mbr-force-bootable",
        "-append_partition", "2", "0xef", str(efi_partition), "-appended_part_as_gpt",
        "-c", "/boot/boot.cat", "-b", "/boot/grub/bios.img", "-no-emul-boot",
        "-boot-load-size", "4", "-boot-info-table", "--grub2-boot-info",
        "-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::", "-no-emul-boot",
        "-o", str(target), str(tree),
    ]  # fmt: skip


def build_iso(
    plan: IsoPlan,
    target: Path,
    scratch: Path,
    *,
    log_file: Path,
    on_tick: Callable[[], None] | None = None,
    runner: Runner = run,
) -> None:
    """Write the ISO ``target``."""
    require_iso_tools()
    tree, boot = scratch / "tree", scratch / "boot"
    boot.mkdir()
    for name, source in plan.files.items():
        _link(source, tree / name)
    for name, text in plan.texts.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    marker = tree / plan.marker.lstrip("/")
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text("", "utf-8")
    bios, efi = make_grub_images(boot, embedded_cfg(plan.marker), runner=runner)
    make_efi_partition(efi, boot / "efi.img", plan.epoch, runner=runner)
    (tree / "boot/grub").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(bios, tree / "boot/grub/bios.img")
    _set_times(tree, plan.epoch)
    runner(
        xorriso_command(plan, tree, boot / "efi.img", target),
        env={"SOURCE_DATE_EPOCH": str(plan.epoch)},
        log_file=log_file,
        on_tick=on_tick,
    )
