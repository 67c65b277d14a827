"""From what was read to a snapshot: nodes, load, latency, CPUs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from archibald.vm.selftest.pipewire import last_block

#: Times as pw-top prints them, in microseconds.
_UNITS_US = {"us": 1.0, "ms": 1e3, "s": 1e6}

_ROW = re.compile(
    r"^(?P<state>\S)\s+(?P<id>\d+)\s+(?P<quantum>\d+)\s+(?P<rate>\d+)"
    r"\s+(?P<wait>\S+)\s+(?P<busy>\S+)\s+(?P<wait_share>\S+)\s+(?P<busy_share>\S+)"
    r"\s+(?P<errors>\d+)\s+(?:\S+ \d+ \d+ )?\s*(?P<mark>[+=] )?(?P<name>\S.*?)\s*$"
)


@dataclass(frozen=True)
class Node:
    """A node of the graph.

    ``wait_us`` and ``busy_us`` are times of the last cycle (None: it had none), the shares those
    of the quantum (1.0: all of it), ``errors`` the missed wake-ups since it was made. A driver's
    wait is the time that the whole graph took, a follower's the time from its signal to its
    wake-up (pw-top(1)).
    """

    object_id: int
    name: str
    state: str
    quantum: int
    rate: int
    wait_us: float | None
    busy_us: float | None
    wait_share: float | None
    busy_share: float | None
    errors: int
    follower: bool

    @property
    def running(self) -> bool:
        """Say whether it takes part in cycles."""
        return self.state == "R" and self.rate > 0


def parse_nodes(text: str) -> list[Node]:
    """Return the nodes of the last block of ``pw-top -b -n N``.

    Raises ValueError when there is none: PipeWire has two drivers at least.
    """
    matches = [_ROW.match(line) for line in last_block(text).splitlines()]
    nodes = [
        Node(
            object_id=int(found["id"]),
            name=found["name"],
            state=found["state"],
            quantum=int(found["quantum"]),
            rate=int(found["rate"]),
            wait_us=_time_us(found["wait"]),
            busy_us=_time_us(found["busy"]),
            wait_share=_share(found["wait_share"]),
            busy_share=_share(found["busy_share"]),
            errors=int(found["errors"]),
            follower=found["mark"] is not None,
        )
        for found in matches
        if found
    ]
    if not nodes:
        raise ValueError(f"no nodes in {text.strip()[:80]!r}")
    return nodes


def _time_us(text: str) -> float | None:
    found = re.fullmatch(r"([0-9.]+)(us|ms|s)", text)
    return float(found[1]) * _UNITS_US[found[2]] if found else None


def _share(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9.]+", text) else None


class Pinned(NamedTuple):
    """Something that is on a CPU: an interrupt, or a real-time thread with its priority."""

    cpu: int
    label: str
    ours: bool


@dataclass(frozen=True)
class Raw:
    """What was read at one moment; a part that could not be read is empty, and its reason given.

    ``ticks`` maps CPUs to (busy, all) ticks since boot, ``mhz`` to frequencies, ``temperatures``
    names of sensors to degrees Celsius.
    """

    nodes: Sequence[Node] = ()
    trouble: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    cpus: Sequence[int] = ()
    audio_cpus: Sequence[int] = ()
    ticks: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    mhz: Mapping[int, float] = field(default_factory=dict)
    temperatures: Mapping[str, float] = field(default_factory=dict)
    pinned: Sequence[Pinned] = ()


@dataclass(frozen=True)
class CpuRow:
    """A CPU: its load (1.0: all of it; None until it was looked at twice) and what is on it."""

    number: int
    audio: bool
    load: float | None
    mhz: float | None
    ours: tuple[str, ...]
    others: int


@dataclass(frozen=True)
class Snapshot:
    """What the view shows. ``xruns`` maps nodes to the errors since the view was opened."""

    quantum: int
    rate: int
    forced: int
    load: float | None
    wake_us: float | None
    nodes: tuple[Node, ...]
    xruns: Mapping[int, int]
    cpus: tuple[CpuRow, ...]
    temperature_c: float | None
    trouble: str

    @property
    def cycle_ms(self) -> float | None:
        """Length of a cycle in milliseconds."""
        return 1e3 * self.quantum / self.rate if self.rate else None

    def data(self) -> dict[str, Any]:
        """The snapshot as ``--json`` prints it."""
        return {
            "quantum": self.quantum,
            "rate": self.rate,
            "forced_quantum": self.forced,
            "cycle_ms": self.cycle_ms,
            "dsp_load": self.load,
            "wake_up_us": self.wake_us,
            "temperature_c": self.temperature_c,
            "trouble": self.trouble,
            "nodes": [
                {"id": n.object_id, "name": n.name, "state": n.state, "quantum": n.quantum,
                 "rate": n.rate, "wait_us": n.wait_us, "busy_us": n.busy_us,
                 "wait_share": n.wait_share, "busy_share": n.busy_share, "errors": n.errors,
                 "new_errors": self.xruns.get(n.object_id, 0), "follower": n.follower}
                for n in self.nodes
            ],
            "cpus": [
                {"cpu": c.number, "audio": c.audio, "load": c.load, "mhz": c.mhz,
                 "audio_work": list(c.ours), "other_interrupts": c.others}
                for c in self.cpus
            ],
        }  # fmt: skip


def snapshot(raw: Raw, before: Raw | None = None, first: Raw | None = None) -> Snapshot:
    """Return the snapshot of what was read, against the look before and the first one."""
    driver = _busiest_driver(raw.nodes)
    # Of a node without a report pw-top shows 0, which is not its counter.
    counted = {
        node.object_id: node.errors for node in (first or raw).nodes if node.wait_share is not None
    }
    waits = [n.wait_us for n in raw.nodes if n.follower and n.running and n.wait_us is not None]
    return Snapshot(
        quantum=driver.quantum if driver else _number(raw.settings, "clock.quantum"),
        rate=driver.rate if driver else _number(raw.settings, "clock.rate"),
        forced=_number(raw.settings, "clock.force-quantum"),
        load=driver.wait_share if driver else None,
        wake_us=max(waits, default=None),
        nodes=tuple(raw.nodes),
        xruns={
            node.object_id: max(0, node.errors - counted.get(node.object_id, node.errors))
            for node in raw.nodes
        },
        cpus=tuple(_cpu(number, raw, before) for number in raw.cpus),
        temperature_c=max(raw.temperatures.values(), default=None),
        trouble=raw.trouble,
    )


def _number(settings: Mapping[str, str], key: str) -> int:
    text = settings.get(key, "")
    return int(text) if text.isdigit() else 0


def _busiest_driver(nodes: Sequence[Node]) -> Node | None:
    """Return the running driver with the most running followers; the first one of equals."""
    best: tuple[int, Node] | None = None
    for index, node in enumerate(nodes):
        if node.follower or not node.running:
            continue
        count = 0
        for other in nodes[index + 1 :]:
            if not other.follower:
                break
            count += other.running
        if best is None or count > best[0]:
            best = (count, node)
    return best[1] if best else None


def _cpu(number: int, raw: Raw, before: Raw | None) -> CpuRow:
    here = [item for item in raw.pinned if item.cpu == number]
    return CpuRow(
        number=number,
        audio=number in raw.audio_cpus,
        load=_load(raw.ticks.get(number), before.ticks.get(number) if before else None),
        mhz=raw.mhz.get(number),
        ours=tuple(item.label for item in here if item.ours),
        others=sum(not item.ours for item in here),
    )


def _load(now: tuple[int, int] | None, before: tuple[int, int] | None) -> float | None:
    if now is None or before is None or now[1] <= before[1]:
        return None
    return min(1.0, max(0.0, (now[0] - before[0]) / (now[1] - before[1])))


def parse_ticks(text: str) -> dict[int, tuple[int, int]]:
    """Return CPU → (busy, all) ticks of /proc/stat; waiting for disks is idle (proc_stat(5))."""
    found = {}
    for number, rest in re.findall(r"^cpu(\d+) (.+)$", text, re.MULTILINE):
        # user nice system idle iowait irq softirq steal; guest time is in user already.
        values = [int(word) for word in rest.split()[:8]]
        idle = sum(values[3:5])
        found[int(number)] = (sum(values) - idle, sum(values))
    return found


def next_quantum(now: int, step: int, lowest: int = 16, highest: int = 8192) -> int:
    """Return the power of two above (``step`` 1) or below (-1) a quantum, within the bounds."""
    if step > 0:
        return min(highest, max(lowest, 1 << max(0, now).bit_length()))
    below = 1 << max(0, (max(1, now) - 1).bit_length() - 1)
    return max(lowest, min(highest, below))
