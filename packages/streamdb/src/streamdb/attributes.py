"""Nine bytes in every document's row that let ``find`` pass over most documents unread.

They hold rate, channels, bits, key, tempo and duration, coarsely. A query looks at them first and
reads the metadata only of what may match, so a million documents are scanned in a second
without an index that every write would have to keep.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from streamdb.music import MusicalKey, parse_key

if TYPE_CHECKING:
    from streamdb.query import Query

SIZE = 9
UNKNOWN = b"\xff" * SIZE
"""Nothing is said (the metadata is encrypted): the document must be read."""

_NOTHING = b"\0\0\0\0\1\0\0\0\0"

NAMES = ("rate", "channels", "bits", "tempo", "duration")

_FRONT = struct.Struct("<HBBB")
_TIMES = struct.Struct("<ee")
_BEYOND = 0xFFFF
_HALF_MAX = 65504.0

# The byte of the key: what is said of it, then 2 + 2 * tonic + (1 if minor).
_UNSAID, _NO_KEY, _OTHER_KEY = 0, 1, 255
_KEY_CODES = {
    str(MusicalKey(tonic, minor)): 2 + 2 * tonic + minor
    for tonic in range(12)
    for minor in (False, True)
}


def pack(metadata: Mapping[str, Any]) -> bytes:
    """The attributes of a document; zero stands for what it does not have, or has as zero."""
    if not metadata:
        return _NOTHING
    get = metadata.get
    coarse = get("rate"), get("channels"), get("bits"), get("key")
    try:
        front = _front(*coarse)
    except TypeError:
        # A list or mapping among them cannot be remembered.
        front = _front.__wrapped__(*coarse)
    return front + _TIMES.pack(_half(get("tempo")), _half(get("duration")))


# Samples come in few combinations of these.
@lru_cache(maxsize=4096, typed=True)
def _front(rate: object, channels: object, bits: object, key: object) -> bytes:
    return _FRONT.pack(_coarse_rate(rate), _small(channels), _small(bits), _key(key))


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        # A list of numbers (or text) may match as well: say nothing about it.
        return None if value is None else math.inf
    return float(value)


def _coarse_rate(value: object) -> int:
    number = _number(value)
    if number is None:
        return 0
    return round(number / 2) if 0 <= number < 2 * _BEYOND - 2 else _BEYOND


def _small(value: object) -> int:
    number = _number(value)
    if number is None:
        return 0
    return int(number) if 0 <= number < 255 and number.is_integer() else 255


def _key_code(text: str) -> int:
    key = parse_key(text)
    return _OTHER_KEY if key is None else 2 + 2 * key.tonic + key.minor


def _key(value: object) -> int:
    if value is None:
        return _NO_KEY
    # A key that is long or of another type may match as well: say nothing about it.
    return _key_code(value) if isinstance(value, str) and len(value) < 32 else _OTHER_KEY


def _half(value: object) -> float:
    if type(value) is float and 0 <= value <= _HALF_MAX:
        return value
    number = _number(value)
    if number is None:
        return 0.0
    return number if 0 <= number <= _HALF_MAX else math.inf


def ranges_of(query: Query) -> dict[str, tuple[float, float]]:
    """The lowest and highest number that a query allows, for the names that are kept here.

    Wider than the query where that is simpler: what passes is asked again with its metadata.
    """
    from streamdb.query.values import Number, Range

    found: dict[str, tuple[float, float]] = {}
    for term in query.terms:
        if term.negated or term.field not in NAMES:
            continue
        spans = []
        for value in term.values:
            if isinstance(value, Number):
                spans.append(_span(term.op, value.value))
            elif isinstance(value, Range):
                low, high = value.low, value.high
                if isinstance(low, str) or isinstance(high, str):
                    return {}
                spans.append(
                    (-math.inf if low is None else low, math.inf if high is None else high)
                )
            else:
                spans.append((-math.inf, math.inf))
        low = min(span[0] for span in spans)
        high = max(span[1] for span in spans)
        before = found.get(term.field, (-math.inf, math.inf))
        found[term.field] = (max(low, before[0]), min(high, before[1]))
    return found


def _span(op: str, wanted: float) -> tuple[float, float]:
    # The query's own tolerances are 3 % for ~ and 0.0005 for =.
    slack = abs(wanted) / 16 if op == "~" else 0.001
    low = -math.inf if op in ("<", "<=") else wanted - slack
    high = math.inf if op in (">", ">=") else wanted + slack
    return low, high


class Field(NamedTuple):
    """Where a field lies in a row's value, and by its bytes whether a document may match."""

    start: int
    stop: int
    passes: Mapping[bytes, bool]


def fields(query: Query, at: int) -> list[Field]:
    """What a document's row must pass to be read for a query; what fails one cannot match.

    Args:
        query: what is looked for.
        at: where the attributes lie in a row's value.
    """
    found = [
        _field(name, partial(_within, *_TESTS[name](low, high)), at)
        for name, (low, high) in ranges_of(query).items()
    ]
    found += [_field("key", codes.__contains__, at) for codes in _keys_of(query)]
    return found


def _field(name: str, test: Callable[[Any], bool], at: int) -> Field:
    place, form = _PLACES[name]

    def passes(held: bytes) -> bool:
        return len(held) < form.size or test(form.unpack(held)[0])

    return Field(at + place, at + place + form.size, _Answers(passes))


class _Answers(dict[bytes, bool]):
    """The answers for the values that were seen: there are few, of two bytes at most."""

    def __init__(self, test: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._test = test

    def __missing__(self, held: bytes) -> bool:
        answer = self[held] = self._test(held)
        return answer


def _keys_of(query: Query) -> list[frozenset[int]]:
    """For each term that asks for keys, the numbers that stand for one that is meant."""
    from streamdb.query.match import key_test
    from streamdb.query.values import KeyName

    found = []
    for term in query.terms:
        keys = [value for value in term.values if isinstance(value, KeyName)]
        if term.field != "key" or term.negated or len(keys) < len(term.values):
            continue
        tests = [key_test(term.op, value) for value in keys]
        codes = {code for name, code in _KEY_CODES.items() if any(test(name) for test in tests)}
        found.append(frozenset(codes | {_UNSAID, _OTHER_KEY}))
    return found


def _within(low: float, high: float, beyond: float, held: float) -> bool:
    # What is not a number stands for what is not said.
    return low <= held <= high or held == beyond or held != held


_Test = tuple[float, float, float]


def _rate_test(low: float, high: float) -> _Test:
    return low / 2 - 1, high / 2 + 1, _BEYOND


def _small_test(low: float, high: float) -> _Test:
    return low, high, 255


def _half_test(low: float, high: float) -> _Test:
    # Half floats keep 11 bits: a value may have moved by 1/2048 of itself, tiny ones by 2**-24.
    return low - abs(low) / 1024 - 1e-6, high + abs(high) / 1024 + 1e-6, math.inf


_TESTS: dict[str, Callable[[float, float], _Test]] = {
    "rate": _rate_test,
    "channels": _small_test,
    "bits": _small_test,
    "tempo": _half_test,
    "duration": _half_test,
}
_PLACES = {
    "rate": (0, struct.Struct("<H")),
    "channels": (2, struct.Struct("<B")),
    "bits": (3, struct.Struct("<B")),
    "key": (4, struct.Struct("<B")),
    "tempo": (5, struct.Struct("<e")),
    "duration": (7, struct.Struct("<e")),
}
