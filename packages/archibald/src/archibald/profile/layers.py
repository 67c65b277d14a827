"""One profile file as a layer, and layers on top of each other.

Tables merge key by key, variants by name; every other list replaces the one below it. Pure.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from archibald.profile.model import FORMAT_VERSION, Audio, CpuTable, Profile, Realtime
from archibald.profile.positions import (
    MAX_DEPTH,
    KeyPath,
    Located,
    Position,
    Positions,
    TooDeepError,
    locate,
)
from archibald.profile.problems import Finding, ProfileProblem, dotted, printable, validate

_OVERRIDES: Mapping[str, type[BaseModel]] = {"audio": Audio, "realtime": Realtime, "cpu": CpuTable}

#: Length of the longest path to a table: ("variant", 0, "audio").
_TABLE_DEPTH = 3

#: How tomllib begins a message, and what that means to somebody who writes a profile.
_SYNTAX = (
    (
        "Expected newline or end of document",
        "something follows the value; numbers stand without a unit, every option on its own line",
    ),
    ("Invalid value", "no value here; text stands in quotes, true and false in lower case"),
    ("Expected '=' after a key", 'an "=" is missing after the key'),
    ("Illegal character", "a control character; write it as an escape such as \\u0000"),
    ("Found invalid character", "a control character; write it as an escape such as \\u0000"),
    ("Cannot declare", "this table has options above already; a table stands in one place"),
    ("Cannot overwrite", "this is set above already"),
    ("Cannot mutate", "this adds to a table or list that is complete already"),
    ("Unescaped", "a lone backslash; write two, or put the text in single quotes"),
    ("Expected ']' at the end", 'the "]" of the table\'s name is missing'),
    ("Unterminated string", "the text has no closing quote on this line"),
    ("Illegal newline", "the text has no closing quote on this line"),
)
_SYNTAX_PLACE = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True)
class Layer:
    """What one file says. ``located`` is empty for layers that are not a text (JSON, a base)."""

    filename: str
    data: dict[str, Any]
    located: Mapping[KeyPath, Located] = field(default_factory=dict)

    @property
    def extends(self) -> str:
        """The file that this one extends, or "" (also when the value is no text)."""
        value = self.data.get("extends")
        return value if self.readable and isinstance(value, str) else ""

    @property
    def readable(self) -> bool:
        """Whether this version knows the format; if not, its keys mean nothing here."""
        value = self.data.get("format", FORMAT_VERSION)
        return type(value) is not int or value <= FORMAT_VERSION


@dataclass(frozen=True)
class Source:
    """The file of a merged value and its place there, if it has one."""

    file: str
    rank: int
    located: Located | None


@dataclass(frozen=True)
class Merged:
    """Layers on top of each other, and the source of every value; rank 0 is the topmost file."""

    data: dict[str, Any]
    origins: dict[KeyPath, Source]

    def place(self, finding: Finding) -> ProfileProblem:
        """Return the problem at the first place that a file has, those of the user's own first."""
        known = [path for path in finding.paths if path in self.origins]
        if known:
            path = min(known, key=lambda path: self.origins[path].rank)
            source = self.origins[path]
            return _problem(finding, path, source.file, source.located, self.data)
        above = finding.paths[0]
        while above and above not in self.origins:
            above = above[:-1]
        nearest = self.origins.get(above, Source("", 0, None))
        return _problem(finding, finding.paths[0], nearest.file, nearest.located, self.data)


def place(finding: Finding, layer: Layer) -> ProfileProblem:
    """Return the problem at its place in one file."""
    path = finding.paths[0]
    above = path
    while above and above not in layer.located:
        above = above[:-1]
    return _problem(finding, path, layer.filename, layer.located.get(above), layer.data)


def _problem(
    finding: Finding, path: KeyPath, file: str, located: Located | None, data: Mapping[str, Any]
) -> ProfileProblem:
    position = Position(0, 0)
    if located:
        position = located.key if finding.at_key else located.value
    return ProfileProblem(
        file=file,
        line=position.line,
        column=position.column,
        key=_named(path, data),
        message=finding.message,
        allowed=finding.allowed,
        suggestion=finding.suggestion,
    )


def _named(path: KeyPath, data: Mapping[str, Any]) -> str:
    """Return the dotted key with the name of its variant: ``variant.low-latency.audio.quantum``."""
    if len(path) < 3 or path[0] != "variant" or not isinstance(path[1], int):
        return dotted(path)
    variants = data.get("variant")
    variant = variants[path[1]] if isinstance(variants, list) and path[1] < len(variants) else None
    name = variant.get("name") if isinstance(variant, dict) else None
    middle = (name,) if isinstance(name, str) and path[2] != "name" else ()
    return dotted(("variant", *middle, *path[2:]))


def parse_layer(text: str, filename: str) -> tuple[Layer | None, list[ProfileProblem]]:
    """Parse one TOML text; None and the problem when it is not TOML."""
    text = text.removeprefix("\ufeff")
    try:
        positions = locate(text)
        data = tomllib.loads(text)
    except TooDeepError as error:
        message = f"tables, lists or keys are nested deeper than {MAX_DEPTH} levels"
        return None, [_syntax_problem(filename, error.position, message)]
    except (ValueError, RecursionError) as error:
        return None, [_not_toml(error, text, locate(text), filename)]
    return Layer(filename, data, positions.paths), []


