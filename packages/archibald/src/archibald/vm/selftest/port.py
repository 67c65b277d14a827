"""The guest's end of the self-test port: lines of JSON out, one line of acknowledgement back."""

from __future__ import annotations

import contextlib
import json
import os
import select
from collections.abc import Iterator
from pathlib import Path

from archibald.errors import PreconditionError
from archibald.vm.selftest.model import Report

#: What the host answers when it has the report.
ACKNOWLEDGEMENT = b"ok\n"


class GuestPort:
    """Sends progress and the report to the host."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def progress(self, phase: str) -> None:
        """Tell the host what happens next."""
        self._send(json.dumps({"kind": "progress", "phase": phase}) + "\n")

    def fail(self, what: str) -> None:
        """Tell the host that there will be no report, and why."""
        self._send(json.dumps({"kind": "error", "what": what}) + "\n")

    def deliver(self, report: Report, *, timeout_s: float = 60.0) -> bool:
        """Send the report and wait for the acknowledgement; say whether it came."""
        self._send(report.to_line())
        readable, _, _ = select.select([self._descriptor], [], [], timeout_s)
        return bool(readable) and os.read(self._descriptor, 64).startswith(ACKNOWLEDGEMENT.strip())

    def _send(self, text: str) -> None:
        data = text.encode()
        while data:
            data = data[os.write(self._descriptor, data) :]


@contextlib.contextmanager
def open_port(path: Path) -> Iterator[GuestPort]:
    """Open the port. Raises PreconditionError when it is not there."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise PreconditionError(
            f"the port {path} cannot be opened",
            why=error.strerror or str(error),
            next_step="only a virtual machine of `archibald run IMAGE --check` has it",
        ) from None
    try:
        yield GuestPort(descriptor)
    finally:
        os.close(descriptor)
