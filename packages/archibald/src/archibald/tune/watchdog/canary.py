"""Canaries: one ordinary process on each CPU, which notes how long it had to wait for it.

Processes, not threads: a thread that waits for its CPU while it holds the interpreter's lock would
keep the watchdog from running. They share one page with it: four numbers each, the first and last
of which are equal unless the canary was interrupted while writing (a sequence lock).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from archibald.errors import PreconditionError
from archibald.tune.watchdog.kernel import die_with_parent, lock_memory, name_process
from archibald.tune.watchdog.model import Beat, Look

#: How long a canary sleeps (s). Under a runaway thread it runs about once a second, and does not
#: wait for this long after that: it has to be short beside the time between two looks.
BEAT_S = 0.1

_SLOT = struct.Struct("=QddQ")


class CanaryError(PreconditionError):
    """A canary could not be put on its CPU, or has ended by itself."""


@dataclass
class Canaries:
    """The canaries of some CPUs, and what they said last."""

    page: mmap.mmap
    pids: Mapping[int, int]
    _last: dict[int, Beat] = field(default_factory=dict)

    def look(self) -> Look:
        """Return what all canaries say now; one that is writing said what it said before."""
        now = time.monotonic()
        for slot, cpu in enumerate(self.pids):
            first, due, late, last = _SLOT.unpack_from(self.page, slot * _SLOT.size)
            if first == last:
                self._last[cpu] = Beat(due, late)
        return Look(now, dict(self._last))

    def check(self) -> None:
        """Raise :class:`CanaryError` when one has ended."""
        for cpu, pid in self.pids.items():
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                raise CanaryError(
                    f"the canary of CPU {cpu} has ended", why=f"exit status {code}",
                    next_step="start the watchdog again; systemd does so by itself",
                )  # fmt: skip


@contextlib.contextmanager
def canaries(cpus: Iterable[int], *, beat_s: float = BEAT_S) -> Iterator[Canaries]:
    """Run a canary on each of the CPUs; they end with the block, and with this process.

    Raises :class:`CanaryError` when there is no CPU to watch.
    """
    chosen = sorted(cpus)
    if not chosen:
        raise CanaryError(
            "there is no CPU to watch", why="all that this process may use are isolated",
            next_step="leave a CPU out of isolcpus (archibald profile explain cpu.isolated)",
        )  # fmt: skip
    pids: dict[int, int] = {}
    size = len(chosen) * _SLOT.size
    with mmap.mmap(-1, size) as page:
        try:
            for slot, cpu in enumerate(chosen):
                pids[cpu] = _start(page, slot * _SLOT.size, cpu, beat_s)
            yield Canaries(page, pids)
        finally:
            for pid in pids.values():
                _end(pid)


def _start(page: mmap.mmap, offset: int, cpu: int, beat_s: float) -> int:
    # Said for it: on a CPU that is taken already it will not come to say so.
    due = time.monotonic() + beat_s
    _SLOT.pack_into(page, offset, 1, due, 0.0, 1)
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        die_with_parent()
        name_process(f"canary-{cpu}")
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        # As ordinary as can be: one that was started with nice would wait for others that were not.
        with contextlib.suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, 0)
        os.sched_setaffinity(0, {cpu})
        lock_memory()
        _sing(page, offset, parent, due, beat_s)
        code = 0
    finally:
        # Whatever happened: nothing of the parent's clean-up may run twice.
        os._exit(code)


def _sing(page: mmap.mmap, offset: int, parent: int, due: float, beat_s: float) -> None:
    late, count = 0.0, 1
    while os.getppid() == parent:
        time.sleep(max(0.0, due - time.monotonic()))
        now = time.monotonic()
        late += max(0.0, now - due)
        due = now + beat_s
        count += 1
        _SLOT.pack_into(page, offset, count, due, late, count - 1)
        _SLOT.pack_into(page, offset, count, due, late, count)


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
