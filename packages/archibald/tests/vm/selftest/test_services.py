"""Probes of services, sockets and packages."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from archibald.profile.model import Profile
from archibald.system.spec import Contribution, Forbidden, Origin, SystemSpec
from archibald.vm.selftest import services
from archibald.vm.selftest.expectation import Expectation
from archibald.vm.selftest.model import Answer

PROFILE = Profile.model_validate({"desktop": {"enable": False}})


def expecting(*forbidden: str, network: str = "on-demand") -> Expectation:
    origin = Origin("test", "because")
    items = tuple(Contribution(Forbidden(name), (origin,)) for name in forbidden)
    system = PROFILE.system.model_copy(update={"network": network})
    profile = PROFILE.model_copy(update={"system": system})
    return Expectation(profile, SystemSpec("default", items), "default")


def test_failed_units(reader: Any) -> None:
    reader.commands = {
        "systemctl --system": "",
        "systemctl --user": "a.service loaded failed failed Something\nb.mount loaded failed f B\n",
    }
    assert services.failed_units(reader, "system").answer is Answer.OK
    check = services.failed_units(reader, "user")
    assert (check.answer, check.observed) == (Answer.BAD, "a.service, b.mount")
    reader.commands = {}
    assert services.failed_units(reader, "system").answer is Answer.CANNOT_TELL


STATES = """\
Id=ssh.service
LoadState=not-found
ActiveState=inactive

Id=apt-daily.timer
LoadState=loaded
ActiveState={}
"""


@pytest.mark.parametrize(
    ("state", "answer"),
    [
        ("inactive", Answer.OK),
        ("failed", Answer.OK),
        ("active", Answer.BAD),
        ("activating", Answer.BAD),
        ("reloading", Answer.BAD),
    ],
)
def test_forbidden_units(reader: Any, state: str, answer: Answer) -> None:
    reader.commands = {"systemctl show": STATES.format(state)}
    check = services.forbidden(reader, expecting("ssh.service", "apt-daily.timer"))
    assert check.answer is answer
    assert f"apt-daily.timer: loaded {state}" in check.evidence


def test_answer_about_fewer_units_than_asked_for(reader: Any) -> None:
    reader.commands = {"systemctl show": STATES.format("inactive")}
    expected = expecting("a.service", "b.service", "c.service")
    assert services.forbidden(reader, expected).answer is Answer.CANNOT_TELL


def test_profile_that_forbids_nothing(reader: Any) -> None:
    assert services.forbidden(reader, expecting()).answer is Answer.NOT_APPLICABLE


def test_sockets(recorded: Callable[[str], str]) -> None:
    found = services.parse_sockets(recorded("net-tcp.txt"), "tcp")
    assert [str(item) for item in found] == [
        "tcp 127.0.0.54:53", "tcp 127.0.0.53:53", "tcp 0.0.0.0:5355",
    ]  # fmt: skip
    assert [item.on_loopback for item in found] == [True, True, False]
    six = services.parse_sockets(recorded("net-tcp6.txt"), "tcp6")
    assert [item.port for item in six] == [631, 8080, 22]
    assert [str(six[0]), str(six[2])] == ["tcp6 [::1]:631", "tcp6 [::]:22"]
    assert [item.on_loopback for item in six] == [True, True, False]
    udp = services.parse_sockets(recorded("net-udp.txt"), "udp")
    assert [str(item) for item in udp] == ["udp 127.0.0.54:53", "udp 10.0.2.15:68"]
    with pytest.raises(ValueError, match="no socket table"):
        services.parse_sockets("", "tcp")


def test_listening(reader: Any, recorded: Callable[[str], str]) -> None:
    reader.files = {
        "/proc/net/tcp": recorded("net-tcp.txt"),
        "/proc/net/tcp6": recorded("net-tcp6.txt"),
        "/proc/net/udp": recorded("net-udp.txt"),
        "/proc/77/comm": "sshd\n",
        "/proc/78/comm": "gone\n",
    }
    reader.links = {"/proc/77/fd/3": "socket:[7003]", "/proc/77/fd/4": "/dev/null"}
    check = services.listening(reader, expecting())
    assert check.answer is Answer.BAD
    assert "tcp6 [::]:22 (sshd[77])" in check.observed
    assert "udp 10.0.2.15:68" in check.observed
    assert "127.0.0.53" not in check.observed
    assert "tcp 127.0.0.53:53" in check.evidence


def test_quiet_network(reader: Any, recorded: Callable[[str], str]) -> None:
    head = recorded("net-tcp.txt").splitlines(keepends=True)
    udp = recorded("net-udp.txt")
    reader.files = {"/proc/net/tcp": "".join(head[:3]), "/proc/net/udp": udp.splitlines()[0]}
    check = services.listening(reader, expecting())
    assert (check.answer, check.observed) == (Answer.OK, "nothing (2 on loopback)")


def test_dhcp_client_belongs_to_a_network_that_is_on(
    reader: Any, recorded: Callable[[str], str]
) -> None:
    header = recorded("net-tcp.txt").splitlines()[0]
    reader.files = {"/proc/net/tcp": header, "/proc/net/udp": recorded("net-udp.txt")}
    assert services.listening(reader, expecting(network="on")).answer is Answer.OK
    assert services.listening(reader, expecting(network="off")).answer is Answer.BAD


def test_kernel_without_network_tables(reader: Any) -> None:
    assert services.listening(reader, expecting()).answer is Answer.CANNOT_TELL


def test_packages(reader: Any) -> None:
    manifest = {"packages": {"bash": "5.3-4", "libc6": "2.42-1"}}
    rows = "installed\tbash\t5.3-4\ninstalled\tlibc6\t2.42-1\nconfig-files\told\t1\n"
    reader.files = {services.MANIFEST: json.dumps(manifest)}
    reader.commands = {"dpkg-query": rows}
    check = services.packages(reader)
    assert (check.answer, check.observed) == (Answer.OK, "2 packages")

    reader.commands = {"dpkg-query": rows.replace("5.3-4", "5.3-5") + "installed\tnew\t1\n"}
    check = services.packages(reader)
    assert (check.answer, check.observed) == (Answer.BAD, "2 differ")
    assert check.evidence.splitlines() == [
        "bash: lock 5.3-4, installed 5.3-5",
        "new: lock without it, installed 1",
    ]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"packages": []}', '{"packages": {}}'])
def test_manifest_that_is_none(reader: Any, text: str) -> None:
    reader.files = {services.MANIFEST: text}
    assert services.packages(reader).answer is Answer.CANNOT_TELL


def test_expectations_do_not_share_state() -> None:
    one = expecting("a.service")
    assert replace(one, variant="x").variant == "x"
    assert one.variant == "default"
