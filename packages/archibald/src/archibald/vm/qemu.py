"""The virtual machine as data, and the QEMU command line that it means."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from archibald.errors import MissingToolError
from archibald.system.modules.selftest import PORT_NAME
from archibald.vm.accel import CPU_MODELS, QEMU, AccelName

MediumKind = Literal["cdrom", "usb-stick", "virtio"]
FirmwareKind = Literal["bios", "uefi"]


@dataclass(frozen=True)
class DirectBoot:
    """Kernel and initrd that QEMU loads itself, without firmware and boot menu."""

    kernel: Path
    initrd: Path
    cmdline: str


@dataclass(frozen=True)
class Ovmf:
    """UEFI firmware: its code, and a copy of its variables that may be written."""

    code: Path
    variables: Path


@dataclass(frozen=True)
class Machine:
    """A virtual machine. Sockets and files left at None leave their devices out.

    ``hda_audio`` and ``usb_audio`` are QEMU audio drivers, with options: ``none``, ``pa``,
    ``wav,path=…``. ``writable`` keeps what the guest writes to the medium.
    """

    accel: AccelName
    medium: Path
    medium_kind: MediumKind = "virtio"
    writable: bool = False
    direct: DirectBoot | None = None
    ovmf: Ovmf | None = None
    memory_mib: int = 2048
    cpus: int = 2
    serial_socket: Path | None = None
    selftest_socket: Path | None = None
    qmp_socket: Path | None = None
    hda_audio: str = "none"
    usb_audio: str = "none"
    display: str = "none"
    restricted_network: bool = True
    stop_on_reboot: bool = True


def quoted(path: Path | str) -> str:
    """Return a path for use inside a QEMU option, where commas separate."""
    return os.fspath(path).replace(",", ",,")


def command_line(machine: Machine) -> tuple[str, ...]:
    """Return the QEMU command line of a machine. Pure."""
    return (
        QEMU, "-no-user-config", "-nodefaults", "-name", "ArchibaldOS",
        "-machine", "q35",
        "-accel", "kvm" if machine.accel == "kvm" else "tcg,thread=multi",
        "-cpu", CPU_MODELS[machine.accel],
        "-smp", str(machine.cpus),
        "-m", str(machine.memory_mib),
        *(("-no-reboot",) if machine.stop_on_reboot else ()),
        *_boot(machine),
        "-device", "qemu-xhci,id=xhci",
        *_medium(machine),
        *_consoles(machine),
        *_sound(machine),
        "-display", machine.display,
        # Also without a window: the desktop needs a screen to start on.
        "-device", "virtio-vga",
        "-device", "usb-tablet,bus=xhci.0",
        "-netdev", f"user,id=net0,restrict={'on' if machine.restricted_network else 'off'}",
        # Without a ROM the firmware does not try to boot from the network.
        "-device", "virtio-net-pci,netdev=net0,romfile=",
        "-object", "rng-random,id=rng0,filename=/dev/urandom",
        "-device", "virtio-rng-pci,rng=rng0",
    )  # fmt: skip


def _boot(machine: Machine) -> tuple[str, ...]:
    words: list[str] = []
    if machine.ovmf:
        words += [
            "-drive", f"if=pflash,format=raw,readonly=on,file={quoted(machine.ovmf.code)}",
            "-drive", f"if=pflash,format=raw,file={quoted(machine.ovmf.variables)}",
        ]  # fmt: skip
    if machine.direct:
        words += [
            "-kernel", os.fspath(machine.direct.kernel),
            "-initrd", os.fspath(machine.direct.initrd),
            "-append", machine.direct.cmdline,
        ]  # fmt: skip
    return tuple(words)


def _medium(machine: Machine) -> tuple[str, ...]:
    if machine.writable:
        access = ""
    elif machine.medium_kind == "virtio" and machine.direct is None:
        # A disk that boots mounts its root for writing: let it, and forget what it wrote.
        access = ",snapshot=on"
    else:
        access = ",readonly=on"
    media = ",media=cdrom" if machine.medium_kind == "cdrom" else ""
    drive = f"if=none,id=medium,format=raw{access}{media},file={quoted(machine.medium)}"
    device = {
        "cdrom": "ide-cd,drive=medium,bus=ide.1",
        "usb-stick": "usb-storage,drive=medium,bus=xhci.0,removable=on",
        "virtio": "virtio-blk-pci,drive=medium",
    }[machine.medium_kind]
    index = "" if machine.direct else ",bootindex=0"
    return ("-drive", drive, "-device", device + index)


def _consoles(machine: Machine) -> tuple[str, ...]:
    words: list[str] = []
    if machine.serial_socket:
        # wait=on: the guest starts when its console is being read, so no line is lost.
        words += [
            "-chardev",
            f"socket,id=serial0,path={quoted(machine.serial_socket)},server=on,wait=on",
        ]
    else:
        words += ["-chardev", "stdio,id=serial0,mux=on,signal=off", "-mon", "chardev=serial0"]
    words += ["-serial", "chardev:serial0"]
    if machine.selftest_socket:
        words += [
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=selftest,path={quoted(machine.selftest_socket)},"
            "server=on,wait=off",
            "-device", f"virtserialport,chardev=selftest,name={PORT_NAME}",
        ]  # fmt: skip
    if machine.qmp_socket:
        words += ["-qmp", f"unix:{quoted(machine.qmp_socket)},server=on,wait=off"]
    return tuple(words)


def _sound(machine: Machine) -> tuple[str, ...]:
    def backend(identity: str, driver: str) -> str:
        name, _, options = driver.partition(",")
        return f"{name},id={identity}" + (f",{options}" if options else "")

    return (
        "-audiodev", backend("hda", machine.hda_audio),
        "-device", "intel-hda", "-device", "hda-duplex,audiodev=hda",
        "-audiodev", backend("usb", machine.usb_audio),
        "-device", "usb-audio,audiodev=usb,bus=xhci.0",
    )  # fmt: skip


#: Pairs of OVMF code and variables as Debian and its relatives name them, best first.
_OVMF_PAIRS = (
    ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
)


def find_ovmf(variables: Path, *, pairs: tuple[tuple[str, str], ...] = _OVMF_PAIRS) -> Ovmf:
    """Return the UEFI firmware of this host with its variables copied to ``variables``.

    Raises MissingToolError when no firmware is installed.
    """
    for code, template in pairs:
        if Path(code).is_file() and Path(template).is_file():
            variables.write_bytes(Path(template).read_bytes())
            return Ovmf(Path(code), variables)
    raise MissingToolError(
        "booting with UEFI needs the OVMF firmware",
        why="not found on this machine",
        next_step="sudo apt-get install --no-install-recommends ovmf",
    )
