"""The host's end of the self-test port: progress and the report of the guest."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path

from archibald.vm.console import connect_when_there
from archibald.vm.selftest.model import (
    MAX_REPORT_BYTES,
    Report,
    ReportError,
    read_report,
    shortened,
)
from archibald.vm.selftest.port import ACKNOWLEDGEMENT


class SelftestLink(contextlib.AbstractContextManager["SelftestLink"]):
    """Receives lines of JSON from the guest; what the guest sends is not trusted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._phase: str | None = None
        self._report: Report | None = None
        self._problem: str | None = None
        self._thread = threading.Thread(target=self._receive, name="selftest", daemon=True)

    def __enter__(self) -> SelftestLink:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(timeout=5.0)

    @property
    def phase(self) -> str | None:
        """What the guest said it is doing."""
        with self._lock:
            return self._phase

    @property
    def report(self) -> Report | None:
        """The report, once it is here."""
        with self._lock:
            return self._report

    @property
    def problem(self) -> str | None:
        """Why the guest's report cannot be used."""
        with self._lock:
            return self._problem

    def _receive(self) -> None:
        connection = connect_when_there(self._path, self._stop)
        if connection is None:
            return
        with connection:
            connection.settimeout(0.2)
            rest = b""
            while not self._stop.is_set() and self.report is None and self.problem is None:
                try:
                    data = connection.recv(65536)
                except TimeoutError:
                    continue
                except OSError:
                    return
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._take(line, connection)
                if len(rest) > MAX_REPORT_BYTES:
                    self._fail(f"it sent more than {MAX_REPORT_BYTES} bytes without an end")

    def _take(self, line: bytes, connection: socket.socket) -> None:
        if not line.strip() or self.report or self.problem:
            return
        text = line.decode("utf-8", "replace")
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            self._fail(f"it sent no JSON: {shortened(text, 200)!r}")
            return
        kind = message.get("kind") if isinstance(message, dict) else None
        if kind == "progress":
            with self._lock:
                self._phase = shortened(str(message.get("phase")), 80)
        elif kind == "error":
            self._fail(shortened(str(message.get("what")), 400))
        else:
            self._take_report(text, connection)

    def _take_report(self, text: str, connection: socket.socket) -> None:
        try:
            report = read_report(text)
        except ReportError as error:
            self._fail(f"its report is malformed: {error}")
            return
        with contextlib.suppress(OSError):
            connection.sendall(ACKNOWLEDGEMENT)
        with self._lock:
            self._report = report

    def _fail(self, why: str) -> None:
        with self._lock:
            self._problem = why
