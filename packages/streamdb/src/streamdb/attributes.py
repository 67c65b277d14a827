"""Nine bytes in every document's row that let ``find`` pass over most documents unread.

They hold rate, channels, bits, key, tempo and duration, coarsely. A query looks at them first and
reads the metadata only of what may match, so a million documents are scanned in about a second
without an index that every write would have to keep.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamdb.query import Query

SIZE = 9
UNKNOWN = b"\xff" * SIZE
"""Nothing is said (the metadata is encrypted): the document must be read."""

NAMES = ("rate", "channels", "bits", "tempo", "duration")

_PACK = struct.Struct("<HBBxee")
_BEYOND = 0xFFFF
_HALF_MAX = 65504.0


def pack(metadata: Mapping[str, Any]) -> bytes:
    """The attributes of a document; zero stands for what it does not have, or has as zero."""
    if not metadata:
        return bytes(SIZE)
    return _PACK.pack(
        _coarse_rate(metadata.get("rate")),
        _small(metadata.get("channels")),
        _small(metadata.get("bits")),
        _half(metadata.get("tempo")),
        _half(metadata.get("duration")),
    )


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


def _half(value: object) -> float:
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


def may_match(ranges: Mapping[str, tuple[float, float]], at: int) -> Callable[[bytes], bool] | None:
    """A test on a row's value: False only when the document cannot lie in all ``ranges``.

    Args:
        ranges: by name, the lowest and highest number that match; other names are passed over.
        at: where the attributes lie in the value.
    """
    tests = [_TESTS[name](low, high) for name, (low, high) in ranges.items() if name in _TESTS]
    if not tests:
        return None
    unpack = _PACK.unpack_from
    if len(tests) == 1:
        index, low, high, beyond = tests[0]

        def one(value: bytes) -> bool:
            held = unpack(value, at)[index]
            return low <= held <= high or held == beyond or _unknown(value, at)

        return one

    def several(value: bytes) -> bool:
        held = unpack(value, at)
        for index, low, high, beyond in tests:
            number = held[index]
            if not (low <= number <= high or number == beyond):
                return _unknown(value, at)
        return True

    return several


def _unknown(value: bytes, at: int) -> bool:
    return value[at : at + SIZE] == UNKNOWN


_Test = tuple[int, float, float, float]


def _rate_test(low: float, high: float) -> _Test:
    return 0, low / 2 - 1, high / 2 + 1, _BEYOND


def _small_test(index: int) -> Callable[[float, float], _Test]:
    return lambda low, high: (index, low, high, 255)


def _half_test(index: int) -> Callable[[float, float], _Test]:
    # Half floats keep 11 bits: a value may have moved by 1/2048 of itself, tiny ones by 2**-24.
    return lambda low, high: (
        index,
        low - abs(low) / 1024 - 1e-6,
        high + abs(high) / 1024 + 1e-6,
        math.inf,
    )


_TESTS: dict[str, Callable[[float, float], _Test]] = {
    "rate": _rate_test,
    "channels": _small_test(1),
    "bits": _small_test(2),
    "tempo": _half_test(3),
    "duration": _half_test(4),
}
