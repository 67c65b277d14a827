"""What is wrong with a profile, in the words of the profile: place, key, what is allowed.

pydantic says which value does not fit; the sentences here come from the option's own declaration.
Pure: files are read in :mod:`archibald.profile.load`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, time
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from archibald.errors import UsageError
from archibald.profile.kinds import Conflict
from archibald.profile.options import (
    VARIANT_TABLES,
    Option,
    allowed_words,
    bare_or_quoted,
    literal,
    nearest,
    nearest_key,
    option_for,
    options,
    table_for,
    type_words,
    with_unit,
)
from archibald.profile.positions import KeyPath

#: A profile with more problems than this is not a profile; the rest is counted only.
MAX_SHOWN = 50


NO_SUCH_OPTION = "no such option"


@dataclass(frozen=True, order=True)
class ProfileProblem:
    """One thing that is wrong, and where.

    ``line`` and ``column`` count characters from 1 and are 0 where a place is unknown; ``key`` is
    dotted and empty when the file as a whole is wrong. ``allowed`` (words) and ``suggestion`` (a
    key, or a value as TOML) may be empty.
    """

    file: str
    line: int
    column: int
    key: str
    message: str
    allowed: str = ""
    suggestion: str = ""

    def as_data(self) -> dict[str, Any]:
        """The problem for ``--json``; a file name that is no Unicode text is escaped."""
        return {**asdict(self), "file": printable(self.file)}

    def __str__(self) -> str:
        text = printable(self.file) or "default"
        if self.line:
            text += f":{self.line}:{self.column}"
        text += f": {self.key}: {self.message}" if self.key else f": {self.message}"
        if self.suggestion:
            meant = f'"{self.suggestion}"' if self.message == NO_SUCH_OPTION else self.suggestion
            text += f"; did you mean {meant}?"
        if self.allowed:
            text += f" allowed: {self.allowed}" if self.suggestion else f"; allowed: {self.allowed}"
        return text


class ProfileError(UsageError):
    """A profile that cannot be used, with everything that is wrong in all of its files."""

    def __init__(self, problems: Iterable[ProfileProblem], *, next_step: str = "") -> None:
        # Files in the order in which they were met, the places of each in the order of reading.
        unique = tuple(dict.fromkeys(problems))
        met = list(dict.fromkeys(problem.file for problem in unique))
        self.problems = tuple(sorted(unique, key=lambda p: (met.index(p.file), p)))
        lines = [str(problem) for problem in self.problems[:MAX_SHOWN]]
        if len(self.problems) > MAX_SHOWN:
            lines.append(f"and {len(self.problems) - MAX_SHOWN} more")
        files = dict.fromkeys(printable(problem.file) for problem in self.problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__(
            f"{count} in {', '.join(files)}",
            why="\n".join(lines),
            next_step=next_step or _next_step(self.problems),
        )

    def __str__(self) -> str:
        return f"{self.what}\n{self.why}\n  next: {self.next_step}"

    def details(self) -> dict[str, Any]:
        """The problems as data, for ``--json``."""
        return {"problems": [problem.as_data() for problem in self.problems]}


def _next_step(problems: Sequence[ProfileProblem]) -> str:
    for problem in problems:
        option = option_for(problem.key)
        if option:
            return f"archibald profile explain {option.key}"
    if any(problem.key for problem in problems):
        return "archibald profile explain lists every option"
    return "correct it, then run archibald profile check on it"


def printable(text: str) -> str:
    """Return text from outside with everything escaped that a terminal might obey."""
    return "".join(char if char.isprintable() else literal(char)[1:-1] for char in text)


@dataclass(frozen=True)
class Finding:
    """A problem before its place is known: ``paths`` lists where to point, the best first.

    ``at_key`` points at the key and not at the value. ``kind`` is pydantic's error type or one of
    ours, so that a caller can tell conflicts and missing options from wrong values.
    """

    paths: tuple[KeyPath, ...]
    kind: str
    message: str
    allowed: str = ""
    suggestion: str = ""
    at_key: bool = False


def validate(model: type[BaseModel], data: object, prefix: KeyPath = ()) -> list[Finding]:
    """Return everything that is wrong with ``data`` as ``model``; paths begin with ``prefix``."""
    try:
        model.model_validate(data)
    except ValidationError as error:
        grouped: dict[KeyPath, list[ErrorDetails]] = {}
        for detail in error.errors(include_url=False):
            grouped.setdefault(_existing(detail, data), []).append(detail)
        return [
            finding
            for path, details in grouped.items()
            for finding in _findings((*prefix, *path), details, value_at(data, path))
        ]
    return []


def value_at(data: object, path: KeyPath) -> object:
    """Return the value at a path, or None where there is none."""
    for step in path:
        is_key = isinstance(data, dict) and step in data
        is_index = isinstance(data, list) and isinstance(step, int) and step < len(data)
        if not is_key and not is_index:
            return None
        data = data[step]  # type: ignore[index]
    return data


def _existing(detail: ErrorDetails, data: object) -> KeyPath:
    """Return the part of an error's place that the data has: pydantic adds names of its own."""
    path: KeyPath = ()
    for step in detail["loc"]:
        is_key = isinstance(data, dict) and step in data
        if not is_key and not (isinstance(data, list) and isinstance(step, int)):
            return (*path, step) if detail["type"] == "missing" else path
        data = data[step]  # type: ignore[index]
        path = (*path, step)
    return path


