"""Memory: nothing that an audio thread touches may be away, or be moved."""

from __future__ import annotations

import re

from archibald.tune.knobs.base import file_knob, sysctl_knobs, tmpfiles_writes
from archibald.tune.model import Family, Knob, Page, Scene, Severity
from archibald.tune.observe import MissingError
from archibald.vm.selftest.model import NotApplicableError, Verdict, verdict
from archibald.vm.selftest.resources import parse_kib_lines

FAMILY = Family("memory", "Memory")

SWAPPINESS = Page(
    "sysctl.vm.swappiness",
    "The kernel swaps late",
    Severity.MEDIUM,
    "/proc/sys/vm/swappiness",
    "A sample that was swapped out comes back after milliseconds. At 60, the usual value, the "
    "kernel swaps out programs to cache more of the files that were just copied. 10 keeps programs "
    "in memory as long as there is any; 0 would let the kernel kill programs before it swaps.",
    "archibald apply",
)
STAT_INTERVAL = Page(
    "sysctl.vm.stat_interval",
    "Statistics of memory are gathered rarely",
    Severity.LOW,
    "/proc/sys/vm/stat_interval (seconds)",
    "Every interval each CPU is woken to fold its counters; 1 s is the kernel's default. Ten times "
    "fewer wake-ups, and nobody looks at the numbers that closely.",
    "archibald apply",
)
FREE_LISTS = Page(
    "sysctl.vm.percpu_pagelist_high_fraction",
    "The CPUs' own lists of free pages stay short",
    Severity.LOW,
    "/proc/sys/vm/percpu_pagelist_high_fraction",
    "The lists may grow to an eighth of a zone, and are emptied thousands of pages at a time under "
    "the lock of the zone, while everybody else who needs memory waits.",
    "archibald apply",
)
WATCHES = Page(
    "sysctl.fs.inotify.max_user_watches",
    "Sample browsers may watch many folders",
    Severity.LOW,
    "/proc/sys/fs/inotify/max_user_watches",
    "No effect on latency: a browser that runs out of watches misses new samples, or walks through "
    "the whole library again and again. A higher value than the profile's is as good.",
    "archibald apply",
)
HUGE_PAGES = Page(
    "memory.huge-pages",
    "Huge pages only for those who ask",
    Severity.LOW,
    "/sys/kernel/mm/transparent_hugepage/enabled (the word in brackets)",
    "With always, the kernel compacts memory in the middle of a page fault to find 2 MiB in one "
    "piece. RT kernels have no transparent huge pages: then the question does not arise.",
    "archibald apply",
)
SWAP = Page(
    "memory.swap",
    "Nothing was swapped out to a disk",
    Severity.MEDIUM,
    "/proc/swaps, SwapCached in /proc/meminfo",
    "Swap space that is not used does no harm, and none at all is no goal: it lets the kernel put "
    "away what nobody needs. But when a twentieth of the memory is out on a disk, memory is short, "
    "and sooner or later a sample is among it. Compressed swap in memory (zram) is not counted: "
    "it comes back in microseconds.",
    "close what is not needed, or add memory (ps -eo rss,comm --sort=-rss | head)",
)

PAGES = (SWAPPINESS, STAT_INTERVAL, FREE_LISTS, WATCHES, HUGE_PAGES, SWAP)

#: Share of the memory that may be swapped out to disks before it counts as short.
_SWAPPED_SHARE = 0.05


def knobs(scene: Scene) -> list[Knob]:
    """Return the knobs of this family."""
    return [
        *(_at_least(knob, scene) for knob in sysctl_knobs(scene, PAGES)),
        *_huge_pages(scene),
        Knob(SWAP, f"at most {_SWAPPED_SHARE:.0%} of memory", lambda: _swap(scene)),
    ]


def _at_least(knob: Knob, scene: Scene) -> Knob:
    """Watches are the one setting where more is as good."""
    if knob.page is not WATCHES:
        return knob
    path = "/proc/sys/fs/inotify/max_user_watches"

    def judge() -> Verdict:
        try:
            found = int(scene.sight.value(path))
        except MissingError:
            raise NotApplicableError("this kernel has no inotify") from None
        return verdict(found >= int(knob.wanted), found, f"{path}: {found}")

    return Knob(knob.page, knob.wanted, judge, knob.changes, origins=knob.origins)


def _huge_pages(scene: Scene) -> list[Knob]:
    path = "/sys/kernel/mm/transparent_hugepage/enabled"
    wanted, origins = tmpfiles_writes(scene)[path]
    absent = "this kernel has no transparent huge pages"
    return [
        file_knob(scene, HUGE_PAGES, [path], wanted, absent=absent, origins=origins, kind="choice")
    ]


def _swap(scene: Scene) -> Verdict:
    try:
        table = scene.sight.text("/proc/swaps")
    except MissingError:
        raise NotApplicableError("this kernel cannot swap") from None
    rows = [line.split() for line in table.splitlines()[1:] if line.strip()]
    disks = [row for row in rows if len(row) >= 4 and not re.match(r"/dev/zram\d", row[0])]
    if not disks:
        raise NotApplicableError("swap only in memory (zram)" if rows else "no swap space")
    used_kib = sum(int(row[3]) for row in disks)
    total_kib = parse_kib_lines(scene.sight.text("/proc/meminfo"))["MemTotal"]
    observed = f"{used_kib / 1024:.0f} MiB on disks, {used_kib / total_kib:.1%} of memory"
    return verdict(used_kib <= _SWAPPED_SHARE * total_kib, observed, table)
