"""QEMU with virtual time: one instruction is one nanosecond, and nothing comes from outside.

``-icount shift=0`` makes the guest's clock a count of its instructions, ``sleep=off`` lets it jump
over idle time. With a fixed seed, clock and memory, no host input and one CPU the guest does the
same on every run, to the last byte of its console (QEMU's docs/devel/tcg-icount.rst).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from archibald.run import Runner, require_tools, run
from archibald.vm.accel import QEMU
from archibald.vm.qemu import quoted

MEMORY_MIB = 768

#: Without address randomization and without randomness of the CPU: the same on every run.
KERNEL_ARGUMENTS = (
    "console=ttyS0", "nokaslr", "norandmaps", "random.trust_cpu=off", "quiet", "panic=-1",
    "rdinit=/init",
)  # fmt: skip

#: A boot takes 20 to 60 s of host time; on a host that is busy with other things some times that.
TIMEOUT_S = 1200.0


def command_line(kernel: Path, initrd: Path, console: Path, arguments: str) -> list[str]:
    """Return the command of a guest whose serial console goes to a file."""
    return [
        QEMU, "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
        "-machine", "pc", "-cpu", "max,erms=off,fsrm=off,rdrand=off,rdseed=off",
        "-accel", "tcg,thread=single", "-icount", "shift=0,sleep=off", "-seed", "1",
        "-smp", "1", "-m", str(MEMORY_MIB), "-rtc", "base=2026-01-01,clock=vm",
        "-chardev", f"file,id=console,path={quoted(console)}", "-serial", "chardev:console",
        "-kernel", str(kernel), "-initrd", str(initrd),
        "-append", " ".join([*KERNEL_ARGUMENTS, *arguments.split()]),
    ]  # fmt: skip


def boot(
    kernel: Path,
    initrd: Path,
    console: Path,
    arguments: str = "",
    *,
    on_tick: Callable[[], None] | None = None,
    runner: Runner = run,
) -> str:
    """Boot a guest until it switches itself off; return what its console said."""
    require_tools([QEMU], purpose="measuring in virtual time")
    runner(
        command_line(kernel, initrd, console, arguments), timeout_s=TIMEOUT_S, on_tick=on_tick
    )  # fmt: skip
    return console.read_text("utf-8", "replace")


def emulator(*, runner: Runner = run) -> str:
    """Return the emulator's version: another one may count instructions differently."""
    require_tools([QEMU], purpose="measuring in virtual time")
    text = runner([QEMU, "--version"]).stdout
    found = re.search(r"version (\S+)", text)
    return f"QEMU {found[1] if found else text.strip()[:60]}"
