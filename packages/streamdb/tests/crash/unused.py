"""Which bytes of a store mean nothing: found by reading its files independently of the package.

A bit that flips there changes no answer; a bit that flips anywhere else must be noticed. Nothing
here is imported from the code under test, so that a mistake of it is not believed twice.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PAGE = 4096
_HEADER = 16
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_BIG = 1
_NONE = (1 << 64) - 1
_META = struct.Struct("<IIQQ48s48sQQ")
_TREE = struct.Struct("<IHHQQQQQ")


@dataclass
class Index:
    """LMDB's file in the state of its newest meta page: what each byte of it is.

    ``meaning`` holds, for every byte, why it means nothing; "" where it means something.
    ``structure`` lists the bytes that hold the trees together: headers, pointers, sizes.
    """

    raw: bytes
    meaning: list[str] = field(default_factory=list)
    structure: list[int] = field(default_factory=list)
    tables: dict[bytes, list[tuple[bytes, bytes]]] = field(default_factory=dict)
    newest_txn: int = 0
    _reached: set[int] = field(default_factory=set)
    _free_keys: list[int] = field(default_factory=list)
    _separators: list[tuple[int, bytes, bytes, bytes]] = field(default_factory=list)
    _key_of: dict[int, int] = field(default_factory=dict)
    _in_free_list: bool = False

    @classmethod
    def read(cls, path: Path) -> Index:
        """Parse an undamaged file."""
        index = cls(path.read_bytes())
        index.meaning = [""] * len(index.raw)
        index._parse()
        return index

    def why(self, position: int, bit: int | None = None) -> str:
        """Why this byte means nothing, or ""; with ``bit``, why the flip of that bit does."""
        if bit is not None and not self.meaning[position]:
            return self._why_free_key(position, bit) or self._why_separator(position, bit)
        return self.meaning[position]

    def _why_free_key(self, position: int, bit: int) -> str:
        """A list of free pages is named by the transaction that freed them, so that they are not
        written to while a reader still sees them. A store that is opened anew has no such reader:
        any transaction that has passed means the same.
        """
        for start in self._free_keys:
            if start <= position < start + 8:
                held = int.from_bytes(self.raw[start : start + 8], "little")
                if 0 < held ^ (1 << (8 * (position - start) + bit)) <= self.newest_txn:
                    return "a transaction that freed pages: any that has passed means the same"
        return ""

    def _why_separator(self, position: int, bit: int) -> str:
        """A branch's key is that of a row that was once the first of the page to its right. It
        leads every search alike while it is above all keys to its left and above none to its right.
        """
        for start, key, left, right in self._separators:
            if start <= position < start + len(key):
                flipped = bytearray(key)
                flipped[position - start] ^= 1 << bit
                if left < flipped <= right:
                    return "a branch's key that still parts the rows as before"
        return ""

    def _parse(self) -> None:
        metas = [_META.unpack_from(self.raw, number * PAGE + _HEADER) for number in (0, 1)]
        newest = 0 if metas[0][7] > metas[1][7] else 1
        for number in (0, 1):
            self._mark_meta(number, number == newest)
        _, _, _, _, free, main, last, _ = metas[newest]
        self.newest_txn = metas[newest][7]
        freed: set[int] = set()
        # Its keys are numbers in the machine's order, which do not sort as bytes.
        self._in_free_list = True
        lists = self._tree(free)
        self._in_free_list = False
        for key, value, at in lists:
            count = struct.unpack_from("<Q", value)[0]
            assert len(key) == 8
            freed |= set(struct.unpack_from(f"<{count}Q", value, 8))
            # LMDB reserves room in these rows before it knows how many pages they will list.
            end = 8 * (count + 1)
            self._free_keys.append(self._key_of[at])
            self._mark(at + end, len(value) - end, "behind the pages that a free list names")
        for name, value, _ in self._tree(main):
            self.tables[name] = [(key, row) for key, row, _ in self._tree(value)]
        assert not freed & self._reached
        for number in range(2, len(self.raw) // PAGE):
            if number > last:
                self._mark(number * PAGE, PAGE, "beyond the last page in use")
            elif number in freed:
                self._mark(number * PAGE, PAGE, "a page of the free list")
            else:
                assert number in self._reached, f"page {number} belongs to nothing"

    def _mark(self, start: int, length: int, why: str) -> None:
        self.meaning[start : start + length] = [why] * length

    def _mark_meta(self, number: int, newest: bool) -> None:
        at = number * PAGE
        self._mark(at + 8, 2, "padding of a page's header")
        self._mark(at + 12, 4, "bounds, which a meta page does not have")
        self._mark(at + _HEADER + _META.size, PAGE - _HEADER - _META.size, "behind a meta page")
        self._mark(at + _HEADER + 8, 16, "address and size of the map: given at opening")
        # The main tree's own padding and flags are read with it; of the older meta page only its
        # magic, version and transaction are looked at, and the next commit overwrites it.
        if not newest:
            self._mark(at + _HEADER + 24, 96 + 8, "the trees of the older meta page")

    def _tree(self, tree: bytes) -> list[tuple[bytes, bytes, int]]:
        """Its rows: key, value, and where in the file the value lies."""
        root = _TREE.unpack(tree)[7]
        return [] if root == _NONE else self._page(root)

    def _page(self, number: int) -> list[tuple[bytes, bytes, int]]:
        at = number * PAGE
        self._reached.add(number)
        own, _, flags, lower, upper = struct.unpack_from("<QHHHH", self.raw, at)
        assert own == number
        self._mark(at + 8, 2, "padding of a page's header")
        self._mark(at + lower, upper - lower, "the gap between a page's pointers and its rows")
        self.structure += [*range(at, at + 8), *range(at + 10, at + lower)]
        places = struct.unpack_from(f"<{(lower - _HEADER) // 2}H", self.raw, at + _HEADER)
        found: list[tuple[bytes, bytes, int]] = []
        for order, place in enumerate(places):
            self.structure += range(at + place, at + place + 8)
            if flags & _BRANCH:
                rows = self._page(self._child(at + place, order == 0))
                if order and not self._in_free_list:
                    self._part(at + place, found[-1][0], rows[0][0])
                found += rows
            else:
                found.append(self._row(at + place))
        return found

    def _child(self, at: int, first: bool) -> int:
        low, high, top, length = struct.unpack_from("<HHHH", self.raw, at)
        if first:
            self._mark(at + 8, length, "the first key of a branch, which is never compared")
        self._pad(at, 8 + length)
        return int(low | high << 16 | top << 32)

    def _part(self, at: int, left: bytes, right: bytes) -> None:
        length = struct.unpack_from("<H", self.raw, at + 6)[0]
        self._separators.append((at + 8, self.raw[at + 8 : at + 8 + length], left, right))

    def _pad(self, at: int, length: int) -> None:
        if length % 2:
            self._mark(at + length, 1, "the byte that makes a row's length even")

    def _row(self, at: int) -> tuple[bytes, bytes, int]:
        low, high, flags, length = struct.unpack_from("<HHHH", self.raw, at)
        size = low | high << 16
        start = at + 8 + length
        key = self.raw[at + 8 : start]
        if not flags & _BIG:
            self._pad(at, 8 + length + size)
            self._key_of[start] = at + 8
            return key, self.raw[start : start + size], start
        first = struct.unpack_from("<Q", self.raw, start)[0]
        self.structure += range(start, start + 8)
        self._pad(at, 8 + length + 8)
        place = first * PAGE
        own, _, kind, count = struct.unpack_from("<QHHI", self.raw, place)
        assert (own, kind) == (first, _OVERFLOW)
        self._reached |= set(range(first, first + count))
        self._mark(place + 8, 2, "padding of a page's header")
        end = place + _HEADER + size
        self._key_of[place + _HEADER] = at + 8
        self._mark(end, (first + count) * PAGE - end, "behind a long value")
        self.structure += [*range(place, place + 8), *range(place + 10, place + 16)]
        return key, self.raw[place + _HEADER : end], place + _HEADER


@dataclass(frozen=True)
class Record:
    """A record of a segment: where its header, payload and padding lie."""

    start: int
    payload: int
    stored: int
    kind: int

    @property
    def end(self) -> int:
        """Behind the payload, before the padding."""
        return self.payload + self.stored


CHUNK_RECORD = 1


def records(raw: bytes) -> list[Record]:
    """The records of an undamaged segment."""
    found = []
    at = 64
    while at + 56 <= len(raw):
        magic, kind, _, _, stored = struct.unpack_from("<4sBBHI", raw, at)
        assert magic == b"SDBr"
        found.append(Record(at, at + 56, stored, kind))
        at = (at + 56 + stored + 7) & ~7
    return found


@dataclass
class Segments:
    """The segments, with what the index's chunk rows refer to."""

    used: dict[str, set[int]]
    found: dict[str, list[Record]]

    @classmethod
    def read(cls, root: Path, index: Index) -> Segments:
        """Parse undamaged files."""
        used: dict[str, set[int]] = {}
        for _, value in index.tables[b"chunk"]:
            number, offset = struct.unpack_from("<IQ", value, 4)
            used.setdefault(f"{number:08x}.seg", set()).add(offset)
        found = {path.name: records(path.read_bytes()) for path in sorted(root.glob("*.seg"))}
        return cls(used, found)

    def why(self, name: str, position: int) -> str:
        """Why this byte means nothing for any document, or ""."""
        if position < 64:
            return "" if self.used.get(name) else "the header of a segment that nothing refers to"
        for record in self.found[name]:
            if record.start <= position < record.end:
                if record.payload in self.used.get(name, set()):
                    return ""
                what = "a chunk" if record.kind == CHUNK_RECORD else "a copy for repair"
                return f"{what} that no row of the index refers to"
            if record.end <= position < (record.end + 7) & ~7:
                return "padding behind a record"
        return "behind the last record"

    def is_copy(self, name: str, position: int) -> bool:
        """Whether the byte is in a record that only repair would read."""
        return any(
            record.start <= position < record.end and record.kind != CHUNK_RECORD
            for record in self.found[name]
        )


def marker_meaning(raw: bytes) -> Any:
    """What a marker says; the note for people is left out. None when it says nothing."""
    try:
        content = json.loads(raw)
        key = content["key"]
        said = (content["magic"], content["format"], bytes.fromhex(content["store"]), _plain(key))
    except (ValueError, KeyError, TypeError):
        return None
    return said


def _plain(value: Any) -> Any:
    """Hexadecimal digits mean the same in both cases."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, str):
        try:
            return bytes.fromhex(value)
        except ValueError:
            return value
    return value
