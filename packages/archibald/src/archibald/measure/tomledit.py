"""Set single options in a profile's text, with comments and layout left as they are.

The place of a value comes from the profile's own scanner; afterwards the text is parsed again and
must hold just what was asked for, so an unforeseen layout is refused, never spoilt.
"""

from __future__ import annotations

import copy
import difflib
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from archibald.errors import UsageError
from archibald.profile.options import literal
from archibald.profile.positions import Position, locate

_VALUE = re.compile(r"\[[^\[\]#]*\]|\"[^\"\n]*\"|[^\s#,\]}]+")


class LayoutError(UsageError):
    """The file is laid out in a way that cannot be edited safely."""


def set_values(text: str, values: Mapping[str, Any], *, filename: str) -> str:
    """Return the text with options (``audio.quantum``) set.

    Raises :class:`LayoutError`, also when the text is no TOML.
    """
    try:
        wanted = copy.deepcopy(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise LayoutError(f"{filename} is no TOML", why=str(error)) from None
    new = text
    for key, value in values.items():
        table, _, name = key.partition(".")
        if not isinstance(wanted.setdefault(table, {}), dict):
            raise LayoutError(f"{filename}: {table} is no table")
        wanted[table][name] = value
        new = _set(new, table, name, literal(value))
    try:
        found = tomllib.loads(new)
    except tomllib.TOMLDecodeError:
        found = None
    if found != wanted:
        raise LayoutError(
            f"{filename} is laid out in a way that cannot be edited",
            why="tables in one line or values over several lines with comments",
            next_step="set the values by hand: "
            + ", ".join(f"{key} = {literal(value)}" for key, value in values.items()),
        )
    return new


def _set(text: str, table: str, name: str, value: str) -> str:
    places = locate(text).paths
    found = places.get((table, name))
    if found is not None:
        start = _offset(text, found.value)
        match = _VALUE.match(text, start)
        end = match.end() if match else start
        return text[:start] + value + text[end:]
    line = f"{name} = {value}\n"
    header = re.search(
        rf"^[ \t]*\[[ \t]*{re.escape(table)}[ \t]*\][^\n]*(\n|\Z)", text, re.MULTILINE
    )
    if header and (table,) in places:
        start = header.end()
        gap = "" if text[:start].endswith("\n") else "\n"
        return text[:start] + gap + line + text[start:]
    gap = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{gap}\n[{table}]\n{line}"


def _offset(text: str, position: Position) -> int:
    start = 0
    for _ in range(position.line - 1):
        start = text.index("\n", start) + 1
    return start + position.column - 1


def diff(before: str, after: str, *, filename: str) -> str:
    """Return the change as a unified diff."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), filename, filename
    )
    return "".join(line if line.endswith("\n") else line + "\n" for line in lines)
