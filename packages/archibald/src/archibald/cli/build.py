"""``archibald build``: make an ISO, a root file system or a disk image from a profile."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json, profile_option
from archibald.cli.progress import PlainUi, choose_ui
from archibald.image.build import Build, BuildRequest, disk_full_said, start
from archibald.image.space import mib
from archibald.lock.store import cache_root, sha256_of

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


def source_options(function: _Decorated) -> _Decorated:
    """Add the options that say where packages come from."""
    for add in (
        click.option("--mirror", default="", metavar="ADDRESS",
                     help="Debian mirror; default: what this host's apt uses."),
        click.option("--keyring", type=click.Path(path_type=Path, dir_okay=False), default=None,
                     help="Keyring that verifies the mirror; default: Debian's."),
        click.option("--lock", "lock_path", type=click.Path(path_type=Path, dir_okay=False),
                     default=None, help="The lock; default: beside the profile."),
    ):  # fmt: skip
        function = add(function)
    return function


@click.command(
    epilog=EPILOG_EXAMPLES + "  archibald build iso\n"
    "  archibald build iso --profile profiles/core.toml --output /srv/images\n"
    "  archibald build disk --offline\n"
    "  archibald build iso --locked --json"
)
@click.argument("target", type=click.Choice(["iso", "rootfs", "disk"]))
@profile_option
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False),
              default=Path("out"), show_default=True, help="Folder for the results.")  # fmt: skip
@click.option(
    "--locked", is_flag=True, help="Fail instead of resolving anew when the lock cannot hold."
)
@click.option("--offline", is_flag=True, help="Build from the cache alone.")
@source_options
@json_option
def command(
    target: str,
    profile_path: Path,
    output: Path,
    locked: bool,
    offline: bool,
    mirror: str,
    keyring: Path | None,
    lock_path: Path | None,
    as_json: bool,
) -> int:
    """Build TARGET from a profile and its lock.

    The image comes with its package manifest, an SPDX SBOM, the lock that it was built from, and
    SHA256SUMS. Unchanged stages are reused; an interrupted build leaves nothing half-made.
    """
    from archibald.image import targets

    request = BuildRequest(
        profile_path=profile_path.absolute(), output=output.absolute(), cache=cache_root(),
        lock_path=lock_path.absolute() if lock_path else None, locked=locked, offline=offline,
        mirror=mirror, keyring=keyring,
    )  # fmt: skip
    ui = PlainUi() if as_json else choose_ui()
    make = {"iso": targets.make_iso, "rootfs": targets.make_rootfs, "disk": targets.make_disk}[
        target
    ]
    started = time.monotonic()
    with disk_full_said(request.cache, request.output):
        build = start(request, ui)
        made = make(build, targets.build_layers(build))
    report = _report(build, made, ui.seconds, time.monotonic() - started)
    if as_json:
        print_json(report)
    else:
        _print(report)
    return 0


def _report(
    build: Build, made: list[Path], seconds: list[tuple[str, float]], total: float
) -> dict[str, Any]:
    reused = {row.name: row.reused for row in build.stages.rows}
    return {
        "image": str(made[0]),
        "sha256": sha256_of(made[0]),
        "bytes": made[0].stat().st_size,
        "files": [str(path) for path in made],
        "packages": len(build.lock.packages),
        "lock_changed": build.kept.changed,
        "downloaded_bytes": build.kept.downloaded_bytes,
        "seconds": round(total, 2),
        "stages": [
            {"name": name, "seconds": round(took, 2), "reused": reused.get(name, False)}
            for name, took in seconds
        ],
    }


def _print(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading, side in (("stage", "left"), ("seconds", "right"), ("", "left")):
        table.add_column(heading, justify=side)  # type: ignore[arg-type]
    for row in report["stages"]:
        table.add_row(row["name"], f"{row['seconds']:.1f}", "reused" if row["reused"] else "")
    table.add_row("total", f"{report['seconds']:.1f}", "")
    console = Console(stderr=True, highlight=False, markup=False)
    console.print(table)
    if report["lock_changed"]:
        lock = f"{report['image']}.lock"
        text = f"The lock did not hold ({report['lock_changed']}); the new one: {lock}"
        console.print(text, soft_wrap=True)
    sys.stdout.write(f"{report['image']}\n")
    console.print(f"{mib(report['bytes'])}, SHA-256 {report['sha256']}", soft_wrap=True)
