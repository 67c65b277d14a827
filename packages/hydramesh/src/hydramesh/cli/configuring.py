"""``hydramesh config``: check the configuration, or print its schema."""

from __future__ import annotations

import json

import click

from hydramesh import config as settings
from hydramesh.cli.common import EXAMPLES, Place


@click.group(
    epilog=EXAMPLES + "  hydramesh config schema\n  hydramesh config check",
)
def config() -> None:
    """Check the configuration, or print its JSON Schema."""


@config.command(epilog=EXAMPLES + "  hydramesh config schema > config.schema.json")
def schema() -> None:
    """Print the JSON Schema of the configuration."""
    click.echo(json.dumps(settings.schema(), indent=2))


@config.command(epilog=EXAMPLES + "  hydramesh config check")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def check(place: Place, as_json: bool) -> int:
    """Check the configuration; exit code 1 if there are warnings, 2 if it cannot be used."""
    found = settings.load(place.config_file)
    if as_json:
        told = {"values": dict(found.values), "warnings": list(found.warnings)}
        click.echo(json.dumps(told, indent=2, sort_keys=True))
    else:
        for warning in found.warnings:
            click.echo(f"warning: {warning}")
        click.echo("the configuration can be used")
    return 1 if found.warnings else 0
