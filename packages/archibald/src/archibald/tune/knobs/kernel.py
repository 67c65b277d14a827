"""The kernel and how it was started."""

from __future__ import annotations

import gzip
import re

from archibald.system.spec import Contribution, KernelArg
from archibald.tune.knobs.base import because, unless
from archibald.tune.model import Family, Knob, Page, Scene, Severity
from archibald.tune.observe import MissingError
from archibald.vm.selftest.expectation import argument
from archibald.vm.selftest.kernel import is_realtime, missing_arguments
from archibald.vm.selftest.model import (
    NotApplicableError,
    UnreadableError,
    Verdict,
    verdict,
)
from archibald.vm.selftest.pipewire import parse_cpu_list

FAMILY = Family("kernel", "Kernel and boot")

PREEMPTION = Page(
    "kernel.preemption",
    "The kernel can be preempted almost everywhere",
    Severity.HIGH,
    "/proc/version (what `uname -v` prints)",
    "An ordinary kernel finishes what it is doing before it lets the audio thread run; the worst "
    "case is milliseconds. PREEMPT_RT makes nearly all of it preemptible. The flag is read from "
    "the version: /sys/kernel/realtime is gone from current kernels, and a configuration file on "
    "the disk may belong to another kernel than the one that runs. With `system.kernel = "
    '"generic"` the profile wants an ordinary kernel with preempt=full.',
    "install the RT kernel (Debian: apt install linux-image-rt-amd64) and boot it",
)
THREADED_IRQS = Page(
    "kernel.threaded-irqs",
    "Interrupt handlers run in threads",
    Severity.MEDIUM,
    "/proc/version, /proc/cmdline",
    "Only a handler that is a thread can have a priority below the audio thread. An RT kernel has "
    "threads anyway and calls the argument unknown; any other kernel needs threadirqs.",
    "boot the RT kernel, or add threadirqs to the kernel arguments",
)
ARGUMENTS = Page(
    "kernel.arguments",
    "The kernel was started with the arguments of the profile",
    Severity.MEDIUM,
    "/proc/cmdline; of one name the last value counts",
    "Governor, isolation and tickless CPUs are decided when the kernel starts. An argument that "
    "stands in the boot loader's settings but not in /proc/cmdline has no effect yet.",
    "archibald apply --persist (GRUB, systemd-boot; others by hand), then reboot",
)
HARMFUL = Page(
    "kernel.harmful-arguments",
    "No argument that harms more than it helps",
    Severity.LOW,
    "/proc/cmdline",
    "mitigations=off opens the machine to known attacks for a gain that audio threads, which make "
    "few system calls, hardly see. idle=poll heats CPUs until they lower their frequency, and "
    "robs the other thread of a core. intel_pstate=disable takes away the driver that knows the "
    "CPU. nosmt and maxcpus take CPUs that could have served everything else. Each is named in "
    "old guides; none is ever set by archibald. What the profile names itself is accepted.",
    "remove the argument from the boot loader's settings",
)
HIGH_RES = Page(
    "kernel.high-resolution-timers",
    "High-resolution timers are on",
    Severity.HIGH,
    "/proc/config.gz or /boot/config-RELEASE, and highres= in /proc/cmdline",
    "PipeWire wakes up by timers that are finer than one tick (1 to 10 ms). Every distribution "
    "kernel has them; a kernel of one's own may not.",
    "boot a kernel with CONFIG_HIGH_RES_TIMERS=y, without highres=off",
)
CLOCKSOURCE = Page(
    "kernel.clocksource",
    "The clock is read without leaving the CPU",
    Severity.MEDIUM,
    "/sys/devices/system/clocksource/clocksource0/{current,available}_clocksource",
    "The audio server reads the clock several times per cycle. The CPU's own counter (tsc, "
    "arch_sys_counter, or kvm-clock in a virtual machine) takes 20 ns; hpet and acpi_pm take about "
    "1 us and serialise all CPUs. The kernel falls back to them when it finds the tsc unstable, "
    "and says so in its log.",
    "look for 'tsc' in the kernel's log; a firmware update often helps",
)
TICKLESS = Page(
    "kernel.tickless",
    "The CPUs that the profile wants without a tick have none",
    Severity.MEDIUM,
    "/sys/devices/system/cpu/nohz_full",
    "The periodic tick interrupts a CPU even when one thread has it to itself. nohz_full stops it "
    "there, at a price for every system call; it is worth that only where a data loop is pinned.",
    "make nohz_full= of the kernel arguments what cpu.tickless says, then reboot",
)
ISOLATION = Page(
    "kernel.isolation",
    "The isolated CPUs are those of the profile",
    Severity.MEDIUM,
    "/sys/devices/system/cpu/isolated",
    "On an isolated CPU runs nothing but what is pinned to it, and the scheduler never balances "
    "it. That is off by default: PipeWire's own affinity does the same with less harm. CPUs that "
    "are isolated without being wanted lie idle while the rest is crowded.",
    "make isolcpus= of the kernel arguments what cpu.isolated says, then reboot",
)

