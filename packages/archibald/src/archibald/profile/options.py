"""The model's declarations as data and words: what each option takes, its unit, default and reason.

Everything here derives from the JSON Schema that pydantic makes of the model, so there is no second
list of options. Nothing is computed at import time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

from archibald.profile.model import Profile

#: Tables that a variant may override.
VARIANT_TABLES = ("audio", "realtime", "cpu")

_ANY_TABLE = "options of that table"
_TYPE_WORDS = {"integer": "whole number", "string": "text", "boolean": "true or false"}


@dataclass(frozen=True)
class Option:
    """One option of a profile.

    ``key`` is dotted (``audio.quantum``); ``type`` and ``allowed`` are words for people; ``schema``
    is the option's JSON Schema; ``default`` is None for the options that are required.
    """

    key: str
    type: str
    allowed: str
    unit: str
    default: Any
    required: bool
    since: str
    why: str
    example: Any
    in_variants: bool
    schema: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The key within its table."""
        return self.key.rpartition(".")[2]

    @property
    def limited(self) -> bool:
        """Whether ``allowed`` says more than ``type``."""
        return self.allowed not in {self.type, "any text", _ANY_TABLE}


@dataclass(frozen=True)
class OptionTable:
    """A table of options; the options outside of all tables have the name ""."""

    name: str
    why: str
    options: tuple[Option, ...]

    @property
    def header(self) -> str:
        """The table's header as it stands in a profile."""
        if not self.name:
            return ""
        return "[[variant]]" if self.name == "variant" else f"[{self.name}]"

    def names(self) -> list[str]:
        """The keys of the table, without its name."""
        return [option.name for option in self.options]


def literal(value: Any) -> str:
    """Return a value of a profile as TOML writes it, on one line.

    Control characters are escaped, so the result is safe on a terminal. Takes what tomllib and json
    return, and what a profile holds.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return "".join(map(_escaped, json.dumps(value, ensure_ascii=False)))
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{bare_or_quoted(str(k))} = {literal(v)}" for k, v in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(literal, value)) + "]"
    return str(value)


def _escaped(char: str) -> str:
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08x}"


def bare_or_quoted(key: str) -> str:
    """Return one part of a key as TOML writes it."""
    plain = key.isascii() and key.replace("-", "a").replace("_", "a").isalnum()
    return key if plain else literal(key)


def with_unit(words: str, unit: str) -> str:
    """Return ``words`` with a unit behind: "32 frames", "80 (SCHED_FIFO priority)"."""
    if not unit:
        return words
    return f"{words} ({unit})" if " " in unit or unit == "%" else f"{words} {unit}"


def type_words(schema: Mapping[str, Any]) -> str:
    """Return what kind of value a schema takes: "whole number", "list of text"."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_words(branch) for branch in schema["anyOf"]))
    kind = schema.get("type", "object")
    if kind == "array":
        return f"list of {type_words(schema['items'])}s".replace("texts", "text")
    return _TYPE_WORDS.get(kind, "table")


