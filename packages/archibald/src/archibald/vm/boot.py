"""From a request to a machine: which entry boots, by which way, with which devices."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from archibald.errors import PreconditionError, UsageError
from archibald.run import Runner, require_tools, run
from archibald.vm.accel import QEMU, Accel, AccelChoice, choose_accel
from archibald.vm.grub import MenuEntry
from archibald.vm.media import direct_boot, find_entry, find_variant, identify, read_menu
from archibald.vm.qemu import FirmwareKind, Machine, MediumKind, find_ovmf

#: Who looks at the serial line: a check, which only reads it, a person who logs in, nobody.
SerialUse = Literal["watched", "terminal", "unused"]

#: Makes the guest print its boot on the serial line, to see why it failed.
_SERIAL_ARGUMENTS = ("console=tty0", "console=ttyS0,115200")

#: Watching must not change what is watched: no login, no session, no memory of a getty.
_NO_SERIAL_LOGIN = "systemd.mask=serial-getty@ttyS0.service"

#: How long a boot with its self-test may take, in seconds. TCG is about ten times slower than KVM.
_TIMEOUT_S: Mapping[str, float] = {"kvm": 300.0, "tcg": 1200.0}


@dataclass(frozen=True)
class RunRequest:
    """What the user asks for. ``variant`` and ``entry`` exclude each other."""

    image: Path
    variant: str | None = None
    entry: str | None = None
    firmware: FirmwareKind | None = None
    usb_stick: bool = False
    accel: AccelChoice = "auto"
    memory_mib: int = 2048
    cpus: int = 2
    timeout_s: float | None = None
    console_log: Path | None = None
    screenshot: Path | None = None


@dataclass(frozen=True)
class PreparedBoot:
    """A machine that is ready to start; ``entry`` is None when the image has no menu to read.

    ``menu_arguments`` are the kernel arguments to type into the boot menu.
    """

    machine: Machine
    accel: Accel
    entry: MenuEntry | None
    menu_arguments: str
    timeout_s: float


def short_folder() -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder whose path leaves room for socket names (108 bytes in all)."""
    base = tempfile.gettempdir()
    return tempfile.TemporaryDirectory(
        prefix="archibald-vm-",
        dir=base if len(base) < 60 else "/tmp",  # noqa: S108
    )


def further_arguments(entry: MenuEntry, *, serial: SerialUse) -> str:
    """Return the kernel arguments that an entry lacks for its boot to be watched and understood."""
    further: list[str] = []
    has_serial = any(word.startswith("console=ttyS") for word in entry.arguments)
    if serial != "unused" and not has_serial:
        further += _SERIAL_ARGUMENTS
    if serial == "watched" and not has_serial:
        further.append(_NO_SERIAL_LOGIN)
    # The self-test has to know that this entry starts another kernel than the profile says.
    names_kernel = any(word.startswith("archibald.kernel=") for word in entry.arguments)
    if entry.entry_id == "generic" and not names_kernel:
        further.append("archibald.kernel=generic")
    return " ".join(further)


def prepare(
    request: RunRequest, folder: Path, *, serial: SerialUse, runner: Runner = run
) -> PreparedBoot:
    """Look at the image and compose the machine; ``folder`` takes what is taken out of it.

    Raises UsageError for a file that is no
    image or an entry that it lacks, PreconditionError for missing tools.
    """
    if request.variant and request.entry:
        raise UsageError(
            "--variant and --kernel-entry exclude each other", next_step="give one of the two"
        )
    kind = identify(request.image)
    require_tools([QEMU], purpose="booting an image")
    if kind == "disk":
        return _prepare_disk(request, folder, runner)
    entries = read_menu(request.image, folder, runner=runner)
    entry = (
        find_entry(entries, request.entry)
        if request.entry
        else find_variant(entries, request.variant)
    )
    further = further_arguments(entry, serial=serial)
    base = _machine(request, folder, runner)
    if request.firmware is None and not request.usb_stick:
        direct = direct_boot(request.image, entry, folder, further=further, runner=runner)
        machine, typed = replace(base[0], direct=direct), ""
    else:
        medium: MediumKind = "usb-stick" if request.usb_stick else "cdrom"
        machine, typed = replace(base[0], medium_kind=medium), further
    return PreparedBoot(machine, base[1], entry, typed, _timeout(request, base[1]))


def _prepare_disk(request: RunRequest, folder: Path, runner: Runner) -> PreparedBoot:
    if request.variant or request.entry:
        raise UsageError(
            "the boot entry of a disk cannot be chosen from outside",
            why=f"{request.image} is a disk, whose menu is inside its file system",
            next_step="give the ISO, or choose in the boot menu of `archibald run`",
        )
    machine, accel = _machine(request, folder, runner)
    if request.usb_stick:
        machine = replace(machine, medium_kind="usb-stick")
    return PreparedBoot(machine, accel, None, "", _timeout(request, accel))


def _machine(request: RunRequest, folder: Path, runner: Runner) -> tuple[Machine, Accel]:
    ovmf = find_ovmf(folder / "ovmf-variables.fd") if request.firmware == "uefi" else None
    accel = choose_accel(request.accel, runner=runner)
    machine = Machine(
        accel=accel.name,
        medium=request.image.absolute(),
        ovmf=ovmf,
        memory_mib=request.memory_mib,
        cpus=request.cpus,
        serial_socket=folder / "serial",
        qmp_socket=folder / "qmp",
    )
    return machine, accel


def _timeout(request: RunRequest, accel: Accel) -> float:
    return request.timeout_s if request.timeout_s is not None else _TIMEOUT_S[accel.name]


def host_audio(drivers: list[str], environment: Mapping[str, str] = os.environ) -> str:
    """Return the QEMU audio driver that plays on this host, or "none" where nothing can play."""
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    candidates = (
        ("pipewire", bool(runtime) and Path(runtime, "pipewire-0").exists()),
        ("pa", bool(runtime) and Path(runtime, "pulse", "native").exists()),
        ("alsa", Path("/proc/asound/card0").exists()),
    )
    return next((name for name, there in candidates if there and name in drivers), "none")


def window_display(displays: list[str], environment: Mapping[str, str] = os.environ) -> str:
    """Return the QEMU display that opens a window here. Raises PreconditionError."""
    if not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
        raise PreconditionError(
            "no window can be opened",
            why="neither DISPLAY nor WAYLAND_DISPLAY is set: there is no graphical session",
            next_step="use --headless for the serial console, or --check",
        )
    found = next((name for name in ("gtk", "sdl") if name in displays), None)
    if found is None:
        raise PreconditionError(
            "no window can be opened",
            why="this QEMU has no graphical interface",
            next_step="sudo apt-get install --no-install-recommends qemu-system-gui, or --headless",
        )
    return found


def listed(text: str) -> list[str]:
    """Return the names that ``-display help`` or ``-audiodev help`` lists."""
    return [line.strip() for line in text.splitlines() if line.strip() and ":" not in line]
