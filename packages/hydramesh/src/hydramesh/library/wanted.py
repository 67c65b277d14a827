"""Contents that are waited for, whose turn it is, and who is asked for them. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

LACKING_S = 5.0
"""Who said that it has not got a content is not asked for it again for so long."""


class Peers(Protocol):
    """What transfers ask of other nodes."""

    async def piece(self, peer: str, collection: str, digest: bytes, index: int) -> bytes:
        """One piece of a content."""

    async def pieces(self, peer: str, collection: str, digest: bytes) -> tuple[bytes, ...]:
        """The digests of all pieces of a content."""

    async def contents(self, peer: str, collection: str, digests: list[bytes]) -> tuple[bytes, ...]:
        """Short contents, the first of those asked for; b"" for one that is not there."""


@dataclass(slots=True)
class Want:
    """A content that collections wait for.

    ``sources``: whom to ask, as of which collection; ``lacking``: who has it not, and when it said
    so.
    """

    digest: bytes
    size: int
    collections: set[str] = field(default_factory=set)
    sources: dict[str, str] = field(default_factory=dict)
    lacking: dict[str, float] = field(default_factory=dict)

    def look_for(self, sources: Callable[[str], Iterable[str]], now: float) -> None:
        """Find the peers that can be asked; ``sources`` gives those of a collection."""
        self.lacking = {peer: at for peer, at in self.lacking.items() if now - at < LACKING_S}
        self.sources = {
            peer: collection
            for collection in self.collections
            for peer in sources(collection)
            if peer not in self.lacking
        }

    def lacks(self, peer: str, now: float) -> None:
        """A peer said that it has not got it."""
        self.sources.pop(peer, None)
        self.lacking[peer] = now


@dataclass(slots=True)
class Line:
    """Contents that wait for their turn, and those whose turn it is.

    A place is held until the content is stored. So that a collection that cannot store for a while
    does not hold up the others, each has ``least`` places, even beyond the ``most`` of all.

    >>> line = Line(3, 1)
    >>> for digest in (b"a", b"b", b"c", b"d"):
    ...     line.join(digest, "locked")
    >>> list(line.call())
    [b'a', b'b', b'c']
    >>> line.join(b"e", "other")
    >>> line.join(b"f", "other")
    >>> list(line.call())
    [b'e']
    >>> line.leave(b"e")
    >>> list(line.call())
    [b'f']
    """

    most: int
    least: int
    active: dict[bytes, str] = field(default_factory=dict)
    _queues: dict[str, deque[bytes]] = field(default_factory=dict)
    _held: Counter[str] = field(default_factory=Counter)

    def join(self, digest: bytes, collection: str) -> None:
        """Wait for a turn, among those of a collection that wants it."""
        self._queues.setdefault(collection, deque()).append(digest)

    def call(self) -> Iterator[bytes]:
        """Those whose turn comes now; it is the turn of the collection that holds the fewest."""
        while self._queues:
            collection = min(self._queues, key=self._held.__getitem__)
            if len(self.active) >= self.most and self._held[collection] >= self.least:
                return
            queue = self._queues[collection]
            digest = queue.popleft()
            if not queue:
                del self._queues[collection]
            if digest not in self.active:
                self.active[digest] = collection
                self._held[collection] += 1
                yield digest

    def leave(self, digest: bytes) -> None:
        """The turn of a content is over, if it had one."""
        collection = self.active.pop(digest, None)
        if collection is not None:
            self._held[collection] -= 1
            if not self._held[collection]:
                del self._held[collection]
