"""Real time: scheduling rights, kernel settings, and which CPU does what.

Left alone on purpose: ``kernel.sched_rt_runtime_us`` keeps a last safety net against a runaway
real-time thread; ``mitigations=off``, ``idle=poll`` and ``intel_pstate=disable`` are never set; the
rates of rtc and hpet are obsolete, because ALSA uses high-resolution timers.
"""

from __future__ import annotations

from functools import partial

from archibald.errors import PreconditionError
from archibald.profile.model import CpuTable, Profile, Realtime
from archibald.system.modules import guard
from archibald.system.modules.common import cpu_list, text_file
from archibald.system.spec import (
    Contribution,
    Hardware,
    KernelArg,
    Origin,
    Package,
    Sysctl,
    contributions,
)

_because = partial(Origin, "realtime")

_DEVICE_RULES = """\
# Holding this open with a latency keeps CPUs out of deep sleep; the file is root's by default.
KERNEL=="cpu_dma_latency", SUBSYSTEM=="misc", GROUP="audio", MODE="0660"
KERNEL=="hpet", SUBSYSTEM=="misc", GROUP="audio", MODE="0660"
KERNEL=="rtc0", SUBSYSTEM=="rtc", GROUP="audio", MODE="0660"
# A USB audio interface that falls asleep drops out when it wakes; other USB devices may sleep.
ACTION=="add|bind", SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_interface", ATTR{bInterfaceClass}=="01", \
TEST=="../power/control", ATTR{../power/control}="on"
"""

_HDA_OPTIONS = """\
# The codec would power down after some seconds of silence, and click when it wakes.
options snd_hda_intel power_save=0
"""


class CpuMismatchError(PreconditionError):
    """The profile names CPUs that the machine does not have."""


def contribute(profile: Profile, hardware: Hardware) -> list[Contribution]:
    """Return rights, kernel settings and CPU assignment.

    Raises :class:`CpuMismatchError` when the machine is known and too small.
    """
    _check_cpus(profile.cpu, hardware)
    return [
        *_rights(profile.realtime),
        *_devices(),
        *_sysctls(profile.realtime),
        *_power(profile.realtime),
        *_kernel(profile, hardware),
        *guard.contribute(profile.realtime),
        *_proof(),
    ]


def _check_cpus(cpu: CpuTable, hardware: Hardware) -> None:
    if hardware.cpus is None:
        return
    for key in ("audio", "isolated", "tickless"):
        beyond = [number for number in getattr(cpu, key) if number >= hardware.cpus]
        if beyond:
            raise CpuMismatchError(
                f"cpu.{key} names CPU {cpu_list(beyond)}, which this machine does not have",
                why=f"it has {hardware.cpus} (0 to {hardware.cpus - 1})",
                next_step=f"change cpu.{key} (archibald profile explain cpu.{key})",
            )


def _rights(realtime: Realtime) -> list[Contribution]:
    locked = realtime.memory_lock_mib
    memory = locked if locked == "unlimited" else str(locked * 1024)
    body = "".join(
        f"@{group} - rtprio {realtime.priority_limit}\n"
        f"@{group} - nice {realtime.nice_limit}\n"
        f"@{group} - memlock {memory}\n"
        for group in ("audio", "pipewire")
    )
    limits = contributions(
        _because(
            "members of the group audio may run real-time threads and lock memory; services of the "
            "user get the same, because systemd starts them through PAM",
            ("realtime.priority_limit", "realtime.nice_limit", "realtime.memory_lock_mib"),
        ),
        # After 25-pw-rlimits.conf of PipeWire, whose limits for its own group these replace.
        text_file("/etc/security/limits.d/95-archibald.conf", body, keys="realtime"),
    )
    if not realtime.rtkit:
        return limits
    origin = _because("sandboxed applications ask it for priority", ("realtime.rtkit",))
    return limits + contributions(origin, Package("rtkit"))


def _devices() -> list[Contribution]:
    return contributions(
        _because("timers and sleep states are in the hands of the group audio"),
        text_file("/etc/udev/rules.d/95-archibald-realtime.rules", _DEVICE_RULES, keys="realtime"),
        text_file("/etc/modprobe.d/archibald-realtime.conf", _HDA_OPTIONS, keys="realtime"),
    )


