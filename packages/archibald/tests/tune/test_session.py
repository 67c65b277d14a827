"""The session: what holds while it runs, and that all of it is let go of, however it ends."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from archibald.cli.common import cli
from archibald.errors import UsageError
from archibald.tune.journal import Journal, JournalError
from archibald.tune.session import CHECKS, DEVICE, FOLDER, UNIT, awake, session, start, stop

QOS = "/sys/devices/system/cpu/cpu1/power/pm_qos_resume_latency_us"
AFFINITY = "/proc/irq/131/smp_affinity_list"
OTHER = "/proc/irq/128/smp_affinity_list"
WORK = "/sys/devices/virtual/workqueue/cpumask"


def _journal(root: Path) -> Journal:
    return Journal(root / FOLDER)


def test_inside_it_holds_and_after_it_does_not(scene):
    it = scene("desktop-usb")
    with session(it, _journal(it.sight.root)) as results:
        assert (it.sight.value(QOS), it.sight.value(AFFINITY)) == ("20", "1")
        assert (it.sight.value(WORK), it.sight.value(OTHER)) == ("ffd", "0,2-11")
        assert sum(result.good for result in results) == 4
        # Threads of a recorded machine cannot be scheduled.
        assert [r.step.change.kind for r in results if not r.good] == ["thread"]
    assert (it.sight.value(QOS), it.sight.value(AFFINITY)) == ("0", "0-11")
    assert (it.sight.value(WORK), it.sight.value(OTHER)) == ("fff", "0-11")


def test_a_failure_inside_lets_go(scene):
    it = scene("desktop-usb")
    with pytest.raises(ZeroDivisionError), session(it, _journal(it.sight.root)):
        raise ZeroDivisionError
    assert it.sight.value(QOS) == "0"


def test_one_session_at_a_time(scene):
    it = scene("desktop-usb")
    journal = _journal(it.sight.root)
    with session(it, journal):
        with pytest.raises(JournalError, match="right now"), session(it, Journal(journal.folder)):
            pass
        assert it.sight.value(QOS) == "20"


def _killed_inside(scene) -> None:
    child = os.fork()
    if child == 0:
        try:
            with session(scene, _journal(scene.sight.root)):
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert scene.sight.value(QOS) == "20"


def test_what_a_killed_session_left_is_taken_back(scene):
    it = scene("desktop-usb")
    _killed_inside(it)
    assert len(stop(it, _journal(it.sight.root))) == 4
    assert (it.sight.value(QOS), it.sight.value(AFFINITY)) == ("0", "0-11")
    assert stop(it, _journal(it.sight.root)) == []


def test_the_next_session_starts_from_the_first_state(scene):
    it = scene("desktop-usb")
    _killed_inside(it)
    with session(it, _journal(it.sight.root)):
        assert it.sight.value(QOS) == "20"
    assert it.sight.value(QOS) == "0"


def test_started_it_holds_without_a_process(scene):
    it = scene("desktop-usb")
    journal = _journal(it.sight.root)
    results = start(it, journal)
    assert sum(result.good for result in results) == 4
    assert (it.sight.value(QOS), it.sight.value(AFFINITY)) == ("20", "1")
    assert len(stop(it, journal)) == 4
    assert (it.sight.value(QOS), it.sight.value(AFFINITY)) == ("0", "0-11")


def test_started_again_for_another_card_the_first_is_let_go(scene):
    it, other = scene("desktop-usb"), scene("desktop-usb", card="PCH")
    journal = _journal(it.sight.root)
    start(it, journal, ["irq.card-affinity"])
    start(other, journal, ["irq.card-affinity"])
    assert it.sight.value(AFFINITY) == "0-11"
    assert it.sight.value("/proc/irq/129/smp_affinity_list") == "1"
    assert it.sight.value(QOS) == "0"


def test_only_checks_of_a_session_can_be_started(scene):
    it = scene("desktop-usb")
    with pytest.raises(UsageError, match="is none of a session's") as caught:
        start(it, _journal(it.sight.root), ["cpu.governor"])
    assert CHECKS[0] in caught.value.next_step


def test_a_session_that_runs_keeps_others_from_starting(scene):
    it = scene("desktop-usb")
    journal = _journal(it.sight.root)
    with session(it, journal), pytest.raises(JournalError, match="right now"):
        start(it, Journal(journal.folder), patience_s=0)


def test_start_and_stop_as_a_user_says_them(machine):
    root = machine("desktop-usb")

    def said(*words: str) -> Result:
        argv = ["session", *words, "--root", str(root)]
        return CliRunner().invoke(cli, argv, standalone_mode=False)

    result = said("start", "irq.card-affinity")
    assert (result.return_value, result.output) == (
        0, "set: 1 of 1 changes; archibald session stop undoes them\n",
    )  # fmt: skip
    result = said("stop")
    assert result.output == "1 changes taken back\n"
    result = said("start", "--json")
    # Threads of a recorded machine cannot be scheduled.
    assert result.return_value == 1
    outcomes = [step["outcome"] for step in json.loads(result.output)["steps"]]
    assert sorted(outcomes) == ["refused", "set", "set", "set", "set"]


@pytest.fixture
def started(machine) -> Callable[[], tuple[subprocess.Popen[str], Path]]:
    """Start a session as a user does, on a recorded machine."""

    def start() -> tuple[subprocess.Popen[str], Path]:
        root = machine("desktop-usb")
        process = subprocess.Popen(
            [sys.executable, "-m", "archibald", "session", "run", "--root", root],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "holding: CPUs awake, 4 of 5 changes\n"
        return process, root

    return start


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_it(started, number):
    process, root = started()
    process.send_signal(number)
    assert process.wait(timeout=30) == 0
    assert (root / QOS[1:]).read_text() == "0\n"


@pytest.mark.slow
def test_stop_ends_the_one_that_runs(started, scene):
    process, root = started()
    assert stop(scene("desktop-usb"), _journal(root)) == []
    assert process.wait(timeout=30) == 0
    assert (root / QOS[1:]).read_text() == "0\n"


def _held_us() -> int:
    with Path(DEVICE).open("rb", buffering=0) as stream:
        return int(struct.unpack("=i", stream.read(4))[0])


@pytest.mark.slow
@pytest.mark.skipif(
    not os.access(DEVICE, os.R_OK | os.W_OK), reason="needs the right to hold the latency"
)
def test_the_kernel_keeps_cpus_awake_as_long_as_the_process_lives():
    from archibald.tune.observe import live_sight
    from archibald.vm.selftest.reader import SessionUser

    before = _held_us()
    sight = live_sight(SessionUser("root", 0))
    with awake(sight, 15) as possible:
        assert possible
        assert _held_us() == min(15, before)
    assert _held_us() == before
    child = os.fork()
    if child == 0:
        with awake(sight, 15):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert _held_us() == before


def test_the_unit_takes_back_after_a_kill():
    assert "ExecStopPost={program} session stop" in UNIT
