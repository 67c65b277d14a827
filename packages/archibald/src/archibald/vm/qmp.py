"""The few words of QEMU's machine protocol that are needed here: a picture of the screen."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from archibald.errors import ToolFailedError


class Qmp:
    """A connection to QEMU's QMP socket; use it as a context."""

    def __init__(self, path: Path, *, timeout_s: float = 30.0) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        self._path = path

    def __enter__(self) -> Qmp:
        try:
            self._socket.connect(str(self._path))
            self._lines = self._socket.makefile("rb")
            self._receive("QMP")
            self.execute("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def execute(self, command: str, **arguments: Any) -> Any:
        """Run a command and return its result. Raises ToolFailedError."""
        message = {"execute": command, "arguments": arguments}
        self._socket.sendall(json.dumps(message).encode() + b"\n")
        return self._receive("return")

    def _receive(self, wanted: str) -> Any:
        for line in self._lines:
            message = json.loads(line)
            if "error" in message:
                raise ToolFailedError(
                    "QEMU refused a command", why=str(message["error"].get("desc", message))
                )
            if wanted in message:
                return message[wanted]
        raise ToolFailedError("QEMU closed its control socket", why=str(self._path))


def save_screenshot(qmp_socket: Path, picture: Path) -> None:
    """Save what the guest's screen shows as a PNG file. Raises ToolFailedError."""
    try:
        with Qmp(qmp_socket) as qmp:
            qmp.execute("screendump", filename=str(picture.absolute()), format="png")
    except (OSError, ValueError) as error:
        raise ToolFailedError("no picture of the guest's screen", why=str(error)) from None