def _syntax_problem(filename: str, position: Position, message: str) -> ProfileProblem:
    return ProfileProblem(filename, position.line, position.column, "", message)


def _not_toml(error: Exception, text: str, positions: Positions, filename: str) -> ProfileProblem:
    message = str(error)
    match = _SYNTAX_PLACE.search(message)
    if positions.repeated and message.startswith("Cannot"):
        again = positions.repeated[0]
        return ProfileProblem(
            filename,
            again.position.line,
            again.position.column,
            dotted(again.path),
            f"is set twice, first on line {again.first.line}",
        )
    position = _end(text)
    if match:
        message = message[: match.start()]
        position = Position(int(match[1]), int(match[2])) if match[1] else position
    for beginning, words in _SYNTAX:
        if message.startswith(beginning):
            return _syntax_problem(filename, position, f"not valid TOML: {words}")
    return _syntax_problem(filename, position, f"not valid TOML: {printable(message)}")


def _end(text: str) -> Position:
    lines = text.split("\n")
    return Position(len(lines), len(lines[-1]) + 1)


def check_layer(layer: Layer) -> list[ProfileProblem]:
    """Return what is wrong with one file alone.

    Whether options agree with each other, and whether something is missing, is a question to all
    layers together.
    """
    if not layer.readable:
        message = (
            f"format {layer.data['format']} is newer than this version of archibald reads "
            f"({FORMAT_VERSION}); install a newer archibald"
        )
        return [place(Finding((("format",),), "format", message), layer)]
    findings = [f for f in validate(Profile, layer.data) if f.kind not in {"conflict", "missing"}]
    for index, variant in enumerate(_variants(layer.data)):
        for name, model in _OVERRIDES.items():
            overrides = variant.get(name)
            if isinstance(overrides, dict):
                found = validate(model, overrides, ("variant", index, name))
                findings += [f for f in found if f.kind != "conflict"]
    findings += _same_names(layer.data)
    return [place(finding, layer) for finding in findings]


def _variants(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the variants of a layer, {} for what is none, so that indices stay."""
    variants = data.get("variant")
    if not isinstance(variants, list):
        return []
    return [variant if isinstance(variant, dict) else {} for variant in variants]


def _same_names(data: Mapping[str, Any]) -> list[Finding]:
    names = [variant.get("name") for variant in _variants(data)]
    return [
        Finding((("variant", index, "name"),), "twice", f'two variants have the name "{name}"')
        for index, name in enumerate(names)
        if isinstance(name, str) and name in names[:index]
    ]


def merge(layers: Sequence[Layer]) -> Merged:
    """Put layers on top of each other; the first is the topmost."""
    merged = Merged({}, {})
    for rank, layer in reversed(list(enumerate(layers))):
        overlay = _Overlay(merged, layer, rank)
        overlay.table(merged.data, layer.data, (), ())
    return merged


@dataclass(frozen=True)
class _Overlay:
    merged: Merged
    layer: Layer
    rank: int

    def table(
        self, below: dict[str, Any], above: Mapping[str, Any], target: KeyPath, source: KeyPath
    ) -> None:
        """Merge the table at ``source`` of the layer into the one at ``target``, key by key."""
        for key, value in above.items():
            inner, outer = (*target, key), (*source, key)
            if inner == ("variant",) and isinstance(value, list):
                self.variants(below, value)
            elif isinstance(value, dict) and len(inner) <= _TABLE_DEPTH:
                if not isinstance(below.get(key), dict):
                    below[key] = {}
                self.note(inner, outer)
                self.table(below[key], value, inner, outer)
            else:
                below[key] = value
                self.note(inner, outer)
                for index in range(len(value) if isinstance(value, list) else 0):
                    self.note((*inner, index), (*outer, index))

    def variants(self, below: dict[str, Any], above: list[Any]) -> None:
        """Merge variants by name; those with a new name, or none, come behind the others."""
        if not isinstance(below.get("variant"), list):
            below["variant"] = []
        self.note(("variant",), ("variant",))
        result = below["variant"]
        known = {
            variant["name"]: index
            for index, variant in enumerate(result)
            if isinstance(variant, dict) and isinstance(variant.get("name"), str)
        }
        for index, variant in enumerate(above):
            name = variant.get("name") if isinstance(variant, dict) else None
            to = known.get(name, len(result)) if isinstance(name, str) else len(result)
            if to == len(result):
                result.append({} if isinstance(variant, dict) else variant)
            target, source = ("variant", to), ("variant", index)
            self.note(target, source)
            if isinstance(variant, dict):
                self.table(result[to], variant, target, source)

    def note(self, target: KeyPath, source: KeyPath) -> None:
        located = self.layer.located.get(source)
        self.merged.origins[target] = Source(self.layer.filename, self.rank, located)
