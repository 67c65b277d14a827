"""What PipeWire's tools and the kernel say about the running PipeWire, parsed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archibald.vm.selftest.model import UnreadableError
from archibald.vm.selftest.reader import Reader

#: Scheduling policies by their number in /proc/PID/stat (sched(7)).
POLICIES = {0: "OTHER", 1: "FIFO", 2: "RR", 3: "BATCH", 5: "IDLE", 6: "DEADLINE"}


def parse_metadata(text: str) -> dict[str, str]:
    """Return ``key → value`` of ``pw-metadata -n settings 0``."""
    found = dict(re.findall(r"key:'([^']*)' value:'([^']*)'", text))
    if not found:
        raise ValueError(f"no settings in {text.strip()[:200]!r}")
    return found


@dataclass(frozen=True)
class TopRow:
    """One node of ``pw-top -b``. ``follower`` nodes belong to the driver above them."""

    state: str
    node_id: int
    quantum: int
    rate: int
    errors: int
    name: str
    follower: bool


_TOP_ROW = re.compile(
    r"^(?P<state>\S)\s+(?P<id>\d+)\s+(?P<quantum>\d+)\s+(?P<rate>\d+)"
    r"(?:\s+\S+){4}\s+(?P<errors>\d+)\s+"
    r"(?:\S+ \d+ \d+ )?\s*(?P<mark>[+=] )?(?P<name>\S.*?)\s*$"
)


def parse_top(text: str) -> list[TopRow]:
    """Return the rows of the last block of ``pw-top -b -n N``; the first blocks hold zeros."""
    matches = [_TOP_ROW.match(line) for line in last_block(text).splitlines()]
    rows = [
        TopRow(
            state=found["state"],
            node_id=int(found["id"]),
            quantum=int(found["quantum"]),
            rate=int(found["rate"]),
            errors=int(found["errors"]),
            name=found["name"],
            follower=found["mark"] is not None,
        )
        for found in matches
        if found
    ]
    if not rows:
        raise ValueError(f"no nodes in {text.strip()[:200]!r}")
    return rows


def last_block(text: str) -> str:
    """Return the last block of ``pw-top -b -n N``, from its header on."""
    headers = [found.start() for found in re.finditer(r"^S\s+ID\s+QUANT", text, re.MULTILINE)]
    return text[headers[-1] :] if headers else ""


def driver_of(rows: list[TopRow], node_name: str) -> TopRow | None:
    """Return the driver row above the node of this name, if it runs in a graph."""
    driver = None
    for row in rows:
        if not row.follower:
            driver = row
        elif row.name == node_name:
            return driver
    return None


def parse_dump(text: str) -> list[Mapping[str, Any]]:
    """Return the objects of ``pw-dump``."""
    try:
        objects = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"pw-dump did not print JSON: {error}") from None
    if not isinstance(objects, list):
        raise ValueError("pw-dump did not print a list")
    return [item for item in objects if isinstance(item, dict)]


def properties(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an object's properties (devices and nodes keep them in ``info``)."""
    info = item.get("info")
    props = info.get("props") if isinstance(info, dict) else None
    return props if isinstance(props, dict) else {}


def _of_type(objects: list[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    return [item for item in objects if item.get("type") == f"PipeWire:Interface:{kind}"]


def card_number(props: Mapping[str, Any]) -> int | None:
    """Return the number of the ALSA card that a device or node belongs to."""
    for key in ("api.alsa.card", "alsa.card", "api.alsa.pcm.card"):
        value = str(props.get(key, ""))
        if value.isdigit():
            return int(value)
    return None


def bound_cards(objects: list[Mapping[str, Any]]) -> set[int]:
    """Return the numbers of the ALSA cards that PipeWire has as devices."""
    numbers = {card_number(properties(item)) for item in _of_type(objects, "Device")}
    return {number for number in numbers if number is not None}


@dataclass(frozen=True)
class Sink:
    """A sink that is a real card."""

    object_id: int
    name: str
    card: int
    driver: str


def hardware_sinks(objects: list[Mapping[str, Any]]) -> list[Sink]:
    """Return the sinks on ALSA cards, built-in (HDA) cards first, USB last."""
    devices = {item.get("id"): properties(item) for item in _of_type(objects, "Device")}
    sinks = []
    for item in _of_type(objects, "Node"):
        props = properties(item)
        device = devices.get(props.get("device.id"), {})
        card = card_number(props)
        card = card_number(device) if card is None else card
        if props.get("media.class") != "Audio/Sink" or card is None:
            continue
        driver = str(props.get("alsa.driver_name") or device.get("alsa.driver_name") or "")
        sinks.append(Sink(int(item.get("id", -1)), str(props.get("node.name", "")), card, driver))
    return sorted(
        sinks, key=lambda sink: ("hda" not in sink.driver, "usb" in sink.driver, sink.card)
    )


@dataclass(frozen=True)
class AlsaCard:
    """A line of /proc/asound/cards."""

    number: int
    name: str


def parse_cards(text: str) -> list[AlsaCard]:
    """Return the cards of /proc/asound/cards."""
    return [
        AlsaCard(int(number), name.strip())
        for number, name in re.findall(r"^\s*(\d+) \[[^\]]*\]:\s*(.+)$", text, re.MULTILINE)
    ]


@dataclass(frozen=True)
class ThreadScheduling:
    """How the kernel schedules a thread."""

    comm: str
    policy: str
    priority: int


def parse_stat(text: str) -> ThreadScheduling:
    """Return name, policy and real-time priority of a /proc/PID/task/TID/stat line (proc(5))."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    # The field after the name is number 3; rt_priority is 40 and policy 41.
    if len(fields) < 39 or "(" not in head:
        raise ValueError(f"no stat line: {text.strip()[:120]!r}")
    policy = int(fields[38])
    return ThreadScheduling(
        comm=head.partition("(")[2],
        policy=POLICIES.get(policy, f"policy {policy}"),
        priority=int(fields[37]),
    )


def status_field(text: str, name: str) -> str:
    """Return a field of /proc/PID/status."""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    raise ValueError(f"no {name} in the status file")


def parse_cpu_list(text: str) -> set[int]:
    """Return the CPUs of a list such as ``0-2,5``."""
    cpus: set[int] = set()
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            cpus.update(range(int(first), int(last or first) + 1))
    return cpus


def user_processes(reader: Reader, comm: str) -> list[int]:
    """Return the processes of the session's user that have this name."""
    found = []
    for pid in [name for name in reader.names("/proc") if name.isdigit()]:
        try:
            status = reader.text(f"/proc/{pid}/status")
        except UnreadableError:
            continue  # it ended meanwhile
        uid = status_field(status, "Uid").split()[0]
        if status_field(status, "Name") == comm and int(uid) == reader.user.uid:
            found.append(int(pid))
    return sorted(found)


def pipewire_pid(reader: Reader) -> int:
    """Return the process of the session's PipeWire daemon; its helpers run with ``-c FILE``."""
    for pid in user_processes(reader, "pipewire"):
        if "-c" not in reader.text(f"/proc/{pid}/cmdline").split("\0"):
            return pid
    raise UnreadableError(f"no pipewire process of {reader.user.name} runs")