PAGES = (
    PREEMPTION, THREADED_IRQS, ARGUMENTS, HARMFUL, HIGH_RES, CLOCKSOURCE, TICKLESS, ISOLATION,
)  # fmt: skip

_HARMFUL = ("mitigations=off", "idle=poll", "intel_pstate=disable", "nosmt", "maxcpus")

_FAST_CLOCKS = ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "riscv")


def knobs(scene: Scene) -> list[Knob]:
    """Return the knobs of this family."""
    return [
        _preemption(scene),
        _threaded(scene),
        _arguments(scene),
        _harmful(scene),
        Knob(HIGH_RES, "on", lambda: _high_res(scene)),
        _clocksource(scene),
        _cpu_set(scene, TICKLESS, "nohz_full", "tickless"),
        _cpu_set(scene, ISOLATION, "isolated", "isolated"),
    ]


def preemption_model(version: str, cmdline: str) -> str:
    """Return the model of a kernel: what its version says, with ``preempt=`` where that decides."""
    found = re.search(r"\bPREEMPT\w*(\([^)]*\))?", version)
    model = found.group() if found else "not preemptible"
    chosen = argument(cmdline, "preempt")
    return f"{model} preempt={chosen}" if model == "PREEMPT_DYNAMIC" and chosen else model


def _preemption(scene: Scene) -> Knob:
    machine = scene.machine
    wants_rt = scene.profile.system.kernel == "rt"
    model = preemption_model(machine.kernel_version, machine.cmdline)

    def judge() -> Verdict:
        if wants_rt:
            good = is_realtime(machine.kernel_version)
        else:
            good = "PREEMPT_DYNAMIC preempt=full" in model or is_realtime(machine.kernel_version)
            # A kernel that was built fully preemptible has no choice to make.
            good = good or model == "PREEMPT"
        return verdict(good, model, f"{machine.kernel} {machine.kernel_version}")

    wanted = "PREEMPT_RT" if wants_rt else "preempt=full"
    why = "an RT kernel is wanted" if wants_rt else "an ordinary, fully preemptible kernel"
    return Knob(PREEMPTION, wanted, judge, origins=because(why, "system.kernel"))


def _threaded(scene: Scene) -> Knob:
    machine = scene.machine

    def judge() -> Verdict:
        if is_realtime(machine.kernel_version):
            return verdict(True, "threads, as in every RT kernel", machine.kernel_version)
        given = "threadirqs" in machine.cmdline.split()
        return verdict(given, "threadirqs" if given else "not threaded", machine.cmdline)

    return Knob(THREADED_IRQS, "threads", judge)


def wanted_arguments(scene: Scene) -> list[Contribution]:
    """Return the kernel arguments that have an effect on this machine, and are about real time.

    Without frequency scaling there is no governor that could be chosen. How memory is accounted is
    the owner's choice on a machine that may run more than audio, such as containers with limits.
    """
    scaling = scene.sight.exists("/sys/devices/system/cpu/cpufreq/policy0")
    left_out = ("cgroup.memory=",) if scaling else ("cgroup.memory=", "cpufreq.")
    return [
        c
        for c in scene.spec.contributions
        if isinstance(c.item, KernelArg) and not c.item.text.startswith(left_out)
    ]


