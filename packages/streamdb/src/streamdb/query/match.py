"""From a term to a test of one document. Tests are made once per query and called per document."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from streamdb.metadata.fields import FIELDS, Kind
from streamdb.music import parse_key
from streamdb.query.values import (
    BadValue,
    Date,
    Flag,
    KeyName,
    Number,
    Range,
    Text,
    Value,
    read_quantity,
    unescape,
)

if TYPE_CHECKING:
    from streamdb.query import Term

Test: TypeAlias = Callable[[str, Mapping[str, Any], int], bool]
"""(path, metadata, size in bytes) → whether the document is meant."""

NEAR = 0.03
"""How far ``~`` reaches: 3 % to both sides."""

_SAME = 5e-4
_FLOATS = {Kind.DURATION, Kind.TEMPO, Kind.NUMBER, Kind.LOOSE}
_WILD = re.compile(r"\\(.)|([*?])", re.DOTALL)


def make_test(term: Term) -> Test:
    """The test of one term, its negation included."""
    tests = [_positive(term, value) for value in term.values]
    if len(tests) == 1:
        only = tests[0]
        if not term.negated:
            return only
        return lambda path, metadata, size: not only(path, metadata, size)
    negated = term.negated
    return lambda path, metadata, size: (
        any(test(path, metadata, size) for test in tests) is not negated
    )


def _positive(term: Term, value: Value) -> Test:
    maker = _SPECIAL.get(term.field)
    if maker:
        return maker(term.op, value)
    loose = term.field not in FIELDS
    kind = Kind.LOOSE if loose else FIELDS[term.field].kind
    test = _value_test(kind, term.op, value)
    keys = term.field.removeprefix("meta.").split(".")
    if len(keys) == 1:
        return _field_test(keys[0], test)
    return lambda _path, metadata, _size: any(test(found) for found in _dig(metadata, keys))


def _field_test(key: str, test: Callable[[Any], bool]) -> Test:
    def run(_path: str, metadata: Mapping[str, Any], _size: int) -> bool:
        found = metadata.get(key)
        if isinstance(found, list | tuple):
            return any(test(item) for item in found)
        return found is not None and test(found)

    return run


def _dig(found: Any, keys: list[str]) -> Iterator[Any]:
    """Every value at the dotted name; lists are entered at each step."""
    if isinstance(found, list | tuple):
        for item in found:
            yield from _dig(item, keys)
    elif not keys:
        if found is not None:
            yield found
    elif isinstance(found, Mapping):
        yield from _dig(found.get(keys[0]), keys[1:])


def _value_test(kind: Kind, op: str, value: Value) -> Callable[[Any], bool]:
    match value:
        case Text():
            return _loose_test(op, value) if kind is Kind.LOOSE else _text_test(kind, op, value)
        case KeyName():
            return key_test(op, value)
        case Flag():
            return lambda found: found is value.value
        case Date():
            return _date_test(op, value.text)
        case Range(str(), _) | Range(_, str()):
            return _date_range_test(value)
        case Range():
            return _range_test(value)
        case Number():
            return _number_test(op, value.value, _SAME if kind in _FLOATS else 0.0)


def _is_number(found: Any) -> bool:
    return isinstance(found, int | float) and not isinstance(found, bool)


def _number_test(op: str, wanted: float, tolerance: float) -> Callable[[Any], bool]:
    if op in _COMPARISONS:
        compare = _COMPARISONS[op]
        return lambda found: _is_number(found) and compare(found, wanted)
    reach = NEAR if op == "~" else tolerance
    return lambda found: (
        _is_number(found) and math.isclose(found, wanted, rel_tol=reach, abs_tol=1e-9)
    )


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _range_test(span: Range) -> Callable[[Any], bool]:
    low = -math.inf if span.low is None else span.low
    high = math.inf if span.high is None else span.high
    return lambda found: _is_number(found) and low <= found <= high


def _date_test(op: str, wanted: str) -> Callable[[Any], bool]:
    # Dates are compared as far as the wanted one goes: 2024-06-30 is not after 2024-06.
    compare = {**_COMPARISONS, "=": operator.eq}[op]
    return lambda found: isinstance(found, str) and compare(found[: len(wanted)], wanted)


def _date_range_test(span: Range) -> Callable[[Any], bool]:
    low, high = str(span.low or ""), str(span.high or "")
    return lambda found: (
        isinstance(found, str)
        and found[: len(low)] >= low
        and (not high or found[: len(high)] <= high)
    )


def key_test(op: str, wanted: KeyName) -> Callable[[Any], bool]:
    """A test on a value of the metadata: whether it names a key that is meant."""
    good = _keys_near(wanted) if op == "~" else {(wanted.tonic, wanted.minor)}

    def run(found: Any) -> bool:
        key = _parse_key(found) if isinstance(found, str) else None
        if key is None:
            return False
        return (key.tonic, key.minor) in good or (None, key.minor) in good

    return run


_parse_key = lru_cache(maxsize=1024)(parse_key)


def _keys_near(key: KeyName) -> set[tuple[int | None, bool]]:
    """The key, its relative, and the keys a fifth up and down: what mixes without clashing."""
    if key.tonic is None:
        return {(None, key.minor)}
    relative = (key.tonic + (3 if key.minor else -3)) % 12
    near: set[tuple[int | None, bool]] = {(relative, not key.minor)}
    near.update(((key.tonic + step) % 12, key.minor) for step in (0, 7, -7))
    return near


def is_wild(pattern: str) -> bool:
    """Whether the pattern has a ``*`` or ``?`` that is meant as such."""
    return any(match[2] for match in _WILD.finditer(pattern))


def glob(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression for a whole text, linear in it however many stars."""
    parts: list[str] = [""]
    position = 0
    for match in _WILD.finditer(pattern):
        parts[-1] += re.escape(pattern[position : match.start()])
        position = match.end()
        if match[2] == "*":
            parts.append("")
        else:
            parts[-1] += "." if match[2] else re.escape(match[1])
    parts[-1] += re.escape(pattern[position:])
    if len(parts) == 1:
        return re.compile(parts[0], re.DOTALL)
    # Atomic groups: the first place where a part fits is as good as any later one, save the last.
    middle: str = "".join(f"(?>.*?{part})" for part in parts[1:-1] if part)
    return re.compile(f"{parts[0]}{middle}.*{parts[-1]}", re.DOTALL)


