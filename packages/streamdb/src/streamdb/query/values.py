"""The values of a query: what may stand right of ``=``, by the kind of the field.

Every value prints in the base unit of its field, and reads back as itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TypeAlias

from streamdb.metadata.fields import Kind
from streamdb.music import MusicalKey, note_name, parse_key, parse_note


@dataclass(frozen=True, slots=True)
class Text:
    """A pattern: ``*`` is any text, ``?`` one letter; a backslash takes their meaning away."""

    pattern: str

    def __str__(self) -> str:
        return '"' + self.pattern.replace('"', '\\"') + '"'


@dataclass(frozen=True, slots=True)
class Number:
    """A number in the base unit of its field."""

    value: float

    def __str__(self) -> str:
        return format_number(self.value)


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers or dates from ``low`` to ``high``, both included; None is open."""

    low: float | str | None
    high: float | str | None

    def __str__(self) -> str:
        return "..".join(_format_end(end) for end in (self.low, self.high))


@dataclass(frozen=True, slots=True)
class KeyName:
    """A key; without a tonic every key of that mode."""

    tonic: int | None
    minor: bool

    def __str__(self) -> str:
        if self.tonic is None:
            return "minor" if self.minor else "major"
        return str(MusicalKey(self.tonic, self.minor))


@dataclass(frozen=True, slots=True)
class Flag:
    """Yes or no."""

    value: bool

    def __str__(self) -> str:
        return "yes" if self.value else "no"


@dataclass(frozen=True, slots=True)
class Date:
    """The beginning of an ISO date: ``2024``, ``2024-06`` or ``2024-06-01T12:00``."""

    text: str

    def __str__(self) -> str:
        return self.text


Value: TypeAlias = Text | Number | Range | KeyName | Flag | Date


class BadValue(ValueError):
    """The text is no value of that kind; the message says what is allowed."""


_UNITS: dict[Kind, dict[str, str]] = {
    Kind.FREQUENCY: {"": "1", "hz": "1", "khz": "1000", "k": "1000", "mhz": "1000000"},
    Kind.DURATION: {
        "": "1",
        "s": "1",
        "sec": "1",
        "ms": "0.001",
        "us": "0.000001",
        "µs": "0.000001",
        "min": "60",
        "h": "3600",
    },
    Kind.TEMPO: {"": "1", "bpm": "1"},
    Kind.BITS: {"": "1", "bit": "1", "bits": "1"},
    Kind.CHANNELS: {"": "1", "ch": "1"},
    Kind.SIZE: {
        "": "1",
        "b": "1",
        **{f"{prefix}b": str(1000**power) for power, prefix in enumerate("kmgt", 1)},
        **{f"{prefix}ib": str(1024**power) for power, prefix in enumerate("kmgt", 1)},
    },
    Kind.INTEGER: {"": "1"},
    Kind.NUMBER: {"": "1", "db": "1", "lufs": "1", "dbtp": "1"},
}

_EXAMPLES = {
    Kind.FREQUENCY: "a frequency such as 44100, 44.1kHz or 44.1kHz..96kHz",
    Kind.DURATION: "a duration such as 2s, 500ms, 1.5min, 1:30 or 1s..2s",
    Kind.TEMPO: "a tempo such as 120, 120BPM or 118..122",
    Kind.BITS: "bits such as 16, 24bit or 16..24",
    Kind.CHANNELS: "a number of channels, or mono, stereo, quad, 5.1, 7.1",
    Kind.SIZE: "a size such as 4096, 64KiB, 1MiB, 2.5MB or 1MiB..1GiB",
    Kind.INTEGER: "a number such as 16, or a range such as 1..16",
    Kind.NUMBER: "a number such as -23.5, or a range such as -24..-22",
    Kind.KEY: "a key such as Cmin, F#m, Eb, 'C minor' (in double quotes), 8A, minor or major",
    Kind.NOTE: "a note such as C3 or F#4, a MIDI number 0 to 127, or a range such as C2..C4",
    Kind.FLAG: "yes or no",
    Kind.DATE: "a date such as 2024, 2024-06, 2024-06-01, or a range such as 2019..2024",
}

