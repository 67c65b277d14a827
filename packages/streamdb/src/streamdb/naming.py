"""The names that came and went last, before the path indexes and counters take them in.

A put would have to rewrite a block in each path index, and a counter for each of its directories.
Instead its commit adds one short row, and whoever asks for names counts the rows in. Every few
hundred names one commit takes them all into the indexes.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from streamdb import rows
from streamdb.blocks import PathIndex
from streamdb.errors import CorruptData
from streamdb.paths import parents

if TYPE_CHECKING:
    from streamdb.engine import Engine

MOST = 512
"""So many names wait at most."""
MOST_OF_ONE = 64
"""A commit with more names than this has them taken in at once."""

_KEPT_STATES = 8
_TOTAL = struct.Struct("<I")
_Text = TypeVar("_Text", bytes, str)


def pack(total: int, names: Mapping[bytes, bool]) -> bytes:
    """The row of a commit: names that came (True) and went; ``total`` wait, these included."""
    entries = [(b"+" if added else b"-") + path for path, added in names.items()]
    return _TOTAL.pack(total) + b"\0".join(entries)


def unpack(body: bytes, key: bytes) -> tuple[int, list[tuple[bytes, bool]]]:
    """(how many wait, the names of this row).

    Raises:
        CorruptData: it is no such row.
    """
    entries = body[_TOTAL.size :].split(b"\0")
    if len(body) <= _TOTAL.size or any(entry[:1] not in (b"+", b"-") for entry in entries):
        raise rows.damaged(rows.PENDING, key, "it is no list of names")
    return _TOTAL.unpack_from(body)[0], [(entry[1:], entry[:1] == b"+") for entry in entries]


@dataclass(frozen=True, slots=True)
class Side:
    """Sorted names that an index does not have yet, and sorted names that it still has."""

    added: list[bytes]
    removed: list[bytes]

    def between(self, start: bytes, end: bytes | None) -> Side:
        """Those from ``start`` on and before ``end`` (None: to the last)."""
        return Side(_between(self.added, start, end), _between(self.removed, start, end))

    def balance(self, start: bytes, end: bytes | None) -> int:
        """How many more names the range has than the index says."""
        total = 0
        for names, weight in ((self.added, 1), (self.removed, -1)):
            upper = len(names) if end is None else bisect_left(names, end)
            total += weight * (upper - bisect_left(names, start))
        return total

    def copy(self) -> Side:
        """One to change."""
        return Side(list(self.added), list(self.removed))

    def take(self, name: bytes, added: bool) -> None:
        """Take one more name in; what comes and goes again was never there."""
        to, back = (self.added, self.removed) if added else (self.removed, self.added)
        at = bisect_left(back, name)
        if at < len(back) and back[at] == name:
            del back[at]
        else:
            insort(to, name)


@dataclass(frozen=True, slots=True)
class Pending:
    """The waiting names of one state of the store; never changed once it is made.

    ``first`` and ``last`` are the keys of the rows that they were read from: the first tells which
    rows these are, for a new number begins after each time that all are taken in.
    """

    first: bytes
    last: bytes
    forward: Side
    reverse: Side

    def names(self) -> dict[bytes, bool]:
        """What came and went, taken together."""
        went = dict.fromkeys(self.forward.removed, False)
        return went | dict.fromkeys(self.forward.added, True)


NONE = Pending(b"", b"", Side([], []), Side([], []))


class Known:
    """The last few states that were read in one process, for the next question."""

    __slots__ = ("_newest", "_states")

    def __init__(self) -> None:
        self._states: dict[bytes, Pending] = {}
        self._newest = NONE

    def read(self, engine: Engine, txn: Any) -> Pending:
        """The waiting names as a transaction shows them.

        Raises:
            CorruptData: a row of them is damaged.
        """
        cursor = txn.cursor(engine.tables.pending)
        if not cursor.last():
            return NONE
        # No other commit has this key, and no other rows before it.
        last = cursor.key()
        held = self._states.get(last)
        if held is None:
            held = self._follow(cursor, last)
        return held

    def _follow(self, cursor: Any, last: bytes) -> Pending:
        cursor.first()
        first, newest = cursor.key(), self._newest
        forward, reverse = Side([], []), Side([], [])
        if newest.first == first and newest.last < last:
            forward, reverse = newest.forward.copy(), newest.reverse.copy()
            cursor.set_range(newest.last)
            cursor.next()
        for key, value in cursor.iternext():
            for path, added in unpack(rows.unseal(rows.PENDING, key, value), key)[1]:
                forward.take(path, added)
                reverse.take(path[::-1], added)
        made = Pending(first, last, forward, reverse)
        states = dict([*self._states.items()][1 - _KEPT_STATES :])
        states[last] = made
        self._states = states
        if last > newest.last:
            self._newest = made
        return made


# -- writing ---------------------------------------------------------------------------------------


def add(engine: Engine, txn: Any, seq: int, names: dict[bytes, bool]) -> None:
    """Let the names of a commit, whose first change is ``seq``, wait; or take all of them in.

    Raises:
        CorruptData: they are to be taken in, and an index or a counter is damaged.
    """
    table = engine.tables.pending
    cursor = txn.cursor(table)
    waiting = 0
    if cursor.last():
        key = cursor.key()
        waiting = unpack(rows.unseal(rows.PENDING, key, cursor.value()), key)[0]
    total = waiting + len(names)
    if len(names) > MOST_OF_ONE or total > MOST + engine.names_put_off:
        try:
            take_in(engine, txn, names)
        except CorruptData:
            # Nothing of this commit is kept; but the next ones, for other paths, need not fail.
            engine.names_put_off = total
            raise
        engine.names_put_off = 0
        return
    key = seq.to_bytes(8, "big")
    txn.put(key, rows.seal(rows.PENDING, key, pack(total, names)), append=True, db=table)


def take_in(engine: Engine, txn: Any, names: dict[bytes, bool]) -> None:
    """Bring the path indexes and counters up to date, with ``names`` and all that wait.

    Raises:
        CorruptData: one of them is damaged, and the transaction must not be committed.
    """
    waiting = engine.pending.read(engine, txn)
    if waiting is not NONE:
        together = waiting.names()
        for path, added in names.items():
            if together.pop(path, added) == added:
                together[path] = added
        names = together
        txn.drop(engine.tables.pending, delete=False)
    engine.tables.forward.apply(txn, names)
    engine.tables.reverse.apply(txn, {path[::-1]: added for path, added in names.items()})
    counts: dict[str, int] = {}
    for path, added in names.items():
        for directory in parents(path.decode()):
            counts[directory] = counts.get(directory, 0) + (1 if added else -1)
    for name, difference in counts.items():
        if difference:
            _count(engine, txn, name.encode(), difference)


def _count(engine: Engine, txn: Any, directory: bytes, difference: int) -> None:
    key = rows.fold(b"/" + directory)
    table = engine.tables.dir
    body = engine.get(txn, rows.DIRS, table, key)
    count = (rows.unpack_count(body, key) if body is not None else 0) + difference
    if count < 0:
        raise rows.damaged(rows.DIRS, key, "it counts fewer paths than there are")
    if count:
        txn.put(key, rows.seal(rows.DIRS, key, rows.pack_count(count)), db=table)
    else:
        txn.delete(key, db=table)


# -- reading ---------------------------------------------------------------------------------------


def scan(
    index: PathIndex, side: Side, txn: Any, start: bytes, end: bytes | None, verify: bool
) -> Iterator[list[bytes]]:
    """As :meth:`PathIndex.scan`, with the names that wait."""
    parts = index.scan(txn, start, end, verify)
    return _merge(parts, side.between(start, end), bytes, _same)


def scan_text(
    index: PathIndex, side: Side, txn: Any, start: bytes, end: bytes | None, verify: bool
) -> Iterator[list[str]]:
    """As :meth:`PathIndex.scan_text`, with the names that wait."""
    parts = index.scan_text(txn, start, end, verify)
    part = side.between(start, end)
    if index.table == rows.REVERSE:
        return _merge(parts, part, _turned, _turned_back)
    return _merge(parts, part, bytes.decode, str.encode)


def _turned(name: bytes) -> str:
    return name[::-1].decode()


def _turned_back(path: str) -> bytes:
    return path.encode()[::-1]


def _same(name: bytes) -> bytes:
    return name


def _merge(
    parts: Iterable[list[_Text]],
    side: Side,
    shown: Callable[[bytes], _Text],
    sorted_by: Callable[[_Text], bytes],
) -> Iterator[list[_Text]]:
    """Sorted lists without the removed names, and with the added ones in their places."""
    added, at = side.added, 0
    gone = {shown(name) for name in side.removed}
    for part in parts:
        upto = bisect_right(added, sorted_by(part[-1]), at) if part and at < len(added) else at
        if gone:
            part = [path for path in part if path not in gone]
        if upto > at:
            part = sorted(part + [shown(name) for name in added[at:upto]], key=sorted_by)
            at = upto
        if part:
            yield part
    if at < len(added):
        yield [shown(name) for name in added[at:]]


def _between(names: list[bytes], start: bytes, end: bytes | None) -> list[bytes]:
    upper = len(names) if end is None else bisect_left(names, end)
    return names[bisect_left(names, start) : upper]
