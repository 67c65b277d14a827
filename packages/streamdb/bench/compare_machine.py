"""What the machine says: how busy others keep it, what lies on its disk and in its memory."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


def busy_s(text: str, ticks_per_s: int) -> float:
    """The CPU seconds that a machine has spent working, from the text of /proc/stat."""
    ticks = [int(word) for word in text.partition("\n")[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = ticks[:8]
    return (user + nice + system + irq + softirq + steal) / ticks_per_s


@dataclass(frozen=True)
class Clock:
    """Time: of the wall, of this process with its children, of the whole machine. Seconds."""

    wall_s: float
    own_s: float
    machine_s: float

    @classmethod
    def now(cls) -> Clock:
        """What it is now."""
        own = 0.0
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
            usage = resource.getrusage(who)
            own += usage.ru_utime + usage.ru_stime
        machine = busy_s(Path("/proc/stat").read_text(), os.sysconf("SC_CLK_TCK"))
        return cls(time.monotonic(), own, machine)

    def others_cores(self) -> float:
        """How many CPUs everybody else has kept busy since this moment, on average."""
        now = Clock.now()
        wall = max(now.wall_s - self.wall_s, 1e-3)
        return max(0.0, now.machine_s - self.machine_s - (now.own_s - self.own_s)) / wall


def files_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Every file in a folder and below."""
    waiting = [os.fspath(folder)]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield entry


def disk_bytes(folder: Path) -> int:
    """What a folder's files take on disk."""
    return sum(entry.stat(follow_symlinks=False).st_blocks * 512 for entry in files_below(folder))


def drop_from_memory(folder: Path) -> float:
    """Let the kernel forget the files of a folder; returns the share that stayed in memory.

    Nobody may have the files mapped. Those under 64 KiB are left as they are: there may be a
    million of them, and nothing cold is measured on them.
    """
    size = stayed = 0
    for entry in files_below(folder):
        length = entry.stat(follow_symlinks=False).st_size
        if length < 1 << 16:
            continue
        descriptor = os.open(entry.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            stayed += resident_bytes(descriptor, length)
        finally:
            os.close(descriptor)
        size += length
    return stayed / size if size else 0.0


def resident_bytes(descriptor: int, length: int) -> int:
    """How much of a file lies in memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    pages = -(-length // mmap.PAGESIZE)
    vector = (ctypes.c_ubyte * pages)()
    with mmap.mmap(descriptor, length, flags=mmap.MAP_PRIVATE) as mapped:
        start = ctypes.c_char.from_buffer(mapped)
        try:
            failed = libc.mincore(
                ctypes.c_void_p(ctypes.addressof(start)), ctypes.c_size_t(length), vector
            )
        finally:
            del start
    if failed:
        raise OSError(ctypes.get_errno(), "mincore failed")
    return sum(page & 1 for page in vector) * mmap.PAGESIZE


def description(folder: Path) -> dict[str, str]:
    """The machine in a few words, and the file system that the stores lie on."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": f"{os.cpu_count()} x {model or platform.machine()}",
        "memory": f"{memory / 2**30:.0f} GiB",
        "kernel": os.uname().release,
        "file system": file_system(folder, Path("/proc/self/mounts").read_text()),
        "python": platform.python_version(),
    }


def file_system(folder: Path, mounts: str) -> str:
    """The type of the file system that a folder lies on, from the text of /proc/self/mounts."""
    best, kind = "", "unknown"
    for line in mounts.splitlines():
        _, point, found = line.split()[:3]
        inside = folder.absolute().is_relative_to(point)
        if inside and len(point) >= len(best):
            best, kind = point, found
    return kind
