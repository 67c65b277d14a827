#!/usr/bin/env python3
"""What a runaway real-time thread leaves to an ordinary one on the same CPU.

Both spin on one CPU, one at FIFO 50, for three seconds; printed is the share of the CPU that each
got, with each value of kernel.sched_rt_runtime_us (default: what is set now). As root:

    sudo bench/starvation.py 950000 -1

The setting is put back. The FIFO thread ends by itself: it looks at the clock, the kernel stops it
after 6 s of CPU (RLIMIT_RTTIME), and an alarm after 8 s.
"""

from __future__ import annotations

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
    finally:
        SETTING.write_text(now)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
