"""Groups of nodes that are near each other: every pair of a group is within the threshold.

Complete-link clusters of the smoothed round trips. A group that exists bears 20 % more than the
threshold, a new one needs 20 % less, and a change must last ten seconds before it counts.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

from hydramesh.membership.model import NodeId

RoundTrips: TypeAlias = Mapping[tuple[NodeId, NodeId], float]
Groups: TypeAlias = tuple[tuple[NodeId, ...], ...]

THRESHOLD_MS = 50.0
MAX_THRESHOLD_MS = 1000.0


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """``threshold_ms``: 0 to 1000, the greatest round trip within a group."""

    threshold_ms: float = THRESHOLD_MS
    hysteresis: float = 0.2
    dwell_s: float = 10.0

    def __post_init__(self) -> None:
        if not 0 <= self.threshold_ms <= MAX_THRESHOLD_MS:
            raise ValueError(f"group-rtt-threshold is 0 to 1000 ms, not {self.threshold_ms}")


def cluster(
    nodes: Iterable[NodeId],
    round_trips: RoundTrips,
    threshold_s: float,
    *,
    held: Groups = (),
    hysteresis: float = 0.0,
) -> Groups:
    """Complete-link clusters: the two nearest groups are joined as long as they may be.

    The distance of two groups is that of their farthest pair; a pair without a round trip is
    infinitely far. Pairs that ``held`` has together may be farther apart by ``hysteresis``, others
    must be nearer by as much. The result does not depend on the order of the nodes.

    >>> cluster("abc", {("a", "b"): 0.01, ("b", "c"): 0.04, ("a", "c"): 0.06}, 0.05)
    (('a', 'b'), ('c',))
    """
    together = {pair for group in held for pair in combinations(sorted(group), 2)}

    def strain(one: NodeId, other: NodeId) -> float:
        pair = (one, other) if one < other else (other, one)
        bound = threshold_s * (1 + hysteresis if pair in together else 1 - hysteresis)
        rtt_s = round_trips.get(pair, float("inf"))
        if bound <= 0:
            return float("inf")
        return rtt_s / bound

    active: set[tuple[NodeId, ...]] = {(node,) for node in nodes}
    #: The strain between two groups, where it lets them be joined; by sorted pair.
    near: dict[tuple[tuple[NodeId, ...], tuple[NodeId, ...]], float] = {}
    for one, other in combinations(sorted(active), 2):
        found = strain(one[0], other[0])
        if found <= 1:
            near[one, other] = found
    queue = [(found, one, other) for (one, other), found in near.items()]
    heapq.heapify(queue)
    while queue:
        _, one, other = heapq.heappop(queue)
        if one not in active or other not in active:
            continue
        active -= {one, other}
        joined = tuple(sorted(one + other))
        for third in active:
            # Complete link: as far as the farther of the two.
            ways = [near.get((min(part, third), max(part, third))) for part in (one, other)]
            if ways[0] is not None and ways[1] is not None:
                pair = (min(joined, third), max(joined, third))
                near[pair] = max(ways[0], ways[1])
                heapq.heappush(queue, (near[pair], *pair))
        active.add(joined)
    return tuple(sorted(active))


class Grouping:
    """The groups that are shown; they follow the round trips with hysteresis and dwell.

    Nodes that come or go change the groups at once, round trips only after the dwell.
    """

    def __init__(self, settings: GroupSettings | None = None) -> None:
        self.settings = settings if settings is not None else GroupSettings()
        self.groups: Groups = ()
        self._planned: Groups = ()
        self._since = 0.0

    def update(self, nodes: Iterable[NodeId], round_trips: RoundTrips, now: float) -> Groups:
        """The groups now; ``now`` is a monotonic clock's, in seconds."""
        present = set(nodes)
        chosen = self.settings
        kept = tuple(
            group
            for old in self.groups
            if (group := tuple(node for node in old if node in present))
        )
        new = present - {node for group in kept for node in group}
        self.groups = tuple(sorted([*kept, *((node,) for node in new)]))
        planned = cluster(
            present,
            round_trips,
            chosen.threshold_ms / 1000,
            held=self.groups,
            hysteresis=chosen.hysteresis,
        )
        if planned != self._planned:
            self._planned, self._since = planned, now
        if planned != self.groups and now - self._since >= chosen.dwell_s:
            self.groups = planned
        return self.groups
