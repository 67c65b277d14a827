"""The links of one node: which to dial, which to hang up, and how the dead are called again.

A new link is made before an old one goes, and an old one goes only when everybody is still reached
without it. Of all links that nobody wants, the members take down one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hydramesh.membership.detector import Peer
from hydramesh.membership.model import Dial, HangUp, Neighbour, NodeId, Settings, Status
from hydramesh.membership.neighbours import Candidate, Nearest, successors
from hydramesh.membership.routes import Graph

_GIVE_UP_AFTER = 3


@dataclass(slots=True)
class Link:
    """A direct link; ``outbound`` when we dialled it."""

    outbound: bool
    since: float


@dataclass(slots=True)
class Calls:
    """Attempts to reach one node: none before ``retry_at``."""

    failures: int = 0
    retry_at: float = 0.0


class Wiring:
    """Links as they are, and as they should be."""

    def __init__(self, node: NodeId, settings: Settings, now: float) -> None:
        self.node = node
        self.settings = settings
        self.links: dict[NodeId, Link] = {}
        self.targets: tuple[NodeId, ...] = ()
        self._nearest = Nearest(settings)
        self._dialling: dict[NodeId, float] = {}
        self._calls: dict[NodeId, Calls] = {}
        self._held_off: dict[NodeId, float] = {}
        self._targets_since = now
        self._probe_at = now
        self._probed = 0
        self.relay = False
        """Whether this node is a relay: then it has room for many links."""

    # -- events ----------------------------------------------------------------------------------

    def up(self, node: NodeId, now: float, *, outbound: bool) -> None:
        """A link was made."""
        held = self.links.get(node)
        if held is None:
            self.links[node] = Link(outbound, now)
        else:
            held.outbound = held.outbound or outbound
        self._dialling.pop(node, None)
        self._calls.pop(node, None)

    def down(self, node: NodeId, now: float) -> None:
        """A link went."""
        self.links.pop(node, None)
        self._dialling.pop(node, None)
        self._calls.setdefault(node, Calls(0, now))

    def failed(self, node: NodeId, now: float) -> None:
        """Dialling led to nothing: the next attempt waits twice as long as the one before."""
        self._dialling.pop(node, None)
        calls = self._calls.setdefault(node, Calls())
        calls.failures += 1
        wait = self.settings.dial_backoff_s * 2 ** min(calls.failures - 1, 8)
        calls.retry_at = now + min(wait, self.settings.dial_backoff_max_s)

    def back(self, node: NodeId) -> None:
        """A node is heard again: what failed before says nothing any more."""
        self._calls.pop(node, None)

    def call_now(
        self, peers: Mapping[NodeId, Peer], chosen: set[NodeId], now: float
    ) -> list[Dial | HangUp]:
        """Forget what failed, and call those of the chosen that are away or wanted."""
        actions: list[Dial | HangUp] = []
        for node in sorted(chosen):
            self._calls.pop(node, None)
            status = peers[node].effective
            if node in self.targets or not (status.reachable or status is Status.LEFT):
                actions += self._dial(node, now)
        return actions

    # -- decisions -------------------------------------------------------------------------------

    def update(
        self, peers: Mapping[NodeId, Peer], graph: Callable[[], Graph], now: float
    ) -> list[Dial | HangUp]:
        """Choose anew; what has to be dialled and hung up for it."""
        for node, deadline in list(self._dialling.items()):
            if now >= deadline:
                self.failed(node, now)
        alive = {node: peer for node, peer in peers.items() if peer.effective.reachable}
        self._heed_surplus(alive, now)
        targets = self._choose(alive, now)
        if targets != self.targets:
            self.targets, self._targets_since = targets, now
        actions: list[Dial | HangUp] = []
        for node in targets:
            actions += self._dial(node, now)
        actions += self._redial(alive, now)
        actions += self._probe(peers, alive, now)
        actions += self._drop_dead(peers, alive, now)
        actions += self._drop_unwanted(alive, graph, now)
        return actions

    def _choose(self, alive: Mapping[NodeId, Peer], now: float) -> tuple[NodeId, ...]:
        ring = successors(self.node, alive)
        onward = self._onward(ring, alive)
        if onward is None:
            return ()
        around = {onward, ring[-1]}
        candidates = {
            node: Candidate(peer.quality.rtt_s, self._degree(peer), node in self.links)
            for node, peer in alive.items()
            if node not in around and self._can_reach(node) and self._held_off.get(node, 0) <= now
        }
        near = self._nearest.update(candidates, now)
        chosen = (onward,) if near is None else (onward, near)
        return chosen + self._through_relay(chosen, alive)

    def _through_relay(
        self, chosen: tuple[NodeId, ...], alive: Mapping[NodeId, Peer]
    ) -> tuple[NodeId, ...]:
        """A relay to keep a link to, while some member cannot be dialled: the nearest one."""
        if self.relay or all(self._can_reach(node) for node in alive):
            return ()
        relays = [node for node, peer in alive.items() if is_relay(peer) and self._can_reach(node)]
        if not relays or not set(relays).isdisjoint(chosen):
            return ()
        # A link that is there stays: another relay would be no better by enough.
        return (min(relays, key=lambda n: (n not in self.links, alive[n].quality.rtt_s, n)),)

    def _onward(self, ring: list[NodeId], alive: Mapping[NodeId, Peer]) -> NodeId | None:
        """The next on the ring that can be reached; a stand-in for it must have room for us."""
        able = [node for node in ring if self._can_reach(node)]
        for node in able:
            full = self._degree(alive[node]) >= self._room(is_relay(alive[node]))
            has_room = node in self.links or not full
            if node == ring[0] or (has_room and node not in self._held_off):
                return node
        return able[0] if able else None

    def _can_reach(self, node: NodeId) -> bool:
        """Whether it is linked, or dialling it has not failed again and again."""
        calls = self._calls.get(node)
        return node in self.links or calls is None or calls.failures < _GIVE_UP_AFTER

    def _redial(self, alive: Mapping[NodeId, Peer], now: float) -> list[Dial | HangUp]:
        """Try the true successor again now and then; the stand-in stays until that succeeds."""
        ring = successors(self.node, alive)
        if not ring or self._can_reach(ring[0]):
            return []
        if now - self._calls[ring[0]].retry_at < self.settings.redial_every_s:
            return []
        return self._dial(ring[0], now)

    def _room(self, relay: bool) -> int:
        return self.settings.relay_degree if relay else self.settings.max_degree

    def _degree(self, peer: Peer) -> int:
        return len(peer.beat.neighbours) if peer.beat is not None else 0

    def _dial(self, node: NodeId, now: float) -> list[Dial | HangUp]:
        calls = self._calls.get(node)
        if node in self.links or node in self._dialling or (calls and calls.retry_at > now):
            return []
        self._dialling[node] = now + self.settings.dial_timeout_s
        return [Dial(node)]

    def _probe(
        self, peers: Mapping[NodeId, Peer], alive: Mapping[NodeId, Peer], now: float
    ) -> list[Dial | HangUp]:
        """Call those that are away: at once the one behind us on the ring, the others by turns.

        Wherever the ring was cut, each side has a node whose successor is on the other side.
        """
        known = [
            node
            for node, peer in peers.items()
            if node in alive or peer.effective is not Status.LEFT
        ]
        ring = successors(self.node, known)
        away = [node for node in ring if node not in alive]
        left = [n for n, peer in peers.items() if peer.seed and peer.effective is Status.LEFT]
        actions: list[Dial | HangUp] = []
        if away and ring[0] == away[0]:
            actions += self._dial(away[0], now)
        for node in away if not alive else ():
            actions += self._dial(node, now) if is_relay(peers[node]) else []
        for node in left:
            # When it is back it may not be able to dial us, if nobody can.
            lately = now - peers[node].since < self.settings.left_lately_s
            actions += self._dial(node, now) if lately else []
        turns = [*away, *left]
        if turns and (now >= self._probe_at or not alive):
            self._probe_at = now + self.settings.probe_every_s / len(turns)
            self._probed += 1
            actions += self._dial(turns[self._probed % len(turns)], now)
        return actions

    def _drop_dead(
        self, peers: Mapping[NodeId, Peer], alive: Mapping[NodeId, Peer], now: float
    ) -> list[Dial | HangUp]:
        """Links that carry nothing: the trunk should stop sending into them."""
        found: list[Dial | HangUp] = []
        for node, link in self.links.items():
            away_since = peers[node].shown_since if node in peers else 0.0
            is_new = now - link.since < self.settings.new_link_s
            if node not in alive and not is_new and now - away_since >= self.settings.drop_dead_s:
                found.append(HangUp(node))
        return found

    # -- taking links down -------------------------------------------------------------------------

    def _drop_unwanted(
        self, alive: Mapping[NodeId, Peer], graph: Callable[[], Graph], now: float
    ) -> list[Dial | HangUp]:
        if now - self._targets_since < self.settings.settle_s or not self._settled(now):
            return []
        if not self._has_unwanted(alive):
            return []
        # All members see about the same list; an end of its last spare link acts, the others wait.
        whole = graph()
        for one, other in sorted(self._unwanted_links(alive), reverse=True):
            if not whole.reached(self.node, without=(one, other)).issuperset(alive):
                continue
            node = other if one == self.node else one
            if self.node not in (one, other) or node not in self.links:
                return []
            self._targets_since = now
            return [HangUp(node)]
        return []

    def _has_unwanted(self, alive: Mapping[NodeId, Peer]) -> bool:
        """Whether a link of ours is wanted by neither end."""
        for node in self.links:
            beat = alive[node].beat if node in alive else None
            theirs = beat.neighbour(self.node) if beat is not None else None
            if node not in self.targets and theirs is not None and not theirs.wanted:
                return True
        return False

    def _settled(self, now: float) -> bool:
        return all(
            node in self.links and now - self.links[node].since >= self.settings.settle_s
            for node in self.targets
        )

    def _unwanted_links(self, alive: Mapping[NodeId, Peer]) -> set[tuple[NodeId, NodeId]]:
        wanted: dict[tuple[NodeId, NodeId], bool] = {}
        for link in self.neighbours(alive):
            pair = _pair(self.node, link.node)
            wanted[pair] = wanted.get(pair, False) or link.wanted
        for node, peer in alive.items():
            for link in peer.beat.neighbours if peer.beat is not None else ():
                pair = _pair(node, link.node)
                wanted[pair] = wanted.get(pair, False) or link.wanted
        return {pair for pair, is_wanted in wanted.items() if not is_wanted}

    # -- too many links ----------------------------------------------------------------------------

    def _heed_surplus(self, alive: Mapping[NodeId, Peer], now: float) -> None:
        """Neighbours that have too many links are left alone for a while, as the nearest one."""
        for node, peer in alive.items():
            own = peer.beat.neighbour(self.node) if peer.beat is not None else None
            if own is not None and own.surplus and node in self.links:
                self._held_off[node] = now + self.settings.hold_off_s
        for node in [node for node, until in self._held_off.items() if until <= now]:
            del self._held_off[node]

    def neighbours(self, alive: Mapping[NodeId, Peer]) -> list[Neighbour]:
        """Our links as our heartbeat tells them."""
        surplus = self._surplus(alive)
        return [
            Neighbour(
                node,
                alive[node].quality.rtt_us if node in alive else -1,
                wanted=node in self.targets and node not in surplus,
                surplus=node in surplus,
            )
            for node in sorted(self.links)
        ]

    def _surplus(self, alive: Mapping[NodeId, Peer]) -> set[NodeId]:
        """The slowest links beyond the limit, of those that are not of the ring or ours."""
        excess = len(self.links) - self._room(self.relay)
        if excess <= 0:
            return set()
        ring = successors(self.node, alive)
        kept = {*self.targets, *ring[-1:]}
        extra = sorted(
            (node for node in self.links if node not in kept),
            key=lambda node: (alive[node].quality.rtt_s if node in alive else 0.0, node),
        )
        return set(extra[-excess:])


def is_relay(peer: Peer) -> bool:
    """Whether a node has said that it is a relay."""
    return peer.beat is not None and peer.beat.relay


def _pair(one: NodeId, other: NodeId) -> tuple[NodeId, NodeId]:
    return (one, other) if one < other else (other, one)
