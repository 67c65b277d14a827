"""Squashfs from a tar stream, the same bytes for the same stream."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from archibald.image.privilege import as_root
from archibald.run import Runner, run


def mksquashfs_command(target: Path, *, level: int) -> list[str]:
    """Return the command that makes ``target`` from a tar on standard input.

    Times come from the tar; the file system's own from SOURCE_DATE_EPOCH in the environment. Run it
    as root (:func:`as_root`): squashfs-tools 4.5 gives the root folder to whoever runs it, whatever
    -root-uid says.
    """
    return [
        "mksquashfs", "-", str(target), "-tar", "-comp", "zstd", "-Xcompression-level", str(level),
        "-b", "128K", "-noappend", "-no-progress", "-exit-on-error",
        # squashfs-tools 4.5 ignores the tar's own root and makes it writable for everybody.
        "-root-mode", "0755", "-root-uid", "0", "-root-gid", "0",
    ]  # fmt: skip


def make_squashfs(
    source: IO[bytes],
    target: Path,
    *,
    level: int,
    epoch: int,
    log_file: Path,
    on_tick: Callable[[], None] | None = None,
    runner: Runner = run,
) -> None:
    """Write ``target`` from the tar in ``source`` (a real file, at its start)."""
    source.seek(0, os.SEEK_SET)
    runner(
        as_root(mksquashfs_command(target, level=level)),
        stdin_file=source,
        env={"SOURCE_DATE_EPOCH": str(epoch)},
        log_file=log_file,
        on_tick=on_tick,
    )
