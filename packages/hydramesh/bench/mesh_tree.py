"""Trees of samples: what is in them, and how they change, is a function of a seed.

The sound is noise, so nobody can compress it, and no two files share anything. The header is that
of a WAV file, and sizes spread as in a library: many one-shots, a few long takes.
"""

from __future__ import annotations

import os
import struct
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from blake3 import blake3

_HEADER = 44
_LEAST = 512
_BEGAN_S = 1_700_000_000
_VENDORS = ("Blue Room", "Field Notes", "Nordic", "Tape Op", "Vinyl Jazz")
_SORTS = ("Kicks", "Snares", "Hats", "Drum Loops", "Bass Loops", "Keys", "Risers", "Vocals")
_PER_PACK = 250
#: Files of contenders themselves in a folder that they keep.
OWN = (".stfolder", ".stignore", ".hydramesh-part", ".hydramesh-aside")


@dataclass(frozen=True, slots=True)
class Sample:
    """One file: its content depends on its number, its version and its size alone."""

    number: int
    size: int
    version: int = 0

    def content(self, seed: int) -> bytes:
        """A WAV file of noise, 24 bit mono."""
        body = self.size - _HEADER
        head = b"RIFF" + struct.pack("<I", self.size - 8) + b"WAVEfmt "
        head += struct.pack("<IHHIIHH", 16, 1, 1, 48_000, 144_000, 3, 24)
        head += b"data" + struct.pack("<I", body)
        told = blake3(f"{seed} {self.number} {self.version}".encode())
        return head + told.digest(length=body)


@dataclass
class Tree:
    """A folder of samples as it should be; ``seed`` and ``shape`` make equal trees everywhere."""

    folder: Path
    count: int
    total_bytes: int
    seed: int = 1
    held: dict[str, Sample] = field(default_factory=dict)
    digests: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        dice = Random(self.seed)  # noqa: S311 - the same everywhere is what is wanted
        weights = [dice.lognormvariate(0.0, 1.2) for _ in range(self.count)]
        scale = self.total_bytes / sum(weights)
        for number, weight in enumerate(weights):
            self.held[_path(number)] = Sample(number, max(_LEAST, int(weight * scale)))

    def write(self) -> None:
        """Make all files."""
        for path in self.held:
            self._write(path)

    def _write(self, path: str) -> None:
        data = self.held[path].content(self.seed)
        self.digests[path] = blake3(data).digest()
        place = self.folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb") as file:
            file.write(data)
            file.flush()
            # rsync would not see a file that is as long and of the same second as before.
            changed_s = _BEGAN_S + 10 * self.held[path].version
            os.utime(file.fileno(), (changed_s, changed_s))

    def change(self, turn: int) -> Awaited:
        """Change one file in a hundred: 70 % have other contents, 10 % each new, gone, renamed."""
        dice = Random(f"{self.seed} {turn}")  # noqa: S311
        paths = dice.sample(sorted(self.held), max(10, self.count // 100))
        tenth = len(paths) // 10
        gone, moved, edited = paths[:tenth], paths[tenth : 2 * tenth], paths[3 * tenth :]
        expected: dict[str, bytes | None] = {}
        for path in edited:
            self.held[path] = replace(self.held[path], version=turn)
            self._write(path)
        for at in range(tenth):
            fresh = f"New/Take {turn:03}/Take_{at:05}.wav"
            self.held[fresh] = Sample(turn * 1_000_000 + at, self.total_bytes // self.count + 64)
            self._write(fresh)
            edited.append(fresh)
        for path in gone:
            (self.folder / path).unlink()
            del self.held[path], self.digests[path]
            expected[path] = None
        for path in moved:
            fresh = path.removesuffix(".wav") + f" v{turn}.wav"
            (self.folder / path).rename(self.folder / fresh)
            self.held[fresh] = self.held.pop(path)
            self.digests[fresh] = self.digests.pop(path)
            expected[path] = None
            edited.append(fresh)
        expected |= {path: self.digests[path] for path in edited}
        return Awaited(expected)

    def all(self) -> Awaited:
        """That every file is there."""
        return Awaited(dict.fromkeys(self.held, b""), {p: s.size for p, s in self.held.items()})

    def differences(self, folder: Path, most: int = 5) -> list[str]:
        """In which files a folder is not what this tree is, each byte compared by BLAKE3."""
        there = {
            str(path.relative_to(folder)): path
            for path in folder.rglob("*")
            if path.is_file() and not set(OWN) & set(path.relative_to(folder).parts)
        }
        wrong = [f"{path} is too much" for path in there if path not in self.digests]
        for path, digest in self.digests.items():
            if path not in there:
                wrong.append(f"{path} is missing")
            elif len(wrong) < most and blake3(there[path].read_bytes()).digest() != digest:
                wrong.append(f"{path} is different")
        return wrong[:most]


@dataclass
class Awaited:
    """What a folder is to show: by path its digest, b"" where the size will do, None for no file.

    To look again costs hardly anything: what was right is not looked at again.
    """

    expected: dict[str, bytes | None]
    sizes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._left = sorted(self.expected, reverse=True)

    @property
    def next(self) -> str:
        """The first path that is not right yet, or ""."""
        return self._left[-1] if self._left else ""

    def shown_by(self, folder: Path) -> bool:
        """Whether a folder shows all of it now, or did when it was looked at."""
        while self._left and self._is_right(folder, self._left[-1]):
            self._left.pop()
        return not self._left

    def _is_right(self, folder: Path, path: str) -> bool:
        wanted, place = self.expected[path], folder / path
        try:
            if wanted == b"":
                return place.stat().st_size == self.sizes[path]
            there = blake3(place.read_bytes()).digest()
        except (FileNotFoundError, NotADirectoryError):
            return wanted is None
        return wanted == there

    def wait(self, folder: Path, patience_s: float, every_s: float = 0.02) -> bool:
        """Wait until a folder shows it."""
        end = time.monotonic() + patience_s
        while not self.shown_by(folder):
            if time.monotonic() > end:
                return False
            time.sleep(every_s)
        return True


def _path(number: int) -> str:
    pack = number // _PER_PACK
    sort = _SORTS[number % len(_SORTS)]
    vendor = _VENDORS[pack % len(_VENDORS)]
    return f"{vendor}/Pack {pack:04}/{sort}/{sort.replace(' ', '_')}_{number:06}.wav"
