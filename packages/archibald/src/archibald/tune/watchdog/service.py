"""The loop of the watchdog: look at the canaries, and act when one waits too long.

It runs at SCHED_FIFO 99, the only program of the system that does: what is to stop a runaway thread
must come before it, and audio threads may take at most ``realtime.priority_limit`` (95). A look
reads one page of memory, a few microseconds each second. Threads are listed only while a CPU
is late: that takes milliseconds, which a data loop would notice.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from archibald.errors import PreconditionError
from archibald.tune.watchdog import tell, threads
from archibald.tune.watchdog.canary import BEAT_S, canaries
from archibald.tune.watchdog.kernel import lock_memory, name_process
from archibald.tune.watchdog.model import AFTER_S, Event, Kind, Look, Sample, Thread, Watch

PRIORITY = 99

#: What it is called in /proc, and how the audit finds it (15 bytes).
NAME = "archibald-watch"


class NoRealtimeError(PreconditionError):
    """The kernel refuses real-time priority."""


def take_priority() -> None:
    """Run at FIFO 99 from now on; children are ordinary processes again (SCHED_RESET_ON_FORK).

    Raises :class:`NoRealtimeError`.
    """
    policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    try:
        os.sched_setscheduler(0, policy, os.sched_param(PRIORITY))
    except PermissionError:
        root = os.geteuid() == 0
        raise NoRealtimeError(
            f"the watchdog may not run at SCHED_FIFO {PRIORITY}",
            why="its control group has no real-time budget, or a container took the right away"
            if root else f"you are user {os.geteuid()}, and may not take that priority",
            next_step="run it outside the container, or as a service of the root control group"
            if root else "sudo archibald watchdog",
        ) from None  # fmt: skip
    except OSError as error:
        raise NoRealtimeError(
            "this kernel has no real-time scheduling", why=error.strerror or str(error),
            next_step="boot a kernel with SCHED_FIFO; without it there is nothing to watch",
        ) from None  # fmt: skip


def watched_cpus() -> set[int]:
    """Return the CPUs that ordinary programs may use.

    isolcpus takes CPUs out of every program's affinity: a thread may have an isolated one whole.
    """
    return os.sched_getaffinity(0)


@dataclass(frozen=True)
class Acts:
    """What the loop does to the world; a dry run, and tests, put others in their place."""

    sample: Callable[[], Sample]
    demote: Callable[[Thread], str]
    tell: Callable[[Event], None]


def judge(watch: Watch, look: Look, acts: Acts, interval_s: float) -> list[Event]:
    """Judge a look: list the threads if one waits, demote and tell; return the events."""
    late = watch.late(look, interval_s)
    if not late:
        return []
    events = []
    for event in watch.verdicts(late, acts.sample(), interval_s):
        done = event
        if event.kind is Kind.DEMOTED and event.use is not None:
            why = acts.demote(event.use.thread)
            done = replace(event, kind=Kind.REFUSED, detail=why) if why else event
        events.append(done)
    # All of them first: talking needs programs that are starved as long as one is left.
    for event in events:
        acts.tell(event)
    return events


def guard(
    *, after_s: float = AFTER_S, dry_run: bool = False, notify: bool = True,
    said: Callable[[Event], None] = lambda _event: None,
    ready: Callable[[set[int]], None] = lambda _cpus: None,
) -> None:  # fmt: skip
    """Watch until a signal ends the process (KeyboardInterrupt).

    ``said`` is called for each event, after the journal and the desktop; ``ready`` once, with the
    CPUs that are watched. A dry run demotes nobody and says what it would do. Raises
    :class:`NoRealtimeError`, :class:`~archibald.tune.watchdog.kernel.MemoryLockError` and
    :class:`~archibald.tune.watchdog.canary.CanaryError`.
    """
    cpus = watched_cpus()
    name_process(NAME)
    take_priority()
    interval_s = min(1.0, max(4 * BEAT_S, after_s / 5))
    with _children() as children, canaries(cpus) as birds:
        lock_memory()
        mine = frozenset({os.getpid(), *birds.pids.values()})

        def all_told(event: Event) -> None:
            tell.journal(event)
            if notify and not dry_run:
                children.append(tell.desktop_in_background(event))
            said(event)

        acts = Acts(
            sample=lambda: threads.sample(without=mine),
            demote=(lambda _thread: "this is a dry run") if dry_run else threads.demote,
            tell=all_told,
        )
        # A rehearsal: what it needs later is in locked memory from now on.
        acts.sample()
        ready(cpus)
        watch = Watch(after_s)
        while True:
            time.sleep(interval_s)
            birds.check()
            children[:] = [pid for pid in children if not _ended(pid)]
            judge(watch, birds.look(), acts, interval_s)


@contextlib.contextmanager
def _children() -> Iterator[list[int]]:
    """Keep processes that were started aside, and reap them at the end."""
    pids: list[int] = []
    try:
        yield pids
    finally:
        for pid in pids:
            _ended(pid)


def _ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