def _arguments(scene: Scene) -> Knob:
    chosen = wanted_arguments(scene)
    wanted = [c.item.text for c in chosen if isinstance(c.item, KernelArg)]
    cmdline = scene.machine.cmdline

    def judge() -> Verdict:
        missing = missing_arguments(wanted, cmdline)
        observed = f"missing: {' '.join(missing)}" if missing else f"all {len(wanted)} present"
        return verdict(not missing, observed, cmdline)

    origins = tuple(sorted({origin for c in chosen for origin in c.origins}))
    reason = "" if wanted else "the profile asks for none"
    if scene.machine.container:
        reason = f"a {scene.machine.container} container has the kernel of its host"
    return Knob(ARGUMENTS, " ".join(wanted) or "none", unless(reason, judge), origins=origins)


def _harmful(scene: Scene) -> Knob:
    cmdline = scene.machine.cmdline
    accepted = {item.text for item in scene.spec.of(KernelArg)}

    def judge() -> Verdict:
        found = [
            word
            for word in cmdline.split()
            if (word in _HARMFUL or word.partition("=")[0] in _HARMFUL) and word not in accepted
        ]
        return verdict(not found, " ".join(found) or "none", cmdline)

    return Knob(HARMFUL, "none", judge)


def kernel_config(scene: Scene) -> str:
    """Return the configuration of the running kernel. Raises UnreadableError."""
    try:
        with gzip.open(scene.sight.path("/proc/config.gz"), "rt") as stream:
            return stream.read()
    except (OSError, EOFError):
        return scene.sight.text(f"/boot/config-{scene.machine.kernel}")


def _high_res(scene: Scene) -> Verdict:
    if argument(scene.machine.cmdline, "highres") == "off":
        return verdict(False, "highres=off", scene.machine.cmdline)
    try:
        text = kernel_config(scene)
    except UnreadableError:
        # Without the configuration, the resolution that a timer gets says it as well.
        return _resolution(scene)
    line = re.search(r"^(# )?CONFIG_HIGH_RES_TIMERS\b.*$", text, re.MULTILINE)
    on = line is not None and line.group().endswith("=y")
    return verdict(on, "on" if on else "off", line.group() if line else "not mentioned")


def _resolution(scene: Scene) -> Verdict:
    """The kernel's own list of timers: ``.resolution: 1 nsecs`` where they are fine; root only."""
    text = scene.sight.text("/proc/timer_list")
    found = re.findall(r"\.resolution:\s+(\d+) nsecs", text)
    if not found:
        raise ValueError("/proc/timer_list names no resolution")
    worst = max(map(int, found))
    return verdict(worst == 1, f"{worst} ns", f".resolution: {', '.join(sorted(set(found)))} nsecs")


def _clocksource(scene: Scene) -> Knob:
    folder = "/sys/devices/system/clocksource/clocksource0"

    def judge() -> Verdict:
        now = scene.sight.value(f"{folder}/current_clocksource")
        available = scene.sight.optional(f"{folder}/available_clocksource") or ""
        return verdict(now.startswith(_FAST_CLOCKS), now, f"{now}\navailable: {available}")

    return Knob(CLOCKSOURCE, "the CPU's own counter", judge)


def _cpu_set(scene: Scene, page: Page, name: str, key: str) -> Knob:
    wanted: set[int] = set(getattr(scene.profile.cpu, key))
    path = f"/sys/devices/system/cpu/{name}"

    def judge() -> Verdict:
        try:
            text = scene.sight.value(path)
        except MissingError:
            if not wanted:
                raise NotApplicableError(f"this kernel has no {name} CPUs") from None
            return verdict(False, f"this kernel has no {name} CPUs", f"{path}: No such file")
        # The kernel prints a set that was never given as "(null)".
        found = set() if text in ("(null)", "") else parse_cpu_list(text)
        return verdict(found == wanted, _shown(found), f"{path}: {text or '(empty)'}")

    return Knob(page, _shown(wanted), judge, origins=because("named in the profile", f"cpu.{key}"))


def _shown(cpus: set[int]) -> str:
    return f"CPU {', '.join(map(str, sorted(cpus)))}" if cpus else "none"
