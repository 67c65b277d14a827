"""Frequency, sleep states, and which CPU the audio runs on."""

from __future__ import annotations

import re

from archibald.system.modules.guard import WAKE_UP_US
from archibald.system.spec import KernelArg, Origin
from archibald.tune.hardware import CPU_ROOT
from archibald.tune.knobs.base import (
    because,
    evidence,
    file_knob,
    files_in,
    listed,
    read_all,
    unless,
)
from archibald.tune.model import Change, Family, Knob, Page, Scene, Severity
from archibald.tune.observe import MissingError
from archibald.vm.selftest.model import Verdict, verdict

FAMILY = Family("cpu", "CPU frequency and idle")

GOVERNOR = Page(
    "cpu.governor",
    "The frequency governor is the profile's",
    Severity.HIGH,
    "/sys/devices/system/cpu/cpufreq/policy*/scaling_governor",
    "A governor that follows the load looks at it every few milliseconds: a burst of audio work is "
    "over, or late, before the CPU has sped up. performance keeps the frequency up. Machines "
    "without frequency scaling (most virtual machines) have no governor: then the question does "
    "not arise, and nothing is reported as if it were performance.",
    "archibald apply",
)
EPP = Page(
    "cpu.energy-preference",
    "The CPU itself prefers performance",
    Severity.MEDIUM,
    "/sys/devices/system/cpu/cpufreq/policy*/energy_performance_preference",
    "With intel_pstate and amd_pstate in active mode the hardware chooses the frequency, and the "
    "governor is only half of the request: the preference is the other half.",
    "archibald apply",
)
LIMIT = Page(
    "cpu.frequency-limit",
    "No CPU is held below its highest frequency",
    Severity.LOW,
    "scaling_max_freq and cpuinfo_max_freq of every cpufreq policy",
    "Power managers lower scaling_max_freq on battery and forget it. Turbo is left on: its steps "
    "are small compared with what a lower frequency costs.",
    "archibald apply",
)
IDLE = Page(
    "cpu.idle-latency",
    "The audio CPU wakes up quickly",
    Severity.MEDIUM,
    "cpuidle/state*/{name,latency,disable} and power/pm_qos_resume_latency_us of the audio CPUs",
    "The deeper a CPU sleeps, the longer it takes to wake: over 100 us for the deepest states, a "
    "third of a cycle at 32 frames and 96 kHz. The limit of 20 us is set for the CPUs of the "
    "data loop alone (pm_qos_resume_latency_us, where 0 means no limit and n/a no sleep at "
    "all), so that the others may still save power. Arguments such as intel_idle.max_cstate do "
    "it for all CPUs and for ever.",
    "archibald apply",
)
DEVICE = Page(
    "cpu.latency-device",
    "The group audio may keep CPUs awake",
    Severity.LOW,
    "mode and owner of /dev/cpu_dma_latency, the system's udev rules",
    "A program that holds /dev/cpu_dma_latency open keeps all CPUs out of deep sleep while it "
    "plays; Ardour and JACK offer that. The device belongs to root unless a udev rule gives it to "
    "the group.",
    "archibald apply --persist",
)
SMT = Page(
    "cpu.smt",
    "No two audio CPUs are threads of one core",
    Severity.MEDIUM,
    "/sys/devices/system/cpu/cpu*/topology/thread_siblings_list",
    "Two threads of one core share its execution units: what one does makes the other late by "
    "amounts that nobody can predict. SMT itself is not a fault, and switching it off takes away "
    "CPUs; a fault is to give both threads of a core to audio.",
    "name CPUs of different cores in cpu.audio (archibald profile explain cpu.audio)",
)
CORE = Page(
    "cpu.audio-core",
    "The audio CPUs are fast cores",
    Severity.MEDIUM,
    "/sys/devices/cpu_atom/cpus, or cpu_capacity of every CPU",
    "Hybrid CPUs have efficiency cores with about half the speed. A data loop that is pinned to "
    "one has half the time for its work.",
    "name performance cores in cpu.audio (archibald profile explain cpu.audio)",
)

PAGES = (GOVERNOR, EPP, LIMIT, IDLE, DEVICE, SMT, CORE)


