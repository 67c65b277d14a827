"""What the live view reads, once a second: PipeWire's tools, and files of /proc and /sys."""

from __future__ import annotations

import re
from collections.abc import Iterable

from archibald.tune.hardware import CPU_ROOT, parse_interrupts
from archibald.tune.knobs.pipewire import SETTINGS_COMMAND
from archibald.tune.live.model import Node, Pinned, Raw, parse_nodes, parse_ticks
from archibald.tune.model import Scene
from archibald.tune.observe import Sight
from archibald.tune.watchdog.threads import sample
from archibald.vm.selftest.model import UnreadableError
from archibald.vm.selftest.pipewire import parse_cpu_list, parse_metadata

#: Two blocks: the first one holds zeros.
TOP_COMMAND = ("pw-top", "-b", "-n", "2")

#: The setting that the view's keys change.
FORCE_QUANTUM = "clock.force-quantum"


def gather(scene: Scene) -> Raw:
    """Look at the machine now. What cannot be read is left out, and never guessed."""
    sight = scene.sight
    nodes, trouble = _nodes(sight)
    return Raw(
        nodes=nodes,
        trouble=trouble,
        settings={} if trouble else _settings(sight),
        cpus=[cpu.number for cpu in scene.machine.cpus],
        audio_cpus=scene.audio_cpus,
        ticks=_ticks(sight),
        mhz=_frequencies(sight, [cpu.number for cpu in scene.machine.cpus]),
        temperatures=_temperatures(sight),
        pinned=[*_interrupts(scene), *_threads(sight)],
    )


def _nodes(sight: Sight) -> tuple[list[Node], str]:
    """Return the nodes, or why there are none. Not through sight.command, which remembers."""
    try:
        return parse_nodes(sight.commands(TOP_COMMAND, in_session=True, accept=(0,))), ""
    except UnreadableError as error:
        return [], " ".join(str(error).split())
    except ValueError:
        return [], "pw-top shows no node: PipeWire does not run in this session"


def _settings(sight: Sight) -> dict[str, str]:
    try:
        return parse_metadata(sight.commands(SETTINGS_COMMAND, in_session=True, accept=(0,)))
    except (UnreadableError, ValueError):
        return {}


def _ticks(sight: Sight) -> dict[int, tuple[int, int]]:
    try:
        return parse_ticks(sight.text("/proc/stat"))
    except (UnreadableError, ValueError):
        return {}


def _optional(sight: Sight, path: str) -> str:
    try:
        return sight.optional(path) or ""
    except UnreadableError:
        return ""


def _names(sight: Sight, folder: str) -> list[str]:
    try:
        return sight.names(folder)
    except UnreadableError:
        return []


def _frequencies(sight: Sight, cpus: Iterable[int]) -> dict[int, float]:
    """Return CPU → MHz where the machine has frequency scaling."""
    found = {}
    for cpu in cpus:
        text = _optional(sight, f"{CPU_ROOT}/cpu{cpu}/cpufreq/scaling_cur_freq")
        if text.isdigit():
            found[cpu] = int(text) / 1000
    return found


def _temperatures(sight: Sight) -> dict[str, float]:
    """Return sensors in degrees Celsius: thermal zones, else what coretemp and k10temp have."""
    found = {}
    zones = "/sys/class/thermal"
    for name in _names(sight, zones):
        text = _optional(sight, f"{zones}/{name}/temp")
        if name.startswith("thermal_zone") and re.fullmatch(r"-?\d+", text):
            found[_optional(sight, f"{zones}/{name}/type") or name] = int(text) / 1000
    if found:
        return found
    for chip in _names(sight, "/sys/class/hwmon"):
        folder = f"/sys/class/hwmon/{chip}"
        if _optional(sight, f"{folder}/name") in ("coretemp", "k10temp", "cpu_thermal"):
            text = _optional(sight, f"{folder}/temp1_input")
            if re.fullmatch(r"-?\d+", text):
                found[chip] = int(text) / 1000
    return found


def _interrupts(scene: Scene) -> list[Pinned]:
    """Return the interrupts that arrive on one CPU alone; the card's are ours."""
    sight, card = scene.sight, scene.machine.card
    try:
        table = parse_interrupts(sight.text("/proc/interrupts"))
    except (UnreadableError, ValueError):
        return []
    found = []
    for irq, label in table.items():
        where = _optional(sight, f"/proc/irq/{irq}/effective_affinity_list") or _optional(
            sight, f"/proc/irq/{irq}/smp_affinity_list"
        )
        cpus = _cpus(where)
        if len(cpus) == 1:
            driver = label.split()[-1] if label else ""
            ours = card is not None and irq in card.irqs
            found.append(Pinned(min(cpus), f"IRQ {irq} {driver}".strip(), ours))
    return found


def _cpus(text: str) -> set[int]:
    try:
        return parse_cpu_list(text)
    except ValueError:
        return set()


def _threads(sight: Sight) -> list[Pinned]:
    """Return the real-time threads of programs: where they ran last, or are bound to."""
    found = []
    for thread in sample(sight.path("/proc")).threads:
        if thread.kernel:
            continue
        status = _optional(sight, f"/proc/{thread.pid}/task/{thread.tid}/status")
        allowed = re.search(r"^Cpus_allowed_list:\s*(\S+)", status, re.MULTILINE)
        cpus = _cpus(allowed[1]) if allowed else set()
        bound = " bound" if len(cpus) == 1 else ""
        cpu = min(cpus) if len(cpus) == 1 else thread.cpu
        label = f"{thread.comm} {thread.policy} {thread.priority}{bound}"
        found.append(Pinned(cpu, label, ours=True))
    return found
