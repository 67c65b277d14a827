"""What the watchdog decides, from numbers alone. Pure.

A CPU is starved while two things hold there for ``after_s`` seconds: the canary, an ordinary
process that asks for the CPU ten times a second, waited for it more than :data:`LATE_SHARE` of
the time; and real-time threads ran for more than :data:`TAKEN_SHARE` of the time. The first alone
is an overloaded machine or a host that took the CPU away, the second alone is a busy synthesizer.

Both are shares of a window, not "the canary never ran": the kernel lets ordinary programs have 5 %
of each second (``sched_rt_runtime_us``; since Linux 6.12 the deadline server of the fair class), so
a canary under a runaway thread does run, once a second or in several turns on end. The window is
longer than that second: of a shorter time it may have waited for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

#: Seconds of starvation after which somebody is demoted.
AFTER_S = 5.0

#: How far back both shares look (s): more than two periods of the kernel's safety net, 1 s each.
WINDOW_S = 2.2

#: Share of the time that a canary may wait. An audio load of 90 % makes it wait a few per cent:
#: a cycle lasts milliseconds, and the canary sleeps for 100 ms between two waits. Under a runaway
#: thread it is 40 to 90 % of a window (bench/starvation.py).
LATE_SHARE = 0.25

#: Share of a CPU that real-time threads may take while ordinary programs wait. A runaway thread
#: gets 95 %; a graph that needs 70 % of its cycles drops out before long anyway.
TAKEN_SHARE = 0.7

#: A thread that took less of the CPU than this is never demoted.
_NOTICED_SHARE = 0.05

#: A look that comes this many times later than it should says nothing: the machine stood still.
_STALE = 3.0

#: sched(7): policies whose threads ordinary ones wait for. Deadline threads are left out, because
#: the kernel admits them only within a budget that they cannot leave.
POLICIES: Mapping[int, str] = {1: "FIFO", 2: "RR"}


class Beat(NamedTuple):
    """What a canary says: when it wants to run next, and how long it has waited in all (s)."""

    due_s: float
    late_s: float

    def waited_s(self, now_s: float) -> float:
        """Return all waiting up to now, with what lasts still."""
        return self.late_s + max(0.0, now_s - self.due_s)


class Look(NamedTuple):
    """The canaries of all CPUs at one moment (monotonic seconds)."""

    now_s: float
    beats: Mapping[int, Beat]


_Moment = TypeVar("_Moment", "Look", "Sample")


def _window(moments: tuple[_Moment, ...]) -> tuple[_Moment, ...]:
    """Return the moments of the last window, from the newest that is at least as old as that."""
    newest = moments[-1].now_s
    old = [n for n, moment in enumerate(moments) if newest - moment.now_s >= WINDOW_S]
    return moments[old[-1] if old else 0 :]


def late_shares(before: Look, after: Look) -> dict[int, float]:
    """Return for each CPU the share of the time between two looks that its canary waited."""
    passed = after.now_s - before.now_s
    if passed <= 0:
        return {}
    return {
        cpu: (beat.waited_s(after.now_s) - before.beats[cpu].waited_s(before.now_s)) / passed
        for cpu, beat in after.beats.items()
        if cpu in before.beats
    }


@dataclass(frozen=True)
class Thread:
    """A thread under FIFO or RR: ``run_s`` is all CPU time that it ever had."""

    tid: int
    pid: int
    start: int
    comm: str
    program: str
    policy: str
    priority: int
    cpu: int
    run_s: float
    kernel: bool

    @property
    def key(self) -> tuple[int, int]:
        """The thread itself: a number that is used again has another start."""
        return self.tid, self.start

    @property
    def data_loop(self) -> bool:
        """Say whether this is, by its name, the thread that runs PipeWire's graph."""
        return self.comm.startswith(("data-loop", "pw-data-loop"))

    def __str__(self) -> str:
        name = self.comm if self.comm == self.program else f"{self.comm} of {self.program}"
        return f"{name} (process {self.pid}, thread {self.tid}, {self.policy} {self.priority})"


class Sample(NamedTuple):
    """All real-time threads at one moment (monotonic seconds)."""

    now_s: float
    threads: Sequence[Thread]


class Use(NamedTuple):
    """A thread, and the share of its CPU that it took between two samples."""

    thread: Thread
    share: float


def uses(before: Sample, after: Sample, cpu: int) -> list[Use]:
    """Return what the threads that are on a CPU now took of it since, the greediest first."""
    passed = after.now_s - before.now_s
    if passed <= 0:
        return []
    had = {thread.key: thread.run_s for thread in before.threads}
    found = [
        Use(thread, max(0.0, thread.run_s - had.get(thread.key, 0.0)) / passed)
        for thread in after.threads
        if thread.cpu == cpu
    ]
    return sorted(found, key=lambda use: (-use.share, use.thread.tid))


def culprits(found: Iterable[Use], *, taken_share: float = TAKEN_SHARE) -> list[Use]:
    """Return the threads to demote: as few as bring the rest under ``taken_share``.

    The greediest goes first. PipeWire's data loop goes only when the others do not suffice: a loop
    at half the CPU beside a runaway thread is a victim. It is not exempt, because a loop that spins
    by itself locks the machine like any other. Kernel threads are never demoted, and neither are
    threads that hardly ran.
    """
    every = list(found)
    taken = sum(use.share for use in every)
    if taken <= taken_share:
        return []
    mine = [use for use in every if not use.thread.kernel and use.share >= _NOTICED_SHARE]
    chosen = []
    for use in sorted(mine, key=lambda use: (use.thread.data_loop, -use.share)):
        if taken <= taken_share:
            break
        chosen.append(use)
        taken -= use.share
    return chosen


