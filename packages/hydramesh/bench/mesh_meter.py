"""What processes cost: CPU seconds and peak memory, of a contender with all that it starts."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_EVERY_S = 0.1
#: How long a contender may go on after the far side is equal: what it does then counts as well.
AFTER_S = 1.0


def families(roots: Iterable[int]) -> set[int]:
    """Processes with all that descend from them and live."""
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid in found:
            continue
        found.add(pid)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                waiting += map(int, task.read_text().split())
            except OSError:
                continue
    return found


def ticks_of(stat: str) -> int:
    """User and system time of a process and of its children that ended, from /proc/PID/stat.

    >>> ticks_of("7 (a b) c) S 1 7 7 0 -1 4194560 1 2 3 4 50 20 5 1 20 0")
    76
    """
    return sum(map(int, stat.rpartition(")")[2].split()[11:15]))


def cpu_s(roots: Iterable[int]) -> float:
    """CPU seconds of processes and all that they started."""
    ticks = 0
    for pid in families(roots):
        try:
            ticks += ticks_of(Path(f"/proc/{pid}/stat").read_text())
        except OSError:
            continue
    return ticks / float(os.sysconf("SC_CLK_TCK"))


def memory_mib(roots: Iterable[int]) -> tuple[float, float]:
    """(private, resident) memory of processes, MiB: the second also holds what they map."""
    private = resident = 0
    for pid in families(roots):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        private += _kib(status, "RssAnon:")
        resident += _kib(status, "VmRSS:")
    return private / 1024, resident / 1024


def _kib(status: str, name: str) -> int:
    words = status.partition(name)[2].split()
    return int(words[0]) if words else 0


def wire_bytes(ports: Iterable[int]) -> int:
    """Bytes both ways over the TCP connections that listeners on these ports hold."""
    total = 0
    for port in ports:
        asked = ["ss", "-tinHO", "state", "established", f"( sport = :{port} )"]
        told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        for word in told.split():
            key, _, value = word.partition(":")
            if key in ("bytes_acked", "bytes_received") and value.isdigit():
                total += int(value)
    return total


class Meter:
    """By ``with``: seconds, CPU and the peaks of memory meanwhile; the clock ends at ``stop``.

    ``roots`` gives the processes at any moment, ``spent_s`` the CPU of those that are gone.
    """

    def __init__(self, roots: Callable[[], list[int]], spent_s: Callable[[], float]) -> None:
        self._roots, self._spent_s = roots, spent_s
        self.seconds = self.cpu_s = self.private_mib = self.rss_mib = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Meter:
        self._cpu = cpu_s(self._roots()) + self._spent_s()
        self._began = time.perf_counter()
        self._thread.start()
        return self

    def _sample(self) -> None:
        while True:
            private, resident = memory_mib(self._roots())
            self.private_mib = max(self.private_mib, private)
            self.rss_mib = max(self.rss_mib, resident)
            if self._ended.wait(_EVERY_S):
                return

    def stop(self) -> None:
        """It is done; what the processes still do for a moment counts as their CPU time."""
        self.seconds = time.perf_counter() - self._began
        time.sleep(AFTER_S)

    def __exit__(self, *_: Any) -> None:
        self.cpu_s = cpu_s(self._roots()) + self._spent_s() - self._cpu
        self._ended.set()
        self._thread.join()
