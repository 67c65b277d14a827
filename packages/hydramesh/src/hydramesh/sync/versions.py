"""Version vectors, and what becomes of two versions of one path.

A version counts the edits of each node. Of two versions the one that includes the other is newer;
two that were made side by side are both kept: one wins, by a rule that needs no clock, and the
other becomes a conflict copy under a name that every replica chooses alike. So replicas that
exchanged all they have, in whatever order, hold the same documents.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import PurePosixPath
from typing import Protocol, TypeAlias

MAX_VECTOR = 256
MAX_COUNT = (1 << 53) - 1
_KEPT_NAME_BYTES = 160

Vector: TypeAlias = tuple[tuple[str, int], ...]
"""(node, count of its edits), sorted by node; counts are at least 1."""


class Order(Enum):
    """How one version stands to another."""

    SAME = "same"
    NEWER = "newer"
    OLDER = "older"
    BESIDE = "beside"


def compare(one: Vector, other: Vector) -> Order:
    """How ``one`` stands to ``other``.

    >>> compare((("a", 2),), (("a", 1), ("b", 1)))
    <Order.BESIDE: 'beside'>
    """
    mine, theirs = dict(one), dict(other)
    more = any(count > theirs.get(node, 0) for node, count in one)
    less = any(count > mine.get(node, 0) for node, count in other)
    if more and less:
        return Order.BESIDE
    return Order.NEWER if more else Order.OLDER if less else Order.SAME


def join(one: Vector, other: Vector) -> Vector:
    """The smallest version that includes both."""
    counts = dict(one)
    for node, count in other:
        counts[node] = max(counts.get(node, 0), count)
    return tuple(sorted(counts.items()))


def bump(version: Vector, node: str) -> Vector:
    """The version after one more edit of a node."""
    counts = dict(version)
    counts[node] = counts.get(node, 0) + 1
    return tuple(sorted(counts.items()))


@dataclass(frozen=True, slots=True)
class Item:
    """One path of a collection as a replica knows it.

    ``digest`` is the BLAKE3 of the content, b"" when the path was deleted (a tombstone);
    ``mtime_ns`` is told along and decides nothing but between equal contents.
    """

    path: str
    version: Vector
    digest: bytes
    size: int = 0
    mtime_ns: int = 0

    @property
    def deleted(self) -> bool:
        """Whether this is a tombstone."""
        return not self.digest

    @property
    def rank(self) -> tuple[bool, bytes, int, int]:
        """Who wins of two that were made side by side: an edit before a deletion, then the
        greater digest. Any rule would do that all replicas share and no edit can change."""
        return bool(self.digest), self.digest, self.mtime_ns, self.size


def merge(one: Item, other: Item) -> tuple[Item, Item | None]:
    """(what is at the path, a conflict copy or None) of two versions of one path."""
    order = compare(one.version, other.version)
    if order in (Order.NEWER, Order.OLDER):
        return (one if order is Order.NEWER else other), None
    winner, loser = (one, other) if one.rank >= other.rank else (other, one)
    kept = Item(
        winner.path,
        join(one.version, other.version),
        winner.digest,
        winner.size,
        winner.mtime_ns,
    )
    if loser.deleted or loser.digest == winner.digest:
        return kept, None
    return kept, conflict_copy(loser)


def conflict_copy(loser: Item) -> Item:
    """The document that keeps an edit which lost; the same one wherever it is made.

    >>> conflict_copy(Item("a/kick.wav", (("n", 1),), bytes(32))).path
    'a/kick (conflict 00000000000000000000000000000000).wav'
    """
    place = PurePosixPath(loser.path)
    mark = loser.digest.hex()[:32]
    stem = place.stem.encode()[:_KEPT_NAME_BYTES].decode(errors="ignore")
    suffix = place.suffix if len(place.suffix.encode()) <= 20 else ""
    name = f"{stem} (conflict {mark}){suffix}"
    path = f"{loser.path.rpartition('/')[0]}/{name}" if "/" in loser.path else name
    return Item(path, ((f"~{mark}", 1),), loser.digest, loser.size, loser.mtime_ns)


class Held(Protocol):
    """Items by path."""

    def get(self, path: str, /) -> Item | None:
        """The item at a path, or None."""


def merge_all(held: Held, items: Iterable[Item]) -> dict[str, Item]:
    """What changes in a replica that holds ``held`` when ``items`` come in."""
    changed: dict[str, Item] = {}
    todo = list(items)
    while todo:
        item = todo.pop()
        now = changed.get(item.path) or held.get(item.path)
        if now is None:
            changed[item.path] = item
            continue
        merged, copy = merge(now, item)
        if merged != now:
            changed[item.path] = merged
        if copy is not None:
            todo.append(copy)
    return changed
