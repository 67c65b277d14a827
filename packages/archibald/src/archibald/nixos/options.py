"""The options of a profile as data that Nix can read: ``nix/profile.json``.

Made from the model, like the reference page, so that the modules in ``nix/`` declare no option of
their own a second time. Patterns are handed on as POSIX extended expressions, which is what
``builtins.match`` knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import click

from archibald.profile.kinds import CONTROL
from archibald.profile.model import FORMAT_VERSION, SYSTEM_NAMES, Profile
from archibald.profile.options import VARIANT_TABLES, Option, literal, tables
from archibald.system.modules.apps import GROUPS

#: What of a JSON Schema ``nix/profile.nix`` checks.
_KEPT = ("type", "enum", "const", "minimum", "maximum", "minItems", "uniqueItems", "maxLength")

#: Patterns that POSIX writes in another way. Control characters beyond ASCII are not said there.
_POSIX: Mapping[str, str] = {
    rf"[^{CONTROL}]+": "[^[:cntrl:]]+",
    rf"[^:,{CONTROL}]*": "[^:,[:cntrl:]]*",
    r"[A-Za-z0-9_.-]+(=[!#%&(-:<-\[\]-_a-~]+)?": "[A-Za-z0-9_.-]+(=[]!#%&(-:<-[^_a-~]+)?",
    r"(/(?!\.\.?(/|$))[A-Za-z0-9._-]+)+": (
        "(/([A-Za-z0-9_-][A-Za-z0-9._-]*|[.][A-Za-z0-9_-][A-Za-z0-9._-]*|[.][.][A-Za-z0-9._-]+))+"
    ),
}


class PatternError(ValueError):
    """A pattern of the model that nobody has written in POSIX yet: a fault of this module."""


def posix_pattern(pattern: str) -> str:
    r"""Return a pattern of the JSON Schema (``^(?:...)$``) as a POSIX extended expression.

    Raises :class:`PatternError` for what POSIX does not know and :data:`_POSIX` does not list.
    """
    bare = pattern.removeprefix("^(?:").removesuffix(")$")
    if bare in _POSIX:
        return _POSIX[bare]
    if "(?" in bare or "\\x" in bare or "\\d" in bare or "\\w" in bare:
        raise PatternError(f"no POSIX form of {bare}")
    return bare


def _checked(schema: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: schema[name] for name in _KEPT if name in schema}
    if "pattern" in schema:
        kept["pattern"] = posix_pattern(schema["pattern"])
    if "items" in schema:
        kept["items"] = _checked(schema["items"])
    if "anyOf" in schema:
        kept["anyOf"] = [_checked(branch) for branch in schema["anyOf"]]
    return kept


def _option(option: Option) -> dict[str, Any]:
    described = option.why if not option.unit else f"{option.why} Unit: {option.unit}."
    return {
        "allowed": option.allowed,
        "default": option.default,
        "description": described,
        "example": literal(option.example),
        "required": option.required,
        "schema": _checked(option.schema),
    }


def profile_options() -> dict[str, Any]:
    """Return tables, options, defaults and bounds of the profile as JSON types.

    ``tables`` maps a table's name ("" for the options outside of all tables) to its options.
    """
    return {
        "format": FORMAT_VERSION,
        "groups": {name: list(packages) for name, packages in GROUPS.items()},
        "systemNames": sorted(SYSTEM_NAMES),
        "tables": {
            table.name: {option.name: _option(option) for option in table.options}
            for table in tables()
        },
        "variantTables": list(VARIANT_TABLES),
    }


def profile_options_text() -> str:
    """Return ``nix/profile.json`` as a text; a test compares it with the file."""
    return json.dumps(profile_options(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def nix_input(profile: Profile) -> dict[str, Any]:
    """Return a profile as ``nix/profile.nix`` takes it: every value, without ``extends``."""
    return profile.model_dump(mode="json", exclude={"extends"})


@click.command(hidden=True)
def command() -> None:
    """Print nix/profile.json."""
    click.echo(profile_options_text(), nl=False)


if __name__ == "__main__":
    command(prog_name="python -m archibald.nixos.options")