def _range_words(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if high is None:
        return f"{low} or more"
    return f"{low} to {high}"


def allowed_words(schema: Mapping[str, Any], unit: str = "") -> str:
    """Return what a schema allows, with the unit: "16 to 8192 frames", "any of: daw, synth"."""
    if "anyOf" in schema:
        return ", or ".join(allowed_words(branch, unit) for branch in schema["anyOf"])
    kind = schema.get("type", "object")
    counted = kind == "integer"
    if "const" in schema:
        return with_unit(literal(schema["const"]), unit if counted else "") or '""'
    if "allowed" in schema:
        words = schema["allowed"]
        if "maxLength" in schema:
            words += f", at most {schema['maxLength']} characters"
        return with_unit(words, unit if counted else "")
    if "enum" in schema:
        return with_unit(", ".join(map(literal, schema["enum"])), unit if counted else "")
    if counted:
        return with_unit(_range_words(schema), unit)
    if kind == "array":
        return _list_words(schema, unit)
    return {"boolean": "true or false", "string": "any text"}.get(kind, _ANY_TABLE)


def _list_words(schema: Mapping[str, Any], unit: str) -> str:
    words = f"each: {allowed_words(schema['items'], unit)}"
    if schema.get("minItems"):
        words += f"; at least {schema['minItems']}"
    if schema.get("uniqueItems"):
        words += "; none twice"
    return words


def _example(schema: Mapping[str, Any], default: Any) -> Any:
    """Return the declared example, or else a value other than the default if one is known."""
    if "examples" in schema:
        return schema["examples"][0]
    if isinstance(default, bool):
        return not default
    return next((value for value in schema.get("enum", []) if value != default), default)


def _option(key: str, schema: Mapping[str, Any], default: Any, *, required: bool) -> Option:
    unit = schema.get("unit", "")
    return Option(
        key=key,
        type=type_words(schema),
        allowed=allowed_words(schema, unit),
        unit=unit,
        default=default,
        required=required,
        since=schema["since"],
        why=schema["description"],
        example=_example(schema, default),
        in_variants=key.partition(".")[0] in VARIANT_TABLES,
        schema=schema,
    )


def _table(
    name: str, definition: Mapping[str, Any], properties: Mapping[str, Any], defaults: Any
) -> OptionTable:
    required = definition.get("required", [])
    options = tuple(
        _option(
            f"{name}.{key}" if name else key,
            schema,
            defaults.get(key, schema.get("default", {})) if key not in required else None,
            required=key in required,
        )
        for key, schema in properties.items()
    )
    return OptionTable(name, definition["description"], options)


@cache
def tables() -> tuple[OptionTable, ...]:
    """Return every table with its options, in the order of the model; the root comes first."""
    root = Profile.model_json_schema()
    definitions, defaults = root["$defs"], Profile().model_dump()
    plain, nested = {}, []
    for key, schema in root["properties"].items():
        reference = schema.get("$ref") or schema.get("items", {}).get("$ref")
        if reference is None:
            plain[key] = schema
            continue
        definition = definitions[reference.rpartition("/")[2]]
        values = defaults[key] if isinstance(defaults[key], dict) else {}
        nested.append(_table(key, definition, definition["properties"], values))
    return (_table("", {**root, "required": []}, plain, defaults), *nested)


@cache
def options() -> Mapping[str, Option]:
    """Return every option by its dotted key."""
    return {option.key: option for table in tables() for option in table.options}


def option_for(key: str) -> Option | None:
    """Return the option with a dotted key, or None.

    ``variant.audio.quantum`` and ``variant.low-latency.audio.quantum`` are ``audio.quantum``.
    """
    parts = key.split(".")
    if parts[0] == "variant" and len(parts) > 2 and parts[-2] in VARIANT_TABLES:
        return options().get(".".join(parts[-2:]))
    return options().get(key)


def table_for(name: str) -> OptionTable | None:
    """Return the table with a name, or None."""
    return next((table for table in tables() if table.name == name), None)


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that a mistyped word most likely meant, or None."""
    names = {name.lower().replace("-", "_"): name for name in candidates}
    wanted = word.lower().replace("-", "_")
    close = get_close_matches(wanted, names, n=1, cutoff=0.6)
    if close:
        return names[close[0]]
    within = [name for name in names if len(name) >= 4 and len(wanted) >= 4]
    found = [name for name in within if name in wanted or wanted in name]
    return names[found[0]] if len(found) == 1 else None


def nearest_key(key: str) -> str | None:
    """Return the option or table that a mistyped dotted key most likely meant, or None.

    An exact name in another table comes before a similar name.
    """
    table_name, _, name = key.rpartition(".")
    known = [table.name for table in tables() if table.name]
    table_name = nearest(table_name, known) or table_name
    inside = table_for(table_name)
    close = nearest(name, inside.names()) if inside else None
    if close and table_name:
        return f"{table_name}.{close}"
    elsewhere = [option.key for option in options().values() if option.name == name]
    if elsewhere:
        return elsewhere[0]
    return nearest(key, [*known, *options()])
