"""The query language of ``find``: ``rate=96000 duration<2s tempo=118..122 key=Cmin -tag:old``.

Terms stand side by side and all must hold; ``-`` or ``!`` before a term turns it round; ``|``
between values means any of them. docs/reference/streamdb-metadata.md lists the fields and units.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streamdb.errors import InvalidQuery
from streamdb.metadata.fields import ALIASES, DERIVED, FIELDS, Kind
from streamdb.query.match import Test, is_wild, make_test
from streamdb.query.values import BadValue, Range, Text, Value, read_value, unescape

MAX_LENGTH = 4096
"""The longest query, in characters."""

_FIELD = re.compile(r"([A-Za-z_][A-Za-z0-9_.\-]*)(!=|<=|>=|==|[=:<>~])")
_BARE = re.compile(r'(?:[^\s|"\\]|\\.)+', re.DOTALL)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_SPACE = re.compile(r"\s*")

_TEXT_OPS = ("=", ":")
_ORDER_OPS = ("=", ":", "<", "<=", ">", ">=")
_OPS = {
    Kind.TEXT: _TEXT_OPS,
    Kind.TAGS: _TEXT_OPS,
    Kind.FLAG: _TEXT_OPS,
    Kind.KEY: (*_TEXT_OPS, "~"),
    Kind.DATE: _ORDER_OPS,
    Kind.LOOSE: (*_ORDER_OPS, "~"),
}
_NUMERIC_OPS = (*_ORDER_OPS, "~")


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: a field, an operator, values of which any may hold; ``negated`` turns it."""

    field: str
    op: str
    values: tuple[Value, ...]
    negated: bool = False

    def __str__(self) -> str:
        values = "|".join(map(str, self.values))
        return f"{'-' if self.negated else ''}{self.field}{self.op}{values}"


@dataclass(frozen=True)
class Query:
    """A parsed query. ``str()`` writes it in base units; parsing that gives an equal query.

    >>> str(parse("rate=44.1kHz duration<500ms kick"))
    'rate=44100 duration<0.5 text:"kick"'
    """

    terms: tuple[Term, ...] = ()
    _tests: tuple[Test, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # What needs no metadata is asked first.
        cheap_first = sorted(self.terms, key=lambda term: term.field not in _FREE)
        object.__setattr__(self, "_tests", tuple(make_test(term) for term in cheap_first))

    def matches(self, path: str, metadata: Mapping[str, Any], size: int) -> bool:
        """Whether a document of that path, metadata and size (bytes) is meant.

        A field that the document lacks makes its term false, and the negated term true.

        >>> parse("tempo=118..122 ext=wav").matches("a/loop.wav", {"tempo": 120.0}, 4096)
        True
        """
        return all(test(path, metadata, size) for test in self._tests)

    def prefix(self) -> str | None:
        """What the path of every match begins with, or None when nothing can be said.

        >>> parse("path:/drums/ rate=96000").prefix()
        'drums/'
        """
        found = [
            _common_start([_literal_start(value) for value in term.values])
            for term in self.terms
            if term.field == "path" and not term.negated
        ]
        return max(found, key=len, default="") or None

    @property
    def uses_metadata(self) -> bool:
        """Whether any term needs more than path and size."""
        return any(term.field not in _FREE for term in self.terms)

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))


#: Fields that are answered from path and size alone.
_FREE = {"path", "name", "ext", "size"}


def parse(text: str) -> Query:
    """Read a query.

    Raises InvalidQuery with the column (from 1) and what would be allowed there.

    >>> parse('key=Cmin|Ebmaj name:"kick*"').terms[0].values
    (KeyName(tonic=0, minor=True), KeyName(tonic=3, minor=False))
    """
    if len(text) > MAX_LENGTH:
        raise InvalidQuery(
            f"the query is {len(text)} characters long, the limit is {MAX_LENGTH}",
            next_step="ask for less at once",
            column=MAX_LENGTH + 1,
        )
    terms = []
    position = _skip(text, 0)
    while position < len(text):
        term, position = _term(text, position)
        terms.append(term)
        if position < len(text) and not text[position].isspace():
            raise _unexpected(text, position)
        position = _skip(text, position)
    return Query(tuple(terms))


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _term(text: str, position: int) -> tuple[Term, int]:
    negated = text[position] in "-!"
    position += negated
    match = _FIELD.match(text, position)
    if not match:
        values, end = _values(text, position)
        return Term("text", ":", tuple(Text(value) for value, _ in values), negated), end
    name, op = match.groups()
    field_name, kind = _field(name, position + 1)
    if op == "!=":
        op, negated = "=", not negated
    op = _operator(name, kind, "=" if op == "==" else op, position + len(name) + 1)
    values, end = _values(text, match.end())
    read = tuple(_read(field_name, kind, value, column) for value, column in values)
    if op not in _TEXT_OPS and (len(read) > 1 or isinstance(read[0], Range)) and op != "~":
        raise InvalidQuery(
            f"{name}{op} takes one value",
            why="smaller or greater than several values, or than a range, has no meaning",
            next_step=f"write {name}=LOW..HIGH, or {name}=ONE|OTHER",
            column=match.end() + 1,
        )
    return Term(field_name, op, read, negated), end


