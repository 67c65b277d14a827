"""Running an image for a person: the terminal, the window, and the end."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from archibald.errors import ToolFailedError
from archibald.vm import interactive
from archibald.vm.accel import boot_sector
from archibald.vm.boot import RunRequest
from archibald.vm.interactive import open_image

#: They need the real emulator, which only `make test` installs.
pytestmark = pytest.mark.slow

#: mov ax,0x2000; mov dx,0x604; out dx,ax; hlt: the chipset's power button of QEMU's q35.
SWITCH_OFF = bytes.fromhex("b80020ba0406eff4")


@pytest.fixture
def switching_off(tmp_path: Path) -> Path:
    """A guest that switches itself off at once."""
    disk = tmp_path / "off.img"
    disk.write_bytes(boot_sector(SWITCH_OFF))
    return disk


def test_terminal(printing_disk: Callable[[bytes], Path], tmp_path: Path) -> None:
    """The guest's serial line is the terminal, and Ctrl-A X ends it."""
    place = tmp_path / "tmp"
    place.mkdir()
    disk = printing_disk(b"guest speaking\r\n")
    command = [
        sys.executable, "-m", "archibald", "run", str(disk), "--headless", "--accel", "tcg",
        "--memory", "256",
    ]  # fmt: skip
    with subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(place)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        assert process.stdin
        assert process.stdout
        seen = b""
        while b"guest speaking" not in seen and (piece := os.read(process.stdout.fileno(), 4096)):
            seen += piece
        process.stdin.write(b"\x01x")
        process.stdin.flush()
        _, errors = process.communicate()
        watchdog.cancel()
    assert b"guest speaking" in seen
    assert process.returncode == 0, errors
    assert b"Ctrl-A X" in errors
    assert list(place.iterdir()) == []


@pytest.fixture
def without_a_screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run windows on a machine that has none; return the place of temporary files."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    monkeypatch.setattr(interactive, "window_display", lambda _: "none")
    return place


def test_window_until_the_guest_is_off(
    switching_off: Path, without_a_screen: Path, tmp_path: Path
) -> None:
    log = tmp_path / "console.log"
    request = RunRequest(image=switching_off, accel="tcg", memory_mib=256, console_log=log)
    open_image(request, headless=False)
    assert log.exists()
    assert list(without_a_screen.iterdir()) == []


def test_qemu_that_fails(switching_off: Path, without_a_screen: Path) -> None:
    request = RunRequest(image=switching_off, accel="tcg", memory_mib=256, cpus=4096)
    with pytest.raises(ToolFailedError, match="4096"):
        open_image(request, headless=False)
    assert list(without_a_screen.iterdir()) == []


def test_disk_is_left_as_it_was(switching_off: Path, without_a_screen: Path) -> None:
    before = switching_off.read_bytes()
    open_image(RunRequest(image=switching_off, accel="tcg", memory_mib=256), headless=False)
    assert switching_off.read_bytes() == before