def knobs(scene: Scene) -> list[Knob]:
    """Return the knobs of this family."""
    return [
        *_governor(scene),
        _limit(scene),
        _idle(scene),
        _device(scene),
        _smt(scene),
        _core(scene),
    ]


def _policies(scene: Scene) -> list[str]:
    folder = f"{CPU_ROOT}/cpufreq"
    try:
        names = scene.sight.names(folder)
    except MissingError:
        return []
    return [f"{folder}/{name}" for name in names if re.fullmatch(r"policy\d+", name)]


def wanted_governor(scene: Scene) -> tuple[str, tuple[Origin, ...]]:
    """Return the governor that the spec's kernel argument asks for, and who asked."""
    for contribution in scene.spec.contributions:
        item = contribution.item
        if isinstance(item, KernelArg) and item.text.startswith("cpufreq.default_governor="):
            return item.text.partition("=")[2], contribution.origins
    return scene.profile.realtime.governor, ()


def _governor(scene: Scene) -> list[Knob]:
    absent = "this machine has no frequency scaling"
    wanted, origins = wanted_governor(scene)
    policies = _policies(scene)
    governor = file_knob(
        scene, GOVERNOR, [f"{policy}/scaling_governor" for policy in policies], wanted,
        absent=absent, origins=origins,
    )  # fmt: skip
    reason = "" if wanted == "performance" else f"the governor is to be {wanted}"
    epp = file_knob(
        scene, EPP, [f"{policy}/energy_performance_preference" for policy in policies],
        "performance", absent="the frequency driver has no such preference", origins=origins,
    )  # fmt: skip
    return [governor, Knob(EPP, "performance", unless(reason, epp.judge), epp.changes,
                           origins=origins)]  # fmt: skip


def _limit(scene: Scene) -> Knob:
    policies = _policies(scene)

    def pairs() -> dict[str, tuple[int, int]]:
        now = read_all(
            scene.sight,
            [f"{policy}/scaling_max_freq" for policy in policies],
            "this machine has no frequency limits",
        )
        found = {}
        for path, value in now.items():
            top = scene.sight.optional(path.replace("scaling_max_freq", "cpuinfo_max_freq"))
            if top is not None:
                found[path] = (int(value), int(top))
        return found

    def judge() -> Verdict:
        found = pairs()
        low = {path: pair for path, pair in found.items() if pair[0] < pair[1]}
        rows = {path: f"{now} of {top} kHz" for path, (now, top) in (low or found).items()}
        observed = f"{len(low)} of {len(found)} limited" if low else "none is limited"
        return verdict(not low, observed, evidence(rows))

    def changes() -> tuple[Change, ...]:
        return tuple(
            Change(LIMIT.id, "value", path, str(top))
            for path, (now, top) in pairs().items()
            if now < top
        )

    return Knob(LIMIT, "none is limited", judge, changes)


def _audio_cpus(scene: Scene) -> list[int]:
    """The CPUs of the data loop that the machine has; all of them when none is named."""
    there = [cpu.number for cpu in scene.machine.cpus]
    return [cpu for cpu in scene.audio_cpus if cpu in there] or there


def _idle_states(scene: Scene, cpu: int) -> dict[str, int]:
    """Return ``name → exit latency (us)`` of the sleep states that are not switched off."""
    folder = f"{CPU_ROOT}/cpu{cpu}/cpuidle"
    found = {}
    for state in scene.sight.names(folder):
        if not state.startswith("state"):
            continue
        if scene.sight.optional(f"{folder}/{state}/disable") == "1":
            continue
        name = scene.sight.optional(f"{folder}/{state}/name") or state
        found[name] = int(scene.sight.value(f"{folder}/{state}/latency"))
    return found


def _qos_path(cpu: int) -> str:
    return f"{CPU_ROOT}/cpu{cpu}/power/pm_qos_resume_latency_us"


def allows(limit: str, latency_us: int) -> bool:
    """Say whether a CPU with this pm_qos_resume_latency_us may enter a state of that latency.

    Source: the kernel's Documentation/ABI/testing/sysfs-devices-power.
    """
    if limit == "n/a":
        return latency_us == 0
    return int(limit) == 0 or latency_us <= int(limit)