def _proof() -> list[Contribution]:
    return contributions(
        _because(
            "cyclictest shows what the kernel is worth, hackbench is the load: archibald measure "
            "runs them, also in an image that it boots in virtual time"
        ),
        Package("rt-tests"),
    )


def _sysctls(realtime: Realtime) -> list[Contribution]:
    def one(name: str, value: int, why: str, *keys: str) -> list[Contribution]:
        return contributions(_because(why, keys), Sysctl(name, str(value)))

    return [
        *one("vm.swappiness", realtime.swappiness, "swapped-out samples come back too late",
             "realtime.swappiness"),
        *one("fs.inotify.max_user_watches", realtime.inotify_watches,
             "sample browsers watch many folders", "realtime.inotify_watches"),
        *one("kernel.timer_migration", int(realtime.timer_migration),
             "timers stay on the CPU that set them", "realtime.timer_migration"),
        *one("kernel.nmi_watchdog", int(realtime.nmi_watchdog),
             "the lock-up detector interrupts every CPU", "realtime.nmi_watchdog"),
        *one("kernel.numa_balancing", int(realtime.numa_balancing),
             "migrating pages stalls the threads that use them", "realtime.numa_balancing"),
        *one("vm.stat_interval", realtime.stat_interval_s,
             "statistics wake up every CPU (seconds)", "realtime.stat_interval_s"),
        *one("vm.percpu_pagelist_high_fraction", realtime.percpu_free_fraction,
             "long lists of free pages are emptied at once, under a lock",
             "realtime.percpu_free_fraction"),
        *one("kernel.sched_rt_runtime_us", 950000,
             "5 % of each second stays for everything else: the last safety net"),
    ]  # fmt: skip


def _power(realtime: Realtime) -> list[Contribution]:
    pages = realtime.transparent_huge_pages
    line = f"w /sys/kernel/mm/transparent_hugepage/enabled - - - - {pages}\n"
    return [
        *contributions(
            _because("CPUs do not have to speed up first", ("realtime.governor",)),
            # An argument, not a service: it holds for drivers that appear late, and from the start.
            KernelArg(f"cpufreq.default_governor={realtime.governor}"),
        ),
        *contributions(
            _because(
                "huge pages only for those who ask (kernels without PREEMPT_RT)",
                ("realtime.transparent_huge_pages",),
            ),
            text_file(
                "/etc/tmpfiles.d/archibald-realtime.conf",
                line,
                keys="realtime.transparent_huge_pages",
            ),
        ),
    ]


def _kernel(profile: Profile, hardware: Hardware) -> list[Contribution]:
    cpu = profile.cpu
    found: list[Contribution] = []
    if profile.system.kernel == "generic":
        # An RT kernel has its interrupts in threads anyway, and calls the argument unknown.
        found += contributions(
            _because("an ordinary kernel comes nearest to real time so", ("system.kernel",)),
            KernelArg("preempt=full"),
            KernelArg("threadirqs"),
        )
    if not profile.realtime.kernel_memory_accounting:
        found += contributions(
            _because(
                "charging kernel memory to control groups takes time in each allocation",
                ("realtime.kernel_memory_accounting",),
            ),
            KernelArg("cgroup.memory=nokmem"),
        )
    if cpu.isolated:
        found += _isolation(cpu, hardware)
    if cpu.tickless:
        numbers = cpu_list(cpu.tickless)
        found += contributions(
            _because("no tick and no callbacks while one task runs", ("cpu.tickless",)),
            KernelArg(f"nohz_full={numbers}"),
            KernelArg(f"rcu_nocbs={numbers}"),
        )
    origin = _because("named in the profile", ("cpu.kernel_args",))
    return found + contributions(origin, *(KernelArg(text) for text in cpu.kernel_args))


def _isolation(cpu: CpuTable, hardware: Hardware) -> list[Contribution]:
    key = ("cpu.isolated",)
    found = contributions(
        _because("nothing runs there but what is pinned", key),
        KernelArg(f"isolcpus=managed_irq,domain,{cpu_list(cpu.isolated)}"),
    )
    busy = {*cpu.isolated, *cpu.audio}
    rest = [number for number in range(hardware.cpus or cpu.minimum) if number not in busy]
    if rest:
        origin = _because("interrupts go to the other CPUs", (*key, "cpu.audio"))
        found += contributions(origin, KernelArg(f"irqaffinity={cpu_list(rest)}"))
    return found
