"""Disk images, other suites, other targets: slower, so only `make torture` runs them."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from archibald.run import run

from .conftest import CORE, BuiltImage, archibald
from .test_boot import check

pytestmark = [pytest.mark.vm, pytest.mark.torture]


def build(target: str, profile: Path, out: Path, *options: str, cache: Path | None = None) -> Path:
    done = archibald(
        "build", target, "--profile", profile, "--output", out, "--json", *options, cache=cache
    )
    assert done.code == 0, done.err
    return Path(done.document["image"])


@pytest.fixture(scope="module")
def disk(core_image: BuiltImage, vm_folder: Path) -> Path:
    return build("disk", CORE, vm_folder / "disk")


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_disk_boots(disk: Path, firmware: str) -> None:
    check(disk, "--firmware", firmware)


def test_disk_is_the_same_when_made_again(
    disk: Path, vm_folder: Path, pool_only_cache: Callable[[str], Path]
) -> None:
    cache = pool_only_cache("disk")
    again = build("disk", CORE, vm_folder / "disk-again", "--offline", cache=cache)

    run(["cmp", disk, again])
    shutil.rmtree(cache)
    again.unlink()


def test_rootfs_holds_both_layers(core_image: BuiltImage, vm_folder: Path) -> None:
    path = build("rootfs", CORE, vm_folder / "rootfs")
    plain = path.with_suffix("")
    run(["zstd", "--decompress", "--force", "--quiet", path, "-o", plain])

    with tarfile.open(plain) as tar:
        members = {member.name: member for member in tar}

    assert members["./usr/lib/archibald/profile.json"].uid == 0
    assert members["./usr/bin/archibald"].mode == 0o755
    assert members["./etc/shadow"].mode == 0o640
    assert members["./home/audio-user"].uid == 1000
    assert members["."].mode == 0o755
    plain.unlink()


def test_trixie_builds_and_boots(vm_folder: Path) -> None:
    profile = vm_folder / "trixie.toml"
    profile.write_text(CORE.read_text() + '\n[system]\nsuite = "trixie"\n')

    check(build("iso", profile, vm_folder / "trixie"))
