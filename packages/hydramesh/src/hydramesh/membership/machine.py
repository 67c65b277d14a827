"""Membership of one node as a state machine: events in, actions out, time as an argument.

The daemon calls :meth:`Membership.tick` at least every 50 ms, hands every heartbeat that it hears
to :meth:`Membership.heard`, and does what the actions say. ``docs/explanation/mesh-membership.md``
has the diagrams.
"""

from __future__ import annotations

from collections.abc import Iterable

from hydramesh.membership.detector import Detector, Peer
from hydramesh.membership.model import (
    MAX_NEIGHBOURS,
    MAX_REPORTS,
    Action,
    Claim,
    Heartbeat,
    NodeId,
    Report,
    Send,
    Settings,
    Status,
)
from hydramesh.membership.routes import Graph, Route
from hydramesh.membership.wiring import Wiring

_SOONEST_ANSWER = 0.06
"""Heartbeats out of turn keep this distance, in seconds."""
_WIRING_EVERY_S = 0.1


class Membership:
    """The members of a realm as one node sees them.

    Args:
        node: the node's id.
        instance: a random number of this process, 0 to 2**53 - 1.
        now: seconds of a monotonic clock; wall clock time has no part in this.

    >>> one = Membership("a", 1, now=0.0)
    >>> other = Membership("b", 2, now=0.0)
    >>> [hello] = one.tick(0.0)
    >>> [str(action.after) for action in other.heard(hello.beat, 0.01) if hasattr(action, "after")]
    ['alive']
    """

    def __init__(
        self, node: NodeId, instance: int, now: float, settings: Settings | None = None
    ) -> None:
        self.node = node
        self.instance = instance
        self.settings = settings if settings is not None else Settings()
        self.claim: Claim | None = None
        self.relay = False
        self._detector = Detector(node, instance, self.settings)
        self._wiring = Wiring(node, self.settings, now)
        self._started = self._now = now
        self._offset = 0.0
        self._seq = 0
        self._next_beat = now
        self._next_wiring = now
        self._last_beat = now - 1.0
        self._leaving = False
        self._turn = 0

    # -- events ----------------------------------------------------------------------------------

    def know(self, nodes: Iterable[NodeId], now: float) -> list[Action]:
        """The nodes that should be members now, from the realm's list; others are forgotten once
        they have been away for long, and not called when they said good-bye."""
        now = self._advance(now)
        chosen = set(nodes)
        for peer in self._detector.peers.values():
            peer.seed = peer.node in chosen
        for node in sorted(chosen):
            self._detector.know(node, now, seed=True)
        return self._act(now)

    def heard(self, beat: Heartbeat, now: float) -> list[Action]:
        """A heartbeat came in, over whatever way."""
        now = self._advance(now)
        duplicate = self._detector.heard(beat, now, self._started)
        actions: list[Action] = [duplicate] if duplicate is not None else []
        changes = self._detector.changes(now)
        for change in changes:
            if change.after.reachable and not change.before.reachable:
                self._wiring.back(change.node)
        return actions + changes + self._beat(now)

    def link_up(self, node: NodeId, now: float, *, outbound: bool) -> list[Action]:
        """The trunk has a direct link to a node; ``outbound`` when we dialled it."""
        now = self._advance(now)
        self._detector.know(node, now)
        self._wiring.up(node, now, outbound=outbound)
        self._detector.answer = True
        return self._beat(now)

    def link_down(self, node: NodeId, now: float) -> list[Action]:
        """A direct link went, for whatever reason."""
        now = self._advance(now)
        self._wiring.down(node, now)
        return self._act(now)

    def dial_failed(self, node: NodeId, now: float) -> list[Action]:
        """Dialling a node led to nothing."""
        now = self._advance(now)
        self._wiring.failed(node, now)
        return []

    def retry(self, now: float, nodes: Iterable[NodeId] | None = None) -> list[Action]:
        """Dial those that are away now, whatever failed before; all, or only those given."""
        now = self._advance(now)
        peers = self._detector.peers
        chosen = set(peers) if nodes is None else set(nodes) & set(peers)
        return [*self._wiring.call_now(peers, chosen, now), *self._act(now)]

    def tick(self, now: float) -> list[Action]:
        """Time passes."""
        now = self._advance(now)
        self._detector.watch(now)
        for node in self._detector.forget(now):
            self._wiring.down(node, now)
        return self._act(now)

    def leave(self, now: float) -> list[Action]:
        """Say good-bye; afterwards nothing more is sent."""
        now = self._advance(now)
        self._leaving = True
        return [Send(self._make_beat(now))]

    def _advance(self, now: float) -> float:
        """Our own count of time: it never runs backwards, and leaves long pauses out.

        While this process was stopped nobody could be heard: that is nobody's silence. A clock that
        is set back or forward, against all promises, looks the same.
        """
        passed = now + self._offset - self._now
        if not 0 <= passed <= 2 * self.settings.interval_s:
            usual = self.settings.interval_s if passed > 0 else 0.0
            self._offset += usual - passed
            self._detector.skipped(self._now, self._started)
            passed = usual
        self._now += passed
        return self._now

    # -- actions ---------------------------------------------------------------------------------

    def _act(self, now: float) -> list[Action]:
        actions: list[Action] = [*self._detector.changes(now)]
        if not self._leaving and (actions or now >= self._next_wiring):
            self._next_wiring = now + _WIRING_EVERY_S
            self._wiring.relay = self.relay
            actions += self._wiring.update(self._detector.peers, self.graph, now)
        return actions + self._beat(now)

    def _beat(self, now: float) -> list[Action]:
        if self._leaving:
            return []
        soon = self._detector.answer and now - self._last_beat >= _SOONEST_ANSWER
        if not soon and now < self._next_beat:
            return []
        self._detector.answer = False
        hurry = 0.5 if self._detector.hurries(now) else 1.0
        # From the planned time on, so that a late tick does not stretch the interval.
        base = now if soon or now - self._next_beat > self.settings.interval_s else self._next_beat
        self._next_beat = base + self.settings.interval_s * hurry
        self._last_beat = now
        return [Send(self._make_beat(now))]

    def _make_beat(self, now: float) -> Heartbeat:
        self._seq += 1
        return Heartbeat(
            node=self.node,
            instance=self.instance,
            incarnation=self._detector.incarnation,
            seq=self._seq,
            stamp_us=round((now - self._started) * 1e6),
            leaving=self._leaving,
            neighbours=tuple(self._wiring.neighbours(self._alive())[:MAX_NEIGHBOURS]),
            reports=self._reports(now),
            claim=self.claim,
            relay=self.relay,
        )

    def _reports(self, now: float) -> tuple[Report, ...]:
        """All nodes that we heard once; of very many a part, by turns."""
        heard = [peer for _, peer in sorted(self._detector.peers.items()) if peer.instance >= 0]
        if len(heard) > MAX_REPORTS:
            near = [peer for peer in heard if peer.node in self._wiring.links][:MAX_REPORTS]
            rest = [peer for peer in heard if peer.node not in self._wiring.links]
            room = MAX_REPORTS - len(near)
            self._turn = (self._turn + room) % len(rest)
            heard = near + (rest + rest)[self._turn : self._turn + room]
        return tuple(self._detector.report(peer, now) for peer in heard)

    # -- views -----------------------------------------------------------------------------------

    def _alive(self) -> dict[NodeId, Peer]:
        peers = self._detector.peers
        return {node: peer for node, peer in peers.items() if peer.effective.reachable}

    @property
    def incarnation(self) -> int:
        """How often this process had to contradict a suspicion, or more."""
        return self._detector.incarnation

    @property
    def peers(self) -> dict[NodeId, Peer]:
        """All other nodes that are known; to read, not to change."""
        return self._detector.peers

    def status(self, node: NodeId) -> Status:
        """What we think of a node."""
        if node == self.node:
            return Status.LEFT if self._leaving else Status.ALIVE
        peer = self._detector.peers.get(node)
        return peer.effective if peer is not None else Status.UNKNOWN

    def members(self) -> list[NodeId]:
        """The nodes that messages reach, ourselves included, sorted."""
        return sorted([self.node, *self._alive()])

    @property
    def links(self) -> tuple[NodeId, ...]:
        """The nodes with a direct link to us."""
        return tuple(sorted(self._wiring.links))

    @property
    def targets(self) -> tuple[NodeId, ...]:
        """The nodes that we want a direct link to: the next on the ring first."""
        return self._wiring.targets

    def claims(self) -> dict[NodeId, Claim]:
        """What the members, ourselves included, say of the election."""
        found = {
            node: peer.beat.claim
            for node, peer in self._alive().items()
            if peer.beat is not None and peer.beat.claim is not None
        }
        return found | ({self.node: self.claim} if self.claim is not None else {})

    def round_trips(self) -> dict[tuple[NodeId, NodeId], float]:
        """Round trips between members in seconds, by sorted pair; the greater where two tell."""
        alive = self._alive()
        told = [(self.node, node, peer.quality.rtt_us) for node, peer in alive.items()]
        for node, peer in alive.items():
            for report in peer.beat.reports if peer.beat is not None else ():
                if report.status.reachable and (report.node in alive or report.node == self.node):
                    told.append((node, report.node, report.rtt_us))
        found: dict[tuple[NodeId, NodeId], float] = {}
        for one, other, rtt_us in told:
            if rtt_us >= 0:
                pair = (min(one, other), max(one, other))
                found[pair] = max(found.get(pair, 0.0), rtt_us / 1e6)
        return found

    def graph(self) -> Graph:
        """The links between members; both ends must have told of a link."""
        alive = self._alive()
        told: dict[tuple[NodeId, NodeId], float] = {}
        for link in self._wiring.neighbours(alive):
            told[self.node, link.node] = link.rtt_us / 1e6
        for node, peer in alive.items():
            for link in peer.beat.neighbours if peer.beat is not None else ():
                told[node, link.node] = link.rtt_us / 1e6
        graph = Graph()
        for (one, other), rtt_s in told.items():
            if (other, one) in told:
                graph.add(one, other, rtt_s)
        return graph

    def routes(self) -> dict[NodeId, Route]:
        """The quickest way to each member, and the neighbour that it goes through."""
        alive = self._alive()
        return self.graph().routes(self.node, alive)
