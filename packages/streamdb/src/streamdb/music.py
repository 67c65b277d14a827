"""Musical keys and notes in the notations that people and programs write them in.

Keys compare by sound: C#min and Dbmin are one. Notes are MIDI numbers with middle C (60) as C4.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TONICS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "sharp": 1, "b": -1, "♭": -1, "flat": -1}
_MAJOR = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_MINOR = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")

_KEY = re.compile(
    r"(?P<tonic>[A-Ga-g])[ _-]?(?P<accidental>#|♯|b|♭|sharp|flat|)"
    r"[ _-]?(?P<mode>m|min|minor|M|maj|major|)",
)
_WHEEL = re.compile(r"(?P<number>1[0-2]|0?[1-9])(?P<letter>[ABab]|[dm])")
_NOTE = re.compile(r"(?P<tonic>[A-Ga-g])(?P<accidental>#|♯|b|♭|)(?P<octave>-?[0-9]{1,2})")


@dataclass(frozen=True, slots=True)
class MusicalKey:
    """A key: ``tonic`` is 0 (C) to 11 (B), whichever way it is spelled.

    >>> parse_key("Db minor") == parse_key("C#m")
    True
    """

    tonic: int
    minor: bool

    def __str__(self) -> str:
        name = (_MINOR if self.minor else _MAJOR)[self.tonic]
        return f"{name}{'min' if self.minor else 'maj'}"

    @property
    def camelot(self) -> str:
        """The key on the wheel that disc jockeys mix by.

        >>> parse_key("Am").camelot
        '8A'
        """
        home = 9 if self.minor else 0
        # Steps of a fifth from the home key: 7 is its own inverse modulo 12.
        number = ((self.tonic - home) * 7 + 7) % 12 + 1
        return f"{number}{'A' if self.minor else 'B'}"


def parse_key(text: str) -> MusicalKey | None:
    """The key that ``text`` names as a whole, or None.

    Understood: ``C``, ``Cmaj``, ``C major``, ``CM``; ``Cm``, ``cmin``, ``C-minor``, ``c_min``;
    sharps as ``#``, ``♯`` or ``sharp`` and flats as ``b``, ``♭`` or ``flat``; Camelot (``8A``) and
    Open Key (``1m``). A capital M is major, a small one minor, as on lead sheets.

    >>> str(parse_key("F#m")), str(parse_key("8B")), parse_key("H7")
    ('F#min', 'Cmaj', None)
    """
    text = text.strip()
    match = _WHEEL.fullmatch(text)
    if match:
        return _key_on_wheel(int(match["number"]), match["letter"])
    if len(text) > 1 and text[1:] not in {"M", "m"} and not text.endswith(("#M", "bM", "♯M", "♭M")):
        text = text.lower()
    match = _KEY.fullmatch(text)
    if not match:
        return None
    tonic = (_TONICS[match["tonic"].lower()] + _ACCIDENTALS[match["accidental"]]) % 12
    return MusicalKey(tonic, match["mode"] in {"m", "min", "minor"})


def _key_on_wheel(number: int, letter: str) -> MusicalKey:
    minor = letter in "Aam"
    if letter in "dm":  # Open Key counts from C major and A minor, Camelot from seven hours before
        number += 7
    home = 9 if minor else 0
    return MusicalKey((home + 7 * (number - 8)) % 12, minor)


def parse_note(text: str) -> int | None:
    """The MIDI number (0 to 127) of a note such as ``C4``, ``F#-1``, ``Bb2`` or ``60``, or None.

    >>> parse_note("A4"), parse_note("C#5"), parse_note("60"), parse_note("Q1")
    (69, 73, 60, None)
    """
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,3}", text, re.ASCII):
        number = int(text)
        return number if number <= 127 else None
    match = _NOTE.fullmatch(text)
    if not match:
        return None
    semitone = _TONICS[match["tonic"].lower()] + _ACCIDENTALS[match["accidental"]]
    number = 12 * (int(match["octave"]) + 1) + semitone
    return number if 0 <= number <= 127 else None


def note_name(number: int) -> str:
    """The name of a MIDI note, sharps only.

    >>> note_name(60), note_name(69), note_name(1)
    ('C4', 'A4', 'C#-1')
    """
    names = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
    return f"{names[number % 12]}{number // 12 - 1}"
