"""Version vectors, and what becomes of two versions of one path.

A version counts the edits of each node. Of two versions the one that includes the other is newer;
two that were made side by side are both kept: one wins, by a rule that needs no clock, and the
other becomes a conflict copy under a name that every replica chooses alike. So replicas that
exchanged all they have, in whatever order, hold the same documents.

Where peers are not trusted with everything, an item carries proofs: the signed edits that no other
edit known here includes. The item follows from them, so nobody can make one up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import PurePosixPath
from typing import Protocol, TypeAlias

MAX_VECTOR = 256
MAX_COUNT = (1 << 53) - 1
MAX_PROOFS = 64
_KEPT_NAME_BYTES = 160

Vector: TypeAlias = tuple[tuple[str, int], ...]
"""(node, count of its edits), sorted by node; counts are at least 1."""

Key: TypeAlias = "tuple[str, Vector, bytes]"


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
class Proof:
    """One edit as its author signed it; what the signature covers, ``hydramesh.sync.proofs`` says.

    ``path`` differs from the item's where the item is the conflict copy of this edit.
    """

    author: str
    signature: bytes
    path: str
    version: Vector
    digest: bytes
    size: int = 0
    mtime_ns: int = 0
    given: bytes = b""


@dataclass(frozen=True, slots=True)
class Item:
    """One path of a collection as a replica knows it.

    ``digest`` is the BLAKE3 of the content, b"" when the path was deleted (a tombstone);
    ``mtime_ns`` is told along and decides nothing but between equal contents. Of a tombstone it is
    the time of the deletion. ``given`` is the metadata that somebody gave to it by hand, see
    :mod:`hydramesh.sync.given`.
    """

    path: str
    version: Vector
    digest: bytes
    size: int = 0
    mtime_ns: int = 0
    given: bytes = b""
    proofs: tuple[Proof, ...] = field(default=(), compare=False)

    @property
    def deleted(self) -> bool:
        """Whether this is a tombstone."""
        return not self.digest

    @property
    def key(self) -> Key:
        """What tells this state of the path from others."""
        return self.path, self.version, self.digest

    @property
    def rank(self) -> tuple[bool, bytes, int, int, bytes]:
        """Who wins of two that were made side by side: an edit before a deletion, then the
        greater digest. Any rule would do that all replicas share and no edit can change."""
        return bool(self.digest), self.digest, self.mtime_ns, self.size, self.given


def merge(one: Item, other: Item) -> tuple[Item, Item | None]:
    """(what is at the path, a conflict copy or None) of two versions of one path."""
    order = compare(one.version, other.version)
    if order in (Order.NEWER, Order.OLDER):
        return (one if order is Order.NEWER else other), None
    if one.proofs and other.proofs:
        return _merge_proved(one, other)
    winner, loser = (one, other) if one.rank >= other.rank else (other, one)
    kept = Item(
        winner.path,
        join(one.version, other.version),
        winner.digest,
        winner.size,
        winner.mtime_ns,
        winner.given,
    )
    if loser.deleted or loser.digest == winner.digest:
        return kept, None
    return kept, conflict_copy(loser)


def claim(path: str, proof: Proof) -> Item | None:
    """What a proof says about a path: an edit of it, or a conflict copy; None for anything else."""
    said = proof.path, proof.version, proof.digest, proof.size, proof.mtime_ns, proof.given
    edit = Item(*said, proofs=(proof,))
    if proof.path == path:
        return edit
    copy = conflict_copy(edit) if proof.digest else edit
    return copy if copy.path == path else None


def item_of(path: str, proofs: Iterable[Proof]) -> Item:
    """The item that follows from signed edits: those that no other includes, and their winner.

    The proofs are some that ``claim`` knows for the path; there is at least one.
    """
    best: dict[tuple[Vector, bytes], Item] = {}
    for proof in proofs:
        said = claim(path, proof)
        if said is None:
            raise ValueError(f"a proof does not speak of {path[:60]!r}")
        held = best.get((said.version, said.digest))
        if held is None or _order(said) > _order(held):
            best[said.version, said.digest] = said
    said_all = list(best.values())
    heads = [
        each
        for each in said_all
        if not any(compare(other.version, each.version) is Order.NEWER for other in said_all)
    ]
    heads.sort(key=_order, reverse=True)
    version: Vector = ()
    for each in heads:
        version = join(version, each.version)
    winner = heads[0]
    kept = tuple(each.proofs[0] for each in heads[:MAX_PROOFS])
    what = winner.digest, winner.size, winner.mtime_ns, winner.given
    return Item(path, version, *what, proofs=kept)


def _order(item: Item) -> tuple[tuple[bool, bytes, int, int, bytes], str, Vector]:
    return item.rank, item.proofs[0].author, item.version


def _merge_proved(one: Item, other: Item) -> tuple[Item, Item | None]:
    kept = item_of(one.path, (*one.proofs, *other.proofs))
    for loser in (one, other):
        if loser.deleted or loser.digest == kept.digest:
            continue
        # What one of the others includes was replaced by somebody who had seen it.
        still = [proof for proof in kept.proofs if proof.digest == loser.digest]
        if still:
            return kept, _proved_copy(loser, still)
    return kept, None


def _proved_copy(loser: Item, proofs: Iterable[Proof]) -> Item:
    # The copy of a conflict copy proves itself with an edit of the copy only.
    able = [proof for proof in proofs if proof.path == loser.path]
    copy = conflict_copy(loser)
    return item_of(copy.path, able) if able else replace(copy, proofs=())


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
    version = ((f"~{mark}", 1),)
    said = loser.digest, loser.size, loser.mtime_ns, loser.given
    return Item(path, version, *said, proofs=loser.proofs[:1])


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
