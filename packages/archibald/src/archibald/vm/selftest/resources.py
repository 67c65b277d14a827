"""Probes of memory at rest and of boot time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from archibald.vm.selftest.expectation import Expectation
from archibald.vm.selftest.model import (
    Answer,
    Check,
    UnreadableError,
    Verdict,
    make_check,
    verdict,
)
from archibald.vm.selftest.reader import Reader

GROUP = "resources"

#: Memory in use at rest that an image may not exceed, in MiB, as ``free`` counts it (MemTotal -
#: MemAvailable: about 20 MiB of it is the kernel's reserve of free pages).
IDLE_MEMORY_MIB = {"console": 120, "desktop": 512}

#: What a kernel with transparent huge pages keeps free beyond that, to have room to make them
#: (khugepaged raises vm.min_free_kbytes to 66 MiB, and the watermarks with it).
HUGE_PAGES_MIB = 112

#: Time from the kernel's start to the end of the boot that ArchibaldOS promises on real machines.
BOOT_S = 12.0

#: /proc/meminfo as the self-test's unit found it, before anything of the self-test was loaded.
AT_REST = "/run/archibald-meminfo"

#: The largest processes at that time: private KiB and name, a line each.
PROCESSES_AT_REST = "/run/archibald-processes"

#: A CPU's list of free pages in /proc/zoneinfo; the kernel does not count them as free.
_PER_CPU_FREE = re.compile(r"^ +count: +(\d+)$", re.MULTILINE)

#: What of /proc/meminfo explains the figure.
_TOLD = ("MemTotal", "MemAvailable", "MemFree", "Buffers", "Cached", "AnonPages", "Shmem",
         "SReclaimable", "SUnreclaim", "KernelStack", "PageTables", "VmallocUsed")  # fmt: skip


def idle_memory(reader: Reader, expected: Expectation) -> tuple[Check, dict[str, float]]:
    """Memory in use at rest, without the self-test's own share."""
    limit = IDLE_MEMORY_MIB["desktop" if expected.profile.desktop.enable else "console"]
    if _has_huge_pages(reader):
        limit += HUGE_PAGES_MIB
    figures: dict[str, float] = {}

    def judge() -> Verdict:
        try:
            text, own_mib = reader.text(AT_REST), 0.0
            meminfo = parse_kib_lines(text)
        except UnreadableError:
            text = reader.text("/proc/meminfo")
            meminfo = parse_kib_lines(text)
            own_mib = parse_kib_lines(reader.text("/proc/self/smaps_rollup"))["Pss_Anon"] / 1024
        image_mib = meminfo["Shmem"] / 1024 if _runs_from_memory(reader) else 0.0
        used = (meminfo["MemTotal"] - meminfo["MemAvailable"]) / 1024
        rest = used - own_mib - image_mib
        figures["idle_memory_mib"] = round(rest, 1)
        evidence = "; ".join(
            (
                ", ".join(f"{name} {meminfo[name]} kB" for name in _TOLD if name in meminfo),
                f"pages in per-CPU free lists: {sum(map(int, _PER_CPU_FREE.findall(text)))}",
                f"used {used:.1f} MiB, of that the self-test {own_mib:.1f} MiB, the image that was "
                f"copied to memory {image_mib:.1f} MiB",
                f"processes: {_processes(reader)}",
            )
        )
        return verdict(rest <= limit, f"{rest:.1f} MiB", evidence)

    check = make_check("resources.idle-memory", GROUP, f"at most {limit} MiB", judge)
    return check, figures


def _has_huge_pages(reader: Reader) -> bool:
    try:
        return "[never]" not in reader.text("/sys/kernel/mm/transparent_hugepage/enabled")
    except UnreadableError:
        return False


def _runs_from_memory(reader: Reader) -> bool:
    return "toram" in reader.text("/proc/cmdline").split()


