"""What the watchdog says: fields of the journal, notifications, and names that lie."""

from __future__ import annotations

import os
import pwd
import socket
import struct
from dataclasses import replace

import pytest

from archibald.errors import ToolFailedError
from archibald.run import Result, run
from archibald.tune.watchdog import tell
from archibald.tune.watchdog.model import Event, Kind, Thread, Use
from archibald.vm.selftest.reader import SessionUser

HOG = Thread(101, 100, 7, "worker", "synth", "FIFO", 50, 1, 0.0, kernel=False)
EVENT = Event(Kind.DEMOTED, 1, 5.2, 0.93, Use(HOG, 0.951))


def _parse(raw: bytes) -> dict[str, str]:
    """Read the journal's native form as journald does."""
    found = {}
    while raw:
        line, _, rest = raw.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + size], rest[8 + size + 1 :]
        found[name.decode()] = value.decode()
        raw = rest
    return found


def test_the_journal_gets_fields(tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        assert tell.journal(EVENT, path)
        found = _parse(sock.recv(65536))
    assert found["MESSAGE"] == EVENT.message
    assert "worker of synth (process 100, thread 101, FIFO 50) took 95%" in found["MESSAGE"]
    assert found["MESSAGE_ID"] == tell.MESSAGE_IDS[Kind.DEMOTED]
    assert found["ARCHIBALD_EVENT"] == "demoted"
    assert (found["OBJECT_PID"], found["ARCHIBALD_TID"]) == ("100", "101")
    assert (found["ARCHIBALD_CPU"], found["ARCHIBALD_CPU_SHARE"]) == ("1", "0.951")
    assert found["PRIORITY"] == "4"


def test_without_a_journal_it_goes_on(tmp_path):
    assert not tell.journal(EVENT, tmp_path / "none")


def test_a_journal_that_does_not_read_is_not_waited_for(tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sent = [tell.journal(EVENT, path) for _ in range(2000)]
    assert sent[0]
    assert not sent[-1]


def test_message_ids_are_128_bits_and_different():
    ids = list(tell.MESSAGE_IDS.values())
    assert len(set(ids)) == len(ids) == len(Kind)
    assert all(len(text) == 32 and int(text, 16) for text in ids)


@pytest.mark.parametrize("name", ["a\nPRIORITY=0", "\x1b[31mred", "x\0y"])
def test_a_thread_cannot_write_fields_of_its_own(name):
    event = replace(EVENT, use=Use(replace(HOG, comm=name), 0.9))
    found = _parse(tell.datagram(tell.fields(event)))
    assert found["ARCHIBALD_THREAD"] == name
    assert found["PRIORITY"] == "4"
    assert found["MESSAGE"].isprintable()


def test_markup_in_a_name_is_shown_as_it_is():
    event = replace(EVENT, use=Use(replace(HOG, comm="<b>&"), 0.9))
    argv = tell.notification(event)
    assert argv[:5] == ("busctl", "--user", "--timeout=5", "--", "call")
    assert "&lt;b&gt;&amp; of synth" in argv[14]


def test_every_kind_has_a_sentence():
    events = [
        EVENT,
        Event(Kind.REFUSED, 0, 5, 0.9, Use(HOG, 0.9), "Operation not permitted"),
        Event(Kind.KERNEL, 0, 5, 0.9, Use(replace(HOG, kernel=True), 0.9)),
        Event(Kind.UNEXPLAINED, 0, 5, 0.9),
    ]
    assert {event.kind for event in events} == set(Kind)
    for event in events:
        assert all(tell.notification(event)[13:15])
        assert tell.fields(event)["MESSAGE"].startswith(f"CPU {event.cpu} left")
    assert "Operation not permitted" in events[1].message


def test_users_are_those_with_a_bus(tmp_path):
    own = tmp_path / str(os.geteuid())
    for folder in (own, tmp_path / "4294967294", tmp_path / "x"):
        folder.mkdir()
        (folder / "bus").touch()
    (tmp_path / "1").mkdir()
    assert [user.uid for user in tell.desktop_users(tmp_path)] == [os.geteuid()]
    assert tell.desktop_users(tmp_path / "none") == []


def test_one_desktop_that_fails_does_not_keep_the_next_from_hearing():
    asked = []

    def runner(argv, *, env=None, timeout_s=None, **_options):
        asked.append((list(argv), env["DBUS_SESSION_BUS_ADDRESS"]))
        if len(asked) == 1:
            raise ToolFailedError("busctl failed")
        return Result(tuple(argv), 0, "", "")

    users = [SessionUser("one", os.geteuid()), SessionUser("two", os.geteuid())]
    assert tell.desktop(EVENT, users, runner) == 1
    assert [argv[0] for argv, _ in asked] == ["busctl", "busctl"]
    assert asked[0][1] == f"unix:path=/run/user/{os.geteuid()}/bus"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may act as somebody else")
def test_it_is_sent_as_the_user():
    asked = []

    def runner(argv, **_options):
        asked.append(list(argv))
        return Result(tuple(argv), 0, "", "")

    nobody = pwd.getpwnam("nobody")
    tell.desktop(EVENT, [SessionUser("nobody", nobody.pw_uid)], runner)
    wanted = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}"]
    assert asked[0][:3] == wanted
    said = run([*asked[0][: asked[0].index("--") + 1], "id", "-u"]).stdout
    assert said == f"{nobody.pw_uid}\n"


def test_the_background_process_ends():
    pid = tell.desktop_in_background(EVENT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
