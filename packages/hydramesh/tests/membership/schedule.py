"""Random schedules of faults for the simulated network, and what must hold meanwhile and after."""

from __future__ import annotations

from dataclasses import dataclass

from packages.hydramesh.tests.membership.world import World

from hydramesh.membership import Settings

DETECTED_WITHIN_S = 1.5
"""After so long (and the longest delay of a packet) both sides of a cut know."""
AGREED_WITHIN_S = 20.0
CALM_S = 60.0
STILL_S = 6.0


@dataclass(frozen=True)
class Outcome:
    """What one schedule showed."""

    detected_s: tuple[float, ...]
    agreed_s: float
    changes: int
    messages: int
    most_links: int


class Schedule:
    """One seed: some nodes, some faults, then quiet."""

    def __init__(self, seed: int, *, nodes: int = 0, faults: int = 0) -> None:
        self.seed = seed
        picked = World(seed, 1).random
        # Only what keeps links from changing often is shortened, so that schedules end sooner.
        settings = Settings(dwell_s=3.0, hold_off_s=4.0, redial_every_s=8.0)
        self.world = World(seed, nodes or picked.randint(2, 7), settings)
        self.random = self.world.random
        self.faults = faults or self.random.randint(2, 6)
        self.detected: list[float] = []
        self._apart: dict[tuple[str, str], float] = {}
        self._known: set[tuple[str, str]] = set()
        self._heard: dict[tuple[str, str], float] = {}

    def play(self) -> Outcome:
        """Run it; an AssertionError names the seed and the time."""
        world = self.world
        self._weather()
        self._some_wires_never()
        for name in world.hosts:
            world.start(name, self._seeds(name))
        self._pass(self.random.uniform(0.5, 6.0))
        for _ in range(self.faults):
            self._fault()
            self._pass(self.random.choice((0.3, 1.0, 2.5, 5.0)))
        self._quiet()
        agreed = self._agreement()
        self._calm()
        return Outcome(
            tuple(self.detected), agreed, len(world.told), world.messages, world.most_links
        )

    # -- faults ----------------------------------------------------------------------------------

    def _weather(self) -> None:
        world = self.world
        world.loss = self.random.choice((0.0, 0.0, 0.01, 0.05))
        world.repeat = self.random.choice((0.0, 0.1))
        world.extra_delay_s = self.random.choice((0.0, 0.01, 0.08))

    def _some_wires_never(self) -> None:
        """Some pairs can never connect, as behind NAT; all are still reached through others."""
        world = self.world
        names = list(world.hosts)
        if len(names) < 4 or self.random.random() < 0.7:
            return
        middle = "h0"  # Everybody knows it, and it can be reached.
        for one in names:
            for other in names:
                if one < other and middle not in (one, other) and self.random.random() < 0.3:
                    world.never |= {(one, other), (other, one)}

    def _seeds(self, name: str) -> list[str]:
        others = [other for other in self.world.hosts if other != name]
        # Everybody knows the first host, or the way there is never known; the others by chance.
        return [other for other in others if other == "h0" or self.random.random() < 0.4] or others

    def _fault(self) -> None:
        kinds = (
            self._partition, self._partition, self._one_way, self._isolate, self._kill, self._kill,
            self._restart, self._restart, self._pause, self._jump, self._mend, self._mend,
        )  # fmt: skip
        self.random.choice(kinds)()
        self.world.wires_changed()

    def _partition(self) -> None:
        names = list(self.world.hosts)
        side = set(self.random.sample(names, self.random.randint(1, len(names))))
        self.world.cut |= {(a, b) for a in names for b in names if (a in side) != (b in side)}

    def _one_way(self) -> None:
        names = list(self.world.hosts)
        side = set(self.random.sample(names, self.random.randint(1, len(names))))
        self.world.cut |= {(a, b) for a in names for b in names if a in side and b not in side}

    def _isolate(self) -> None:
        one = self.random.choice(list(self.world.hosts))
        self.world.cut |= {w for o in self.world.hosts if o != one for w in ((one, o), (o, one))}

    def _kill(self) -> None:
        if len(self.world.running()) > 1:
            self.world.kill(self.random.choice(self.world.running()))

    def _restart(self) -> None:
        name = self.random.choice(list(self.world.hosts))
        if self.world.hosts[name].process is not None:
            self.world.kill(name)
        self.world.start(name, self._seeds(name))

    def _pause(self) -> None:
        self.world.pause(self.random.choice(self.world.running()), self.random.uniform(0.2, 3.0))

    def _jump(self) -> None:
        name = self.random.choice(self.world.running())
        self.world.jump(name, self.random.choice((-3600.0, -1.0, 1.0, 3600.0)))

    def _mend(self) -> None:
        self.world.cut.clear()

    # -- what must hold --------------------------------------------------------------------------

    def _pass(self, seconds: float) -> None:
        """Let time pass in small steps, and look after each."""
        until = self.world.now + seconds
        while self.world.now < until:
            self.world.run(min(until, self.world.now + 0.1))
            self._look()

    def _look(self) -> None:
        """Who has been apart for long enough must know, on both sides."""
        world = self.world
        groups = world.together()
        home = {name: at for at, group in enumerate(groups) for name in group}
        longest = 4 * (max(world.delay_s.values(), default=0) + world.extra_delay_s) * 1.2
        for one in world.running():
            process = world.hosts[one].process
            assert process is not None
            for other, host in world.hosts.items():
                pair = (one, other)
                apart = other != one and home.get(other) != home[one]
                busy = world.now < max(world.hosts[one].paused_until, host.paused_until) + 3.0
                if not apart or busy:
                    self._apart.pop(pair, None)
                    self._known.discard(pair)
                    continue
                # Whose verdict on us was lost, to a second fault or with its life, is missed from
                # then: what it did not get to say nobody can know.
                since = max(self._apart.setdefault(pair, world.now), host.died)
                if host.process is not None:
                    # A new process has no verdict on us yet. It has a second to hear us, from when
                    # we first heard it: the way there may have been found late.
                    instance = host.process.instance
                    since = max(since, world.first_heard.get((one, host.node, instance), 0.0))
                if one in world.carried(other) and host.process is not None:
                    self._heard[pair] = world.now
                else:
                    # Its verdict cannot come any more, perhaps because the node that it went
                    # through has ended: then its silence tells.
                    since = max(since, self._heard.get(pair, 0.0))
                known = not process.status(host.node).reachable
                if known and pair not in self._known:
                    self._known.add(pair)
                    self.detected.append(world.now - since)
                late = world.now - since > DETECTED_WITHIN_S + longest
                assert known or not late, (
                    f"seed {self.seed}, {world.now:.2f} s: {one} still believes in {other}, "
                    f"which has been away since {since:.2f} s"
                )

    def _quiet(self) -> None:
        world = self.world
        world.cut.clear()
        world.loss = min(world.loss, 0.01)
        for name, host in world.hosts.items():
            world.resume(name)
            # Where pairs can never connect the host between them has to be there; and of those that
            # were just started each may know nobody but it.
            needed = name == "h0"
            if host.process is None and (needed or self.random.random() < 0.5):
                world.start(name, self._seeds(name))
        self._apart.clear()
        self._known.clear()

    def _agreement(self) -> float:
        """Let time pass until all agree; returns how long that took, in seconds."""
        world = self.world
        began = world.now
        while self._difference():
            assert world.now - began < AGREED_WITHIN_S, (
                f"seed {self.seed}, {world.now:.2f} s: {self._difference()}"
            )
            self._pass(0.1)
        return world.now - began

    def _difference(self) -> str:
        world = self.world
        expected = sorted(world.hosts[name].node for name in world.running())
        for name in world.running():
            process = world.hosts[name].process
            assert process is not None
            if process.members() != expected:
                return f"{name} sees {process.members()}, not {expected}"
            if len(process.routes()) != len(expected) - 1:
                return f"{name} has routes to {sorted(process.routes())} of {expected} only"
        return ""

    def _calm(self) -> None:
        """Now nothing may change any more, and the graph is whole and sparse."""
        world = self.world
        world.loss = 0.0
        self._pass(3.0)
        before, links, since = len(world.told), set(world.links), world.now
        end = world.now + CALM_S
        while world.now - since < STILL_S:
            self._pass(0.5)
            if set(world.links) != links:
                links, since = set(world.links), world.now
            assert world.now < end, f"seed {self.seed}: links still change"
        assert len(world.told) == before, f"seed {self.seed}: {world.told[before:]}"
        limit = world.settings.max_degree
        for name in world.running():
            degree = sum(name in link for link in world.links)
            assert degree <= limit, f"seed {self.seed}: {name} has {degree} links"
        assert not self._difference(), f"seed {self.seed}: {self._difference()}"
        assert not world.duplicates, f"seed {self.seed}: {world.duplicates}"