def _folded_test(op: str, value: Text) -> Callable[[str], bool]:
    """Whether a text fits; upper and lower case are one."""
    pattern = value.pattern.casefold()
    if is_wild(pattern):
        fits = glob(pattern).fullmatch
        return lambda text: fits(text.casefold()) is not None
    wanted = unescape(pattern)
    if op == ":":
        return lambda text: wanted in text.casefold()
    return lambda text: text.casefold() == wanted


def _text_test(kind: Kind, op: str, value: Text) -> Callable[[Any], bool]:
    fits = _folded_test("=" if kind is Kind.TAGS else op, value)
    return lambda found: isinstance(found, str) and fits(found)


def _loose_test(op: str, value: Text) -> Callable[[Any], bool]:
    """For fields of unknown kind: numbers compare as numbers, everything else as text."""
    number = _loose_number(op, unescape(value.pattern))
    fits = _folded_test(op, value) if op in {"=", ":"} else None

    def run(found: Any) -> bool:
        if isinstance(found, bool):
            return fits is not None and (fits("true" if found else "false"))
        if isinstance(found, int | float):
            return number is not None and number(found)
        return fits is not None and isinstance(found, str) and fits(found)

    return run


def _loose_number(op: str, text: str) -> Callable[[Any], bool] | None:
    low, separator, high = text.partition("..")
    try:
        if not separator:
            return _number_test(op, read_quantity(Kind.LOOSE, text), _SAME)
        if op not in {"=", ":"} or not (low or high):
            return None
        first = read_quantity(Kind.LOOSE, low) if low else None
        return _range_test(Range(first, read_quantity(Kind.LOOSE, high) if high else None))
    except BadValue:
        return None


def _path_test(op: str, value: Value) -> Test:
    assert isinstance(value, Text)
    pattern = value.pattern.removeprefix("/")
    if is_wild(pattern):
        fits = glob(pattern).fullmatch
        return lambda path, _metadata, _size: fits(path) is not None
    wanted = unescape(pattern)
    if op == ":":
        return lambda path, _metadata, _size: path.startswith(wanted)
    return lambda path, _metadata, _size: path == wanted


def _name_test(op: str, value: Value) -> Test:
    assert isinstance(value, Text)
    fits = _folded_test(op, value)

    def run(path: str, _metadata: Mapping[str, Any], _size: int) -> bool:
        name = path.rpartition("/")[2]
        stem = name.rpartition(".")[0]
        return fits(name) or (bool(stem) and fits(stem))

    return run


def _ext_test(_op: str, value: Value) -> Test:
    assert isinstance(value, Text)
    fits = _folded_test("=", Text(value.pattern.removeprefix(".")))

    def run(path: str, _metadata: Mapping[str, Any], _size: int) -> bool:
        stem, _dot, suffix = path.rpartition("/")[2].rpartition(".")
        return bool(stem) and fits(suffix)

    return run


def _size_test(op: str, value: Value) -> Test:
    test = _value_test(Kind.SIZE, op, value)
    return lambda _path, _metadata, size: test(size)


_TEXT_FIELDS = tuple(
    name
    for name, field in FIELDS.items()
    if field.kind in {Kind.TEXT, Kind.TAGS}
    and name not in {"path", "name", "ext", "text", "has", "problem", "tempo_source", "key_source"}
)


def _anywhere_test(op: str, value: Value) -> Test:
    assert isinstance(value, Text)
    fits = _folded_test(op, value)

    def run(path: str, metadata: Mapping[str, Any], _size: int) -> bool:
        return fits(path) or any(fits(text) for text in _texts(metadata))

    return run


def _texts(metadata: Mapping[str, Any]) -> Iterable[str]:
    for name in _TEXT_FIELDS:
        found = metadata.get(name)
        if isinstance(found, str):
            yield found
        elif isinstance(found, list | tuple):
            yield from (item for item in found if isinstance(item, str))


def _has_test(_op: str, value: Value) -> Test:
    assert isinstance(value, Text)
    name = unescape(value.pattern)
    return lambda _path, metadata, _size: metadata.get(name) is not None


_SPECIAL: dict[str, Callable[[str, Value], Test]] = {
    "path": _path_test,
    "name": _name_test,
    "ext": _ext_test,
    "size": _size_test,
    "text": _anywhere_test,
    "has": _has_test,
}
