"""Runs an image for a person: in a window, or with the serial console in the terminal."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

from archibald.errors import ToolFailedError
from archibald.run import Runner, require_tools, run, shell_quoted, spawn
from archibald.vm.accel import QEMU
from archibald.vm.boot import (
    PreparedBoot,
    RunRequest,
    host_audio,
    listed,
    prepare,
    short_folder,
    window_display,
)
from archibald.vm.console import Console, SerialLine, open_log
from archibald.vm.grub import type_keys
from archibald.vm.media import identify
from archibald.vm.qemu import Machine, command_line


def open_image(request: RunRequest, *, headless: bool, runner: Runner = run) -> None:
    """Run an image until its user is done with it.

    Raises UsageError, PreconditionError, and ToolFailedError when QEMU fails.
    """
    identify(request.image)
    require_tools([QEMU], purpose="booting an image")
    display = "none"
    if not headless:
        display = window_display(listed(runner([QEMU, "-display", "help"]).stdout))
        if request.firmware is None:
            # In a window the boot menu is part of what is to be seen.
            request = replace(request, firmware="bios")
    with short_folder() as name:
        prepared = prepare(
            request, Path(name), serial="terminal" if headless else "unused", runner=runner
        )
        audio = host_audio(listed(runner([QEMU, "-audiodev", "help"]).stdout))
        machine = replace(
            prepared.machine,
            hda_audio=audio,
            usb_audio=audio,
            display=display,
            restricted_network=False,
            stop_on_reboot=False,
        )
        if headless:
            _in_terminal(replace(machine, serial_socket=None))
        else:
            _in_window(replace(prepared, machine=machine), request)


def _in_terminal(machine: Machine) -> None:
    sys.stderr.write("The guest's serial console; Ctrl-A X ends it, Ctrl-A H shows more keys.\n")
    argv = command_line(machine)
    # QEMU's own stderr goes to a file: the terminal belongs to the guest.
    with _terminal_kept(), tempfile.TemporaryFile() as errors:
        with spawn(
            argv, stdin=sys.stdin.fileno(), stdout=sys.stdout.fileno(), stderr=errors
        ) as qemu:
            qemu.wait()
        _raise_if_failed(qemu, argv, errors)


def _in_window(prepared: PreparedBoot, request: RunRequest) -> None:
    argv = command_line(prepared.machine)
    assert prepared.machine.serial_socket
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(tempfile.TemporaryFile())
        console = Console(stack.enter_context(open_log(request.console_log)))
        qemu = stack.enter_context(spawn(argv, stderr=errors))
        line = stack.enter_context(SerialLine(prepared.machine.serial_socket, console))
        _choose_when_shown(prepared, request, qemu, console, line)
        qemu.wait()
        _raise_if_failed(qemu, argv, errors)


def _choose_when_shown(
    prepared: PreparedBoot,
    request: RunRequest,
    qemu: subprocess.Popen[bytes],
    console: Console,
    line: SerialLine,
) -> None:
    """Choose the wanted entry in the boot menu; the default is left to the user and the clock."""
    wanted = prepared.entry if request.variant or request.entry else None
    if wanted is None or prepared.machine.direct:
        return
    while qemu.poll() is None and console.phase is None:
        time.sleep(0.1)
    if console.phase == "boot menu":
        type_keys(line.send, wanted, received=lambda: console.received)


@contextlib.contextmanager
def _terminal_kept() -> Iterator[None]:
    """Put the terminal's settings back, also when QEMU had no time to do it."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


def _raise_if_failed(qemu: subprocess.Popen[bytes], argv: Sequence[str], errors: IO[bytes]) -> None:
    if qemu.returncode == 0:
        return
    errors.seek(0)
    lines = [line for line in errors.read().decode("utf-8", "replace").splitlines() if line.strip()]
    raise ToolFailedError(
        f"QEMU ended with status {qemu.returncode}",
        why="\n        ".join([*lines[-12:], f"command: {shell_quoted(argv)}"]),
        next_step="repeat with --debug",
    )
