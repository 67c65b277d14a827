"""Profiles as TOML: what ``show`` prints and ``init`` writes. Loading it gives the profile back."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from archibald.profile.model import Profile, Variant
from archibald.profile.options import (
    VARIANT_TABLES,
    Option,
    OptionTable,
    literal,
    tables,
    with_unit,
)

#: Takes a dotted key (``variant.low-latency.audio.quantum`` for an override) and returns a comment.
Commenter = Callable[[str], str]

_WIDTH = 96


def value_of(profile: Profile, option: Option) -> Any:
    """Return the value that a profile has for an option outside of its variants."""
    table, _, name = option.key.rpartition(".")
    return getattr(getattr(profile, table) if table else profile, name)


def render_toml(
    profile: Profile,
    *,
    complete: bool = True,
    comment: Commenter | None = None,
    also: Callable[[str], bool] = lambda _key: False,
) -> str:
    """Return a profile as TOML text.

    Without ``complete`` only what differs from the defaults is written, and options for which
    ``also`` is true. ``comment`` gives the text behind each value; "" leaves it out.
    """

    def is_written(option: Option) -> bool:
        value = value_of(profile, option)
        if option.key == "extends":
            return bool(value)
        wanted = complete or option.key == "format" or also(option.key)
        return wanted or bool(value != option.default)

    blocks = []
    for table in tables():
        if table.name == "variant":
            continue
        lines = [
            _line(option.name, value_of(profile, option), option.key, comment)
            for option in table.options
            if is_written(option)
        ]
        if lines:
            blocks.append("\n".join([table.header, *lines] if table.name else lines))
    blocks += [_variant(variant, comment) for variant in profile.variant]
    return "\n\n".join(blocks) + "\n"


def _line(name: str, value: Any, key: str, comment: Commenter | None) -> str:
    remark = comment(key) if comment else ""
    return f"{name} = {literal(value)}" + (f"  # {remark}" if remark else "")


def _variant(variant: Variant, comment: Commenter | None) -> str:
    prefix = f"variant.{variant.name}"
    lines = ["[[variant]]"]
    lines += [
        _line(name, getattr(variant, name), f"{prefix}.{name}", comment)
        for name in ("name", "title")
    ]
    for table in VARIANT_TABLES:
        lines += [
            _line(f"{table}.{name}", value, f"{prefix}.{table}.{name}", comment)
            for name, value in getattr(variant, table).items()
        ]
    return "\n".join(lines)


def flat(profile: Profile) -> dict[str, Any]:
    """Return the values of a profile by dotted key; variants by name, with what they override."""
    values = {
        option.key: value_of(profile, option)
        for table in tables()
        if table.name != "variant"
        for option in table.options
        if option.key != "extends"
    }
    for variant in profile.variant:
        prefix = f"variant.{variant.name}"
        values[f"{prefix}.title"] = variant.title
        for table_name in VARIANT_TABLES:
            for name, value in getattr(variant, table_name).items():
                values[f"{prefix}.{table_name}.{name}"] = value
    return values


def template(profile: Profile, *, title: str) -> str:
    """Return a profile to start from: every option with its reason, defaults commented out.

    Loading the text gives ``profile`` back; ``title`` is the comment on top.
    """
    blocks = ["\n".join(_comment_lines(title))]
    for table in tables():
        if table.name != "variant":
            blocks.append("\n".join(_template_table(table, profile)))
    variants = next(table for table in tables() if table.name == "variant")
    blocks.append("\n".join(_comment_lines(variants.why)))
    blocks += [_variant(variant, None) for variant in profile.variant]
    return "\n\n".join(blocks) + "\n"


def _comment_lines(text: str) -> list[str]:
    return textwrap.wrap(
        text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
    )


def _template_table(table: OptionTable, profile: Profile) -> Iterator[str]:
    if table.name:
        yield from _comment_lines(table.why)
        yield table.header
    for option in table.options:
        value = value_of(profile, option)
        limits = f" Allowed: {option.allowed}." if option.limited else ""
        yield from _comment_lines(option.why + limits)
        shown = option.example if option.key == "extends" else value
        inactive = value == option.default and option.key != "format"
        yield f"{'#' if inactive else ''}{option.name} = {literal(shown)}"


def summary(option: Option) -> str:
    """Return "default 32 frames", or "required"."""
    if option.required:
        return "required"
    unit = option.unit if option.type == "whole number" else ""
    return f"default {with_unit(literal(option.default), unit)}"
