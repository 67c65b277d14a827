"""``archibald verify``: is an ISO, bit for bit, what its profile and lock give?"""

from __future__ import annotations

from pathlib import Path

import click

from archibald.cli.build import source_options
from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json
from archibald.cli.progress import PlainUi, choose_ui
from archibald.errors import ExitCode


@click.command(
    epilog=EPILOG_EXAMPLES + "  archibald verify out/archibaldos-0.1.0.iso\n"
    "  archibald verify mine.iso --against yours.iso"
)
@click.argument("iso", type=click.Path(path_type=Path))
@click.option(
    "--against", type=click.Path(path_type=Path), default=None, help="Compare with this ISO."
)
@click.option("--offline", is_flag=True, help="Rebuild from the cache alone.")
@source_options
@json_option
def command(
    iso: Path,
    against: Path | None,
    offline: bool,
    mirror: str,
    keyring: Path | None,
    lock_path: Path | None,
    as_json: bool,
) -> int:
    """Rebuild ISO from the profile and lock inside it and compare, or compare two ISOs.

    Exit code 0 when both are the same, bit for bit; 1 when not, and then the first path that
    differs is named with the kind of the difference.
    """
    from archibald.image.build import BuildRequest, disk_full_said
    from archibald.image.compare import require_iso
    from archibald.image.verify import compare, rebuild_and_compare
    from archibald.lock.store import cache_root

    require_iso(iso)
    cache = cache_root()
    with disk_full_said(cache, cache):
        if against is not None:
            verdict = compare(iso, against)
        else:
            request = BuildRequest(
                profile_path=iso, output=cache, cache=cache, lock_path=lock_path, offline=offline,
                mirror=mirror, keyring=keyring,
            )  # fmt: skip
            verdict = rebuild_and_compare(iso, request, PlainUi() if as_json else choose_ui())
    other = str(against) if against else "the rebuilt image"
    if as_json:
        print_json(
            {
                "same": verdict.same,
                "iso": str(iso),
                "against": other,
                "sha256": [verdict.first_sha256, verdict.second_sha256],
                "difference": vars(verdict.difference) if verdict.difference else None,
                "hints": list(verdict.hints),
            }
        )
    elif verdict.same:
        click.echo(f"{iso} and {other} are the same, bit for bit\nSHA-256 {verdict.first_sha256}")
    else:
        click.echo(f"{iso} and {other} differ")
        if verdict.difference:
            click.echo(f"first difference: {verdict.difference.text()}")
        for hint in verdict.hints:
            click.echo(f"hint: {hint}")
    return ExitCode.OK if verdict.same else ExitCode.FINDINGS
