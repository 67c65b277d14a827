"""What a build costs: wall and CPU time, memory of all its processes, disk of its folders.

Everything is read from outside, the same way for every tool: /proc for memory, the folders for
disk, the kernel's accounting of finished children for CPU time.
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import stat
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from archibald.errors import PreconditionError, ToolFailedError
from archibald.run import shell_quoted, spawn

_PR_SET_CHILD_SUBREAPER = 36

#: Seconds between looks at the processes.
MEMORY_INTERVAL_S = 0.5
#: Walking a root file system takes a while: between two walks lies this multiple of the last one's
#: time, so that measuring takes at most 2 % of one core, and never less than the first figure.
DISK_INTERVAL_S = 2.0
DISK_PAUSE_FACTOR = 50.0


@dataclass(frozen=True)
class Usage:
    """What one command used. Bytes and seconds; ``cpu_s`` is user and system time together.

    ``memory_bytes`` is the largest sum of the proportional set sizes (PSS) of all processes at one
    moment, ``process_bytes`` the largest resident set of a single one, ``disk_bytes`` the largest
    space that the watched folders took on disk. ``others_cores`` says how noisy the machine was:
    how many CPUs everybody else kept busy, on average.
    """

    wall_s: float
    cpu_s: float
    memory_bytes: int
    process_bytes: int
    disk_bytes: int
    others_cores: float


def kib_field(text: str, name: str) -> int:
    """Return the bytes of a line "Name:  123 kB" of a /proc file, 0 when there is none."""
    match = re.search(rf"^{re.escape(name)}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def busy_s(text: str, ticks_per_s: int) -> float:
    """Return the CPU seconds that a machine has spent working, from the text of /proc/stat."""
    ticks = [int(word) for word in text.partition("\n")[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = ticks[:8]
    return (user + nice + system + irq + softirq + steal) / ticks_per_s


def disk_usage(folders: Sequence[Path]) -> int:
    """Return the bytes that the folders take on disk: hard links once, other file systems not."""
    linked: set[tuple[int, int]] = set()
    total = 0
    waiting = [os.fspath(folder) for folder in folders if folder.is_dir()]
    device = {os.lstat(path).st_dev for path in waiting}
    while waiting:
        # Files come and go while a build runs.
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with suppress(OSError):
                    info = entry.stat(follow_symlinks=False)
                    if info.st_dev not in device:
                        continue
                    if stat.S_ISDIR(info.st_mode):
                        waiting.append(entry.path)
                    elif info.st_nlink > 1:
                        if (info.st_dev, info.st_ino) in linked:
                            continue
                        linked.add((info.st_dev, info.st_ino))
                    total += info.st_blocks * 512
    return total


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def live_descendants(root: int, proc: Path = Path("/proc")) -> set[int]:
    """Return the processes below ``root`` that exist now, without itself."""
    found: set[int] = set()
    waiting = [root]
    while waiting:
        new = _children(proc / str(waiting.pop())) - found
        found |= new
        waiting += new
    return found


def _children(process: Path) -> set[int]:
    """Return the children of a process, given its folder in /proc; none when it has ended."""
    try:
        threads = list((process / "task").iterdir())
    except OSError:
        return set()
    # Each thread has those that it started itself.
    return {int(pid) for thread in threads for pid in _read(thread / "children").split()}


@dataclass
class Watch:
    """Looks at a command's processes and folders, in threads of its own, until it is left."""

    folders: Sequence[Path]
    memory_bytes: int = 0
    process_bytes: int = 0
    disk_bytes: int = 0
    _done: threading.Event = field(default_factory=threading.Event)
    _threads: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Watch:
        pool = self._threads.enter_context(ThreadPoolExecutor(2))
        for work in (self._watch_memory, self._watch_disk):
            # Asking for the result raises what went wrong: a figure is right or there is none.
            self._threads.callback(pool.submit(work).result)
        self._threads.callback(self._done.set)
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.close()
        self._look_at_disk()

    def _watch_memory(self) -> None:
        while not self._done.wait(MEMORY_INTERVAL_S):
            self.look_at_memory(live_descendants(os.getpid()))

    def look_at_memory(self, pids: Iterable[int], proc: Path = Path("/proc")) -> None:
        """Take the memory of these processes into account."""
        total = 0
        for pid in pids:
            total += kib_field(_read(proc / str(pid) / "smaps_rollup"), "Pss")
            peak = kib_field(_read(proc / str(pid) / "status"), "VmHWM")
            self.process_bytes = max(self.process_bytes, peak)
        self.memory_bytes = max(self.memory_bytes, total)

    def _watch_disk(self) -> None:
        pause = DISK_INTERVAL_S
        while not self._done.wait(pause):
            started = time.monotonic()
            self._look_at_disk()
            pause = max(DISK_INTERVAL_S, DISK_PAUSE_FACTOR * (time.monotonic() - started))

    def _look_at_disk(self) -> None:
        self.disk_bytes = max(self.disk_bytes, disk_usage(self.folders))


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own, so that none escapes the count.

    Raises :class:`PreconditionError` where the kernel cannot.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        why = f"prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(ctypes.get_errno())}"
        raise PreconditionError("processes cannot be followed here", why=why)
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        raise PreconditionError(
            "processes cannot be followed here", why="the kernel lacks CONFIG_PROC_CHILDREN"
        )