def dotted(path: KeyPath) -> str:
    """Return a path as people write it, without the numbers of list elements."""
    return ".".join(bare_or_quoted(step) for step in path if isinstance(step, str))


def _findings(path: KeyPath, details: list[ErrorDetails], value: object) -> list[Finding]:
    detail = details[0]
    kind = detail["type"]
    if kind == "conflict":
        return [_conflict(path, conflict) for conflict in detail["ctx"]["conflicts"]]
    if kind == "extra_forbidden":
        return [_unknown(path)]
    if kind == "missing":
        message = f"a {path[0]} needs a {path[-1]}"
        option = option_for(dotted(path))
        allowed = option.allowed if option else ""
        return [Finding((path[:-1],), kind, message, allowed, at_key=True)]
    option = option_for(dotted(path))
    if option is None or kind in {"model_type", "dict_type"}:
        return [_no_table(path, kind, value)]
    message, suggestion = _complaint(option, path, details, value)
    allowed = option.allowed if option.limited else ""
    if isinstance(path[-1], int) and option.schema.get("type") == "array":
        allowed = allowed_words(option.schema["items"], option.unit)
    # Patterns are named by what they allow: the message says it already.
    return [Finding((path,), kind, message, "" if allowed in message else allowed, suggestion)]


def _conflict(path: KeyPath, conflict: Conflict) -> Finding:
    steps = (tuple(int(s) if s.isdigit() else s for s in k.split(".")) for k in conflict.keys)
    return Finding(tuple((*path, *relative) for relative in steps), "conflict", conflict.message)


def _unknown(path: KeyPath) -> Finding:
    names = [str(step) for step in path if isinstance(step, str)]
    table_name, name = (names[-2] if len(names) > 1 else ""), names[-1]
    table = table_for(table_name)
    inside = nearest(name, _candidates(table_name))
    if inside:
        return _missing_option(path, inside, "")
    if table_name == "variant" and table_for(name):
        message = f"a variant changes only {', '.join(VARIANT_TABLES)}; it shares everything else"
        return Finding((path,), "extra_forbidden", message, at_key=True)
    other = nearest_key(name) if _is_option_name(name) else None
    if other:
        return _missing_option(path, other, "")
    listed = ", ".join(table.names()) if table and table_name else ", ".join(_candidates(""))
    return _missing_option(path, "", listed)


def _missing_option(path: KeyPath, suggestion: str, allowed: str) -> Finding:
    return Finding((path,), "extra_forbidden", NO_SUCH_OPTION, allowed, suggestion, at_key=True)


def _candidates(table_name: str) -> list[str]:
    table = table_for(table_name)
    if table_name and table:
        return table.names()
    tables = {key.partition(".")[0]: None for key in options()}
    return list(tables)


def _is_option_name(name: str) -> bool:
    return any(option.name == name for option in options().values())