def _field(name: str, column: int) -> tuple[str, Kind]:
    known = ALIASES.get(name.lower(), name.lower())
    if known in FIELDS:
        return known, FIELDS[known].kind
    first, _dot, rest = name.partition(".")
    if rest and (first == "meta" or ALIASES.get(first, first) in FIELDS):
        return (name if first == "meta" else f"meta.{name}"), Kind.LOOSE
    raise _unknown_field(name, column)


def _unknown_field(name: str, column: int) -> InvalidQuery:
    import difflib

    names = sorted({*FIELDS, *ALIASES})
    close = difflib.get_close_matches(name.lower(), names, n=1)
    return InvalidQuery(
        f"there is no field {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""),
        why=f"column {column}; fields: {', '.join(names)}",
        next_step=f"use one of these fields, meta.{name} for metadata of your own,"
        " or quotes for plain text",
        column=column,
    )


def _operator(name: str, kind: Kind, op: str, column: int) -> str:
    allowed = _OPS.get(kind, _NUMERIC_OPS)
    if op not in allowed:
        raise InvalidQuery(
            f"{name} ({kind.value}) cannot be asked with {op!r}",
            why=f"column {column}; allowed: {' '.join((*allowed, '!='))}",
            next_step=f"write {name}=VALUE",
            column=column,
        )
    # Only texts tell "contains" from "equals".
    return "=" if op == ":" and kind not in {Kind.TEXT, Kind.TAGS, Kind.LOOSE} else op


def _read(field_name: str, kind: Kind, pattern: str, column: int) -> Value:
    try:
        value = read_value(kind, pattern)
    except BadValue as error:
        raise InvalidQuery(
            f"{field_name} cannot be {unescape(pattern)!r}",
            why=f"column {column}",
            next_step=f"write {error}",
            column=column,
        ) from None
    if field_name == "has":
        return Text(_present(unescape(pattern), column))
    return value


def _present(name: str, column: int) -> str:
    """The metadata key that ``has:`` asks for."""
    if name.startswith("meta."):
        return name.removeprefix("meta.").replace("\\", r"\\").replace("*", r"\*")
    known, _kind = _field(name, column)
    if known in {derived.name for derived in DERIVED} or known.startswith("meta."):
        raise InvalidQuery(
            f"has: asks for a field of the metadata, {name!r} is none",
            why=f"column {column}",
            next_step="write has:tempo, has:key, or has:meta.NAME",
            column=column,
        )
    return known


def _values(text: str, position: int) -> tuple[list[tuple[str, int]], int]:
    """The patterns between bars from ``position`` on, each with its column, and where they end."""
    found = []
    while True:
        pattern, end = _value(text, position)
        found.append((pattern, position + 1))
        if end >= len(text) or text[end] != "|":
            return found, end
        position = end + 1


def _value(text: str, position: int) -> tuple[str, int]:
    quoted = _QUOTED.match(text, position)
    match = quoted or _BARE.match(text, position)
    if not match:
        raise _unexpected(text, position)
    return _pattern(quoted[1] if quoted else match[0], position + 1), match.end()


def _pattern(raw: str, column: int) -> str:
    for escape in re.finditer(r"\\(.)", raw, re.DOTALL):
        if escape[1] not in '*?\\"':
            raise InvalidQuery(
                f"a backslash before {escape[1]!r} means nothing",
                why=f"column {column + escape.start()}",
                next_step=r"write \\ for a backslash; \*, \? and \" take a sign's meaning away",
                column=column + escape.start(),
            )
    return re.sub(r'\\(")|(\\.)', lambda match: match[1] or match[2], raw, flags=re.DOTALL)


def _unexpected(text: str, position: int) -> InvalidQuery:
    rest = text[position : position + 20]
    if not rest or rest[0].isspace() or rest[0] == "|":
        what, step = "a value is missing", "write FIELD=VALUE without spaces, or a word"
    elif rest[0] == "\\":
        what, step = "the backslash stands before nothing", r"write \\ for a backslash"
    elif text.count('"', position) == 1:
        what, step = "a quotation mark is not closed", 'close it: name:"kick drum"'
    else:
        what, step = f"{rest!r} is not understood", 'put the whole value in quotes: name:"a b"'
    return InvalidQuery(
        what, why=f"column {position + 1}: {rest!r}", next_step=step, column=position + 1
    )


def _common_start(texts: list[str]) -> str:
    low, high = min(texts), max(texts)
    same = (one == other for one, other in zip(low, high, strict=False))
    return low[: next((at for at, equal in enumerate(same) if not equal), len(low))]


def _literal_start(value: Value) -> str:
    """The text before the first wildcard of a path, which every match begins with."""
    assert isinstance(value, Text)
    pattern = value.pattern.removeprefix("/")
    if is_wild(pattern):
        match = re.match(r"(?:[^*?\\]|\\.)*", pattern, re.DOTALL)
        pattern = match[0] if match else ""
    return unescape(pattern)


__all__ = ["MAX_LENGTH", "InvalidQuery", "Query", "Term", "parse"]
