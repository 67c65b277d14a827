"""Tempo and key as sample makers write them into file names.

Names are full of numbers and letters that mean something else, so the rules are strict: rather no
tempo than a wrong one.

Tempo:
  1. A number of 40 to 300 next to ``bpm`` (``120bpm``, ``BPM_92.5``, ``(90 BPM)``).
  2. Otherwise a bare number of 60 to 200, if it is the only one, stands between separators with
     something before or after it that makes it no mere numbering: other words on both sides, or
     the beginning of the name, or a word such as *loop* anywhere. Numbers with a unit (``120_Hz``),
     with a leading zero, of well-known machines (808, 909, 101, 106 ...), after words such as
     *take* or *vol*, and beside the note of a velocity layer do not count.

Key:
  1. Tonic and mode in one word: ``Cmin``, ``F#maj``, ``Ebminor``; or with a small m: ``Am``,
     ``F#m`` (``AM`` and ``GM`` are other things, and so is the ``Am`` of *Am I*).
  2. Tonic and mode in two words: ``C minor``, ``Bb_Maj`` (not the article: ``a minor fall``).
  3. ``key`` or ``key of`` followed by a key: ``Key_C``, ``key of Eb``.
  Chords (``Am7``, ``Cmaj9``) and bare letters are no keys; two different keys are none.
"""

from __future__ import annotations

import re

from streamdb.music import MusicalKey, parse_key

_BPM = re.compile(
    r"(?<![0-9.])([0-9]{2,3}(?:[.,][0-9]{1,2})?)[ _-]?bpm(?![a-z])"
    r"|(?<![a-z])bpm[ _-]?([0-9]{2,3}(?:[.,][0-9]{1,2})?)(?![0-9])",
    re.IGNORECASE | re.ASCII,
)
_WORD = re.compile(r"[^\s_\-()\[\]{},.+&~]+")
_UNITS = {
    "hz",
    "khz",
    "k",
    "ms",
    "s",
    "sec",
    "db",
    "bit",
    "bits",
    "st",
    "ct",
    "cents",
    "kbps",
    "mm",
}
_UNITS |= {"cm", "min", "minutes", "seconds", "bars", "bar", "beats", "percent", "years", "samples"}
_MACHINES = {"101", "106", "100"}
_NUMBERING = {"take", "vol", "volume", "no", "nr", "num", "number", "part", "pt", "track", "sample"}
_NUMBERING |= {"version", "ver", "v", "day", "scene", "preset", "patch", "layer", "vel", "velocity"}
_NUMBERING |= {"sh", "juno", "tr", "tb", "mc", "cd", "disc", "page", "area", "route", "channel"}
_RHYTHMIC = re.compile(r"loop|groove|beat|break|phrase|riff|toploop|fill", re.IGNORECASE)
_NOTE = re.compile(r"[A-Ga-g](?:#|b|♯|♭)?-?[0-9]")

_ONE_WORD = re.compile(
    r"[A-Ga-g](?:#|♯|b|♭|sharp|flat)?(?:maj|min|major|minor)|[A-G](?:#|♯|b|♭)?m", re.IGNORECASE
)
_TONIC = re.compile(r"[A-Ga-g](?:#|♯|b|♭|sharp|flat)?")
_MODE = re.compile(r"maj|min|major|minor", re.IGNORECASE)
_ENGLISH = {"i", "not", "the", "a", "an", "so", "here", "in", "on", "your", "my", "ok", "back"}


def tempo_of(name: str) -> float | None:
    """The tempo in beats per minute that a file name tells, or None.

    >>> tempo_of("Bass_Loop_124bpm_Fmin.wav"), tempo_of("808 Kick.wav")
    (124.0, None)
    """
    stem = _stem(name)
    explicit = {float((match[1] or match[2]).replace(",", ".")) for match in _BPM.finditer(stem)}
    if explicit:
        tempo = explicit.pop()
        return tempo if not explicit and 40 <= tempo <= 300 else None
    return _bare_tempo(stem)


def _bare_tempo(stem: str) -> float | None:
    words = _WORD.findall(stem)
    numbers = [index for index, word in enumerate(words) if word.isascii() and word.isdigit()]
    candidates = [index for index in numbers if _may_be_tempo(words, index)]
    if len(candidates) != 1:
        return None
    index = candidates[0]
    if any(_NOTE.fullmatch(word) for word in words):
        return None  # an instrument's note: the number is its velocity or its round robin
    alone_at_the_end = index == len(words) - 1
    if alone_at_the_end and not _RHYTHMIC.search(stem):
        return None
    # Numbers of another meaning beside it (a date, a counter in front) make it doubtful.
    if any(len(words[other]) > 2 for other in numbers if other != index):
        return None
    return float(words[index])


def _may_be_tempo(words: list[str], index: int) -> bool:
    word = words[index]
    if word.startswith("0") or not 60 <= int(word[:9]) <= 200 or word in _MACHINES:
        return False
    before = words[index - 1].lower() if index else ""
    after = words[index + 1].lower() if index + 1 < len(words) else ""
    return before not in _NUMBERING and after not in _UNITS


def key_of(name: str) -> MusicalKey | None:
    """The key that a file name tells, or None.

    >>> str(key_of("Pad F#m 90.wav")), key_of("Am I Dreaming.wav")
    ('F#min', None)
    """
    words = _WORD.findall(_stem(name))
    found = {key for index in range(len(words)) if (key := _key_at(words, index))}
    return found.pop() if len(found) == 1 else None


def _key_at(words: list[str], index: int) -> MusicalKey | None:
    word = words[index]
    before = words[index - 1] if index else ""
    after = words[index + 1] if index + 1 < len(words) else ""
    if _ONE_WORD.fullmatch(word):
        return parse_key(word) if _is_one_word_key(word, before, after) else None
    if not _TONIC.fullmatch(word):
        return None
    if _MODE.fullmatch(after):
        article = word == "a" and after.lower() in {"minor", "major"}
        return None if article else parse_key(f"{word} {after}")
    if before.lower() == "key" or (before.lower() == "of" and _precedes(words, index, "key")):
        return parse_key(word)
    return None


def _precedes(words: list[str], index: int, wanted: str) -> bool:
    return index >= 2 and words[index - 2].lower() == wanted


def _is_one_word_key(word: str, before: str, after: str) -> bool:
    """Whether a word in the form of a key is meant as one, not as an English or technical word."""
    if len(word) > 1 and word[-1] in "mM" and not word.lower().endswith(("min", "maj")):
        if word[-1] == "M" or word[0].islower():
            return False
        if len(word) == 2:  # Am: the only one that is an English word, but Dm and Em are dashes
            return after.lower() not in _ENGLISH and before.lower() != "i"
    return True


def _stem(name: str) -> str:
    """The last part of a path without its suffix (``.5bpm`` is none: suffixes begin in letters)."""
    last = name.rpartition("/")[2][:512]
    return re.sub(r"(?<=.)\.[A-Za-z][A-Za-z0-9]{0,9}$", "", last)
