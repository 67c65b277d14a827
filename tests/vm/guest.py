"""A guest that does what a test says: commands go in and answers come back over a virtio port.

The agent in the guest is a unit of its own that systemd takes from the firmware's tables (SMBIOS
type 11, systemd.system-credentials(7)), so the image under test is not changed for it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from archibald.run import run, spawn
from archibald.vm.accel import choose_accel
from archibald.vm.boot import short_folder
from archibald.vm.console import Console, SerialLine, connect_when_there, open_log
from archibald.vm.qemu import Machine, command_line
from archibald.vm.qmp import Qmp

_PORT = "org.archibaldos.test"

#: How long a boot may take, emulated, on a busy machine.
BOOT_S = 900.0

_AGENT = f"""\
import json, os, subprocess, time
path = "/dev/virtio-ports/{_PORT}"
while not os.path.exists(path):
    time.sleep(0.5)
port = os.open(path, os.O_RDWR)
rest = b""
while True:
    part = os.read(port, 65536)
    if not part:
        time.sleep(0.2)  # nobody is at the other end
        continue
    *lines, rest = (rest + part).split(b"\\n")
    for line in lines:
        words, text, timeout_s = json.loads(line)
        try:
            done = subprocess.run(words, input=text, capture_output=True, text=True,
                                  errors="replace", timeout=timeout_s)
            answer = [done.returncode, done.stdout, done.stderr]
        except (OSError, subprocess.TimeoutExpired) as error:
            answer = [-1, "", repr(error)]
        reply = json.dumps(answer).encode() + b"\\n"
        while reply:
            reply = reply[os.write(port, reply):]
"""

_UNIT = """\
[Unit]
Description=Agent of the test

[Service]
Type=exec
ImportCredential=archibald-test.*
ExecStart=/usr/bin/python3 %d/archibald-test.agent
"""

_WANTED = "[Unit]\nWants=archibald-test.service\n"

#: Name of a credential → its content.
_CREDENTIALS = {
    "archibald-test.agent": _AGENT,
    "systemd.extra-unit.archibald-test.service": _UNIT,
    "systemd.unit-dropin.multi-user.target": _WANTED,
}


def credentials() -> list[str]:
    """Return QEMU's arguments that give the guest its agent."""
    words = []
    for name, text in _CREDENTIALS.items():
        data = base64.b64encode(text.encode()).decode()
        words += ["-smbios", f"type=11,value=io.systemd.credential.binary:{name}={data}"]
    return words


@dataclass(frozen=True)
class Answer:
    """What a command in the guest left."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Guest:
    """A machine that runs."""

    process: subprocess.Popen[bytes]
    console: Console
    link: socket.socket
    qmp: Path

    def ask(self, *words: str, stdin: str = "", timeout_s: float = 300.0) -> Answer:
        """Run a command as root and return what it left, whatever its exit code."""
        self.link.settimeout(timeout_s + 60.0)
        self.link.sendall(json.dumps([words, stdin, timeout_s]).encode() + b"\n")
        data = b""
        while not data.endswith(b"\n"):
            part = self.link.recv(65536)
            assert part, f"the guest is gone: {self.console.last_lines()}"
            data += part
        return Answer(*json.loads(data))

    def run(self, *words: str, stdin: str = "", timeout_s: float = 300.0) -> str:
        """Run a command as root that has to succeed, and return what it prints."""
        answer = self.ask(*words, stdin=stdin, timeout_s=timeout_s)
        assert answer.code == 0, (words, answer)
        return answer.out

    def as_user(self, name: str, uid: int, *words: str) -> str:
        """Run a command inside a user's session, and return what it prints."""
        session = f"XDG_RUNTIME_DIR=/run/user/{uid}"
        bus = f"DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{uid}/bus"
        return self.run("runuser", "-u", name, "--", "env", session, bus, *words)

    def text(self, path: str) -> str:
        """Return a file's text without the white space around it."""
        return self.run("cat", path).strip()

    def write(self, path: str, text: str) -> None:
        """Write a file."""
        self.run("tee", path, stdin=text)

    def until(self, condition: Callable[[], object], what: str, *, timeout_s: float = 180.0) -> Any:
        """Ask again and again until something is so, and return it."""
        deadline = time.monotonic() + timeout_s
        while not (found := condition()):
            assert time.monotonic() < deadline, f"{what}: {self.console.last_lines()}"
            time.sleep(1.0)
        return found

    def plug(self, driver: str, **properties: str) -> None:
        """Plug in a device."""
        with Qmp(self.qmp) as qmp:
            qmp.execute("device_add", driver=driver, **properties)

    def reboot(self) -> None:
        """Let the guest reboot; QEMU ends there, and the disk keeps what was written."""
        self.ask("systemctl", "--no-block", "reboot")
        self.process.wait(timeout=300.0)


@contextlib.contextmanager
def booted(disk: Path, log: Path, more: Sequence[str] = ()) -> Iterator[Guest]:
    """Boot a disk that keeps what is written, and wait until the boot is over.

    ``log`` takes what the console shows, and what QEMU complains about.
    """
    with short_folder() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        machine = Machine(
            accel=choose_accel("auto", runner=run).name,
            medium=disk,
            writable=True,
            serial_socket=folder / "serial",
            qmp_socket=folder / "qmp",
        )
        port = folder / "agent"
        argv = [
            *command_line(machine), *credentials(), *more,
            "-device", "virtio-serial-pci",
            "-chardev", f"socket,id=agent,path={port},server=on,wait=off",
            "-device", f"virtserialport,chardev=agent,name={_PORT}",
        ]  # fmt: skip
        console = Console(stack.enter_context(open_log(log)))
        errors = stack.enter_context(log.with_suffix(".qemu").open("wb"))
        process = stack.enter_context(spawn(argv, stderr=errors))
        stack.enter_context(SerialLine(folder / "serial", console))
        link = _connected(port)
        stack.callback(link.close)
        guest = Guest(process, console, link, folder / "qmp")
        guest.ask("true", timeout_s=BOOT_S)
        # "degraded" ends with 1: what failed is for the test to say.
        guest.ask("systemctl", "is-system-running", "--wait", timeout_s=BOOT_S)
        yield guest


def _connected(port: Path) -> socket.socket:
    stop = threading.Event()
    timer = threading.Timer(60.0, stop.set)
    timer.start()
    try:
        link = connect_when_there(port, stop)
    finally:
        timer.cancel()
    assert link is not None, "QEMU did not start"
    return link
