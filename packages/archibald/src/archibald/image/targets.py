"""The images themselves: ISO, root file system and disk, from the layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from archibald import __version__
from archibald.image import iso as iso_stage
from archibald.image.build import Build, build_app, build_base, build_system, kernels, publish
from archibald.image.disk import DiskPlan, build_disk
from archibald.image.grub import LIVE, BootEntry, boot_entries, grub_cfg
from archibald.image.rootfs import build_rootfs
from archibald.image.sbom import manifest, spdx
from archibald.image.stages import StageResult
from archibald.lock import model
from archibald.lock.store import sha256_of


@dataclass(frozen=True)
class Layers:
    """The two layers of a system."""

    base: StageResult
    system: StageResult

    @property
    def squashfs(self) -> list[Path]:
        """The squashfs files, the base first."""
        return [self.base.path("base.squashfs"), self.system.path("system.squashfs")]


def build_layers(build: Build) -> Layers:
    """Make or reuse both layers."""
    base = build_base(build)
    app = build_app(build)
    return Layers(base, build_system(build, base, app))


def menu(build: Build, *, live: bool, root_arguments: str) -> list[BootEntry]:
    """Return the boot menu of an image."""
    design = build.design
    return boot_entries(
        design.profile, design.command_lines, design.generic_line,
        root_arguments=root_arguments, live=live,
    )  # fmt: skip


def iso_plan(build: Build, layers: Layers) -> tuple[iso_stage.IsoPlan, dict[str, str]]:
    """Return what goes onto the medium, and the SHA-256 of each of its files."""
    profile = build.design.profile
    files: dict[str, Path] = {}
    hashes: dict[str, str] = {}
    names: dict[str, tuple[str, str]] = {}

    def take(name: str, stage: StageResult, output: str) -> None:
        files[name] = stage.path(output)
        hashes[name] = stage.outputs[output]

    take(f"live/{iso_stage.LAYERS[0]}", layers.base, "base.squashfs")
    take(f"live/{iso_stage.LAYERS[1]}", layers.system, "system.squashfs")
    for kernel in kernels(layers.base):
        names[kernel.flavour] = (f"vmlinuz-{kernel.flavour}", f"initrd-{kernel.flavour}")
        for target, prefix in zip(names[kernel.flavour], ("vmlinuz", "initrd.img"), strict=True):
            take(f"live/{target}", layers.base, f"boot/{prefix}-{kernel.version}")
    entries = menu(build, live=True, root_arguments="boot=live noeject")
    day = f"{build.lock.snapshot:%Y-%m-%d}"
    info = f"{profile.branding.name} {__version__} ({build.lock.suite}, {day})"
    texts = {
        "boot/grub/grub.cfg": grub_cfg(profile, entries, folder=LIVE, kernel_names=names),
        "live/filesystem.module": "".join(f"{layer}\n" for layer in iso_stage.LAYERS),
        ".disk/info": info + "\n",
        ".disk/manifest": manifest(build.lock),
        ".disk/lock": model.dump(build.lock),
    }
    return iso_stage.IsoPlan(files, texts, profile.image.volume_id, build.lock.epoch), hashes


def make_iso(build: Build, layers: Layers) -> list[Path]:
    """Make the ISO with its manifest, SBOM, lock and checksums; return the paths of all."""
    iso_stage.require_iso_tools()
    plan, hashes = iso_plan(build, layers)
    name = f"{build.design.stem}.iso"

    def work(out: Path) -> None:
        with build.stages.scratch("iso-work") as scratch:
            iso_stage.build_iso(plan, out / name, scratch, log_file=build.log_file("iso"))

    result = _image_stage(build, "iso", "the bootable ISO", plan.inputs(hashes, build.tools), work)
    return _publish(build, name, result)


def make_rootfs(build: Build, layers: Layers) -> list[Path]:
    """Make the root file system as a tar; return the paths of all files made."""
    name = f"{build.design.stem}.rootfs.tar.zst"

    def work(out: Path) -> None:
        with build.stages.scratch("rootfs-work") as scratch:
            build_rootfs(
                layers.squashfs,
                out / name, scratch, epoch=build.lock.epoch, log_file=build.log_file("rootfs"),
            )  # fmt: skip

    inputs = {"layers": [layers.base.key, layers.system.key], "recipe": 1}
    return _publish(
        build, name, _image_stage(build, "rootfs", "the root file system", inputs, work)
    )


def make_disk(build: Build, layers: Layers) -> list[Path]:
    """Make a disk image that boots with both firmwares; return the paths of all files made."""
    iso_stage.require_iso_tools()
    name = f"{build.design.stem}.img"
    plan = DiskPlan.of(build.design.profile, build.lock, kernels(layers.base))
    entries = menu(build, live=False, root_arguments=plan.root_arguments)
    config = grub_cfg(build.design.profile, entries, folder="/boot", kernel_names=plan.kernel_names)

    def work(out: Path) -> None:
        with build.stages.scratch("disk-work") as scratch:
            build_disk(
                plan, config, layers.squashfs,
                layers.base.path("boot"), out / name, scratch, log_file=build.log_file("disk"),
            )  # fmt: skip

    inputs = {
        "layers": [layers.base.key, layers.system.key], "config": config, "plan": plan.inputs(),
        "tools": build.tools,
    }  # fmt: skip
    return _publish(build, name, _image_stage(build, "disk", "the disk image", inputs, work))


def _image_stage(
    build: Build, name: str, text: str, inputs: Mapping[str, object], work: Callable[[Path], None]
) -> StageResult:
    with build.ui.stage(name, text, build.stages.expected_seconds(name)):
        return build.stages.run(name, inputs, work)


def _publish(build: Build, name: str, result: StageResult) -> list[Path]:
    image = result.path(name)
    lock_text = model.dump(build.lock)
    return publish(
        build,
        {name: image},
        {
            f"{name}.manifest": manifest(build.lock),
            f"{name}.spdx.json": spdx(build.lock, image=name, image_sha256=sha256_of(image)),
            f"{name}.lock": lock_text,
        },
    )