class Kind(StrEnum):
    """What happened on a starved CPU."""

    DEMOTED = "demoted"
    REFUSED = "refused"
    KERNEL = "kernel-thread"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True)
class Event:
    """Something to tell: a thread on a starved CPU, and what became of it."""

    kind: Kind
    cpu: int
    seconds: float
    late_share: float
    use: Use | None = None
    detail: str = ""

    @property
    def message(self) -> str:
        """One sentence for people."""
        where = f"CPU {self.cpu} left ordinary programs waiting for {self.seconds:.1f} s"
        if self.use is None:
            return f"{where}, but no real-time thread stands out: an overloaded machine or host"
        took = f"{self.use.thread} took {self.use.share:.0%} of it"
        end = {
            Kind.DEMOTED: "it runs as an ordinary program now (SCHED_OTHER)",
            Kind.REFUSED: f"it could not be demoted: {self.detail}",
            Kind.KERNEL: "it belongs to the kernel and is left alone",
        }[self.kind]
        return f"{where}: {took}; {end}"

    def data(self) -> dict[str, Any]:
        """The event as ``--json`` prints it."""
        found: dict[str, Any] = {
            "event": self.kind.value,
            "cpu": self.cpu,
            "seconds": round(self.seconds, 3),
            "late_share": round(self.late_share, 3),
            "message": self.message,
        }
        if self.use is not None:
            thread = self.use.thread
            found["thread"] = {
                "tid": thread.tid, "pid": thread.pid, "name": thread.comm,
                "program": thread.program, "policy": thread.policy,
                "priority": thread.priority, "cpu_share": round(self.use.share, 3),
            }  # fmt: skip
        return found


@dataclass(frozen=True)
class Suspicion:
    """A CPU whose canary waits: since when, and since when real-time threads are the reason.

    ``base`` is who had run when that began, ``recent`` at the looks of the last window, the oldest
    first; ``told`` that it was said once that nobody can be demoted.
    """

    late_since_s: float
    since_s: float
    base: Sample
    recent: tuple[Sample, ...]
    told: bool = False


@dataclass
class Watch:
    """What the watchdog remembers between two looks."""

    after_s: float = AFTER_S
    looks: tuple[Look, ...] = ()
    suspects: dict[int, Suspicion] = field(default_factory=dict)

    def late(self, look: Look, interval_s: float) -> dict[int, float]:
        """Return the CPUs whose canaries waited too long in the last window, with their share.

        Forgets what it suspected of all others, and everything when the look is stale.
        """
        if not self.looks or look.now_s - self.looks[-1].now_s > _STALE * interval_s:
            self.looks = (look,)
            self.suspects.clear()
            return {}
        self.looks = _window((*self.looks, look))
        shares = late_shares(self.looks[0], look)
        found = {cpu: share for cpu, share in shares.items() if share > LATE_SHARE}
        self.suspects = {cpu: was for cpu, was in self.suspects.items() if cpu in found}
        return found

    def verdicts(self, late: Mapping[int, float], sample: Sample, interval_s: float) -> list[Event]:
        """Return what is to be done about the CPUs that were late, given who ran.

        Demotions are proposals: :attr:`Kind.DEMOTED` until the kernel refuses.
        """
        found: list[Event] = []
        for cpu, share in sorted(late.items()):
            was = self.suspects.get(cpu)
            if was is None:
                since = sample.now_s - interval_s
                self.suspects[cpu] = Suspicion(since, since, sample, (sample,))
            else:
                found += self._judge(cpu, share, was, sample)
        return found

    def _judge(self, cpu: int, share: float, was: Suspicion, sample: Sample) -> list[Event]:
        now_s = sample.now_s
        recent = _window((*was.recent, sample))
        if sum(use.share for use in uses(recent[0], sample, cpu)) <= TAKEN_SHARE:
            # Somebody else is the reason. Whoever takes the CPU from now on has all its time.
            fresh = replace(was, since_s=now_s, base=sample, recent=recent)
            return self._say_once(cpu, share, fresh, now_s - was.late_since_s, [])
        if now_s - was.since_s < self.after_s:
            self.suspects[cpu] = replace(was, recent=recent)
            return []
        seconds = now_s - was.since_s
        found = uses(was.base, sample, cpu)
        chosen = culprits(found)
        if chosen:
            # Counted anew: what is left has to starve the CPU for as long again.
            del self.suspects[cpu]
            return [Event(Kind.DEMOTED, cpu, seconds, share, use) for use in chosen]
        return self._say_once(cpu, share, replace(was, recent=recent), seconds, found)

    def _say_once(
        self, cpu: int, share: float, was: Suspicion, seconds: float, found: Sequence[Use]
    ) -> list[Event]:
        """Return what is to be told of a CPU where nobody can be demoted, the first time only."""
        if was.told or seconds < self.after_s:
            self.suspects[cpu] = was
            return []
        self.suspects[cpu] = replace(was, told=True)
        if found and found[0].thread.kernel:
            return [Event(Kind.KERNEL, cpu, seconds, share, found[0])]
        return [Event(Kind.UNEXPLAINED, cpu, seconds, share)]
