"""Who is alive: heartbeats in, the state of each node out.

A node is judged by what we hear of it ourselves, never by what others say of it. What it says about
*us* tells whether it hears us: a way that works in one direction only is no way.

A dead node comes back with a higher incarnation, which it takes when it learns that somebody
thinks it dead. So an old heartbeat that was held up somewhere wakes nobody, and who comes back has
heard us.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hydramesh.membership.model import (
    MAX_COUNTER,
    Changed,
    Duplicate,
    Heartbeat,
    NodeId,
    Report,
    Settings,
    Status,
)
from hydramesh.membership.quality import Quality

_KEPT_INSTANCES = 4
_ADVANCES = 5
_VERDICT_S = 0.6
"""So long heartbeats hurry after a node was given up: on lossy ways one alone may get lost."""


@dataclass(slots=True)
class Instances:
    """Other processes that were heard under a node id, and how far each went on since.

    A restart leaves the old process silent. Two that go on side by side are duplicates.
    """

    seqs: dict[int, list[int]] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)

    def retire(self, instance: int, seq: int) -> None:
        """From now on another process is followed."""
        self.seqs[instance] = [seq, 0]
        while len(self.seqs) > _KEPT_INSTANCES:
            del self.seqs[next(iter(self.seqs))]

    def advances(self, instance: int, seq: int) -> bool:
        """Note a heartbeat of another process; True when it evidently goes on."""
        held = self.seqs.setdefault(instance, [0, 0])
        if seq > held[0]:
            held[0], held[1] = seq, held[1] + 1
        return held[1] >= _ADVANCES

    def first_time(self, instance: int) -> bool:
        """Whether the duplicate has not been told of yet."""
        if instance in self.told:
            return False
        self.told.add(instance)
        return True


@dataclass(slots=True)
class Peer:
    """What is known of one other node."""

    node: NodeId
    status: Status = Status.UNKNOWN
    instance: int = -1
    incarnation: int = 0
    last_heard: float = 0.0
    since: float = 0.0
    alive_since: float = 0.0
    heard_by: bool = False
    deaf: bool = False
    beat: Heartbeat | None = None
    quality: Quality = field(default_factory=Quality)
    others: Instances = field(default_factory=Instances)
    shown: Status = Status.UNKNOWN
    shown_since: float = 0.0
    seed: bool = False
    echoed_us: int = -1

    @property
    def effective(self) -> Status:
        """The state that counts: one that does not hear us is as good as dead."""
        if self.deaf and self.status.reachable:
            return Status.DEAD
        return self.status


class Detector:
    """The table of the other nodes, and what they think of us."""

    def __init__(self, node: NodeId, instance: int, settings: Settings) -> None:
        self.node = node
        self.instance = instance
        self.incarnation = 0
        self.settings = settings
        self.peers: dict[NodeId, Peer] = {}
        self.answer = False
        """Somebody suspects us, or has just come: a heartbeat should go out soon."""
        self._own = Instances()
        self._sure_from = float("-inf")
        self._sure_from_us = 0

    def know(self, node: NodeId, now: float, *, seed: bool = False) -> Peer | None:
        """Take a node into the table; None when it is ourselves or the table is full."""
        held = self.peers.get(node)
        if held is None and node != self.node and len(self.peers) < self.settings.max_members:
            held = self.peers[node] = Peer(node, since=now)
        if held is not None and seed:
            held.seed = True
        return held

    # -- hearing ---------------------------------------------------------------------------------

    def heard(self, beat: Heartbeat, now: float, started: float) -> Duplicate | None:
        """Take a heartbeat in; ``started`` is when our own stamps began."""
        if beat.node == self.node:
            return self._heard_own(beat)
        peer = self.know(beat.node, now)
        if peer is None:
            return None
        if beat.instance != peer.instance:
            duplicate, follow = self._other_instance(peer, beat, now)
            if not follow:
                return duplicate
        elif peer.beat is not None and beat.seq <= peer.beat.seq:
            return None
        self._take(peer, beat, now)
        self._about_us(peer, beat.report_on(self.node), now, started)
        return None

    def _heard_own(self, beat: Heartbeat) -> Duplicate | None:
        other = beat.instance
        if other == self.instance or not self._own.advances(other, beat.seq):
            return None
        if not self._own.first_time(other):
            return None
        return Duplicate(self.node, (self.instance, other), own=True, yields=self.instance < other)

    def _other_instance(
        self, peer: Peer, beat: Heartbeat, now: float
    ) -> tuple[Duplicate | None, bool]:
        """(a duplicate to tell of, whether the new process is to be followed)."""
        others = peer.others
        if beat.instance in others.seqs:
            if not others.advances(beat.instance, beat.seq):
                return None, False
            if peer.status.reachable:
                first = others.first_time(beat.instance)
                pair = (peer.instance, beat.instance)
                return (Duplicate(peer.node, pair) if first else None), False
            # The one that was followed has gone: the other is the node now.
            del others.seqs[beat.instance]
        if peer.beat is not None:
            others.retire(peer.instance, peer.beat.seq)
        peer.instance, peer.incarnation, peer.beat = beat.instance, beat.incarnation, None
        peer.quality, peer.echoed_us = Quality(), -1
        peer.heard_by = peer.deaf = False
        self._set(peer, Status.UNKNOWN, now)
        return None, True

    def _take(self, peer: Peer, beat: Heartbeat, now: float) -> None:
        back = peer.status is not Status.DEAD or beat.incarnation > peer.incarnation
        peer.beat = beat
        if beat.leaving:
            self._set(peer, Status.LEFT, now)
            return
        if not back or (peer.status is Status.LEFT and beat.incarnation <= peer.incarnation):
            return
        if not peer.status.reachable:
            peer.alive_since = now
            peer.heard_by = False
            peer.quality.interrupted()
            self.answer = True
        peer.incarnation = beat.incarnation
        peer.last_heard = now
        peer.quality.on_arrival(beat.seq, beat.stamp_us, now)
        self._set(peer, Status.ALIVE, now)
        for report in beat.reports:
            if report.status.reachable:
                self.know(report.node, now)

    def _about_us(self, peer: Peer, report: Report | None, now: float, started: float) -> None:
        if report is None or report.instance != self.instance:
            return
        if report.status is not Status.ALIVE and report.incarnation >= self.incarnation:
            self.incarnation = min(report.incarnation, MAX_COUNTER - 1) + 1
            self.answer = True
        peer.heard_by = peer.heard_by or report.status.reachable
        peer.deaf = report.status is Status.DEAD
        if report.held_us >= 0 and report.stamp_us > max(peer.echoed_us, self._sure_from_us):
            peer.echoed_us = report.stamp_us
            peer.quality.on_rtt(now - started - (report.stamp_us + report.held_us) / 1e6)

    # -- silence ---------------------------------------------------------------------------------

    def watch(self, now: float) -> None:
        """Let time pass: who is silent becomes suspect, then dead."""
        chosen = self.settings
        patience_s = chosen.dead_after_s + chosen.interval_s
        suspect_after = chosen.interval_s * chosen.suspect_misses + chosen.slack_s
        for peer in self.peers.values():
            if not peer.status.reachable:
                continue
            silent = now - peer.last_heard
            if silent >= chosen.dead_after_s:
                self._set(peer, Status.DEAD, now)
            elif silent >= suspect_after:
                self._set(peer, Status.SUSPECT, now)
            if not peer.heard_by and now - peer.alive_since >= patience_s:
                peer.deaf = True

    def skipped(self, now: float, started: float) -> None:
        """Time was left out: round trips that began before would come out wrong."""
        self._sure_from = now
        self._sure_from_us = round((now - started) * 1e6) + 1

    def forget(self, now: float) -> list[NodeId]:
        """Drop nodes that have been away for very long; members of the realm stay."""
        limit = self.settings.forget_after_s
        gone = [
            node
            for node, peer in self.peers.items()
            if not peer.seed and not peer.status.reachable and now - peer.since >= limit
        ]
        for node in gone:
            del self.peers[node]
        return gone

    def _set(self, peer: Peer, status: Status, now: float) -> None:
        if peer.status is not status:
            peer.status, peer.since = status, now

    # -- telling ---------------------------------------------------------------------------------

    def hurries(self, now: float) -> bool:
        """Whether a verdict is urgent: on who is suspect, or has just been given up.

        Who was given up may still hear us, for as long as its transport keeps the link.
        """
        return any(
            peer.status is Status.SUSPECT
            or (peer.status is Status.DEAD and now - peer.since < _VERDICT_S)
            for peer in self.peers.values()
        )

    def changes(self, now: float) -> list[Changed]:
        """What became different since the last call."""
        found = []
        for peer in self.peers.values():
            status = peer.effective
            if status is not peer.shown:
                found.append(Changed(peer.node, peer.shown, status, _cause(peer, now)))
                peer.shown, peer.shown_since = status, now
        return found

    def report(self, peer: Peer, now: float) -> Report:
        """What our heartbeat says of a node: what we hear of it, not whether it hears us."""
        stamp = peer.beat.stamp_us if peer.beat is not None else -1
        sure = peer.status.reachable and peer.last_heard > self._sure_from
        held = round((now - peer.last_heard) * 1e6) if sure else -1
        return Report(
            node=peer.node,
            instance=peer.instance,
            incarnation=peer.incarnation,
            status=peer.status,
            stamp_us=stamp if held >= 0 else -1,
            held_us=max(held, -1),
            rtt_us=peer.quality.rtt_us,
        )


def _cause(peer: Peer, now: float) -> str:
    if peer.status is Status.ALIVE:
        return "it does not hear us" if peer.deaf else "heard"
    if peer.status is Status.LEFT:
        return "it said good-bye"
    if peer.status is Status.UNKNOWN:
        return "it was started anew"
    return f"silent for {now - peer.last_heard:.2f} s"
