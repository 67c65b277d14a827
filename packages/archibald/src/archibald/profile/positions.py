"""Where each key and value of a TOML text stands, so that errors can point at it.

:mod:`tomllib` parses; this scanner only locates. It walks over the text once, without recursion,
and is lenient: of a text that :mod:`tomllib` refuses it says where keys stand up to the point where
it is lost.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

#: Keys from the root to a value; the elements of arrays are numbered from 0.
KeyPath = tuple[str | int, ...]

#: Tables, arrays and dotted keys may nest this deep; a profile needs five levels.
MAX_DEPTH = 32


@dataclass(frozen=True, order=True)
class Position:
    """A place in a text, counted in characters; both numbers start at 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Located:
    """Where a key stands and where its value begins (for a table both are its name's place)."""

    key: Position
    value: Position


@dataclass(frozen=True)
class Repeated:
    """A key or table that is set a second time, and where it was first."""

    path: KeyPath
    position: Position
    first: Position


@dataclass(frozen=True)
class Positions:
    """What the scanner found; ``complete`` is False when it was lost before the end."""

    paths: Mapping[KeyPath, Located]
    repeated: tuple[Repeated, ...]
    complete: bool


class TooDeepError(ValueError):
    """Tables, arrays or dotted keys nest deeper than :data:`MAX_DEPTH`."""

    def __init__(self, position: Position) -> None:
        super().__init__(f"nested deeper than {MAX_DEPTH} levels")
        self.position = position


class _LostError(Exception):
    """The text is not TOML from here on."""


_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BETWEEN = re.compile(r"(?:[ \t\r\n,]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"((?:[^"\\\n]|\\.)*)"')
_LITERAL = re.compile(r"'([^'\n]*)'")
_STRINGS = (
    re.compile(r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})', re.DOTALL),
    re.compile(r"'''.*?'''(?:'{0,2})", re.DOTALL),
    _BASIC,
    _LITERAL,
)
# A date and its time may be separated by a blank; everything else that is bare ends at one.
_BARE_VALUE = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^\s,\]}#]*|[^\s,\[\]{}#\"']+")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|(.))", re.DOTALL)
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", "e": "\x1b"}


def _unescape(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3]
    if digits:
        number = int(digits, 16)
        return chr(number) if number <= 0x10FFFF else "\ufffd"
    return _ESCAPED.get(match[4], match[4])


@dataclass
class _Container:
    """An array or inline table that is being read."""

    path: KeyPath
    closer: str
    count: int = 0


@dataclass
class _Scanner:
    text: str
    at: int = 0
    paths: dict[KeyPath, Located] = field(default_factory=dict)
    repeated: list[Repeated] = field(default_factory=list)
    #: Number of tables in each array of tables, by its path.
    table_counts: dict[KeyPath, int] = field(default_factory=dict)
    #: Tables that have a header, and keys that have a value: setting one of them again is wrong.
    settled: set[KeyPath] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.line_starts = [0, *(match.end() for match in re.finditer("\n", self.text))]

    def position(self, at: int) -> Position:
        line = bisect_right(self.line_starts, at)
        return Position(line, at - self.line_starts[line - 1] + 1)

    def skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def expect(self, mark: str) -> None:
        if not self.text.startswith(mark, self.at):
            raise _LostError
        self.at += len(mark)

    def document(self) -> None:
        table: KeyPath = ()
        while True:
            self.skip(_BLANK)
            if self.at >= len(self.text):
                return
            if self.peek() == "[":
                table = self.header()
            else:
                self.pair(table)

    def header(self) -> KeyPath:
        """Read ``[name]`` or ``[[name]]`` and return the path of the table that it opens."""
        brackets = "[[" if self.text.startswith("[[", self.at) else "["
        self.expect(brackets)
        parts = self.key()
        self.expect("]" * len(brackets))
        path: KeyPath = ()
        for name, start in parts[:-1]:
            path = self.into_last((*path, name))
            self.note_table(path, start)
        name, start = parts[-1]
        path = (*path, name)
        if brackets == "[":
            self.settle(path, start)
            self.note_table(path, start)
            return path
        self.note_table(path, start)
        index = self.table_counts.get(path, 0)
        self.table_counts[path] = index + 1
        path = (*path, index)
        self.note_table(path, start)
        return path

    def into_last(self, path: KeyPath) -> KeyPath:
        """Return the path of the last table if ``path`` is an array of tables, else ``path``."""
        count = self.table_counts.get(path)
        return path if count is None else (*path, count - 1)

    def note_table(self, path: KeyPath, start: int) -> None:
        position = self.position(start)
        self.paths.setdefault(path, Located(position, position))

    def settle(self, path: KeyPath, start: int) -> None:
        if path in self.settled:
            again = Repeated(path, self.position(start), self.paths[path].key)
            self.repeated.append(again)
        self.settled.add(path)

    def key(self) -> list[tuple[str, int]]:
        """Read a dotted key and return its parts with their places."""
        parts: list[tuple[str, int]] = []
        while True:
            self.skip(_SPACE)
            start = self.at
            parts.append((self.key_part(), start))
            if len(parts) > MAX_DEPTH:
                raise TooDeepError(self.position(start))
            self.skip(_SPACE)
            if self.peek() != ".":
                return parts
            self.at += 1

    def key_part(self) -> str:
        for pattern in (_BARE_KEY, _BASIC, _LITERAL):
            match = pattern.match(self.text, self.at)
            if match:
                self.at = match.end()
                if pattern is _BASIC:
                    return _ESCAPE.sub(_unescape, match[1])
                return match[match.lastindex or 0]
        raise _LostError

    def assigned(self, table: KeyPath) -> tuple[KeyPath, int]:
        """Read ``key =`` inside ``table``; return the key's path and its place."""
        path = table
        parts = self.key()
        for name, start in parts[:-1]:
            path = (*path, name)
            self.note_table(path, start)
        name, start = parts[-1]
        self.expect("=")
        return (*path, name), start

    def pair(self, table: KeyPath) -> None:
        path, start = self.assigned(table)
        stack: list[_Container] = []
        self.value(path, start, stack)
        while stack:
            self.element(stack)

    def element(self, stack: list[_Container]) -> None:
        """Read the next element of the innermost container, or its end."""
        inner = stack[-1]
        self.skip(_BETWEEN)
        if self.peek() == inner.closer:
            self.at += 1
            stack.pop()
        elif inner.closer == "]":
            path: KeyPath = (*inner.path, inner.count)
            inner.count += 1
            self.value(path, self.at, stack)
        else:
            path, start = self.assigned(inner.path)
            self.value(path, start, stack)

    def value(self, path: KeyPath, key_start: int, stack: list[_Container]) -> None:
        self.skip(_SPACE)
        self.settle(path, key_start)
        located = Located(self.position(key_start), self.position(self.at))
        self.paths.setdefault(path, located)
        mark = self.peek()
        if mark in {"[", "{"}:
            if len(stack) >= MAX_DEPTH:
                raise TooDeepError(located.value)
            self.at += 1
            stack.append(_Container(path, "]" if mark == "[" else "}"))
            return
        for pattern in (*_STRINGS, _BARE_VALUE):
            match = pattern.match(self.text, self.at)
            if match:
                self.at = match.end()
                return
        raise _LostError


def locate(text: str) -> Positions:
    """Return where every key path of a TOML text stands.

    Raises :class:`TooDeepError`, so that nobody has to recurse deeper; never fails otherwise.
    """
    scanner = _Scanner(text)
    complete = True
    try:
        scanner.document()
    except _LostError:
        complete = False
    return Positions(scanner.paths, tuple(scanner.repeated), complete)
