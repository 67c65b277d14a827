"""Damage: single bits that flip, files that end too early. It must be named, and never believed.

For each damage the store is scrubbed in one fresh process and read in another, as a crash of either
(a signal, a hang) counts as a failure. What the scrub does not name must lie in bytes that
:mod:`unused` proves to mean nothing.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packages.streamdb.tests.crash.disk import read_tree
from packages.streamdb.tests.crash.nursery import Child, Nursery
from packages.streamdb.tests.crash.unused import Index, Segments, marker_meaning

INDEX, MARKER, LOCK = "index/data.mdb", "STREAMDB", "index/lock.mdb"
_PATIENCE_S = 120.0
_FATAL = (signal.SIGABRT, signal.SIGBUS, signal.SIGSEGV)


@dataclass(frozen=True)
class Damage:
    """To a file: the bit of a byte that flips, or (``bit`` None) the length that it is cut to."""

    name: str
    position: int
    bit: int | None

    def apply(self, raw: bytes) -> bytes:
        """The damaged file."""
        if self.bit is None:
            return raw[: self.position]
        damaged = bytearray(raw)
        damaged[self.position] ^= 1 << self.bit
        return bytes(damaged)

    def __str__(self) -> str:
        if self.bit is None:
            return f"{self.name} cut to {self.position} bytes"
        return f"bit {self.bit} of byte {self.position} of {self.name}"


@dataclass
class Tally:
    """What the damages came to."""

    named: Counter[str] = field(default_factory=Counter)
    noted: Counter[str] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    omitted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    killed: int = 0
    repaired: int = 0
    lost: int = 0
    damages: int = 0
    findings: list[str] = field(default_factory=list)


class Damaged:
    """A copy of a store that is damaged, asked, and made whole again."""

    def __init__(self, nursery: Nursery, room: Path, seed: int, key: str | None = None) -> None:
        self._nursery = nursery
        self._room = room
        self._rng = random.Random(seed)
        self._key = key
        self._root = room / "store"
        self._answers = room / "answers.json"
        self._named_last = False
        self.seed = seed
        self.tally = Tally()
        built = nursery.run("build_for_damage", 300, store=str(self._root), seed=seed, key=key)
        if not built.ok:
            raise RuntimeError(str(built))
        self._answers.write_text(json.dumps(built.value))
        self.expected: dict[str, Any] = built.value
        self._whole = {
            str(Path(path).relative_to(self._root)): content
            for path, content in read_tree(self._root).items()
            if content is not None
        }
        self._index = Index.read(self._root / INDEX)
        self._segments = Segments.read(self._root / "segments", self._index)

    # -- choosing --------------------------------------------------------------------------------

    def files(self, kind: str) -> list[str]:
        """The files of a kind: ``index``, ``segments``, ``marker`` or ``lock``."""
        if kind == "segments":
            return sorted(name for name in self._whole if name.endswith(".seg"))
        return {"index": [INDEX], "marker": [MARKER], "lock": [LOCK]}[kind]

    def flips(self, kind: str, count: int) -> list[Damage]:
        """Random bits of a kind of file, anywhere in it."""
        return [self._flip(self._any_file(kind)) for _ in range(count)]

    def meaningful_flips(self, count: int) -> list[Damage]:
        """Random bits of the index that are not known to mean nothing."""
        positions = [at for at, why in enumerate(self._index.meaning) if not why]
        return [self._flip(INDEX, self._rng.choice(positions)) for _ in range(count)]

    def structure_flips(self, count: int) -> list[Damage]:
        """Random bits of what holds the index's trees together."""
        return [self._flip(INDEX, self._rng.choice(self._index.structure)) for _ in range(count)]

    def cuts(self, kind: str, count: int) -> list[Damage]:
        """Files that end too early: anywhere, and at the edges of pages."""
        found = []
        for _ in range(count):
            name = self._any_file(kind)
            length = self._rng.randrange(len(self._whole[name]))
            if self._rng.random() < 0.3:
                length -= length % 4096
            found.append(Damage(name, length, None))
        return found

    def _any_file(self, kind: str) -> str:
        names = self.files(kind)
        return self._rng.choices(names, [len(self._whole[name]) for name in names])[0]

    def _flip(self, name: str, position: int | None = None) -> Damage:
        if position is None:
            position = self._rng.randrange(len(self._whole[name]))
        return Damage(name, position, self._rng.randrange(8))

    # -- asking ----------------------------------------------------------------------------------

    def try_out(self, damage: Damage) -> list[str]:
        """Damage the store, scrub it, read it; what is wrong with what came back."""
        self.tally.damages += 1
        path = self._root / damage.name
        path.write_bytes(damage.apply(self._whole[damage.name]))
        try:
            reader = self._nursery.start(
                "read_damaged",
                store=str(self._root),
                answers=str(self._answers),
                key=self._key,
            )
            wrong = self._ask_scrub(damage) + self._ask_reader(reader)
        finally:
            wrong_files = self._make_whole(damage)
        wrong += wrong_files
        self.tally.findings += [f"{damage} (seed {self.seed}): {each}" for each in wrong]
        return wrong

    def _make_whole(self, damage: Damage) -> list[str]:
        wrong = []
        for name, content in self._whole.items():
            path = self._root / name
            there = path.read_bytes() if path.exists() else None
            expected = damage.apply(content) if name == damage.name else content
            if there != content:
                path.write_bytes(content)
            if there != expected and name != LOCK:
                wrong.append(f"looking at the store changed {name}")
        for path in self._root.rglob("*"):
            if path.is_file() and str(path.relative_to(self._root)) not in self._whole:
                wrong.append(f"looking at the store made {path.name}")
                path.unlink()
        return wrong

    def _ask_scrub(self, damage: Damage) -> list[str]:
        self._named_last = False
        kind = damage.name.rpartition("/")[2] if ".seg" not in damage.name else "segments"
        scrubbed = self._nursery.run("scrub", _PATIENCE_S, store=str(self._root), key=self._key)
        if not scrubbed.ok:
            return [f"check: {scrubbed}"]
        self._named_last = bool(scrubbed.value["problems"])
        if self._named_last:
            self.tally.named[kind] += 1
            return []
        why = self._why_unused(damage)
        if why:
            self.tally.unused[why] += 1
            return []
        name = damage.name.rpartition("/")[2]
        if self._segments_copy(damage) and any(name in note for note in scrubbed.value["notes"]):
            self.tally.noted[kind] += 1
            return []
        return ["check does not name it, and the byte has a meaning"]

    def _segments_copy(self, damage: Damage) -> bool:
        name = damage.name.rpartition("/")[2]
        return name in self._segments.found and self._segments.is_copy(name, damage.position)

    def _why_unused(self, damage: Damage) -> str:
        """Why the damage changes nothing that means anything, or ""."""
        name = damage.name.rpartition("/")[2]
        if damage.name == LOCK:
            return "the lock file, which the first to open the store makes anew"
        if damage.name == MARKER:
            meaning = marker_meaning(damage.apply(self._whole[MARKER]))
            same = meaning is not None and meaning == marker_meaning(self._whole[MARKER])
            return "the marker's note, or another spelling of the same" if same else ""
        whys = [
            self._index.why(at, damage.bit)
            if damage.name == INDEX
            else self._segments.why(name, at)
            for at in self._positions(damage)
        ]
        return whys[0] if whys and all(whys) else ""

    def _positions(self, damage: Damage) -> range:
        if damage.bit is not None:
            return range(damage.position, damage.position + 1)
        return range(damage.position, len(self._whole[damage.name]))

    def _ask_reader(self, reader: Child) -> list[str]:
        read = reader.wait(_PATIENCE_S)
        if read.signal in _FATAL and self._named_last:
            # LMDB trusts its file, as docs/explanation/streamdb.md says. It is the scrub, which
            # reads pages without LMDB, that has to know better.
            self.tally.killed += 1
            return []
        if not read.ok:
            return [f"reading: {read}"]
        for name in read.value["omitted"]:
            self.tally.omitted[name] += 1
        self.tally.refused[read.value["refused"] or "opened"] += 1
        return [f"reading: {each}" for each in read.value["wrong"][:5]]

    # -- repairing -------------------------------------------------------------------------------

    def mend(self, damage: Damage) -> list[str]:
        """Damage a copy and repair it: clean, and exactly what is not there is named as lost."""
        copy = self._room / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self._root, copy)
        (copy / damage.name).write_bytes(damage.apply(self._whole[damage.name]))
        mended = self._nursery.run(
            "mend", 120, store=str(copy), answers=str(self._answers), key=self._key
        )
        if mended.ok:
            wrong = list(mended.value["wrong"])
            self.tally.lost += mended.value["lost"]
        else:
            wrong = [str(mended)]
        self.tally.repaired += 1
        wrong = [f"{damage} (seed {self.seed}), repaired: {each}" for each in wrong]
        self.tally.findings += wrong
        return wrong
