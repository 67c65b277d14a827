"""Boots each kernel of an image under each load, and gathers what the guests found."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from archibald.errors import PreconditionError, UsageError
from archibald.measure.document import Kind, Run
from archibald.measure.records import VirtualJitterData, VirtualJitterRow
from archibald.measure.session import Bench, Clock, Notes
from archibald.measure.virtual.collect import Kernel, Source, open_image, ram_disk
from archibald.measure.virtual.guest import (
    INTERVAL_US,
    LOADS,
    PRIORITY,
    PROGRAMS,
    GuestLoad,
    init_script,
    parse_result,
)
from archibald.measure.virtual.machine import boot, emulator
from archibald.run import Runner, run

#: What may be compared: kernel arguments by name. The last one is what distributions ship that
#: call themselves low-latency.
KERNELS: Mapping[str, tuple[str, str]] = {
    "rt": ("rt", ""),
    "generic": ("generic", ""),
    "low-latency": ("generic", "preempt=full threadirqs"),
}


@dataclass(frozen=True)
class VirtualRequest:
    """What to boot: names of :data:`KERNELS`, loads, and wake-ups per boot."""

    image: Path
    kernels: tuple[str, ...]
    loads: tuple[GuestLoad, ...]
    cycles: int = 4000
    console_logs: Path | None = None


#: Called before each boot: kernel, load, how many boots are done, how many there are.
OnBoot = Callable[[str, str, int, int], None]


def measure_virtual(
    bench: Bench,
    request: VirtualRequest,
    *,
    on_boot: OnBoot = lambda _kernel, _load, _done, _of: None,
    runner: Runner = run,
) -> Run:
    """Boot everything that was asked for, and return the run document.

    Raises UsageError (no image, no such kernel), PreconditionError and ToolFailedError.
    """
    clock, remarks = Clock.now(), Notes()
    version = emulator(runner=runner)
    with tempfile.TemporaryDirectory(prefix="archibald-virtual-") as name:
        source = open_image(request.image, Path(name), runner=runner)
        chosen = {kernel: _find(source, kernel) for kernel in request.kernels}
        if len({kernel.upstream for kernel in chosen.values()}) > 1:
            remarks.warnings.append("the kernels are of different releases")
        rows = _boot_all(source, chosen, request, Path(name), on_boot, runner)
    releases = ", ".join(f"{name} {kernel.release}" for name, kernel in chosen.items())
    remarks.notes.append(f"kernels: {releases}")
    remarks.notes.append(
        "virtual time counts instructions: it shows how long the kernel keeps a thread waiting, "
        "and nothing of caches, firmware, sleep states, other CPUs or devices"
    )
    return bench.document(
        Kind.VIRTUAL_JITTER,
        VirtualJitterData(image=request.image.name, emulator=version, rows=tuple(rows)),
        clock=clock,
        settings={
            "cycles": request.cycles, "virtual_interval_us": INTERVAL_US, "priority": PRIORITY,
        },
        remarks=remarks,
    )  # fmt: skip


def _find(source: Source, name: str) -> Kernel:
    if name not in KERNELS:
        raise UsageError(f"there is no kernel {name!r}", next_step=f"one of {', '.join(KERNELS)}")
    flavour = KERNELS[name][0]
    found = [kernel for kernel in source.kernels if kernel.flavour == flavour]
    if not found:
        there = ", ".join(kernel.release for kernel in source.kernels) or "none at all"
        raise PreconditionError(
            f"the image has no {flavour} kernel",
            why=f"it has {there}",
            next_step="choose others with --kernel, or set system.fallback_kernel and build again",
        )
    return found[-1]


def _boot_all(
    source: Source,
    chosen: Mapping[str, Kernel],
    request: VirtualRequest,
    folder: Path,
    on_boot: OnBoot,
    runner: Runner,
) -> list[VirtualJitterRow]:
    # The same programs in every guest, whichever loads were chosen: the size of the RAM disk moves
    # everything in memory, and with it the figures.
    names = dict.fromkeys([*PROGRAMS, *(p for load in LOADS.values() for p in load.programs)])
    programs = source.with_libraries(names)
    total = len(chosen) * len(request.loads)
    rows: list[VirtualJitterRow] = []
    for name, kernel in chosen.items():
        vmlinuz = folder / f"vmlinuz-{name}"
        vmlinuz.write_bytes(source.content(f"/boot/vmlinuz-{kernel.release}"))
        for load in request.loads:
            on_boot(name, load.name, len(rows), total)
            modules = source.modules(kernel, load.modules)
            script = init_script(load, tuple(modules), request.cycles)
            initrd = folder / "initrd"
            initrd.write_bytes(ram_disk(programs, script, modules))
            console = boot(
                vmlinuz, initrd, folder / "console", KERNELS[name][1], runner=runner
            )  # fmt: skip
            _keep(request.console_logs, f"{name}-{load.name}.log", console)
            histogram = parse_result(console, where=f"{name} kernel, {load.name}")
            rows.append(VirtualJitterRow(kernel=name, load=load.name, histogram=histogram))
    on_boot("", "", total, total)
    return rows


def _keep(folder: Path | None, name: str, text: str) -> None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")


def table(rows: Sequence[VirtualJitterRow]) -> list[list[str]]:
    """Return the table of loads (down) and kernels (across): "max (mean)" in virtual us."""
    kernels = list(dict.fromkeys(row.kernel for row in rows))
    found = {(row.load, row.kernel): row.histogram for row in rows}
    lines = [["load", *kernels]]
    for load in dict.fromkeys(row.load for row in rows):
        cells = [
            f"{found[load, kernel].max_us:.0f} ({found[load, kernel].mean_us:.1f})"
            if (load, kernel) in found
            else "-"
            for kernel in kernels
        ]
        lines.append([load, *cells])
    return lines
