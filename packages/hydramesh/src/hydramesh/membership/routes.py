"""The graph of links that the members report, and who is reached through whom."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hydramesh.membership.model import NodeId

_UNKNOWN_RTT_S = 1.0


@dataclass(frozen=True, slots=True)
class Route:
    """The best way to a node: the neighbour to go through, hops, and the sum of round trips."""

    to: NodeId
    via: NodeId
    hops: int
    rtt_s: float


class Graph:
    """Undirected links with round trips in seconds; a link counts when either end reports it."""

    __slots__ = ("_links",)

    def __init__(self) -> None:
        self._links: dict[NodeId, dict[NodeId, float]] = {}

    def add(self, a: NodeId, b: NodeId, rtt_s: float) -> None:
        """Add a link; of two values for its round trip the greater counts."""
        cost = rtt_s if rtt_s >= 0 else _UNKNOWN_RTT_S
        for one, other in ((a, b), (b, a)):
            links = self._links.setdefault(one, {})
            links[other] = max(links.get(other, 0.0), cost)

    @property
    def links(self) -> Mapping[NodeId, Mapping[NodeId, float]]:
        """Each node's links."""
        return self._links

    def reached(self, start: NodeId, without: tuple[NodeId, NodeId] | None = None) -> set[NodeId]:
        """The nodes that ``start`` reaches, itself included, if one link were not there."""
        gone = set(without) if without is not None else set()
        seen, todo = {start}, [start]
        while todo:
            node = todo.pop()
            for other in self._links.get(node, {}):
                if other not in seen and {node, other} != gone:
                    seen.add(other)
                    todo.append(other)
        return seen

    def routes(self, start: NodeId, members: Iterable[NodeId]) -> dict[NodeId, Route]:
        """The quickest route to each member that can be reached (Dijkstra, ties by node id)."""
        wanted = set(members)
        found: dict[NodeId, Route] = {}
        queue: list[tuple[float, int, NodeId, NodeId]] = [(0.0, 0, start, start)]
        while queue:
            cost, hops, node, via = heapq.heappop(queue)
            if node in found:
                continue
            found[node] = Route(node, via, hops, cost)
            for other, rtt_s in self._links.get(node, {}).items():
                if other in wanted and other not in found:
                    through = other if node == start else via
                    heapq.heappush(queue, (cost + rtt_s, hops + 1, other, through))
        del found[start]
        return found
