"""``archibald cache``: what the build keeps, and how to get rid of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


@click.group(
    epilog=EPILOG_EXAMPLES + "  archibald cache show\n  archibald cache prune --older-than 30"
)
def command() -> None:
    """Show or prune what builds keep for the next one."""


@command.command(epilog=EPILOG_EXAMPLES + "  archibald cache show --json")
@json_option
def show(as_json: bool) -> None:
    """Show where the cache is and what it holds."""
    from archibald.image.space import mib
    from archibald.lock.store import cache_root

    root = cache_root()
    rows = {name: _size(root / name) for name in ("pool", "stages", "apt", "logs")}
    if as_json:
        print_json({"folder": str(root), "bytes": rows})
        return
    texts = {"pool": "packages", "stages": "stages", "apt": "indexes", "logs": "logs"}
    click.echo(f"{root}")
    for name, size in rows.items():
        click.echo(f"  {texts[name]:10} {mib(size):>10}")


@command.command(epilog=EPILOG_EXAMPLES + "  archibald cache prune\n  archibald cache prune --all")
@click.option("--older-than", "days", type=click.IntRange(0), default=14, show_default=True,
              metavar="DAYS", help="Remove stages not used for so long.")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Remove downloaded packages as well.")
@json_option
def prune(days: int, everything: bool, as_json: bool) -> None:
    """Remove old stages and what killed builds left; with --all everything."""
    from archibald.image.privilege import remove_tree
    from archibald.image.space import mib
    from archibald.image.stages import MANIFEST, StageStore
    from archibald.lock.store import cache_root

    root = cache_root()
    before = _size(root) if root.exists() else 0
    removed: list[Any] = StageStore(root / "stages").remove_leftovers()
    limit = time.time() - days * 86400
    for record in sorted((root / "stages").glob(f"*/*/{MANIFEST}")):
        place = record.parent
        if everything or place.stat().st_mtime <= limit:
            remove_tree(place)
            place.with_suffix(".lock").unlink(missing_ok=True)
            removed.append(f"{place.parent.name}/{place.name[:12]}")
    if everything:
        for name in ("pool", "apt", "logs"):
            remove_tree(root / name)
            removed.append(name)
    freed = before - (_size(root) if root.exists() else 0)
    if as_json:
        print_json({"removed": removed, "freed_bytes": freed})
    else:
        click.echo(f"removed {len(removed)}, freed {mib(freed)}")