def end_leftovers() -> None:
    """End and reap every process that a command left behind."""
    while True:
        for pid in live_descendants(os.getpid()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.02)


def others_cores(seconds: float) -> float:
    """Return how many CPUs the machine keeps busy while we wait for so long."""
    before = _Clock.now()
    time.sleep(seconds)
    spent = _Clock.now().since(before)
    return max(0.0, spent.machine_s - spent.own_s) / spent.wall_s


def _cpu_s(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


@dataclass(frozen=True)
class _Clock:
    """The time of the machine, of this process and of its finished children."""

    wall_s: float
    children_s: float
    own_s: float
    machine_s: float

    @classmethod
    def now(cls) -> _Clock:
        return cls(
            time.monotonic(),
            _cpu_s(resource.RUSAGE_CHILDREN),
            _cpu_s(resource.RUSAGE_SELF),
            busy_s(_read(Path("/proc/stat")), os.sysconf("SC_CLK_TCK")),
        )

    def since(self, earlier: _Clock) -> _Clock:
        return _Clock(
            self.wall_s - earlier.wall_s,
            self.children_s - earlier.children_s,
            self.own_s - earlier.own_s,
            self.machine_s - earlier.machine_s,
        )


def measure(
    commands: Sequence[Sequence[str | os.PathLike[str]]],
    *,
    cwd: Path,
    env: Mapping[str, str],
    folders: Sequence[Path],
    log_file: Path,
) -> Usage:
    """Run commands one after the other and return what they used; their output goes to a log.

    Raises :class:`ToolFailedError` when one of them fails.
    """
    before = _Clock.now()
    with Watch(folders) as watch, log_file.open("wb") as log:
        for argv in commands:
            _run_logged(argv, cwd=cwd, env=env, log=log, log_file=log_file)
        spent = _Clock.now().since(before)
    others_s = max(0.0, spent.machine_s - spent.children_s - spent.own_s)
    return Usage(
        wall_s=spent.wall_s, cpu_s=spent.children_s, memory_bytes=watch.memory_bytes,
        process_bytes=watch.process_bytes, disk_bytes=watch.disk_bytes,
        others_cores=others_s / spent.wall_s,
    )  # fmt: skip


def _run_logged(
    argv: Sequence[str | os.PathLike[str]],
    *,
    cwd: Path,
    env: Mapping[str, str],
    log: IO[bytes],
    log_file: Path,
) -> None:
    try:
        with spawn(argv, cwd=cwd, env=env, stdout=log, stderr=log) as process:
            code = process.wait()
    finally:
        end_leftovers()
    if code != 0:
        last = "\n        ".join(log_file.read_text(errors="replace").splitlines()[-8:])
        raise ToolFailedError(
            f"a measured command failed with exit status {code}",
            why=f"{last}\n  command: {shell_quoted(argv)}",
            next_step=f"see {log_file}",
        )
