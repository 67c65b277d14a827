"""A simulated network with a simulated clock, in which real membership machines run.

Nothing here waits or uses a random number that the seed does not give. Packets go over links that
the machines dialled, hop by hop, as the trunk floods them; each direction of each pair of hosts can
be cut, delay, lose, repeat and reorder.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from hydramesh.membership import (
    Action,
    Changed,
    Dial,
    Duplicate,
    HangUp,
    Heartbeat,
    Membership,
    NodeId,
    Send,
    Settings,
)

TICK_S = 0.05
LEASE_S = 1.6
"""After so long without a packet the transport gives a link up, at each end for itself."""


@dataclass
class Host:
    """One machine of the simulated network, with a process on it or not."""

    name: str
    node: NodeId
    skew_s: float
    process: Membership | None = None
    born: int = 0
    died: float = 0.0
    paused_until: float = 0.0
    waiting: deque[Callable[[], None]] = field(default_factory=deque)
    seen: set[tuple[NodeId, int, int]] = field(default_factory=set)


@dataclass(frozen=True)
class Told:
    """A change that a process reported, at the world's time."""

    at: float
    host: str
    change: Changed


class World:
    """Hosts, wires and links; ``run`` lets time pass."""

    def __init__(self, seed: int, nodes: int, settings: Settings | None = None) -> None:
        self.random = random.Random(seed)
        self.settings = settings or Settings()
        self.now = 0.0
        self.loss = self.repeat = 0.0
        self.extra_delay_s = 0.0
        self.cut: set[tuple[str, str]] = set()
        self.never: set[tuple[str, str]] = set()
        self.hidden: set[str] = set()
        """Hosts that nobody can dial, and that can dial others."""
        self.links: dict[frozenset[str], float] = {}
        self.told: list[Told] = []
        self.duplicates: list[tuple[str, Duplicate]] = []
        self.first_heard: dict[tuple[str, NodeId, int], float] = {}
        """When a process was first heard by a host: (host, node, instance) → the world's time."""
        self.messages = 0
        self.most_links = 0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        names = [f"h{at}" for at in range(nodes)]
        ids = self.random.sample(range(10_000), nodes)
        self.hosts = {
            name: Host(name, f"{number:04d}", self.random.uniform(0, 1e6))
            for name, number in zip(names, ids, strict=True)
        }
        self.delay_s = {
            frozenset((a, b)): self.random.choice((0.001, 0.005, 0.02, 0.06))
            for a in names
            for b in names
            if a < b
        }

    # -- time ------------------------------------------------------------------------------------

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Do something at a time."""
        self._count += 1
        heapq.heappush(self._queue, (when, self._count, act))

    def run(self, until: float) -> None:
        """Let time pass."""
        while self._queue and self._queue[0][0] <= until:
            self.now, _, act = heapq.heappop(self._queue)
            act()
        self.now = until

    # -- processes -------------------------------------------------------------------------------

    def start(self, name: str, knows: list[str]) -> None:
        """Start a process that knows some other hosts' nodes."""
        host = self.hosts[name]
        host.born += 1
        instance = self.random.getrandbits(53)
        host.process = Membership(host.node, instance, self.clock(host), self.settings)
        host.waiting.clear()
        # What the process before it heard, this one did not.
        self.first_heard = {who: at for who, at in self.first_heard.items() if who[0] != name}
        self.do(
            host,
            host.process.know([self.hosts[other].node for other in knows], host_now(self, host)),
        )
        self._tick(host, host.born)

    def kill(self, name: str) -> None:
        """Kill a process; its links go down at the other ends."""
        host = self.hosts[name]
        host.process = None
        host.died = self.now
        for link in [link for link in self.links if name in link]:
            (other,) = link - {name}
            if self.passes(name, other):
                self._close(link, self.delay(name, other))
            else:
                self._close(link, LEASE_S)

    def leave(self, name: str) -> None:
        """End a process properly: it says good-bye, and that arrives."""
        host = self.hosts[name]
        assert host.process is not None
        self.do(host, host.process.leave(self.clock(host)))
        self.run(self.now + 0.2)
        self.kill(name)

    def pause(self, name: str, seconds: float) -> None:
        """Stop a process for a while, as a busy machine does; what comes meanwhile waits."""
        self.hosts[name].paused_until = self.now + seconds

    def resume(self, name: str) -> None:
        """Let a process that is stopped go on now: what waited comes first, in its order."""
        host = self.hosts[name]
        host.paused_until = min(host.paused_until, self.now)
        self._wake(host)

    def clock(self, host: Host) -> float:
        """The host's monotonic clock."""
        return self.now + host.skew_s

    def jump(self, name: str, seconds: float) -> None:
        """Move a host's clock, even backwards."""
        self.hosts[name].skew_s += seconds

    def _tick(self, host: Host, born: int) -> None:
        if host.process is None or host.born != born:
            return
        self.give(host, lambda process, now: process.tick(now))
        self.at(self.now + TICK_S, lambda: self._tick(host, born))

    def give(self, host: Host, event: Callable[[Membership, float], list[Action]]) -> None:
        """Hand an event to a process now, or when it goes on."""
        if self.now < host.paused_until:
            if not host.waiting:
                self.at(host.paused_until, lambda: self._wake(host))
            if len(host.waiting) < 1000:
                host.waiting.append(lambda: self.give(host, event))
            return
        if host.process is not None:
            self.do(host, event(host.process, self.clock(host)))

    def _wake(self, host: Host) -> None:
        waiting, host.waiting = host.waiting, deque()
        for act in waiting:
            act()

    def do(self, host: Host, actions: list[Action]) -> None:
        """Do what a machine asks for."""
        for action in actions:
            match action:
                case Send():
                    self.flood(host.name, action.beat)
                case Dial():
                    self._dial(host.name, self.name_of(action.node))
                case HangUp():
                    link = frozenset((host.name, self.name_of(action.node)))
                    self._close(link, self.delay(host.name, self.name_of(action.node)))
                case Changed():
                    self.told.append(Told(self.now, host.name, action))
                case Duplicate():
                    self.duplicates.append((host.name, action))

    def name_of(self, node: NodeId) -> str:
        """The host that a node id belongs to."""
        return next(name for name, host in self.hosts.items() if host.node == node)

    # -- wires -----------------------------------------------------------------------------------

    def passes(self, sender: str, receiver: str) -> bool:
        """Whether packets go this way."""
        way = (sender, receiver)
        return way not in self.cut and way not in self.never

    def delay(self, a: str, b: str) -> float:
        """How long one packet takes now."""
        base = self.delay_s[frozenset((a, b))] + self.random.uniform(0, self.extra_delay_s)
        return base * self.random.uniform(1.0, 1.2)

    def _dial(self, name: str, other: str) -> None:
        host = self.hosts[name]
        both = self.passes(name, other) and self.passes(other, name)
        if not both or other in self.hidden or self.hosts[other].process is None:
            node = self.hosts[other].node
            refused = self.passes(name, other) and self.passes(other, name)
            wait = self.delay(name, other) if refused else 1.0
            self.at(
                self.now + wait, lambda: self.give(host, lambda p, now: p.dial_failed(node, now))
            )
            return
        took = 3 * self.delay(name, other)
        self.at(self.now + took, lambda: self._connected(name, other))

    def _connected(self, name: str, other: str) -> None:
        one, two = self.hosts[name], self.hosts[other]
        if one.process is None or two.process is None:
            return
        self.links.setdefault(frozenset((name, other)), self.now)
        self.give(one, lambda p, now: p.link_up(two.node, now, outbound=True))
        self.give(two, lambda p, now: p.link_up(one.node, now, outbound=False))
        for host in (one, two):
            degree = sum(host.name in link for link in self.links)
            self.most_links = max(self.most_links, degree)

    def _close(self, link: frozenset[str], wait: float) -> None:
        if link not in self.links:
            return
        del self.links[link]
        for name in link:
            (other,) = link - {name}
            self.at(self.now + wait, partial(self._closed, name, other))

    def _closed(self, name: str, other: str) -> None:
        if frozenset((name, other)) not in self.links:
            node = self.hosts[other].node
            self.give(self.hosts[name], lambda p, now: p.link_down(node, now))

    def wires_changed(self) -> None:
        """After cutting: links over a dead wire are given up after the lease."""
        for link in list(self.links):
            one, other = sorted(link)
            if not (self.passes(one, other) and self.passes(other, one)):
                made = self.links[link]
                self.at(self.now + LEASE_S, partial(self._lapse, link, made))

    def _lapse(self, link: frozenset[str], made: float) -> None:
        one, other = sorted(link)
        if self.links.get(link) == made and not (
            self.passes(one, other) and self.passes(other, one)
        ):
            self._close(link, 0.0)

    def flood(self, name: str, beat: Heartbeat) -> None:
        """A heartbeat goes out over all links, and each host hands it on once."""
        for link in self.links:
            if name in link:
                (other,) = link - {name}
                self._hop(name, other, beat)

    def _hop(self, sender: str, receiver: str, beat: Heartbeat) -> None:
        if not self.passes(sender, receiver) or self.random.random() < self.loss:
            return
        copies = 2 if self.random.random() < self.repeat else 1
        for _ in range(copies):
            self.at(
                self.now + self.delay(sender, receiver),
                lambda: self._arrives(sender, receiver, beat),
            )

    def _arrives(self, sender: str, receiver: str, beat: Heartbeat) -> None:
        host = self.hosts[receiver]
        if host.process is None:
            return
        self.messages += 1
        key = (beat.node, beat.instance, beat.seq)
        first = key not in host.seen
        host.seen.add(key)
        self.first_heard.setdefault((receiver, beat.node, beat.instance), self.now)
        # A repeated packet reaches the machine, too: it must not mind.
        self.give(host, lambda process, now: process.heard(beat, now))
        if first:
            for link in self.links:
                if receiver in link and sender not in link:
                    (other,) = link - {receiver}
                    self._hop(receiver, other, beat)

    # -- truth -----------------------------------------------------------------------------------

    def running(self) -> list[str]:
        """The hosts with a process."""
        return [name for name, host in self.hosts.items() if host.process is not None]

    def reaches(self, start: str) -> set[str]:
        """The hosts that packets from one host could reach over wires, through running ones."""
        seen, todo = {start}, [start]
        while todo:
            one = todo.pop()
            for other in self.running():
                if other not in seen and self.passes(one, other):
                    seen.add(other)
                    todo.append(other)
        return seen

    def carried(self, start: str) -> set[str]:
        """The hosts that packets from one host reach now, over the links that there are."""
        seen, todo = {start}, [start]
        while todo:
            one = todo.pop()
            ends = (other for link in self.links if one in link for other in link)
            for other in ends:
                running = self.hosts[other].process is not None
                if other not in seen and running and self.passes(one, other):
                    seen.add(other)
                    todo.append(other)
        return seen

    def together(self) -> list[set[str]]:
        """The groups of running hosts within which packets go both ways."""
        ways = {name: self.reaches(name) for name in self.running()}
        groups: list[set[str]] = []
        for name, reached in ways.items():
            group = {other for other in reached if name in ways[other]}
            if group not in groups:
                groups.append(group)
        return groups


def host_now(world: World, host: Host) -> float:
    """The host's clock, for events that are not scheduled."""
    return world.clock(host)
