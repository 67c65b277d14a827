"""What keeps a machine busy while it is measured: started here, and ended here.

Each load is a command line that runs until it is stopped, and that dies with its first process:
hackbench with threads, shell loops of short commands, stress-ng, whose workers watch their parent.
So :func:`archibald.run.spawn`'s leash holds all of it, even when we are killed.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO

from archibald.errors import ToolFailedError, UsageError
from archibald.run import find_tool, require_tools, shell_quoted, spawn

#: A load that is going to fail does so within this time (s).
_SETTLE_S = 0.3

IDLE = "idle"


@dataclass(frozen=True)
class Load:
    """A load: what it does, and the command that does it."""

    name: str
    what: str
    argv: tuple[str, ...]
    tools: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command as a line that can be pasted; empty when idle."""
        return shell_quoted(self.argv)


def _shell(loop: str) -> tuple[str, ...]:
    return ("sh", "-c", f"while :; do {loop}; done")


LOADS: Mapping[str, Load] = {
    load.name: load
    for load in (
        Load(IDLE, "nothing but what runs anyway", (), ()),
        # Threads, not processes: they end together, however their first one ends.
        Load(
            "hackbench",
            "160 threads that send each other messages: the scheduler",
            ("hackbench", "--threads", "--groups", "4", "--loops", "1000000000"),
            ("hackbench",),
        ),
        Load(
            "memory",
            "200 MB mapped, touched and unmapped, over and over: the memory management",
            _shell("dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null || exit 1"),
            ("dd",),
        ),
        Load("fork", "short processes, one after the other", _shell("/bin/true"), ()),
        Load(
            "stress-ng",
            "computing, memory, processes, files and datagrams at once",
            ("stress-ng", "--quiet", "--cpu", "1", "--vm", "1", "--vm-bytes", "200M",
             "--mmap", "1", "--mmap-bytes", "100M", "--fork", "1", "--udp", "1", "--timeout", "0"),
            ("stress-ng",),
        ),
    )
}  # fmt: skip


def find_load(name: str) -> Load:
    """Return a load by its name. Raises UsageError."""
    if name not in LOADS:
        raise UsageError(f"there is no load {name!r}", next_step=f"choose of: {', '.join(LOADS)}")
    return LOADS[name]


def default_loads() -> tuple[str, ...]:
    """Return the loads that run where none is named: idle, and what is installed anyway."""
    return (IDLE, *(("hackbench",) if find_tool("hackbench") else ()), "memory")


@contextlib.contextmanager
def running(load: Load) -> Iterator[Callable[[], None]]:
    """Run a load inside the block; yields a check that raises when it has ended by itself.

    Raises MissingToolError, and ToolFailedError when the load does not last.
    """
    if not load.argv:
        yield lambda: None
        return
    require_tools(load.tools, purpose=f"the load {load.name}")
    with tempfile.TemporaryFile() as said, spawn(load.argv, stdout=said, stderr=said) as process:

        def check() -> None:
            _require_running(process, load, said)

        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_SETTLE_S)
        check()
        yield check
        check()


def _require_running(process: subprocess.Popen[bytes], load: Load, said: IO[bytes]) -> None:
    if process.poll() is None:
        return
    said.seek(0)
    text = said.read().decode("utf-8", "replace").strip()[-400:]
    raise ToolFailedError(
        f"the load {load.name} ended by itself (status {process.returncode})",
        why=f"{text or '(it printed nothing)'}\n  command: {load.command}",
        next_step="run the command by hand, or choose another load",
    )