def _no_table(path: KeyPath, kind: str, value: object) -> Finding:
    name = dotted(path)
    if not path:
        message = f"a profile is a table of options, not {shown(value)}"
    elif path[0] == "variant" and len(path) <= 2:
        message = "is a list of tables: write [[variant]] above each"
    elif path[0] == "variant":
        message = f"is a table, not {shown(value)}: write {path[-1]} = {{ quantum = 16 }}"
        message = message if path[-1] == "audio" else message.partition(":")[0]
    else:
        message = f"is a table, not {shown(value)}: write [{name}] and its options below"
    return Finding((path,), kind, message)


def shown(value: object) -> str:
    """Return a short description of a value for an error message."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, date | datetime | time):
        return "a date or time"
    if value is None:
        return "nothing"
    if isinstance(value, int) and abs(value) >= 10**20:
        return "a number that large"
    text = literal(value)
    return text if len(text) <= 50 else f"{text[:40]}… ({len(text)} characters)"


def _complaint(
    option: Option, path: KeyPath, details: list[ErrorDetails], value: object
) -> tuple[str, str]:
    """Return what is wrong with an option's value, and what may have been meant."""
    schema = option.schema
    if isinstance(path[-1], int):
        schema = schema["items"]
    if not _fits(schema, value):
        return _wrong_type(schema, option.unit, value)
    specific = [d for d in details if not d["type"].endswith(("literal_error", "_type"))]
    detail = (specific or details)[0]
    return _out_of_bounds(detail, value), _near_choice(schema, value)


def _branches(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(schema.get("anyOf", [schema]))


def _fits(schema: Mapping[str, Any], value: object) -> bool:
    kinds = {
        bool: "boolean",
        int: "integer",
        str: "string",
        list: "array",
        dict: "object",
    }
    kind = kinds.get(type(value))
    return kind is not None and any(branch.get("type") == kind for branch in _branches(schema))


_NUMBER = re.compile(r"\s*([+-]?[0-9]{1,12})\s*([A-Za-z%]*)\s*")
_SCALES = {"khz": 1000, "gib": 1024}


def _wrong_type(schema: Mapping[str, Any], unit: str, value: object) -> tuple[str, str]:
    counted = any(branch.get("type") == "integer" for branch in _branches(schema))
    words = type_words(schema)
    if " or " not in words or words == "true or false":
        words = f"a {words}" if words.startswith(("whole", "list")) else words
    wanted = words if not counted or not unit else _counted_words(words, unit)
    number = _NUMBER.fullmatch(value) if isinstance(value, str) and counted else None
    if number:
        without = "without the unit" if number[2] else "without quotes"
        scaled = int(number[1]) * _SCALES.get(number[2].lower(), 1)
        return f"takes {wanted}, {without}", str(scaled)
    if type_words(schema) == "true or false" and isinstance(value, str):
        meant = {"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false"}
        return f"takes {wanted}, without quotes", meant.get(value.lower(), "")
    return f"takes {wanted}, not {shown(value)}", ""


def _counted_words(words: str, unit: str) -> str:
    if " " in unit or unit == "%":
        return with_unit(words, unit)
    return words.replace("whole number", f"whole number of {'seconds' if unit == 's' else unit}")


def _out_of_bounds(detail: ErrorDetails, value: object) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return f"{shown(value)} {context['error']}"
    templates = {
        "literal_error": "{value} is not one of the choices",
        "greater_than_equal": "{value} is under {ge}",
        "less_than_equal": "{value} is over {le}",
        "too_short": "lists too few",
        "too_long": "lists too many",
        "string_too_long": "{value} is longer than {max_length} characters",
        "string_unicode": "holds what is no Unicode text",
        "duplicates": "lists {listed} more than once",
    }
    return templates.get(kind, "{value} does not fit").format(value=shown(value), **context)


def _near_choice(schema: Mapping[str, Any], value: object) -> str:
    choices = [
        choice
        for branch in _branches(schema)
        for choice in (branch.get("enum") or [branch.get("const")])
        if isinstance(choice, str) and choice
    ]
    near = nearest(value, choices) if isinstance(value, str) else None
    return literal(near) if near else ""
