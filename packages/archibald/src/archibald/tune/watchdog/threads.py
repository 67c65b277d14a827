"""Which real-time threads there are, and how long each has run: /proc/PID/task/TID/stat."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from archibald.tune.watchdog.model import POLICIES, Sample, Thread

#: PF_KTHREAD of the kernel's include/linux/sched.h.
_KERNEL_THREAD = 0x00200000


def parse_thread(text: str, pid: int, program: str, ticks_per_s: int) -> Thread | None:
    """Return the thread of a stat line, or None when it is no real-time thread.

    Fields as proc_pid_stat(5) numbers them, the name's closing bracket being the end of field 2;
    ``ticks_per_s`` is sysconf(_SC_CLK_TCK). Raises ValueError when it is no stat line.
    """
    head, bracket, tail = text.rpartition(")")
    number, _, comm = head.partition("(")
    fields = tail.split()
    if not bracket or len(fields) < 39:
        raise ValueError(f"no stat line: {text[:80]!r}")
    policy = POLICIES.get(int(fields[38]))
    if policy is None:
        return None
    return Thread(
        tid=int(number),
        pid=pid,
        start=int(fields[19]),
        comm=comm,
        program=program,
        policy=policy,
        priority=int(fields[37]),
        cpu=int(fields[36]),
        run_s=(int(fields[11]) + int(fields[12])) / ticks_per_s,
        kernel=bool(int(fields[6]) & _KERNEL_THREAD),
    )


def sample(root: Path = Path("/proc"), *, without: frozenset[int] = frozenset()) -> Sample:
    """Return all real-time threads of now but those of the processes ``without``.

    What ends meanwhile, or may not be read, is left out.
    """
    ticks = os.sysconf("SC_CLK_TCK")
    found = []
    for entry in os.scandir(root):
        if not entry.name.isdigit() or int(entry.name) in without:
            continue
        found += _threads_of(entry.path, int(entry.name), ticks)
    return Sample(time.monotonic(), found)


def _threads_of(folder: str, pid: int, ticks_per_s: int) -> list[Thread]:
    found = []
    program = ""
    try:
        for entry in os.scandir(f"{folder}/task"):
            thread = parse_thread(_text(f"{entry.path}/stat"), pid, "", ticks_per_s)
            if thread is not None:
                program = program or _text(f"{folder}/comm").rstrip("\n")
                found.append(replace(thread, program=program))
    except (OSError, ValueError):
        return found
    return found


def _text(path: str) -> str:
    # Not Path.read_text: it is called a thousand times in a row, by a thread that all others wait
    # for.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096).decode("utf-8", "replace")
    finally:
        os.close(descriptor)


def demote(thread: Thread, root: Path = Path("/proc")) -> str:
    """Make a thread an ordinary one; return "" or why it is not.

    A thread whose number was used again, or that is no real-time thread any more, is left alone.
    """
    try:
        now = parse_thread(
            _text(f"{root}/{thread.pid}/task/{thread.tid}/stat"),
            thread.pid, thread.program, os.sysconf("SC_CLK_TCK"),
        )  # fmt: skip
        if now is None or now.key != thread.key:
            return "it has ended, or is an ordinary thread already"
        os.sched_setscheduler(thread.tid, os.SCHED_OTHER, os.sched_param(0))
        if os.sched_getscheduler(thread.tid) & ~os.SCHED_RESET_ON_FORK != os.SCHED_OTHER:
            return "the kernel left it as it was"
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", None) or error)
    return ""
