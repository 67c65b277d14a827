"""Which accelerator QEMU can use: KVM if it really runs code, else TCG.

The device /dev/kvm may exist and still not run a guest (nested or restricted hosts), so a boot
sector is run under KVM, on the CPU model that guests get: it has to answer within seconds.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from archibald.errors import ArchibaldError, PreconditionError
from archibald.run import Runner, run

QEMU = "qemu-system-x86_64"

AccelName = Literal["kvm", "tcg"]
AccelChoice = Literal["auto", "kvm", "tcg"]

#: Zeroing memory with `rep stosb` is slow under TCG; without these flags the guest does otherwise
#: and boots in half the time.
CPU_MODELS: Mapping[AccelName, str] = {"kvm": "host", "tcg": "max,erms=off,fsrm=off"}

#: Enters long mode with paging, computes with SSE2 and (where the CPU has it) BMI2, and answers on
#: the debug port if the results are right. Real-mode code alone proves too little: hosts whose KVM
#: emulates instructions run it, and then stop at the kernel's first shlx. Its source:
#:
#:     .code16
#:     _start:
#:     cli
#:     xorl %eax, %eax
#:     movw %ax, %ds
#:     movw %ax, %es
#:     movl $0x1000, %edi
#:     movl $0x0c00, %ecx
#:     rep stosl
#:     movw $0x2003, 0x1000
#:     movw $0x3003, 0x2000
#:     movw $0x0083, 0x3000
#:     movl $0x620, %eax
#:     movl %eax, %cr4
#:     movl $0x1000, %eax
#:     movl %eax, %cr3
#:     movl $0xc0000080, %ecx
#:     rdmsr
#:     orw $0x100, %ax
#:     wrmsr
#:     movl $0x80000013, %eax
#:     movl %eax, %cr0
#:     lgdtl gdt_pointer
#:     ljmpl $8, $long_mode
#:     .code64
#:     long_mode:
#:     movabsq $0x0123456789abcdef, %rax
#:     movq %rax, %xmm0
#:     paddq %xmm0, %xmm0
#:     movq %xmm0, %rsi
#:     addq %rax, %rax
#:     cmpq %rax, %rsi
#:     jne stop
#:     movl $7, %eax
#:     xorl %ecx, %ecx
#:     cpuid
#:     testl $0x100, %ebx
#:     jz answer
#:     movl $3, %ecx
#:     shlxq %rcx, %rsi, %rdi
#:     shlq $3, %rsi
#:     cmpq %rsi, %rdi
#:     jne stop
#:     answer:
#:     movb $0x10, %al
#:     movw $0x501, %dx
#:     outb %al, %dx
#:     stop:
#:     hlt
#:     jmp stop
#:     .balign 8
#:     gdt:
#:     .quad 0, 0x00209a0000000000
#:     gdt_pointer:
#:     .word 15
#:     .long gdt
_ANSWERING_CODE = bytes.fromhex(
    "fa6631c08ed88ec066bf0010000066b9000c000066f3abc70600100320c70600200330c7"
    "060030830066b8200600000f22e066b8001000000f22d866b9800000c00f320d00010f30"
    "66b8130000800f22c0660f0116c07c66ea5f7c0000080048b8efcdab896745230166480f"
    "6ec0660fd4c066480f7ec64801c04839c6752bb80700000031c90fa2f7c3000100007413"
    "b903000000c4e2f1f7fe48c1e6034839f77507b01066ba0105eef4ebfd0f1f0000000000"
    "0000000000000000009a20000f00b07c0000"
)

#: QEMU's isa-debug-exit device turns the value v into the exit status 2v + 1.
_ANSWER = (0x10 << 1) | 1

_PROBE_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Accel:
    """The chosen accelerator and why it was chosen."""

    name: AccelName
    why: str


def boot_sector(code: bytes) -> bytes:
    """Return a disk of one megabyte whose boot sector runs 16-bit code at 0x7c00.

    Raises ValueError when the code does not fit.
    """
    if len(code) > 510:
        raise ValueError(f"{len(code)} bytes do not fit into a boot sector")
    return code.ljust(510, b"\0") + b"\x55\xaa" + bytes(1024 * 1024 - 512)


def runs_code(
    accel: AccelName, *, runner: Runner = run, timeout_s: float = _PROBE_TIMEOUT_S
) -> bool:
    """Boot a sector that answers over a debug port; say whether the answer came in time."""
    with tempfile.TemporaryDirectory(prefix="archibald-kvm-") as folder:
        disk = Path(folder) / "probe.img"
        disk.write_bytes(boot_sector(_ANSWERING_CODE))
        argv = [
            QEMU, "-accel", accel, "-cpu", CPU_MODELS[accel], "-machine", "q35", "-smp", "2",
            "-m", "32", "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
            "-device", "isa-debug-exit,iobase=0x501,iosize=0x01",
            "-drive", "file=probe.img,format=raw,if=ide",
        ]  # fmt: skip
        try:
            result = runner(argv, check=False, cwd=Path(folder), timeout_s=timeout_s)
        except ArchibaldError:
            return False
    return result.returncode == _ANSWER


def _cache_file() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "archibald" / "kvm.json"


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def kvm_works(
    *,
    device: Path = Path("/dev/kvm"),
    probe: Callable[[], bool] = lambda: runs_code("kvm"),
    cache: Path | None = None,
    boot_id: Callable[[], str] = _boot_id,
) -> bool:
    """Say whether KVM runs code here; the answer is kept until the machine is booted again."""
    if not os.access(device, os.R_OK | os.W_OK):
        return False
    path = cache or _cache_file()
    key = f"{boot_id()} {os.getuid()}"
    with contextlib.suppress(OSError, ValueError, AttributeError):
        known = json.loads(path.read_text("utf-8"))
        if known.get("key") == key and isinstance(known.get("works"), bool):
            return bool(known["works"])
    works = probe()
    # A cache that cannot be written costs ten seconds next time, nothing else.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps({"key": key, "works": works}), "utf-8")
        temporary.replace(path)
    return works


def choose_accel(
    choice: AccelChoice, *, works: Callable[[], bool] = kvm_works, runner: Runner = run
) -> Accel:
    """Return the accelerator to use.

    Raises PreconditionError when KVM is demanded and does not run, or QEMU lacks TCG.
    """
    if choice != "tcg" and works():
        return Accel("kvm", "KVM runs a test guest")
    if choice == "kvm":
        raise PreconditionError(
            "KVM does not run guests on this machine",
            why="/dev/kvm is missing, not accessible, or a test guest did not answer",
            next_step="join the group kvm, enable virtualization, or use --accel tcg",
        )
    if "tcg" not in runner([QEMU, "-accel", "help"]).stdout.split():
        raise PreconditionError(
            "this QEMU has no accelerator that works",
            why="KVM does not run guests here, and QEMU was built without TCG",
            next_step="install Debian's qemu-system-x86, which has TCG",
        )
    why = "asked for" if choice == "tcg" else "KVM does not run guests here"
    return Accel("tcg", why)