_WORDS = {"mono": 1, "stereo": 2, "quad": 4, "5.1": 6, "7.1": 8}
_NUMBER = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?)\s*(\D*)")
_CLOCK = re.compile(r"(?:([0-9]{1,4}):)?([0-9]{1,4}):([0-5]?[0-9](?:\.[0-9]+)?)")
_DATE = re.compile(r"[0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2}(?:[T ][0-9:.]{2,15}Z?)?)?)?")
_MODES = {"min": True, "minor": True, "maj": False, "major": False}
_FLAGS = {"yes": True, "true": True, "1": True, "on": True, "no": False, "false": False}
_FLAGS |= {"0": False, "off": False}


def format_number(value: float) -> str:
    """A number that reads back as itself; whole ones without a point.

    >>> format_number(96000.0), format_number(0.1)
    ('96000', '0.1')
    """
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _format_end(end: float | str | None) -> str:
    if end is None:
        return ""
    return end if isinstance(end, str) else format_number(end)


def read_value(kind: Kind, pattern: str) -> Value:
    """The value that ``pattern`` (escapes kept) stands for in a field of that kind.

    Raises BadValue with what would be allowed.
    """
    if kind in {Kind.TEXT, Kind.TAGS, Kind.LOOSE}:
        return Text(pattern)
    try:
        return _READERS.get(kind, _read_quantity)(kind, unescape(pattern).strip())
    except BadValue:
        raise BadValue(_EXAMPLES[kind]) from None


def unescape(pattern: str) -> str:
    """The pattern without its backslashes, for values in which no letter is special."""
    return re.sub(r"\\(.)", r"\1", pattern, flags=re.DOTALL)


def read_quantity(kind: Kind, text: str) -> float:
    """One number with its unit, in the base unit; BadValue when it is none."""
    text = text.strip()
    if kind is Kind.CHANNELS and text.lower() in _WORDS:
        return float(_WORDS[text.lower()])
    if kind is Kind.NOTE:
        note = parse_note(text)
        if note is None:
            raise BadValue
        return float(note)
    clock = _CLOCK.fullmatch(text) if kind is Kind.DURATION else None
    if clock:
        hours, minutes, seconds = (Decimal(part or 0) for part in clock.groups())
        return float(hours * 3600 + minutes * 60 + seconds)
    match = _NUMBER.fullmatch(text)
    factor = _UNITS.get(kind, {"": "1"}).get(match[2].strip().lower()) if match else None
    if match is None or factor is None:
        raise BadValue
    try:
        value = float(Decimal(match[1]) * Decimal(factor))
    except (InvalidOperation, OverflowError):
        raise BadValue from None
    if not math.isfinite(value):
        raise BadValue
    return value + 0.0  # never -0.0, which prints as another number than it equals


def _read_quantity(kind: Kind, text: str) -> Value:
    if ".." not in text:
        return Number(read_quantity(kind, text))
    low, high = _ends(text)
    first = read_quantity(kind, low) if low else None
    last = read_quantity(kind, high) if high else None
    if first is not None and last is not None and first > last:
        raise BadValue
    return Range(first, last)


def _ends(text: str) -> tuple[str, str]:
    low, separator, high = text.partition("..")
    if not separator or ".." in high or not (low.strip() or high.strip()):
        raise BadValue
    return low.strip(), high.strip()


def _read_key(_kind: Kind, text: str) -> Value:
    if text.lower() in _MODES:
        return KeyName(None, _MODES[text.lower()])
    key = parse_key(text)
    if key is None:
        raise BadValue
    return KeyName(key.tonic, key.minor)


def _read_flag(_kind: Kind, text: str) -> Value:
    if text.lower() not in _FLAGS:
        raise BadValue
    return Flag(_FLAGS[text.lower()])


def _read_date(_kind: Kind, text: str) -> Value:
    if ".." not in text:
        return Date(_check_date(text))
    low, high = (_check_date(end) if end else None for end in _ends(text))
    return Range(low, high)


def _check_date(text: str) -> str:
    if not _DATE.fullmatch(text):
        raise BadValue
    return text.replace(" ", "T")


_READERS: dict[Kind, Callable[[Kind, str], Value]] = {
    Kind.KEY: _read_key,
    Kind.FLAG: _read_flag,
    Kind.DATE: _read_date,
}

__all__ = [
    "BadValue",
    "Date",
    "Flag",
    "KeyName",
    "Number",
    "Range",
    "Text",
    "Value",
    "format_number",
    "note_name",
    "read_quantity",
    "read_value",
    "unescape",
]
