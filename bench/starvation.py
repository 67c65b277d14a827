#!/usr/bin/env python3
"""What a runaway real-time thread leaves to an ordinary one on the same CPU.

Both spin on one CPU, one at FIFO 50, for three seconds; printed is the share of the CPU that each
got, with each value of kernel.sched_rt_runtime_us (default: what is set now). Then the ordinary one
asks for the CPU ten times a second only, as the watchdog's canaries do; printed is which share of
the time it waited: the least and the most of any 0.4 s, and of any 2.2 s. As root:

    sudo bench/starvation.py 950000 -1

The setting is put back. The FIFO thread ends by itself: it looks at the clock, the kernel stops it
after 6 s of CPU (RLIMIT_RTTIME), and an alarm after 8 s.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

SETTING = Path("/proc/sys/kernel/sched_rt_runtime_us")

_SPIN_S = 4.0
_MEASURE_S = 3.0


def _child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.alarm(8)
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        work()
    finally:
        os._exit(0)


def _spin() -> None:
    end = time.monotonic() + _SPIN_S + 1
    while time.monotonic() < end:
        pass


def _spin_at_fifo() -> None:
    time.sleep(0.5)
    resource.setrlimit(resource.RLIMIT_RTTIME, (6_000_000, 6_500_000))
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
    end = time.monotonic() + _SPIN_S
    while time.monotonic() < end:
        pass


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure() -> tuple[float, float]:
    """Return the shares of one CPU that the ordinary and the FIFO thread got."""
    pids = [_child(_spin), _child(_spin_at_fifo)]
    try:
        time.sleep(1.0)
        before, start = [_cpu_s(pid) for pid in pids], time.monotonic()
        time.sleep(_MEASURE_S)
        after, passed = [_cpu_s(pid) for pid in pids], time.monotonic() - start
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    ordinary, fifo = ((b - a) / passed for a, b in zip(before, after, strict=True))
    return ordinary, fifo


def _doze(report: int) -> None:
    """Ask for the CPU ten times a second; report when it was due and came, as JSON."""
    waits = []
    end = time.monotonic() + _SPIN_S + 0.4
    while (now := time.monotonic()) < end:
        due = now + 0.1
        time.sleep(0.1)
        waits.append((due, time.monotonic()))
    os.write(report, json.dumps(waits).encode())


def _least_and_most(waits: list[tuple[float, float]], window_s: float) -> tuple[float, float]:
    """Return the least and the greatest share of a window that was spent waiting."""
    # The FIFO thread begins after half a second, and ends after _SPIN_S more.
    start, end = waits[0][0] + 0.6, waits[0][0] + 0.4 + _SPIN_S - window_s
    shares = []
    while start < end:
        stop = start + window_s
        shares.append(sum(max(0.0, min(came, stop) - max(due, start)) for due, came in waits))
        start += 0.05
    return min(shares) / window_s, max(shares) / window_s


def measure_canary() -> list[tuple[float, float]]:
    """Return the least and greatest share that a dozing thread waited, in 0.4 s and in 2.2 s."""
    read, write = os.pipe()
    pids = [_child(lambda: _doze(write)), _child(_spin_at_fifo)]
    os.close(write)
    with os.fdopen(read) as stream:
        waits = json.load(stream)
    for pid in pids:
        os.waitpid(pid, 0)
    return [_least_and_most(waits, window_s) for window_s in (0.4, 2.2)]


def main(values: list[str]) -> int:
    """Measure with each value, and put the setting back."""
    if os.geteuid() != 0 or len(os.sched_getaffinity(0)) < 2:
        print("starvation.py needs root and two CPUs", file=sys.stderr)
        return 3
    now = SETTING.read_text().strip()
    print(f"Linux {platform.release()}")
    try:
        for value in values or [now]:
            SETTING.write_text(value)
            ordinary, fifo = measure()
            print(f"sched_rt_runtime_us {value:>7}: ordinary {ordinary:.1%}, FIFO 50 {fifo:.1%}")
            short, long = (f"{least:.0%} to {most:.0%}" for least, most in measure_canary())
            print(f"  ten times a second: waits {short} of 0.4 s, {long} of 2.2 s")
    finally:
        SETTING.write_text(now)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