def _processes(reader: Reader) -> str:
    try:
        lines = reader.text(PROCESSES_AT_REST).splitlines()
    except UnreadableError:
        return "not noted"
    return ", ".join(f"{name} {kib} kB" for kib, _, name in (line.partition(" ") for line in lines))


def parse_kib_lines(text: str) -> dict[str, int]:
    """Return ``name → KiB`` of a text such as /proc/meminfo. Raises ValueError without any."""
    found = {
        name: int(value)
        for name, value in re.findall(r"^([\w()]+):\s+(\d+) kB$", text, re.MULTILINE)
    }
    if not found:
        raise ValueError(f"no memory figures in {text[:80]!r}")
    for name in ("MemTotal", "MemAvailable") if "MemTotal" in text else ("Pss_Anon",):
        if name not in found:
            raise ValueError(f"{name} is missing")
    return found


def boot_time(reader: Reader) -> tuple[Check, dict[str, float]]:
    """Time that the boot took, by systemd's own clock; firmware and boot loader do not count."""
    figures: dict[str, float] = {}

    def judge() -> Verdict:
        text = reader.command(["systemd-analyze", "time"])
        seconds = parse_boot_time(text)
        figures["boot_s"] = round(seconds, 3)
        virtualization = detect_virtualization(reader)
        blame = reader.command(["systemd-analyze", "blame", "--no-pager"])
        evidence = f"{text.strip()}\nslowest:\n" + "\n".join(blame.splitlines()[:8])
        observed = f"{seconds:.1f} s"
        if virtualization == "qemu":
            # Instructions are translated there: the time says nothing about a machine.
            return Verdict(Answer.NOT_APPLICABLE, f"{observed} on an emulated CPU", evidence)
        return verdict(seconds <= BOOT_S, observed, evidence)

    return make_check("resources.boot-time", GROUP, f"at most {BOOT_S:g} s", judge), figures


def detect_virtualization(reader: Reader) -> str:
    """Return systemd's name of the hypervisor ("qemu" is emulation without KVM), or "none"."""
    # Status 1 says "none", which is on standard output as well.
    return reader.command(["systemd-detect-virt"], accept=(0, 1)).strip()


_UNITS_S = {"h": 3600.0, "min": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}


def parse_duration(text: str) -> float:
    """Return the seconds of a systemd time span such as ``1min 2.345s``."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(min|ms|us|h|s)\b", text)
    if not parts:
        raise ValueError(f"no time span: {text!r}")
    return sum(float(number) * _UNITS_S[unit] for number, unit in parts)


def parse_boot_time(text: str) -> float:
    """Return kernel + initrd + userspace seconds of ``systemd-analyze time``."""
    parts = re.findall(r"((?:[\d.]+(?:min|ms|us|h|s) ?)+)\((\w+)\)", text)
    counted = [parse_duration(span) for span, name in parts if name not in ("firmware", "loader")]
    if not any(name == "userspace" for _, name in parts):
        raise ValueError(f"the boot is not finished, or the text is another: {text.strip()!r}")
    return sum(counted)


def settle(
    reader: Reader,
    *,
    sleep: Callable[[float], None] = time.sleep,
    rounds: int = 30,
    idle_share: float = 0.9,
) -> bool:
    """Wait until the CPUs are mostly idle over two seconds; say whether they came to rest."""
    before = parse_cpu_times(reader.text("/proc/stat"))
    for _ in range(rounds):
        sleep(2.0)
        now = parse_cpu_times(reader.text("/proc/stat"))
        total = now[1] - before[1]
        if total and (now[0] - before[0]) / total >= idle_share:
            return True
        before = now
    return False


def parse_cpu_times(proc_stat: str) -> tuple[int, int]:
    """Return (idle, total) ticks of all CPUs from /proc/stat."""
    fields = [int(word) for word in proc_stat.splitlines()[0].split()[1:]]
    # The last two, guest and guest_nice, are counted in user and nice already.
    return fields[3] + fields[4], sum(fields[:8])
