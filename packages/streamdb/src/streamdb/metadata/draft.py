"""What a reader collects while it reads: cleaned, bounded, typed by the table of fields.

Readers put facts in as they find them, so that a file which breaks off in the middle still gives
what came before.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from streamdb.metadata.fields import FIELDS, Kind
from streamdb.music import parse_key

Fact: TypeAlias = str | int | float | bool | list[Any] | dict[str, Any]

MAX_TEXT = 1024
"""The longest text of a field in characters; what is longer is cut and ends in an ellipsis."""

MAX_ITEMS = 256
"""The most items of a list."""

MAX_PROBLEM = 400

_TEMPO = (10.0, 999.0)
_INTEGERS = {Kind.INTEGER, Kind.FREQUENCY, Kind.CHANNELS, Kind.BITS, Kind.NOTE}
_TYPOGRAPHIC_SPACE = re.compile(r"\s+")


class Draft:
    """Facts and problems of one file, in the order in which they were found; the first one wins."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self._problems: list[str] = []

    def put(self, name: str, value: Any) -> None:
        """Note a fact unless it is None, empty, out of its kind's range, or known already."""
        if name in self.facts or value is None:
            return
        fact = _shape(FIELDS[name].kind, value)
        if fact is not None and fact not in ("", []):
            self.facts[name] = fact

    def put_tempo(self, beats_per_minute: Any, source: str) -> None:
        """Note a tempo together with where it was read."""
        if "tempo" not in self.facts:
            self.put("tempo", beats_per_minute)
            if "tempo" in self.facts:
                self.facts["tempo_source"] = source

    def put_key(self, text: Any, source: str) -> None:
        """Note a key, written in any notation, together with where it was read."""
        if "key" not in self.facts and isinstance(text, str):
            self.put("key", text)
            if "key" in self.facts:
                self.facts["key_source"] = source

    def put_markers(self, markers: Iterable[tuple[int, str]]) -> None:
        """Note cue points as frame and label, in the order of their frames."""
        unique = sorted(set(markers))[:MAX_ITEMS]
        if unique and "markers" not in self.facts:
            self.facts["markers"] = [
                {"frame": frame, "label": clean(label)} for frame, label in unique
            ]

    def put_length(self, frames: int, rate: int) -> None:
        """Note frames, and the duration that follows from them."""
        self.put("frames", frames)
        if rate > 0:
            self.put("duration", frames / rate)

    def problem(self, text: str) -> None:
        """Note what is wrong with the file; each thing once."""
        text = clean(text)
        if text and text not in self._problems and len(self._problems) < 8:
            self._problems.append(text)

    @property
    def trouble(self) -> str | None:
        """All problems as one text, or None."""
        return clean("; ".join(self._problems), MAX_PROBLEM) or None


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """Without control characters and unpaired surrogates, with single spaces, at most ``limit``.

    >>> clean(" Kick\\x00\\x1b[31m \\n drum ")
    'Kick [31m drum'
    """
    # Far longer than the limit is not worth cleaning: spaces alone could be megabytes.
    text = text[: limit * 4]
    text = "".join(
        letter if unicodedata.category(letter) not in {"Cc", "Cs", "Cf", "Zl", "Zp"} else " "
        for letter in text
    )
    text = _TYPOGRAPHIC_SPACE.sub(" ", text).strip()
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def decode(raw: bytes) -> str:
    """Text of unknown encoding up to its first NUL: UTF-8 where it is that, else Windows-1252.

    >>> decode(b"\\xc3\\xa9lan\\0junk"), decode(b"\\xe9lan")
    ('élan', 'élan')
    """
    raw = raw.split(b"\0", 1)[0]
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def leading_number(text: Any) -> float | None:
    """The number that a tag begins with (``3/12`` gives 3, ``120 BPM`` 120), or None."""
    match = re.match(r"\s*([0-9]{1,9}(?:[.,][0-9]{1,6})?)", str(text)[:40], re.ASCII)
    return float(match[1].replace(",", ".")) if match else None


def labels(text: str) -> list[str]:
    """The labels of a text that lists them with semicolons or commas.

    >>> labels("warm; analog,; vinyl")
    ['warm', 'analog', 'vinyl']
    """
    return [label for part in re.split(r"[;,\0]", text[:65536]) if (label := clean(part, 64))]


def _shape(kind: Kind, value: Any) -> Fact | None:
    if kind in _INTEGERS:
        return _integer(kind, value)
    if kind in {Kind.DURATION, Kind.NUMBER, Kind.TEMPO}:
        return _number(kind, value)
    if kind is Kind.KEY:
        key = parse_key(str(value)[:40])
        return None if key is None else str(key)
    if kind is Kind.FLAG:
        return bool(value)
    if kind is Kind.TAGS:
        items = value if isinstance(value, list | tuple) else [value]
        unique = dict.fromkeys(clean(str(item), 64) for item in items[:MAX_ITEMS])
        return [item for item in unique if item]
    return clean(str(value))


def _integer(kind: Kind, value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    least = 0 if kind in {Kind.INTEGER, Kind.NOTE} else 1
    most = 127 if kind is Kind.NOTE else (1 << 63) - 1
    return number if least <= number <= most else None


def _number(kind: Kind, value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if not math.isfinite(number) or (kind is Kind.DURATION and number < 0):
        return None
    if kind is Kind.TEMPO:
        number = round(number, 3)
        return number if _TEMPO[0] <= number <= _TEMPO[1] else None
    return round(number, 6)


def put_tags(draft: Draft, tags: Mapping[str, Iterable[str]], names: Mapping[str, str]) -> None:
    """Note tags under the fields that ``names`` (tag → field) gives them.

    ``tempo``, ``key`` and ``tags`` get their own treatment; ``track`` and ``date`` their form.
    """
    for tag, name in names.items():
        values = [text for text in tags.get(tag, ()) if text]
        if not values:
            continue
        if name == "tempo":
            draft.put_tempo(leading_number(values[0]), "tag")
        elif name == "key":
            draft.put_key(values[0], "tag")
        elif name == "tags":
            draft.put("tags", [label for value in values for label in labels(value)])
        elif name == "track":
            draft.put("track", leading_number(values[0]))
        elif name == "date":
            draft.put("date", iso_date(values[0]))
        else:
            draft.put(name, ", ".join(values[:16]))


def iso_date(text: str) -> str | None:
    """The ISO beginning of a date as tags write it (``2024``, ``2024-06-01``), or None."""
    match = re.match(
        r"\s*([0-9]{4})(?:[-/.:]([01][0-9])(?:[-/.:]([0-3][0-9]))?)?(?![0-9])", text, re.ASCII
    )
    return "-".join(part for part in match.groups() if part) if match else None
