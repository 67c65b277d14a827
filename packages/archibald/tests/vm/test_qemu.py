"""The QEMU command line that a machine means."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from archibald.errors import MissingToolError, PreconditionError
from archibald.vm.boot import host_audio, listed, window_display
from archibald.vm.qemu import DirectBoot, Machine, Ovmf, command_line, find_ovmf


def pairs(machine: Machine) -> list[tuple[str, str]]:
    argv = command_line(machine)
    return list(itertools.pairwise(argv))


def test_direct_boot_with_the_self_test() -> None:
    machine = Machine(
        accel="tcg",
        medium=Path("/x/a,b.iso"),
        direct=DirectBoot(Path("/t/vmlinuz"), Path("/t/initrd"), "boot=live quiet"),
        serial_socket=Path("/t/serial"),
        selftest_socket=Path("/t/selftest"),
        qmp_socket=Path("/t/qmp"),
        hda_audio="wav,path=/t/hda.wav",
    )
    found = pairs(machine)
    for expected in (
        ("-accel", "tcg,thread=multi"),
        ("-cpu", "max,erms=off,fsrm=off"),
        ("-kernel", "/t/vmlinuz"),
        ("-initrd", "/t/initrd"),
        ("-append", "boot=live quiet"),
        ("-drive", "if=none,id=medium,format=raw,readonly=on,file=/x/a,,b.iso"),
        ("-device", "virtio-blk-pci,drive=medium"),
        ("-chardev", "socket,id=serial0,path=/t/serial,server=on,wait=on"),
        ("-chardev", "socket,id=selftest,path=/t/selftest,server=on,wait=off"),
        ("-device", "virtserialport,chardev=selftest,name=org.archibaldos.selftest"),
        ("-audiodev", "wav,id=hda,path=/t/hda.wav"),
        ("-device", "hda-duplex,audiodev=hda"),
        ("-device", "usb-audio,audiodev=usb,bus=xhci.0"),
        ("-device", "virtio-rng-pci,rng=rng0"),
        ("-netdev", "user,id=net0,restrict=on"),
        ("-display", "none"),
    ):
        assert expected in found
    assert "-no-reboot" in command_line(machine)


def test_uefi_from_a_stick() -> None:
    machine = Machine(
        accel="kvm",
        medium=Path("/x.iso"),
        medium_kind="usb-stick",
        ovmf=Ovmf(Path("/code.fd"), Path("/vars.fd")),
        serial_socket=Path("/s"),
    )
    found = pairs(machine)
    assert ("-cpu", "host") in found
    assert ("-drive", "if=pflash,format=raw,readonly=on,file=/code.fd") in found
    assert ("-drive", "if=pflash,format=raw,file=/vars.fd") in found
    stick = "usb-storage,drive=medium,bus=xhci.0,removable=on,bootindex=0"
    assert ("-device", stick) in found
    assert "-kernel" not in command_line(machine)
    assert not any("selftest" in word for word in command_line(machine))


def test_cdrom() -> None:
    found = pairs(Machine(accel="tcg", medium=Path("/x.iso"), medium_kind="cdrom"))
    drive = "if=none,id=medium,format=raw,readonly=on,media=cdrom,file=/x.iso"
    assert ("-drive", drive) in found
    assert ("-device", "ide-cd,drive=medium,bus=ide.1,bootindex=0") in found


def test_a_disk_is_not_written_unless_asked() -> None:
    disk = Machine(accel="tcg", medium=Path("/d.img"))
    assert ("-drive", "if=none,id=medium,format=raw,snapshot=on,file=/d.img") in pairs(disk)
    kept = Machine(accel="tcg", medium=Path("/d.img"), writable=True)
    assert ("-drive", "if=none,id=medium,format=raw,file=/d.img") in pairs(kept)


def test_without_a_socket_the_console_is_the_terminal() -> None:
    found = pairs(Machine(accel="tcg", medium=Path("/d.img")))
    assert ("-chardev", "stdio,id=serial0,mux=on,signal=off") in found


def test_ovmf(tmp_path: Path) -> None:
    code, template = tmp_path / "CODE.fd", tmp_path / "VARS.fd"
    code.write_bytes(b"code")
    template.write_bytes(b"variables")
    known = (("/nowhere/a", "/nowhere/b"), (str(code), str(template)))
    found = find_ovmf(tmp_path / "copy", pairs=known)
    assert found == Ovmf(code, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"variables"
    with pytest.raises(MissingToolError, match=r"apt-get install .* ovmf"):
        find_ovmf(tmp_path / "copy", pairs=known[:1])


def test_window(tmp_path: Path) -> None:
    assert window_display(["none", "sdl", "gtk"], {"DISPLAY": ":0"}) == "gtk"
    with pytest.raises(PreconditionError, match="--headless"):
        window_display(["gtk"], {})
    with pytest.raises(PreconditionError, match="qemu-system-gui"):
        window_display(["none", "curses"], {"WAYLAND_DISPLAY": "wayland-0"})


def test_host_audio_is_what_the_session_has(tmp_path: Path) -> None:
    session = {"XDG_RUNTIME_DIR": str(tmp_path)}
    (tmp_path / "pulse").mkdir()
    (tmp_path / "pulse" / "native").touch()
    assert host_audio(["none", "pa", "pipewire"], session) == "pa"
    (tmp_path / "pipewire-0").touch()
    assert host_audio(["none", "pa", "pipewire"], session) == "pipewire"
    assert host_audio(["none"], session) == "none"


def test_listing_of_qemu() -> None:
    text = "Available audio drivers:\nnone\nalsa\nqemu: module audio-pa not found\nwav\n"
    assert listed(text) == ["none", "alsa", "wav"]
