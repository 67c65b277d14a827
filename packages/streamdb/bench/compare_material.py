"""What the stores are asked to hold and to find: all of it a function of a seed. Pure."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from random import Random

import corpus
from compare_sql import successor
from compare_stores import Document, Question

BLOB_BYTES = 256 << 10
SLICE = 10_000

#: New documents come behind those that were loaded; each round has so many numbers of its own.
ROUND_STRIDE = 10_000

QUESTIONS = {
    "loops": Question("key=Cmin tempo=118..122", {"key": "Cmin"}, {"tempo": (118, 122)}),
    "shots": Question(
        "rate=96000 channels=2 duration<=0.5",
        {"rate": 96_000, "channels": 2},
        {"duration": (0, 0.5)},
    ),
}


def data_for(path: str) -> bytes:
    """The data of a document: 32 bytes, as a reference to audio that lies elsewhere."""
    return blake2b(path.encode(), digest_size=32).digest()


def document(index: int, seed: int) -> Document:
    """One document."""
    path, metadata = corpus._describe(index, seed)
    return Document(path, data_for(path), metadata)


@dataclass
class Material:
    """The library of one run: ``documents`` of them are loaded, sorted by path."""

    documents: int
    seed: int = 1
    blobs_per_batch: int = 256
    _blobs: dict[tuple[str, int], list[tuple[str, bytes]]] = field(default_factory=dict, repr=False)

    @cached_property
    def _sorted(self) -> list[tuple[str, int]]:
        return sorted((corpus.path(index, self.seed), index) for index in range(self.documents))

    @cached_property
    def paths(self) -> list[str]:
        """The paths that are loaded, sorted."""
        return [path for path, _ in self._sorted]

    @cached_property
    def reversed(self) -> list[str]:
        """The same paths from their last byte to their first, sorted."""
        return sorted(path[::-1] for path in self.paths)

    def slices(self) -> Iterator[list[Document]]:
        """The documents in the order of their paths, ten thousand at a time."""
        for at in range(0, self.documents, SLICE):
            part = self._sorted[at : at + SLICE]
            yield [document(index, self.seed) for _, index in part]

    def sample(self, count: int, salt: int) -> list[str]:
        """Paths in random order, each at most once if there are enough."""
        if count >= self.documents:
            found = list(self.paths)
        else:
            found = Random(f"{self.seed} {salt}").sample(self.paths, count)  # noqa: S311
        Random(salt).shuffle(found)  # noqa: S311
        return found

    def prefixes(self, size: int, count: int) -> list[str]:
        """Prefixes that about ``size`` paths have."""
        return starts_of(self.paths, size, count, self.seed)

    def suffixes(self, size: int, count: int) -> list[str]:
        """Suffixes that about ``size`` paths have."""
        return [start[::-1] for start in starts_of(self.reversed, size, count, self.seed)]

    def folders(self) -> list[str]:
        """The folders at the top, each with its slash."""
        return sorted({path.partition("/")[0] + "/" for path in self.paths})

    def fresh(self, round_number: int, first: int, count: int) -> list[Document]:
        """Documents that are not loaded; they belong into folders that exist."""
        start = self.documents + round_number * ROUND_STRIDE + first
        return [document(index, self.seed) for index in range(start, start + count)]

    def blobs(self, kind: str, round_number: int) -> list[tuple[str, bytes]]:
        """One batch of blobs of 256 KiB that no other batch has: "noise" or "music"."""
        key = kind, round_number
        if key not in self._blobs:
            self._blobs.clear()
            size = BLOB_BYTES * self.blobs_per_batch
            seed = self.seed * 1000 + round_number
            whole = memoryview(music(size, seed) if kind == "music" else os.urandom(size))
            self._blobs[key] = [
                (name, bytes(whole[at * BLOB_BYTES : (at + 1) * BLOB_BYTES]))
                for at, name in enumerate(self.blob_names(kind, round_number))
            ]
        return self._blobs[key]

    def blob_names(self, kind: str, round_number: int) -> list[str]:
        """The paths of one batch of blobs."""
        return [f"{kind}/{round_number:03}/{at:05}.wav" for at in range(self.blobs_per_batch)]


def starts_of(ordered: Sequence[str], size: int, count: int, seed: int) -> list[str]:
    """Beginnings that about ``size`` of some sorted texts have: by a factor of 1.5, or else of 2.5.

    Fewer than ``count`` where there are no more.

    Raises:
        LookupError: nothing has that many.

    >>> starts_of(["aa1", "aa2", "ab1", "b"], 2, 1, 1)
    ['aa']
    """
    for most_off in (1.5, 2.5):
        found: dict[str, None] = {}
        random = Random(f"{seed} {size}")  # noqa: S311 - the same everywhere, not secret
        for _ in range(40 * count):
            if len(found) == count:
                break
            start = _nearest(ordered, random.choice(ordered), size, most_off)
            if start is not None:
                found[start] = None
        if found:
            return list(found)
    raise LookupError(f"nothing begins {size:,} of these texts")


def _nearest(ordered: Sequence[str], text: str, size: int, most_off: float) -> str | None:
    """The beginning of a text whose number of matches lies nearest to ``size``."""
    best, best_off = None, most_off
    for length in range(1, len(text) + 1):
        matches = matches_of(ordered, text[:length])
        off = max(matches / size, size / matches)
        if off < best_off:
            best, best_off = text[:length], off
        if matches < size / most_off:
            break
    return best


def matches_of(ordered: Sequence[str], start: str) -> int:
    """How many of some sorted ASCII texts begin with ``start``."""
    return bisect_left(ordered, successor(start)) - bisect_left(ordered, start)


def music(size: int, seed: int) -> bytes:
    """24-bit stereo PCM: decaying harmonics over a noise floor of about 60 dB below."""
    import numpy as np

    frames = size // 6 + 1
    rng = np.random.default_rng(seed)
    time_s = np.arange(frames, dtype=np.float32) / 48_000
    envelope = np.exp(-3 * (time_s % 0.5))
    left_right = np.empty((frames, 2), dtype="<i4")
    for channel, detune in enumerate((1.0, 1.003)):
        tone = np.zeros(frames, dtype=np.float32)
        for harmonic in range(1, 8):
            tone += np.sin(2 * np.pi * 110 * detune * harmonic * time_s) / harmonic**1.4
        sound = 0.15 * envelope * tone + rng.normal(0, 0.0005, frames)
        left_right[:, channel] = sound * (1 << 23)
    whole = left_right.reshape(-1, 1).view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    return whole[:size]
