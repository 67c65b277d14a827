"""Contents that are waited for, and whose turn it is. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

LACKING_S = 5.0
"""Who said that it has not got a content is not asked for it again for so long."""


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
    """Contents that wait for their turn, and those whose turn it is."""

    most: int
    queue: deque[bytes] = field(default_factory=deque)
    active: set[bytes] = field(default_factory=set)
