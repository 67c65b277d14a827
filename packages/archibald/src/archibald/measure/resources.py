"""What a machine takes at rest: memory in all and by service, CPU time, wake-ups of the CPUs."""

from __future__ import annotations

import os
import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from archibald.measure.clocks import without_sleep
from archibald.measure.document import Kind, Run
from archibald.measure.records import ResourcesData, ServiceUse
from archibald.measure.session import Bench, Clock, Notes
from archibald.tune.hardware import CPU_ROOT
from archibald.tune.observe import Sight
from archibald.vm.selftest.model import UnreadableError

_KIB = 1024


class Process(NamedTuple):
    """A process: what it belongs to, its memory (bytes), its CPU time (ticks)."""

    owner: str
    memory: int
    proportional: bool
    ticks: int


class Look(NamedTuple):
    """What was read at one moment."""

    memory_total: int
    memory_used: int
    wakeups: int | None
    processes: Mapping[int, Process]


def kib_field(text: str, name: str) -> int:
    """Return a field such as ``MemTotal:  123 kB`` in bytes. Raises ValueError."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    if not found:
        raise ValueError(f"no {name}")
    return int(found[1]) * _KIB


def owner_of(cgroup: str, comm: str) -> str:
    """Return the innermost service or scope of /proc/PID/cgroup; without one the program's name."""
    path = cgroup.rpartition("::")[2].strip()
    units = [part for part in path.split("/") if part.endswith((".service", ".scope"))]
    # The user's manager is the parent of that user's own services.
    return units[-1] if units else comm


def measure_resources(
    bench: Bench,
    duration_s: float,
    *,
    on_tick: Callable[[float], None] = lambda _elapsed_s: None,
) -> Run:
    """Look twice, ``duration_s`` apart, and return the run document.

    Raises PreconditionError when the machine was suspended in between.
    """
    clock, remarks = Clock.now(), Notes()
    sight = bench.scene.sight
    with without_sleep("resources"):
        first, started = look(sight), time.monotonic()
        while (elapsed := time.monotonic() - started) < duration_s:
            on_tick(elapsed)
            time.sleep(min(0.5, duration_s - elapsed))
        elapsed, last = time.monotonic() - started, look(sight)
    if not all(process.proportional for process in last.processes.values()):
        remarks.warnings.append(
            "memory of other users' processes is resident size, which counts shared pages again; "
            "as root it is the proportional share"
        )
    data = ResourcesData(
        observed_s=elapsed,
        memory_total_bytes=last.memory_total,
        memory_used_bytes=last.memory_used,
        wakeups_per_s=_rate(first.wakeups, last.wakeups, elapsed),
        services=services(first, last, os.sysconf("SC_CLK_TCK")),
    )
    return bench.document(
        Kind.RESOURCES, data, clock=clock, settings={"duration_s": duration_s}, remarks=remarks
    )


def look(sight: Sight) -> Look:
    """Read memory, wake-ups and processes now."""
    memory = sight.text("/proc/meminfo")
    total = kib_field(memory, "MemTotal")
    return Look(
        memory_total=total,
        memory_used=max(0, total - kib_field(memory, "MemAvailable")),
        wakeups=_wakeups(sight),
        processes=_processes(sight),
    )


def services(first: Look, last: Look, ticks_per_s: int) -> tuple[ServiceUse, ...]:
    """Return what each service has now, and the CPU time that it took between two looks."""
    memory: dict[str, int] = defaultdict(int)
    ticks: dict[str, int] = defaultdict(int)
    for pid, process in last.processes.items():
        before = first.processes.get(pid)
        memory[process.owner] += process.memory
        ticks[process.owner] += max(0, process.ticks - (before.ticks if before else 0))
    return tuple(
        ServiceUse(name=name, memory_bytes=memory[name], cpu_s=ticks[name] / ticks_per_s)
        for name in sorted(memory, key=lambda name: (-memory[name], name))
    )


def _rate(first: int | None, last: int | None, elapsed_s: float) -> float | None:
    if first is None or last is None:
        return None
    return max(0, last - first) / elapsed_s


def _wakeups(sight: Sight) -> int | None:
    """Return how often CPUs were idle since boot: each time something woke them."""
    total, seen = 0, False
    for cpu in _names(sight, CPU_ROOT):
        if not re.fullmatch(r"cpu\d+", cpu):
            continue
        folder = f"{CPU_ROOT}/{cpu}/cpuidle"
        for state in _names(sight, folder):
            usage = sight.optional(f"{folder}/{state}/usage")
            if usage and usage.isdigit():
                total, seen = total + int(usage), True
    return total if seen else None


def _names(sight: Sight, folder: str) -> list[str]:
    try:
        return sight.names(folder)
    except UnreadableError:
        return []


def _processes(sight: Sight) -> dict[int, Process]:
    found = {}
    for name in _names(sight, "/proc"):
        if name.isdigit() and int(name) != os.getpid():
            process = _process(sight, name)
            if process:
                found[int(name)] = process
    return found


def _process(sight: Sight, pid: str) -> Process | None:
    """Return a process; None for kernel threads, and for one that has ended."""
    try:
        stat = sight.text(f"/proc/{pid}/stat")
        status = sight.text(f"/proc/{pid}/status")
        cgroup = sight.text(f"/proc/{pid}/cgroup")
        resident = kib_field(status, "VmRSS")
    except (UnreadableError, ValueError):
        return None
    fields = stat.rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    comm = stat.rpartition(")")[0].partition("(")[2]
    try:
        memory, proportional = kib_field(sight.text(f"/proc/{pid}/smaps_rollup"), "Pss"), True
    except (UnreadableError, ValueError):
        memory, proportional = resident, False
    return Process(owner_of(cgroup, comm), memory, proportional, ticks)
