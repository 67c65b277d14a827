"""The library that the benchmarks store: paths and metadata as pure functions of a seed.

A million paths of 68 bytes in the mean, in some 2,000 sample packs of 500 files, with the metadata
that importing such files gives (some 314 bytes of JSON in the mean). Document ``index`` depends on
``(index, seed)`` alone, on every machine and Python, so that two runs, two engines and two
processes store the same thing.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import Any

import orjson

PER_PACK = 500

_VENDORS = (
    "Loopmasters", "Sample Magic", "Native Sounds", "Splice", "Blue Room", "Field Notes",
    "Tape Op", "Analog Lab", "Nordic", "Zenhiser", "Cymatics", "Ghost Hack", "Prime Loops",
)  # fmt: skip
_THEMES = (
    "Deep House", "Dusty Breaks", "Techno Tools", "Lo-Fi Soul", "Film Textures", "Drum Machines",
    "Liquid DnB", "Afro Grooves", "Ambient Keys", "Vinyl Jazz", "Synthwave", "Trap Essentials",
    "World Percussion", "Modular Works", "Choir and Strings", "Garage Nights", "Dub Chamber",
)  # fmt: skip
_SORTS = (
    ("One Shots/Kicks", "Kick"), ("One Shots/Snares", "Snare"), ("One Shots/Hats", "Hat"),
    ("One Shots/Percussion", "Perc"), ("Loops/Drums", "Drum_Loop"), ("Loops/Bass", "Bass_Loop"),
    ("Loops/Synth", "Synth_Loop"), ("Loops/Keys", "Keys"), ("FX/Risers", "Riser"),
    ("Vocals", "Vox"),
)  # fmt: skip
_WORDS = (
    "Warm", "Dusty", "Deep", "Bright", "Punchy", "Tape", "Vinyl", "Glass", "Metal", "Rubber",
    "Hollow", "Tight", "Wide", "Dark", "Soft", "Crushed",
)  # fmt: skip
_KEYS = (
    "Cmin", "C#min", "Dmin", "Ebmin", "Emin", "Fmin", "F#min", "Gmin", "G#min", "Amin",
    "Bbmin", "Bmin", "Cmaj", "Dmaj", "Ebmaj", "Fmaj", "Gmaj", "Amaj",
)  # fmt: skip
_RATES = (44_100, 44_100, 44_100, 48_000, 48_000, 96_000)
_BITS = (16, 24, 24, 24, 32)


class _Dice:
    """Choices from 128 fixed random bits."""

    def __init__(self, *what: int) -> None:
        text = ":".join(map(str, what)).encode()
        self._bits = int.from_bytes(blake2b(text, digest_size=16).digest(), "big")

    def below(self, limit: int) -> int:
        self._bits, value = divmod(self._bits, limit)
        return value

    def one_of(self, options: tuple[Any, ...]) -> Any:
        return options[self.below(len(options))]


def paths(n: int, seed: int = 1) -> list[str]:
    """The first ``n`` paths, all different, in no order.

    >>> paths(2) == paths(3)[:2]
    True
    """
    return [path(index, seed) for index in range(n)]


def path(index: int, seed: int = 1) -> str:
    """The path of one document.

    >>> path(7)
    'Native Sounds/Trap Essentials 00007/One Shots/Hats/Hat_Tape_0000.wav'
    """
    return _describe(index, seed)[0]


def metadata(index: int, seed: int = 1) -> dict[str, Any]:
    """The metadata of one document, as importing such a file gives it."""
    return _describe(index, seed)[1]


def documents(n: int, seed: int = 1) -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and metadata of the first ``n`` documents."""
    for index in range(n):
        yield _describe(index, seed)


def encoded(value: dict[str, Any]) -> bytes:
    """The metadata as every engine is given it: compact JSON."""
    return orjson.dumps(value)


def _describe(index: int, seed: int) -> tuple[str, dict[str, Any]]:
    # Neighbours in the order of writing are strangers in the order of paths, as when folders are
    # imported in parallel: packs take turns, two thousand at a time.
    round_, place = divmod(index, 2000 * PER_PACK)
    pack, number = round_ * 2000 + place % 2000, place // 2000
    dice = _Dice(seed, pack)
    vendor, theme = dice.one_of(_VENDORS), dice.one_of(_THEMES)
    pack_tempo = 70 + dice.below(110)
    folder = f"{vendor}/{theme} {pack:05}"
    dice = _Dice(seed, pack, number)
    sort, label = dice.one_of(_SORTS)
    word, key = dice.one_of(_WORDS), dice.one_of(_KEYS)
    rate, bits, channels = dice.one_of(_RATES), dice.one_of(_BITS), 1 + dice.below(2)
    frames = 2_000 + dice.below(rate * 8)
    name = f"{label}_{word}_{number:04}"
    facts: dict[str, Any] = {
        "format": "wav",
        "codec": "float32" if bits == 32 else f"pcm_s{bits}",
        "rate": rate,
        "channels": channels,
        "bits": bits,
        "frames": frames,
        "duration": round(frames / rate, 6),
    }
    if "Loops" in sort:
        name += f"_{pack_tempo}bpm_{key}"
        facts |= {"tempo": float(pack_tempo), "tempo_source": "acid", "loop": True}
        facts |= {"key": key, "key_source": "name"}
    facts |= {
        "title": f"{word} {label.replace('_', ' ')} {number:04}",
        "artist": vendor,
        "album": theme,
        "tags": [word.lower(), theme.lower(), sort.rpartition("/")[2].lower()],
        "software": "Wavosaur 1.8",
        "date": str(2005 + pack % 20),
        "originator": vendor,
    }
    return f"{folder}/{sort}/{name}.wav", facts
