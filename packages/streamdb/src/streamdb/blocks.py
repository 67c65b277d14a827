"""The path index: sorted paths in compressed blocks, for prefixes, suffixes and listings.

A block holds the paths from its key up to the next block's key. Keys are the shortest separators
that tell two neighbours apart, never longer than 440 bytes, so that paths of any length order
rightly; the first block's key is a NUL, which sorts before every path. A block's main part is
compressed; a few added or removed paths wait in a tail until the next rewriting, because that costs
ten times an append.

The suffix index is the same over reversed paths.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from streamdb import rows
from streamdb.errors import CorruptData

HALF_PAGE = 2030
"""Key and value together, in bytes, of the largest rows of which two share a page of LMDB's; longer
ones take whole pages of their own."""

FILL = 128
"""Paths per block after a rewriting; blocks are split beyond twice as many."""

_SPLIT = 2 * FILL
_SPLIT_BYTES = 32768
_MERGE_BELOW = FILL // 4
_TAIL_LIMIT = 640
_SEPARATOR_LIMIT = 440
FIRST_KEY = b"\0"

_HEAD = struct.Struct("<IBII")


def separator(left: bytes, right: bytes) -> bytes | None:
    """The shortest key that sorts behind ``left`` and not behind ``right``; None if over 440 bytes.

    >>> separator(b"drums/kick", b"drums/snare")
    b'drums/s'
    """
    length = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        length += 1
    length += 1
    return right[:length] if length <= _SEPARATOR_LIMIT else None


def successor(prefix: bytes) -> bytes | None:
    """The first key behind everything that begins with ``prefix``; None if there is none.

    >>> successor(b"drums/")
    b'drums0'
    """
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None


class Block:
    """One block, decoded: its paths in order, joined or split as is cheapest."""

    __slots__ = ("count", "main", "main_size", "packed", "tail")

    def __init__(self, body: bytes, key: bytes, table: bytes) -> None:
        try:
            self.count, self.packed, self.main_size, stored = _HEAD.unpack_from(body)
        except struct.error as error:
            raise rows.damaged(table, key, str(error)) from None
        self.main = body[_HEAD.size : _HEAD.size + stored]
        self.tail = body[_HEAD.size + stored :]

    def text(self, backwards: bool) -> list[str]:
        """All paths as text, turned round again if they are stored backwards; in stored order."""
        if self.tail:
            raw = b"\0".join(self.paths())
        else:
            raw = rows.unsqueeze(self.packed, self.main, self.main_size)
        if not raw:
            return []
        # Turning the whole block round once is cheaper than each path by itself.
        return raw[::-1].decode().split("\0")[::-1] if backwards else raw.decode().split("\0")

    def text_of(self, beginning: bytes, backwards: bool) -> list[str]:
        """The paths that begin with ``beginning`` (not empty) as text, as :meth:`text` gives them.

        Only they are cut out of the block: looking for a few costs a third of splitting it.
        """
        if self.tail:
            raw = b"\0".join([path for path in self.paths() if path.startswith(beginning)])
        else:
            raw = self._cut_out(beginning)
        if not raw:
            return []
        return raw[::-1].decode().split("\0")[::-1] if backwards else raw.decode().split("\0")

    def _cut_out(self, beginning: bytes) -> bytes:
        raw = rows.unsqueeze(self.packed, self.main, self.main_size)
        mark = b"\0" + beginning
        start = 0 if raw.startswith(beginning) else raw.find(mark) + 1
        if not start and not raw.startswith(beginning):
            return b""
        # They lie side by side; the last one ends before the next NUL.
        end = raw.find(b"\0", max(start, raw.rfind(mark) + 1))
        return raw[start:] if end < 0 else raw[start:end]

    def paths(self) -> list[bytes]:
        """All paths, sorted."""
        raw = rows.unsqueeze(self.packed, self.main, self.main_size)
        found = raw.split(b"\0") if raw else []
        return _with_tail(found, self.tail) if self.tail else found


def _cut(paths: list[bytes], start: bytes, end: bytes | None) -> list[bytes]:
    upper = len(paths) if end is None else bisect_left(paths, end)
    return paths[bisect_left(paths, start) : upper]


def _with_tail(found: list[bytes], tail: bytes) -> list[bytes]:
    there = set(found)
    for entry in tail.split(b"\0"):
        if entry[:1] == b"+":
            there.add(entry[1:])
        else:
            there.discard(entry[1:])
    return sorted(there)


def pack_block(paths: list[bytes]) -> bytes:
    """The body of a block of sorted paths."""
    raw = b"\0".join(paths)
    packed, main = rows.squeeze(raw)
    return _HEAD.pack(len(paths), packed, len(raw), len(main)) + main


class PathIndex:
    """The block index in one LMDB table; every method works in the transaction it is given."""

    __slots__ = ("db", "table")

    def __init__(self, db: Any, table: bytes) -> None:
        self.db = db
        self.table = table

    # -- reading ---------------------------------------------------------------------------------

    def scan(
        self, txn: Any, start: bytes, end: bytes | None, verify: bool = True
    ) -> Iterator[list[bytes]]:
        """The paths from ``start`` on and before ``end`` (None: to the last), in sorted lists."""
        for block, inner in self._span(txn, start, end, verify):
            paths = block.paths()
            if not inner:
                paths = _cut(paths, start, end)
            if paths:
                yield paths

    def scan_text(
        self, txn: Any, start: bytes, end: bytes | None, verify: bool = True
    ) -> Iterator[list[str]]:
        """As :meth:`scan`, as text; of the suffix index, turned round."""
        backwards = self.table == rows.REVERSE
        step = -1 if backwards else 1
        beginning = start if start and end == successor(start) else b""
        for block, inner in self._span(txn, start, end, verify):
            if inner:
                yield block.text(backwards)
            elif beginning:
                if found := block.text_of(beginning, backwards):
                    yield found
            elif paths := _cut(block.paths(), start, end):
                yield b"\0".join(paths)[::step].decode().split("\0")[::step]

    def _span(
        self, txn: Any, start: bytes, end: bytes | None, verify: bool
    ) -> Iterator[tuple[Block, bool]]:
        """The blocks that hold paths of a range, and whether all their paths lie in it."""
        cursor = txn.cursor(self.db)
        more = self._seek(cursor, start)
        while more:
            key, value = cursor.item()
            if end is not None and key >= end:
                return
            more = cursor.next()
            if more and cursor.key() <= key:
                raise rows.damaged(self.table, key, "the block behind it is out of order")
            inner = key >= start and (end is None or (more and cursor.key() <= end))
            yield self._read(key, value, verify), inner

    def blocks(self, txn: Any, verify: bool = True) -> Iterator[tuple[bytes, Block]]:
        """Every block with its key."""
        for key, value in txn.cursor(self.db):
            yield key, self._read(key, value, verify)

    def count(self, txn: Any, start: bytes, end: bytes | None, verify: bool = True) -> int:
        """How many paths lie from ``start`` on and before ``end``; inner blocks stay packed."""
        total = 0
        for block, inner in self._span(txn, start, end, verify):
            total += block.count if inner else len(_cut(block.paths(), start, end))
        return total

    def _seek(self, cursor: Any, path: bytes) -> bool:
        """Place the cursor on the block that holds ``path``, or would."""
        wanted = path[:_SEPARATOR_LIMIT] or FIRST_KEY
        if cursor.set_range(wanted):
            return True if cursor.key() == wanted else bool(cursor.prev())
        return bool(cursor.last())

    def _read(self, key: bytes, value: bytes, verify: bool) -> Block:
        return Block(rows.unseal(self.table, key, value, verify), key, self.table)

    # -- writing ---------------------------------------------------------------------------------

    def apply(self, txn: Any, changes: dict[bytes, bool]) -> None:
        """Add (True) and remove (False) paths; each block is read and written once."""
        ordered = sorted(changes)
        cursor = txn.cursor(self.db)
        at = 0
        while at < len(ordered):
            if not self._seek(cursor, ordered[at]):
                self._put(txn, FIRST_KEY, pack_block([]))
                cursor = txn.cursor(self.db)
                self._seek(cursor, ordered[at])
            key, value = cursor.key(), cursor.value()
            end = cursor.key() if cursor.next() else None
            upto = len(ordered)
            if end is not None:
                upto = bisect_left(ordered, end, at)
            self._change(txn, key, value, {path: changes[path] for path in ordered[at:upto]})
            cursor = txn.cursor(self.db)
            at = upto

    def _change(self, txn: Any, key: bytes, value: bytes, changes: dict[bytes, bool]) -> None:
        block = self._read(key, value, True)
        entries = b"\0".join([(b"+" if add else b"-") + path for path, add in changes.items()])
        count = block.count + sum(1 if add else -1 for add in changes.values())
        tail = block.tail + b"\0" + entries if block.tail else entries
        if len(tail) <= _TAIL_LIMIT and _MERGE_BELOW <= count <= _SPLIT:
            head = _HEAD.pack(count, block.packed, block.main_size, len(block.main))
            txn.put(key, rows.seal(self.table, key, head + block.main + tail), db=self.db)
            return
        paths = _with_tail(block.paths(), entries)
        if len(paths) != count:
            raise rows.damaged(
                self.table, key, f"it says {count} paths after this change, and holds {len(paths)}"
            )
        if count < _MERGE_BELOW:
            key, paths = self._merge(txn, key, paths)
        self._write(txn, key, paths)

    def _merge(self, txn: Any, key: bytes, paths: list[bytes]) -> tuple[bytes, list[bytes]]:
        """Join a small block with its left neighbour, if there is one."""
        if key == FIRST_KEY:
            return key, paths
        cursor = txn.cursor(self.db)
        if not cursor.set_key(key) or not cursor.prev():
            return key, paths
        left_key = cursor.key()
        left = self._read(left_key, cursor.value(), True).paths()
        txn.delete(key, db=self.db)
        return left_key, left + paths

    def _write(self, txn: Any, key: bytes, paths: list[bytes]) -> None:
        for part_key, part in _parts(key, paths):
            body = pack_block(part)
            over = (len(part_key) + 4 + len(body)) / HALF_PAGE
            if over <= 1 or len(part) < over * _MERGE_BELOW * 2:
                self._put(txn, part_key, body)
                continue
            # Alike in length, and with room for a few more paths in each.
            for small_key, small in _cut_up(part_key, part, math.ceil(over * 1.05)):
                self._put(txn, small_key, pack_block(small))

    def _put(self, txn: Any, key: bytes, body: bytes) -> None:
        txn.put(key, rows.seal(self.table, key, body), db=self.db)

    def build(self, txn: Any, paths: Iterable[bytes]) -> int:
        """Fill the emptied table from sorted paths; returns how many there were."""
        total = 0
        held: list[bytes] = []
        key = FIRST_KEY
        for path in paths:
            held.append(path)
            total += 1
            if len(held) >= 16 * _SPLIT:
                done = list(_parts(key, held))
                for part_key, part in done[:-1]:
                    self._write(txn, part_key, part)
                key, held = done[-1]
        self._write(txn, key, held)
        return total


def _parts(key: bytes, paths: list[bytes]) -> Iterator[tuple[bytes, list[bytes]]]:
    """Cut sorted paths into blocks, if they are too many for one."""
    size = sum(map(len, paths))
    if len(paths) <= _SPLIT and size <= _SPLIT_BYTES:
        yield key, paths
    else:
        yield from _cut_up(key, paths, max(1, len(paths) // FILL, size * 2 // _SPLIT_BYTES))


def _cut_up(key: bytes, paths: list[bytes], wanted: int) -> Iterator[tuple[bytes, list[bytes]]]:
    """Cut sorted paths into so many blocks, where a separator is short enough."""
    size = sum(map(len, paths))
    step, step_bytes = -(-len(paths) // wanted), -(-size // wanted)
    start, length = 0, 0
    for at, path in enumerate(paths):
        if at > start and (at - start >= step or length >= 2 * step_bytes):
            following = separator(paths[at - 1], path)
            if following is not None:
                yield key, paths[start:at]
                key, start, length = following, at, 0
        length += len(path)
    yield key, paths[start:]


def check_block(key: bytes, end: bytes | None, block: Block) -> str | None:
    """What is wrong with a block's own content, or None."""
    try:
        paths = block.paths()
    except CorruptData as error:
        return error.what
    if len(paths) != block.count:
        return f"it says {block.count} paths and holds {len(paths)}"
    if any(a >= b for a, b in pairwise(paths)):
        return "its paths are not in order"
    if paths and key != FIRST_KEY and paths[0] < key:
        return "its first path sorts before its key"
    if paths and end is not None and paths[-1] >= end:
        return "its last path sorts behind the next block's key"
    return None