def _idle(scene: Scene) -> Knob:
    cpus = _audio_cpus(scene)

    def slow() -> tuple[dict[str, str], list[int]]:
        limits = read_all(
            scene.sight, [_qos_path(cpu) for cpu in cpus], "this kernel sets no limits per CPU"
        )
        rows, late = {}, []
        for cpu in cpus:
            limit = limits.get(_qos_path(cpu))
            try:
                states = _idle_states(scene, cpu)
            except MissingError:
                continue
            if limit is None or not states:
                continue
            entered = {name: us for name, us in states.items() if allows(limit, us)}
            worst = max(entered.values(), default=0)
            rows[f"cpu{cpu}"] = f"limit {limit}, sleeps in {entered} us"
            if worst > WAKE_UP_US:
                late.append(cpu)
        return rows, late

    def judge() -> Verdict:
        rows, late = slow()
        if not rows:
            return unless("the CPUs have no sleep states", lambda: verdict(True, ""))()
        names = ", ".join(map(str, late))
        return verdict(not late, f"CPU {names} sleeps deeper" if late else "in time",
                       evidence(rows))  # fmt: skip

    def changes() -> tuple[Change, ...]:
        return tuple(Change(IDLE.id, "value", _qos_path(cpu), str(WAKE_UP_US)) for cpu in slow()[1])

    origins = because("the CPUs of the data loop have to wake up in time", "cpu.audio")
    return Knob(IDLE, f"within {WAKE_UP_US} us", judge, changes, origins=origins)


def _device(scene: Scene) -> Knob:
    path = "/dev/cpu_dma_latency"
    rule = next(
        (
            (found.group(1), int(found.group(2), 8), contribution.origins)
            for item, contribution in files_in(scene, "/etc/udev/rules.d/")
            if (
                found := re.search(
                    r'KERNEL=="cpu_dma_latency".*GROUP="(\w+)".*MODE="(\d+)"',
                    item.content.decode(),
                )
            )
        ),
        None,
    )
    if rule is None:
        reason = "the profile does not ask for it"
        return Knob(DEVICE, "any", unless(reason, lambda: verdict(False, "")))
    group, mode, origins = rule

    def judge() -> Verdict:
        try:
            node = scene.sight.node(path)
        except MissingError:
            return unless("this kernel has no such device", lambda: verdict(False, ""))()
        return verdict((node.group, node.mode) == (group, mode), str(node), f"{path}: {node}")

    return Knob(DEVICE, f"{mode:04o} root:{group}", judge, origins=origins)


def _smt(scene: Scene) -> Knob:
    machine = scene.machine
    reason = "" if scene.audio_cpus else "the profile leaves the choice to the scheduler"

    def judge() -> Verdict:
        cores: dict[frozenset[int], list[int]] = {}
        for number in scene.audio_cpus:
            cpu = machine.cpu(number)
            if cpu is not None:
                cores.setdefault(cpu.siblings, []).append(number)
        shared = [cpus for cpus in cores.values() if len(cpus) > 1]
        rows = "\n".join(
            f"core of CPU {sorted(core)}: audio {cpus}" for core, cpus in cores.items()
        )
        state = "SMT is on" if machine.smt else "no SMT"
        observed = f"{shared} share a core" if shared else f"no two, {state}"
        return verdict(not shared, observed, rows)

    return Knob(SMT, "different cores", unless(reason, judge),
                origins=because("named in the profile", "cpu.audio"))  # fmt: skip


def _core(scene: Scene) -> Knob:
    reason = "" if scene.audio_cpus else "the profile leaves the choice to the scheduler"
    if not scene.machine.hybrid:
        reason = "all cores are of one kind"

    def judge() -> Verdict:
        slow = [
            number
            for number in scene.audio_cpus
            if (cpu := scene.machine.cpu(number)) and cpu.efficiency
        ]
        rows = {f"cpu{cpu.number}": "efficiency" if cpu.efficiency else "performance"
                for cpu in scene.machine.cpus}  # fmt: skip
        named = ", ".join(map(str, slow))
        observed = f"CPU {named} is an efficiency core" if slow else listed({"": "performance"})
        return verdict(not slow, observed, evidence(rows))

    return Knob(CORE, "performance cores", unless(reason, judge),
                origins=because("named in the profile", "cpu.audio"))  # fmt: skip
