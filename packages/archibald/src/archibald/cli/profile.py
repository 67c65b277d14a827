"""``archibald profile``: check, show, explain and compare profiles."""

from __future__ import annotations

import os
import shutil
import textwrap
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json
from archibald.errors import ExitCode, FindingsError, UsageError
from archibald.profile.load import (
    LoadedProfile,
    boot_entry,
    canonical_json,
    check_on,
    profile_digest,
    read_profile,
)
from archibald.profile.options import (
    Option,
    OptionTable,
    literal,
    nearest_key,
    option_for,
    table_for,
    tables,
)
from archibald.profile.problems import ProfileError, printable
from archibald.profile.reference import json_schema_text, reference_page
from archibald.profile.render import flat, render_toml, summary
from archibald.profile.starters import STARTERS, starter_text, write_new

_FILE = click.argument(
    "file",
    type=click.Path(path_type=Path),
    default=Path("archibald.toml"),
    metavar="[FILE]",
)


@click.group(
    epilog=EPILOG_EXAMPLES + "  archibald profile check\n"
    "  archibald profile explain audio.quantum\n"
    "  archibald profile diff profiles/core.toml profiles/studio.toml"
)
def command() -> None:
    """Check, show, explain and compare profiles. FILE is archibald.toml unless given."""


@command.command(
    short_help="Report everything that is wrong with a profile.",
    epilog=EPILOG_EXAMPLES + "  archibald profile check\n"
    "  archibald profile check my.toml --on-this-machine\n"
    "  archibald profile check --json | jq '.problems[].key'",
)
@_FILE
@click.option(
    "--on-this-machine", is_flag=True, help="Also check that the CPUs it names exist here."
)
@json_option
@click.pass_context
def check(ctx: click.Context, file: Path, on_this_machine: bool, as_json: bool) -> None:
    """Report everything that is wrong with FILE and the profiles that it extends.

    Exit codes: 0 it is right, 1 it does not fit this machine, 2 it is wrong.
    """
    try:
        loaded = read_profile(file)
    except ProfileError as error:
        if not as_json:
            raise
        print_json({"file": printable(str(file)), "ok": False, **error.details()})
        ctx.exit(ExitCode.USAGE)
    cpus = os.cpu_count() or 1
    problems = check_on(loaded.profile, cpus, loaded) if on_this_machine else []
    if as_json:
        print_json(_checked(loaded, file) | {"problems": [p.as_data() for p in problems]})
        ctx.exit(ExitCode.FINDINGS if problems else ExitCode.OK)
    if problems:
        raise FindingsError(
            f"{printable(str(file))} does not fit this machine",
            why="\n        ".join(map(str, problems)),
            next_step="choose other CPUs: archibald profile explain cpu",
        )
    click.echo(_summary(loaded))


def _checked(loaded: LoadedProfile, file: Path) -> dict[str, Any]:
    return {
        "file": printable(str(file)),
        "ok": True,
        "files": list(map(printable, loaded.files)),
        "boot_entries": _boot_entries(loaded),
        "digest": profile_digest(loaded.profile),
    }


def _boot_entries(loaded: LoadedProfile) -> list[str]:
    return ["default", *(variant.name for variant in loaded.profile.variant)]


def _summary(loaded: LoadedProfile) -> str:
    own, *below = map(printable, loaded.files)
    extends = f" (extends {', '.join(below)})" if below else ""
    entries = ", ".join(_boot_entries(loaded))
    audio = loaded.profile.audio
    return (
        f"{own}: valid{extends}\n"
        f"  audio:        {audio.rate} Hz, quantum {audio.quantum} frames "
        f"({audio.cycle_us:.0f} us a cycle)\n"
        f"  boot entries: {entries}\n"
        f"  digest:       {profile_digest(loaded.profile)}"
    )


@command.command(
    short_help="Print all values and where they come from.",
    epilog=EPILOG_EXAMPLES + "  archibald profile show\n"
    "  archibald profile show --variant low-latency --all\n"
    "  archibald profile show --json | jq .profile.audio",
)
@_FILE
@click.option("--variant", default="default", metavar="NAME", help="As this boot entry sees it.")
@click.option("--all", "complete", is_flag=True, help="Also show the options left at defaults.")
@json_option
def show(file: Path, variant: str, complete: bool, as_json: bool) -> None:
    """Print FILE with all that it extends as one profile, and where each value comes from.

    Without --all only what a file sets is shown. The output is a profile itself.
    """
    loaded = read_profile(file)
    profile = boot_entry(loaded.profile, variant)
    if variant != "default":
        profile = profile.model_copy(update={"variant": []})

    def comment(key: str) -> str:
        return str(loaded.origin(key, variant=variant) or "default")

    if as_json:
        import json

        values = flat(profile)
        print_json(
            {
                "variant": variant,
                "profile": json.loads(canonical_json(profile)),
                "origins": {key: comment(key) for key in values},
                "digest": profile_digest(profile),
            }
        )
        return
    text = render_toml(
        profile,
        complete=complete,
        comment=comment,
        also=lambda key: loaded.origin(key, variant=variant) is not None,
    )
    click.echo(text, nl=False)


