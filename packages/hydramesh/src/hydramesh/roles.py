"""Roles and the election of a master: every node computes the same answer from the same claims.

A master only schedules (who syncs when, who plans a session); it is never in the way of data. So
two masters, one on each side of a partition, do no harm, and no consensus is claimed: when the
sides meet, the claim with the higher term wins, of equal terms the one with the smaller node id. A
node should listen for some heartbeats before its first election, lest it unseats a sitting master.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from hydramesh.membership.model import MAX_COUNTER, Claim, NodeId


class Mode(StrEnum):
    """What a node may become: the ``mode`` of the configuration."""

    P2P = "p2p"
    """Takes no part in elections, and heeds no master."""
    AUTO = "auto"
    """May become master when no node prefers to be."""
    MASTER = "master"
    """Prefers to be master."""
    CLIENT = "client"
    """Heeds a master, and is never one."""


_RANK = {Mode.MASTER: 0, Mode.AUTO: 1}


class Election:
    """One node's part in the election; the claims of the others arrive with their heartbeats.

    >>> election = Election("a", Mode.AUTO)
    >>> election.update({"b": Claim("master", 0, "")}).leader
    ''
    >>> election.update({"b": Claim("master", 1, "b")}).leader
    'b'
    """

    def __init__(self, node: NodeId, mode: Mode) -> None:
        self.node = node
        self.mode = mode
        self.term = 0
        self.leader: NodeId = ""

    def update(self, claims: Mapping[NodeId, Claim]) -> Claim:
        """Our claim, given what the reachable members claim (ours may be among them).

        Only a node that leads says so of itself; the others follow the best of those claims.
        """
        others = {node: claim for node, claim in claims.items() if node != self.node}
        highest = max((claim.term for claim in others.values()), default=0)
        self.term = min(max(self.term, highest), MAX_COUNTER - 1)
        if self.mode is Mode.P2P:
            self.leader = ""
            return self._claim()
        best = self._best(others)
        if best == self.node:
            if self.leader != self.node:
                self.term += 1
            self.leader = self.node
        else:
            claim = others.get(best)
            self.leader = best if claim is not None and claim.leader == best else ""
        return self._claim()

    def _best(self, others: Mapping[NodeId, Claim]) -> NodeId:
        """Who should lead: rank first, then a sitting leader's term, then the smaller id."""
        standing: list[tuple[int, int, NodeId]] = []
        for node, claim in [*others.items(), (self.node, self._claim())]:
            rank = _RANK.get(_mode(claim.mode))
            if rank is not None:
                term = claim.term if claim.leader == node else -1
                standing.append((rank, -term, node))
        return min(standing)[2] if standing else ""

    def _claim(self) -> Claim:
        return Claim(self.mode.value, self.term, self.leader)


def _mode(name: str) -> Mode:
    try:
        return Mode(name)
    except ValueError:
        return Mode.P2P
