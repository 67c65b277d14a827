"""One replica of a collection: items by path, and a log from which each peer is told the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from hydramesh.sync.errors import NotPermitted
from hydramesh.sync.names import check_name
from hydramesh.sync.reconcile import fingerprint, total_sum
from hydramesh.sync.versions import Item, bump, merge_all

MOST_ITEMS = 1000


class Role(StrEnum):
    """What a node may do in a collection."""

    OWNER = "owner"
    EDITOR = "editor"
    READER = "reader"

    @property
    def may_write(self) -> bool:
        """Whether its edits are taken."""
        return self is not Role.READER


def check_author(role: Role | None, sender: str, collection: str) -> None:
    """Whether what a peer sends may be taken.

    Raises:
        NotPermitted: it is a reader, or has no role in the collection.
    """
    if role is None or not role.may_write:
        raise NotPermitted(
            f"{sender} may not change {collection}",
            why=f"its role is {role.value if role is not None else 'none'}",
            next_step=f"an owner can make it an editor of {collection}",
        )


@dataclass(frozen=True, slots=True)
class Delta:
    """Changes after ``since``, up to ``upto``; ``more`` when there are others behind them.

    ``epoch`` names the log: another one means that its numbers begin anew.
    """

    epoch: int
    since: int
    upto: int
    more: bool
    items: tuple[Item, ...]


class Replica:
    """The items of one node, without their contents."""

    def __init__(
        self,
        node: str,
        epoch: int,
        items: Iterable[Item] = (),
        *,
        sign: Callable[[Item], Item] = lambda item: item,
    ) -> None:
        """``sign`` makes an edit of this node one that others can check."""
        self.node = node
        self.epoch = epoch
        self._sign = sign
        self._total = 0
        self._items: dict[str, Item] = {}
        self._log: dict[str, int] = {}
        self._seq = 0
        for item in items:
            self._put(item)

    # -- reading ---------------------------------------------------------------------------------

    @property
    def items(self) -> Mapping[str, Item]:
        """All items by path, tombstones included."""
        return self._items

    @property
    def seq(self) -> int:
        """The number of the last change."""
        return self._seq

    def sum(self) -> bytes:
        """What ``Summary.sum`` says of all items, kept up to date: equal replicas have it equal."""
        return total_sum(self._total, len(self._items))

    def documents(self) -> dict[str, bytes]:
        """The digest of each document by path."""
        return {path: item.digest for path, item in self._items.items() if not item.deleted}

    def missing(self, has: Callable[[bytes], bool]) -> Iterator[Item]:
        """The items whose contents are not at hand; a renamed or copied document's is."""
        asked: set[bytes] = set()
        for item in self._items.values():
            if item.digest and item.digest not in asked and not has(item.digest):
                asked.add(item.digest)
                yield item

    def since(self, seq: int, epoch: int, limit: int = MOST_ITEMS) -> Delta:
        """What changed after number ``seq``: each path once, as it is now."""
        start = seq if epoch == self.epoch and 0 <= seq <= self._seq else 0
        items: list[Item] = []
        upto = start
        # The log keeps the order of the last change of each path, so the new ones are at its end.
        fresh: list[tuple[str, int]] = []
        for path, number in reversed(self._log.items()):
            if number <= start:
                break
            fresh.append((path, number))
        for path, number in reversed(fresh[-limit:]):
            items.append(self._items[path])
            upto = number
        return Delta(self.epoch, start, upto, len(fresh) > limit, tuple(items))

    # -- changing --------------------------------------------------------------------------------

    def edit(
        self, path: str, digest: bytes, size: int = 0, mtime_ns: int = 0, given: bytes = b""
    ) -> Item:
        """The user wrote a document here, or its metadata."""
        held = self._items.get(check_name(path))
        version = bump(held.version if held is not None else (), self.node)
        return self._put(self._sign(Item(path, version, digest, size, mtime_ns, given)))

    def delete(self, path: str, now_ns: int = 0) -> Item | None:
        """The user deleted a document here, now; None when there was none."""
        held = self._items.get(path)
        if held is None or held.deleted:
            return None
        gone = Item(path, bump(held.version, self.node), b"", 0, now_ns)
        return self._put(self._sign(gone))

    def endorse(self, path: str) -> Item:
        """Make what is at a path an edit of this node, whoever made it."""
        held = self._items[path]
        return self._put(self._sign(replace(held, version=bump(held.version, self.node))))

    def rename(self, old: str, new: str) -> bool:
        """The user renamed a document here; its content keeps its digest and stays put."""
        held = self._items.get(old)
        if held is None or held.deleted or old == new:
            return False
        self.edit(new, held.digest, held.size, held.mtime_ns, held.given)
        self.delete(old)
        return True

    def take(self, items: Iterable[Item]) -> list[Item]:
        """Merge what a peer sent; returns what is different now, conflict copies included."""
        return [self._put(item) for item in merge_all(self._items, items).values()]

    def forget(self, path: str) -> None:
        """An old tombstone goes; whoever still tells of it is not listened to."""
        held = self._items.pop(path, None)
        if held is not None:
            self._log.pop(path, None)
            self._total -= int.from_bytes(fingerprint(held), "big")

    def _put(self, item: Item) -> Item:
        self._seq += 1
        held = self._items.get(item.path)
        if held is not None:
            self._total -= int.from_bytes(fingerprint(held), "big")
        self._total += int.from_bytes(fingerprint(item), "big")
        self._items[item.path] = item
        self._log.pop(item.path, None)
        self._log[item.path] = self._seq
        return item
