"""Failures that the user asked this node to act out: whom it does not hear for a while. Pure.

They live in memory and have an end: nothing has to be undone, and a restart ends them all.
"""

from __future__ import annotations

from dataclasses import dataclass

from hydramesh.errors import InvalidArgument
from hydramesh.membership.model import NodeId

DEFAULT_S = 10.0
LONGEST_S = 600.0


@dataclass(frozen=True, slots=True)
class Failure:
    """One of them; ``until`` is a monotonic clock's, in seconds."""

    node: NodeId
    link_only: bool
    until: float


class Failures:
    """The failures of now.

    >>> acted = Failures()
    >>> acted.begin("a", link_only=True, for_s=2, now=10.0).until
    12.0
    >>> acted.cuts("a", 11.0), acted.mutes("a", 11.0), acted.cuts("a", 12.0)
    (True, False, False)
    """

    def __init__(self) -> None:
        self._held: dict[NodeId, Failure] = {}

    def begin(self, node: NodeId, *, link_only: bool, for_s: float, now: float) -> Failure:
        """Begin one, or put another in its place; raises ``InvalidArgument``."""
        if not 0 < for_s <= LONGEST_S:
            raise InvalidArgument(
                f"a failure cannot be simulated for {for_s:g} s",
                next_step=f"choose up to {LONGEST_S / 60:.0f} minutes, for example --for 10s",
            )
        made = self._held[node] = Failure(node, link_only, now + for_s)
        return made

    def end(self, node: NodeId) -> bool:
        """End one early; whether there was one."""
        return self._held.pop(node, None) is not None

    def cuts(self, node: NodeId, now: float) -> bool:
        """Whether no link to the node may be."""
        held = self._held.get(node)
        return held is not None and now < held.until

    def mutes(self, node: NodeId, now: float) -> bool:
        """Whether nothing of the node may be heard, through whomever it comes."""
        return self.cuts(node, now) and not self._held[node].link_only

    def active(self, now: float) -> list[Failure]:
        """Those that go on."""
        return [each for each in self._held.values() if now < each.until]

    def over(self, now: float) -> list[NodeId]:
        """Take out those whose time is over, and name their nodes."""
        gone = [each.node for each in self._held.values() if now >= each.until]
        for node in gone:
            del self._held[node]
        return gone
