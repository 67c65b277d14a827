"""Probes of the user's session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from archibald.profile.model import Profile, Realtime
from archibald.vm.selftest import session
from archibald.vm.selftest.expectation import expectation
from archibald.vm.selftest.model import Answer

PROFILE = Profile.model_validate({"desktop": {"enable": False}})


@pytest.fixture
def granted(recorded: Callable[[str], str]) -> str:
    """The recorded limits with what the profile grants."""
    text = recorded("limits.txt")
    for name, soft in (
        ("Max locked memory         8388608              8388608", "unlimited"),
        ("Max nice priority         0                    0      ", "39"),
        ("Max realtime priority     0                    0      ", "95"),
    ):
        assert name in text
        start = name[:26]
        text = text.replace(name, f"{start}{soft:<20} {soft:<10}")
    return text


def test_limits_of_three_processes(reader: Any, granted: str, recorded: Any) -> None:
    reader.commands = {"systemctl show --property=MainPID": "MainPID=491\n"}
    reader.files = {
        "/proc/491/status": "Name:\tsystemd\nUid:\t1000\t1000\t1000\t1000\n",
        "/proc/491/cgroup": "0::/user.slice/user-1000.slice/user@1000.service/init.scope\n",
        "/proc/491/limits": granted,
        "/proc/509/status": "Name:\tpipewire\nUid:\t1000\t1000\t1000\t1000\n",
        "/proc/509/cgroup": "0::/user.slice/user-1000.slice/user@1000.service/session.slice\n",
        "/proc/509/cmdline": "/usr/bin/pipewire\0",
        "/proc/509/limits": granted,
        "/proc/500/status": "Name:\tless\nUid:\t1000\t1000\t1000\t1000\n",
        "/proc/500/cgroup": "0::/user.slice/user-1000.slice/session-2.scope\n",
        "/proc/510/status": "Name:\tbash\nUid:\t1000\t1000\t1000\t1000\n",
        "/proc/510/cgroup": "0::/user.slice/user-1000.slice/session-2.scope\n",
        "/proc/510/limits": recorded("limits.txt"),
    }
    found = {
        which: session.limits(reader, Realtime(), which)
        for which in ("pipewire", "user-manager", "login-session")
    }
    assert found["pipewire"].answer is Answer.OK
    assert found["pipewire"].observed == "rtprio 95, memlock unlimited, nice -19"
    assert found["user-manager"].answer is Answer.OK
    assert found["login-session"].answer is Answer.BAD
    assert found["login-session"].observed == "rtprio 0, memlock 8 MiB, nice 20"
    assert "/proc/510/limits" in found["login-session"].evidence


def test_session_that_is_missing(reader: Any) -> None:
    reader.files = {"/proc/1/status": "Name:\tsystemd\nUid:\t0\t0\t0\t0\n"}
    reader.commands = {"systemctl show --property=MainPID": "MainPID=0\n"}
    answers = {
        which: session.limits(reader, Realtime(), which).answer
        for which in ("pipewire", "user-manager", "login-session")
    }
    assert answers == {
        "pipewire": Answer.CANNOT_TELL,
        "user-manager": Answer.CANNOT_TELL,
        "login-session": Answer.NOT_APPLICABLE,
    }


def test_memory_limit_in_bytes() -> None:
    wanted = session.expected_limits(Realtime(memory_lock_mib=512, nice_limit=-11))
    assert wanted["Max locked memory"] == str(512 * 1024 * 1024)
    assert wanted["Max nice priority"] == "31"


def test_limits_that_are_no_limits() -> None:
    with pytest.raises(ValueError, match="no limits"):
        session.parse_limits("Limit  Soft\n")


@pytest.mark.parametrize(
    ("state", "bus", "answer"),
    [
        ("LoadState=loaded\nActiveState=inactive\n", "i 20\n", Answer.OK),
        ("LoadState=loaded\nActiveState=active\n", "i 0\n", Answer.BAD),
        ("LoadState=loaded\nActiveState=inactive\n", "b true\n", Answer.CANNOT_TELL),
        ("LoadState=loaded\nActiveState=failed\n", None, Answer.CANNOT_TELL),
        ("LoadState=not-found\nActiveState=inactive\n", None, Answer.BAD),
    ],
)
def test_rtkit_that_is_wanted(reader: Any, state: str, bus: str | None, answer: Answer) -> None:
    reader.commands = {"systemctl show": state}
    if bus is not None:
        reader.commands["busctl"] = bus
    assert session.rtkit(reader, expectation(PROFILE, "quiet")).answer is answer


def test_rtkit_that_is_not_wanted(reader: Any) -> None:
    without = PROFILE.model_copy(
        update={"realtime": PROFILE.realtime.model_copy(update={"rtkit": False})}
    )
    expected = expectation(without, "quiet")
    reader.commands = {"systemctl show": "LoadState=not-found\nActiveState=inactive\n"}
    assert session.rtkit(reader, expected).answer is Answer.OK
    reader.commands = {"systemctl show": "LoadState=loaded\nActiveState=active\n"}
    assert session.rtkit(reader, expected).answer is Answer.BAD
