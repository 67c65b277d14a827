"""The scheduler: its safety net, and kernel work that would visit the audio CPU."""

from __future__ import annotations

from archibald.tune.knobs.base import because, read_all, sysctl_knobs
from archibald.tune.model import Change, Family, Knob, Page, Scene, Severity
from archibald.vm.selftest.model import NotApplicableError, Verdict, verdict

FAMILY = Family("scheduler", "Scheduler")

RT_RUNTIME = Page(
    "sysctl.kernel.sched_rt_runtime_us",
    "Real-time threads leave 5 % of each second to the rest",
    Severity.MEDIUM,
    "/proc/sys/kernel/sched_rt_runtime_us",
    "The last safety net: with -1 a real-time thread in an endless loop locks the machine so that "
    "only the power button helps. 950000 of 1000000 us never touches an audio thread that does its "
    "work and sleeps. Some tuners set -1; archibald keeps the net.",
    "archibald apply",
)
TIMER_MIGRATION = Page(
    "sysctl.kernel.timer_migration",
    "Timers stay on the CPU that set them",
    Severity.LOW,
    "/proc/sys/kernel/timer_migration",
    "To save power the kernel moves timers of idle CPUs to busy ones, and the busy one may be the "
    "audio CPU. The kernel's default is 1; with 0 a timer interrupts whoever asked for it.",
    "archibald apply",
)
NMI_WATCHDOG = Page(
    "sysctl.kernel.nmi_watchdog",
    "The lock-up detector is off",
    Severity.LOW,
    "/proc/sys/kernel/nmi_watchdog",
    "It interrupts every CPU at regular times with an interrupt that cannot be masked, and takes "
    "one of the few performance counters. It helps to find faults of the kernel, nothing else.",
    "archibald apply",
)
NUMA = Page(
    "sysctl.kernel.numa_balancing",
    "Memory is not moved between NUMA nodes at run time",
    Severity.LOW,
    "/proc/sys/kernel/numa_balancing",
    "To learn who uses a page, the kernel unmaps it and waits for the fault. A page of an audio "
    "thread costs a fault in the middle of a cycle. Machines with one memory controller have no "
    "such setting, or one without effect.",
    "archibald apply",
)
WORKQUEUES = Page(
    "scheduler.workqueues",
    "Kernel work that is not bound to a CPU stays off the audio CPU",
    Severity.LOW,
    "/sys/devices/virtual/workqueue/cpumask",
    "Writing back files, encrypting disks and the like run in kernel threads that may use any CPU. "
    "The mask keeps them off the CPUs of the data loop, as isolcpus would, without isolating "
    "anything. archibald-card.service sets it when a sound card appears.",
    "archibald apply; archibald apply --persist keeps it",
)

PAGES = (RT_RUNTIME, TIMER_MIGRATION, NMI_WATCHDOG, NUMA, WORKQUEUES)

_MASK = "/sys/devices/virtual/workqueue/cpumask"


def knobs(scene: Scene) -> list[Knob]:
    """Return the knobs of this family."""
    return [*sysctl_knobs(scene, PAGES), _workqueues(scene)]


def parse_mask(text: str) -> set[int]:
    """Return the CPUs of a mask such as ``ff`` or ``1,ffffffff`` (groups of 32 bits)."""
    bits = int(text.strip().replace(",", ""), 16)
    return {number for number in range(bits.bit_length()) if bits >> number & 1}


def mask(cpus: set[int]) -> str:
    """Return CPUs as the kernel takes a mask: hexadecimal, in groups of 32 bits."""
    text = f"{sum(1 << cpu for cpu in cpus):x}"
    groups: list[str] = []
    while text:
        groups.insert(0, text[-8:])
        text = text[:-8]
    return ",".join(groups)


def _workqueues(scene: Scene) -> Knob:
    def masks() -> tuple[str, set[int], set[int]]:
        if not scene.audio_cpus or not scene.other_cpus:
            raise NotApplicableError("there is no CPU that has to be kept free")
        found = read_all(scene.sight, [_MASK], "this kernel has no mask of unbound work")
        text = found[_MASK]
        return text, parse_mask(text), set(scene.audio_cpus)

    def judge() -> Verdict:
        text, allowed, mine = masks()
        return verdict(not allowed & mine, f"mask {text}", f"{_MASK}: {text}")

    def changes() -> tuple[Change, ...]:
        _, allowed, mine = masks()
        keep = allowed - mine or set(scene.other_cpus)
        return (Change(WORKQUEUES.id, "mask", _MASK, mask(keep)),)

    cpus = ", ".join(map(str, scene.audio_cpus))
    origins = because("the data loop runs there", "cpu.audio")
    return Knob(WORKQUEUES, f"without CPU {cpus}" if cpus else "any", judge, changes,
                origins=origins)  # fmt: skip
