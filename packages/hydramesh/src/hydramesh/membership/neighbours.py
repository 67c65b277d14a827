"""Which two nodes to keep links to: the successor on the ring of node ids, and the nearest one.

The ring keeps the graph whole; the nearest node makes it short. Each node chooses two and is chosen
by about two, so that the degree stays within four.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hydramesh.membership.model import NodeId, Settings


@dataclass(frozen=True, slots=True)
class Candidate:
    """A member that may become a neighbour: round trip (-1: unknown), its degree, linked to us."""

    rtt_s: float
    degree: int
    linked: bool


def successors(node: NodeId, others: Iterable[NodeId]) -> list[NodeId]:
    """All others in the order of the ring, beginning behind ``node``.

    >>> successors("c", ["a", "d", "b", "e"])
    ['d', 'e', 'a', 'b']
    """
    ring = sorted(set(others) - {node})
    at = bisect_right(ring, node)
    return ring[at:] + ring[:at]


class Nearest:
    """The choice of the nearest node; it changes only for one that stays clearly better."""

    __slots__ = ("_rival", "_settings", "_since", "chosen")

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.chosen: NodeId | None = None
        self._rival: NodeId | None = None
        self._since = 0.0

    def update(self, candidates: Mapping[NodeId, Candidate], now: float) -> NodeId | None:
        """The node to keep a link to, of those given; None when none has room."""
        held = candidates.get(self.chosen) if self.chosen is not None else None
        best = self._best(candidates)
        if held is None:
            self.chosen, self._rival = best, None
        elif best is None or not self._clearly_better(candidates[best], held):
            self._rival = None
        elif best != self._rival:
            self._rival, self._since = best, now
        elif now - self._since >= self._settings.dwell_s:
            self.chosen, self._rival = best, None
        return self.chosen

    def _best(self, candidates: Mapping[NodeId, Candidate]) -> NodeId | None:
        fit = [
            (candidate.rtt_s, node)
            for node, candidate in candidates.items()
            if candidate.rtt_s >= 0
            and (candidate.linked or candidate.degree < self._settings.max_degree)
        ]
        return min(fit)[1] if fit else None

    def _clearly_better(self, one: Candidate, other: Candidate) -> bool:
        return other.rtt_s < 0 or one.rtt_s < other.rtt_s * (1 - self._settings.better_by)
