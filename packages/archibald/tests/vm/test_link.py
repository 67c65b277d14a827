"""The self-test port: a guest on the other end that speaks, stutters, lies or stays silent."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from archibald.errors import PreconditionError
from archibald.vm.link import SelftestLink
from archibald.vm.selftest.model import Answer, Check, Report
from archibald.vm.selftest.port import GuestPort, open_port

REPORT = Report(
    system={"variant": "default"},
    figures={"boot_s": 9.5},
    checks=(
        Check(id="kernel.variant", group="kernel", answer=Answer.OK, expected="a", observed="a"),
    ),
)


@contextlib.contextmanager
def guest(tmp_path: Path) -> Iterator[tuple[socket.socket, SelftestLink]]:
    """Yield the guest's end of the connection, and the host's link."""
    path = tmp_path / "port"
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server,
        SelftestLink(path) as link,
    ):
        server.bind(str(path))
        server.listen()
        connection, _ = server.accept()
        with connection:
            yield connection, link


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)


def test_progress_report_and_acknowledgement(tmp_path: Path) -> None:
    with guest(tmp_path) as (connection, link):
        port = GuestPort(connection.fileno())
        port.progress("audio")
        wait_for(lambda: link.phase == "audio")
        assert port.deliver(REPORT, timeout_s=20.0)
        wait_for(lambda: link.report)
        assert link.report == REPORT
        assert link.problem is None


def test_report_in_small_pieces(tmp_path: Path) -> None:
    with guest(tmp_path) as (connection, link):
        data = REPORT.to_line().encode()
        for start in range(0, len(data), 7):
            connection.sendall(data[start : start + 7])
        wait_for(lambda: link.report)
        assert connection.recv(16) == b"ok\n"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"garbage\n", "no JSON"),
        (b"\xff\xfe\x00\n", "no JSON"),
        (b"[" * 100000 + b"\n", "no JSON"),
        (b"[1, 2]\n", "malformed"),
        (b"{}\n", "no checks"),
        (b'{"kind": "report", "schema": 2, "checks": []}\n', "malformed"),
        (b'{"kind": "report", "schema": 1, "checks": []}\n', "no checks"),
        (b'{"kind": "error", "what": "it \\u001b[31mcrashed"}\n', "it [31mcrashed"),
        (
            b'{"kind":"report","schema":1,"checks":[{"id":"a","group":"b","answer":"fine",'
            b'"expected":"","observed":""}]}\n',
            "malformed",
        ),
    ],
)
def test_nonsense(tmp_path: Path, data: bytes, problem: str) -> None:
    with guest(tmp_path) as (connection, link):
        connection.sendall(data)
        wait_for(lambda: link.problem)
        assert link.problem
        assert problem in link.problem
        assert link.report is None


def test_line_without_an_end(tmp_path: Path) -> None:
    with guest(tmp_path) as (connection, link):

        def flood() -> None:
            with contextlib.suppress(OSError):
                for _ in range(80):
                    connection.sendall(b"x" * 65536)

        thread = threading.Thread(target=flood)
        thread.start()
        wait_for(lambda: link.problem)
        assert link.problem
        assert "without an end" in link.problem
        thread.join(timeout=20)


def test_silent_guest(tmp_path: Path) -> None:
    with guest(tmp_path) as (_, link):
        assert link.report is None
        assert link.problem is None


def test_guest_that_hangs_up(tmp_path: Path) -> None:
    with guest(tmp_path) as (connection, link):
        connection.sendall(REPORT.to_line().encode()[:20])
        connection.close()
    assert link.report is None


def test_link_ends_without_a_guest(tmp_path: Path) -> None:
    with SelftestLink(tmp_path / "nobody") as link:
        assert link.phase is None


def test_report_survives_its_line() -> None:
    document = json.loads(REPORT.to_line())
    assert document["schema"] == 1
    assert document["kind"] == "report"
    assert Report.model_validate(document) == REPORT


def test_failure_is_told(tmp_path: Path) -> None:
    read, write = os.pipe()
    GuestPort(write).fail("no profile")
    assert json.loads(os.read(read, 4096)) == {"kind": "error", "what": "no profile"}
    os.close(read)
    os.close(write)


def test_missing_port(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match="No such file"), open_port(tmp_path / "none"):
        pass
