"""Loads run while they should, and are gone afterwards, however that comes about."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archibald.errors import MissingToolError, ToolFailedError, UsageError
from archibald.measure.loads import IDLE, LOADS, Load, default_loads, find_load, running
from archibald.run import find_tool


def test_unknown_loads_are_a_usage_error():
    with pytest.raises(UsageError, match="no load 'heavy'") as caught:
        find_load("heavy")
    assert "hackbench" in caught.value.next_step


def test_default_loads_exist():
    assert default_loads()[0] == IDLE
    assert all(find_load(name).name == name for name in default_loads())


def test_idle_starts_nothing():
    with running(LOADS[IDLE]) as check:
        check()
    assert LOADS[IDLE].command == ""


def test_a_missing_tool_names_its_package():
    with (
        pytest.raises(MissingToolError, match="no-such-tool"),
        running(Load("x", "", ("no-such-tool",), ("no-such-tool",))),
    ):
        pass


def test_a_load_that_fails_at_once_is_said():
    load = Load("x", "", ("sh", "-c", "echo out of luck >&2; exit 7"), ())
    with pytest.raises(ToolFailedError, match="status 7") as caught, running(load):
        pass
    assert "out of luck" in caught.value.why


def _wait_for_its_end(load: Load) -> None:
    with running(load) as check:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            check()
            time.sleep(0.05)


def test_a_load_that_ends_in_the_middle_is_said():
    with pytest.raises(ToolFailedError, match="ended by itself"):
        _wait_for_its_end(Load("x", "", ("sleep", "0.6"), ()))


def _group(pid: int) -> list[int]:
    """Processes of a process group that still run."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found


_HOLDER = """
import sys, time
from archibald.measure.loads import LOADS, running
with running(LOADS[sys.argv[1]]):
    print("up", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("name", [name for name in LOADS if name != IDLE])
def test_a_load_ends_however_we_end(name, how):
    assert all(find_tool(tool) for tool in LOADS[name].tools), "scripts/host-tools test"
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert holder.stdout is not None
    with holder.stdout:
        try:
            assert holder.stdout.readline() == b"up\n"
            children = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()
            load = int(children[0])
            assert _group(load)
            holder.send_signal(how)
            holder.wait(timeout=20)
            deadline = time.monotonic() + 20
            while _group(load) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert _group(load) == []
        finally:
            holder.kill()
            holder.wait()