@command.command(
    short_help="Explain an option, a table, or all options.",
    epilog=EPILOG_EXAMPLES + "  archibald profile explain\n"
    "  archibald profile explain audio.quantum\n"
    "  archibald profile explain cpu",
)
@click.argument("key", required=False, shell_complete=lambda _c, _p, text: _completions(text))
@json_option
def explain(key: str | None, as_json: bool) -> None:
    """Explain the option KEY, the options of a table KEY, or all options."""
    option = option_for(key) if key else None
    if option:
        if as_json:
            print_json(_as_data(option))
        else:
            click.echo(_explained(option))
        return
    table = table_for(key) if key else None
    if key and not table:
        raise _no_such_key(key)
    chosen = [table] if table else list(tables())
    if as_json:
        print_json([_as_data(option) for table in chosen for option in table.options])
    else:
        click.echo("\n\n".join(map(_listing, chosen)))


def _completions(text: str) -> list[str]:
    keys = [option.key for table in tables() for option in table.options]
    return [key for key in keys if key.startswith(text)]


def _no_such_key(key: str) -> UsageError:
    near = nearest_key(key)
    return UsageError(
        f"there is no option {literal(key)}" + (f'; did you mean "{near}"?' if near else ""),
        next_step=f"archibald profile explain {near}"
        if near
        else "archibald profile explain lists every option",
    )


def _as_data(option: Option) -> dict[str, Any]:
    return {**asdict(option), "schema": dict(option.schema)}


def _explained(option: Option) -> str:
    rows = [
        ("type", option.type),
        ("allowed", option.allowed if option.limited else ""),
        ("unit", option.unit),
        ("default", summary(option).removeprefix("default ")),
        ("example", f"{option.name} = {literal(option.example)}"),
        ("variants", "may override it" if option.in_variants else ""),
        ("since", option.since),
    ]
    lines = [option.key, *_wrapped(option.why, "  ")]
    for name, text in rows:
        if text:
            head, *rest = _wrapped(text, " " * 12)
            lines += [f"  {name + ':':<9} {head.strip()}", *rest]
    return "\n".join(lines)


def _listing(table: OptionTable) -> str:
    lines = [table.header, *_wrapped(table.why, "  ")] if table.name else ["(above all tables)"]
    width = max(len(name) for name in table.names())
    for option in table.options:
        text = f"{option.why} ({summary(option)})"
        head, *rest = _wrapped(text, " " * (width + 4))
        lines += [f"  {option.name:<{width}}  {head.strip()}", *rest]
    return "\n".join(lines)


def _wrapped(text: str, indent: str) -> list[str]:
    width = min(100, max(40, shutil.get_terminal_size().columns))
    return textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )


@command.command(
    short_help="Show in which options two profiles differ.",
    epilog=EPILOG_EXAMPLES + "  archibald profile diff profiles/core.toml profiles/studio.toml\n"
    "  archibald profile diff archibald.toml my.toml --json",
)
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@json_option
@click.pass_context
def diff(ctx: click.Context, a: Path, b: Path, as_json: bool) -> None:
    """Show the options in which the profiles A and B differ, whatever they extend.

    Exit codes: 0 they are equal, 1 they differ.
    """
    one, two = read_profile(a), read_profile(b)
    values_a, values_b = flat(one.profile), flat(two.profile)
    keys = [
        key
        for key in dict.fromkeys((*values_a, *values_b))
        if key not in values_a or key not in values_b or values_a[key] != values_b[key]
    ]
    sides = ((values_a, one), (values_b, two))
    if as_json:
        print_json({"equal": not keys, "differences": [_difference(k, sides) for k in keys]})
    else:
        click.echo("\n".join(_difference_text(key, sides) for key in keys) or "no difference")
    ctx.exit(ExitCode.FINDINGS if keys else ExitCode.OK)


_Side = tuple[dict[str, Any], LoadedProfile]


def _difference(key: str, sides: tuple[_Side, _Side]) -> dict[str, Any]:
    data: dict[str, Any] = {"key": key}
    for name, (values, loaded) in zip("ab", sides, strict=True):
        data[name] = values.get(key)
        data[f"{name}_present"] = key in values
        data[f"{name}_origin"] = _origin_text(key, values, loaded)
    return data


def _origin_text(key: str, values: dict[str, Any], loaded: LoadedProfile) -> str:
    return str(loaded.origin(key) or "default") if key in values else ""


def _difference_text(key: str, sides: tuple[_Side, _Side]) -> str:
    lines = [key]
    for mark, (values, loaded) in zip("-+", sides, strict=True):
        if key in values:
            lines.append(f"  {mark} {literal(values[key])}  # {_origin_text(key, values, loaded)}")
    return "\n".join(lines)


@command.command(epilog=EPILOG_EXAMPLES + "  archibald profile schema > profile.schema.json")
def schema() -> None:
    """Print the JSON Schema of profiles, for editors."""
    click.echo(json_schema_text(), nl=False)


@command.command(epilog=EPILOG_EXAMPLES + "  archibald profile reference > profile.md")
def reference() -> None:
    """Print the reference of all options as Markdown."""
    click.echo(reference_page(), nl=False)


@command.command(
    short_help="Write a commented profile to start from.",
    epilog=EPILOG_EXAMPLES + "  archibald profile init\n"
    "  archibald profile init stage.toml --from core",
)
@_FILE
@click.option(
    "--from",
    "starter",
    type=click.Choice(STARTERS),
    default="studio",
    show_default=True,
    help="The profile to start from.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
def init(file: Path, starter: str, force: bool) -> None:
    """Write a profile to FILE that lists every option with its reason and default."""
    write_new(file, starter_text(starter), replace=force)
    click.echo(f"{printable(str(file))} written; archibald profile check {printable(str(file))}")
