"""The root file system as one tar, both layers merged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from archibald.image.privilege import as_root
from archibald.run import Runner, require_tools, run

ROOTFS_TOOLS = ("unsquashfs", "tar", "zstd")


def unpack_layers(
    layers: Sequence[Path], root: Path, *, log_file: Path, runner: Runner = run
) -> None:
    """Unpack squashfs layers over each other into ``root``, with owners and modes."""
    require_tools(ROOTFS_TOOLS, purpose="unpacking the layers")
    for layer in layers:
        runner(
            as_root(["unsquashfs", "-no-progress", "-force", "-dest", root, layer]),
            log_file=log_file,
        )


def build_rootfs(
    layers: Sequence[Path],
    target: Path,
    scratch: Path,
    *,
    epoch: int,
    log_file: Path,
    runner: Runner = run,
) -> None:
    """Write ``target``, a zstd-compressed tar of the merged layers, the same on every run."""
    root = scratch / "root"
    unpack_layers(layers, root, log_file=log_file, runner=runner)
    runner(
        as_root(
            ["tar", "--create", "--sort=name", "--numeric-owner", "--xattrs",
             "--xattrs-include=security.capability", "--format=pax",
             "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
             f"--mtime=@{epoch}", "--clamp-mtime",
             "--use-compress-program=zstd -T0 -9", "--file", target, "--directory", root, "."]
        ),
        env={"SOURCE_DATE_EPOCH": str(epoch)},
        log_file=log_file,
    )  # fmt: skip
