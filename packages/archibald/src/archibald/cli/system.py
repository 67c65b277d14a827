"""``archibald system``: what a profile means, item by item, and who asked for each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from difflib import unified_diff
from pathlib import Path

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json, profile_option
from archibald.errors import ExitCode
from archibald.system.diff import Change
from archibald.system.spec import (
    KIND_NAMES,
    Contribution,
    File,
    KernelArg,
    kind_name,
    shown_value,
)

_TOML = click.Path(path_type=Path)


@click.group(
    epilog=EPILOG_EXAMPLES + "  archibald system show --kind package\n"
    "  archibald system show --why vm.swappiness\n"
    "  archibald system diff profiles/core.toml profiles/studio.toml"
)
def command() -> None:
    """Show the system that a profile describes, and why each item is there."""


@command.command(
    epilog=EPILOG_EXAMPLES + "  archibald system show --kind kernel-arg --variant low-latency\n"
    "  archibald system show --why package:rtkit\n"
    "  archibald system show --json | jq '.items[].key'"
)
@profile_option
@click.option("--variant", default="default", show_default=True, help="The boot entry to show.")
@click.option("--why", metavar="ITEM", help="Only this item: a key, a name or a path; in full.")
@click.option("--kind", type=click.Choice(sorted(set(KIND_NAMES.values()))), help="Only this kind.")
@json_option
def show(
    profile_path: Path, variant: str, why: str | None, kind: str | None, as_json: bool
) -> None:
    """List packages, files, kernel arguments, services and users, each with who asked for it."""
    from archibald.profile.load import load_profile
    from archibald.system.compose import compose
    from archibald.system.query import all_items, find_items, item_data

    spec = compose(load_profile(profile_path), variant=variant)
    items = find_items(spec, why) if why else all_items(spec)
    if kind:
        items = [c for c in items if kind_name(c.item) == kind]
    if as_json:
        print_json({"variant": variant, "items": [item_data(c) for c in items]})
    elif why:
        click.echo("\n".join(_in_full(c) for c in items))
    elif sys.stdout.isatty():
        _print_tables(items)
    else:
        click.echo("".join(_plain(c) for c in items), nl=False)


@command.command(
    epilog=EPILOG_EXAMPLES + "  archibald system diff profiles/core.toml archibald.toml\n"
    "  archibald system diff old.toml new.toml --json"
)
@click.argument("before", type=_TOML, metavar="A.toml")
@click.argument("after", type=_TOML, metavar="B.toml")
@json_option
@click.pass_context
def diff(ctx: click.Context, before: Path, after: Path, as_json: bool) -> None:
    """Compare the systems of two profiles. Exit codes: 0 equal, 1 different."""
    from archibald.profile.load import load_profile
    from archibald.system.compose import compose
    from archibald.system.diff import diff_specs
    from archibald.system.query import diff_data

    difference = diff_specs(compose(load_profile(before)), compose(load_profile(after)))
    if as_json:
        print_json(diff_data(difference))
    else:
        for contribution in difference.removed:
            click.echo(f"- {_described(contribution)}")
        for contribution in difference.added:
            click.echo(f"+ {_described(contribution)}")
        for change in difference.changed:
            click.echo("\n".join(_changed(change)))
    if difference:
        ctx.exit(ExitCode.FINDINGS)


def _wanted_by(contribution: Contribution) -> str:
    return "; ".join(str(origin) for origin in contribution.origins)


def _described(contribution: Contribution) -> str:
    return f"{shown_value(contribution.item)}  <- {_wanted_by(contribution)}"


def _changed(change: Change) -> list[str]:
    before, after = change.before, change.after
    lines = [f"~ {_described(before)}"]
    if shown_value(before.item) != shown_value(after.item):
        lines.append(f"  {_described(after)}")
    if isinstance(before.item, File) and isinstance(after.item, File):
        old, new = (
            item.content.decode("utf-8", "replace").splitlines()
            for item in (before.item, after.item)
        )
        changes = list(unified_diff(old, new, lineterm="", n=0))[2:]
        lines += [f"    {line}" for line in changes if not line.startswith("@@")]
    return lines


def _plain(contribution: Contribution) -> str:
    """Return one line for other programs: key, value, who asked; separated by tabs."""
    item = contribution.item
    return f"{item.key}\t{shown_value(item)}\t{_wanted_by(contribution)}\n"


def _in_full(contribution: Contribution) -> str:
    item = contribution.item
    lines = [item.key, f"  {shown_value(item)}"]
    for origin in contribution.origins:
        keys = f"  [{', '.join(origin.keys)}]" if origin.keys else ""
        lines.append(f"  wanted by {origin.module}: {origin.why}{keys}")
    if isinstance(item, File):
        lines.append("  content:")
        lines += [f"    {line}" for line in item.content.decode("utf-8", "replace").splitlines()]
    return "\n".join(lines)


def _print_tables(items: Sequence[Contribution]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for kind in sorted({kind_name(c.item) for c in items}):
        table = Table(title=f"{kind}s", title_justify="left", expand=False)
        for column in ("item", "wanted by", "why"):
            table.add_column(column, overflow="fold")
        for contribution in items:
            if kind_name(contribution.item) != kind:
                continue
            origins = contribution.origins
            table.add_row(
                Text(_short(contribution)),
                Text("\n".join(dict.fromkeys(origin.module for origin in origins))),
                Text("\n".join(str(origin).partition(": ")[2] for origin in origins)),
            )
        console.print(table)


def _short(contribution: Contribution) -> str:
    """Return an item's value without its kind, which the table's title says."""
    item = contribution.item
    if isinstance(item, KernelArg):
        return item.text
    return shown_value(item).removeprefix(f"{kind_name(item).replace('-', ' ')} ")
