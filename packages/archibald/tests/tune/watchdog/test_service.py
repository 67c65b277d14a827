"""The watchdog at work: real canaries, a real runaway thread, and refusals."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner

from archibald.cli.common import cli
from archibald.errors import ExitCode
from archibald.tune.watchdog import service
from archibald.tune.watchdog.canary import Canaries, CanaryError, canaries
from archibald.tune.watchdog.model import Beat, Event, Kind, Look, Sample, Thread, Watch

#: A thread that takes CPU 1 whole at FIFO 50 until it is demoted. It cannot stay: it looks at the
#: clock, the kernel ends it after 12 s of real-time CPU (RLIMIT_RTTIME), and an alarm after 15 s.
HOG = """
import os, resource, signal, sys, time
signal.alarm(15)
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
resource.setrlimit(resource.RLIMIT_RTTIME, (12_000_000, 12_500_000))
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
end = time.monotonic() + 11
while time.monotonic() < end and os.sched_getscheduler(0) == os.SCHED_FIFO:
    pass
sys.exit(0 if os.sched_getscheduler(0) == os.SCHED_OTHER else 1)
"""


def _may_run_real_time() -> bool:
    before = os.sched_getscheduler(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        return False
    os.sched_setscheduler(0, before, os.sched_param(0))
    return True


needs_real_time = pytest.mark.skipif(
    not _may_run_real_time() or len(os.sched_getaffinity(0)) < 2,
    reason="needs the right to SCHED_FIFO, and a CPU to spare",
)


#: A canary locks its memory, some 30 MiB of it.
needs_locked_memory = pytest.mark.skipif(
    os.geteuid() != 0 and 0 <= resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] < 2**28,
    reason="needs the right to lock memory (ulimit -l)",
)


def _event(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the next line of the watchdog, which has to come within half a minute."""
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], 30)[0], "the watchdog says nothing"
    event: dict[str, Any] = json.loads(process.stdout.readline())
    return event


@pytest.fixture
def watchdog() -> Iterator[subprocess.Popen[str]]:
    """Start the watchdog as a user does; it is ended whatever happens."""
    process = subprocess.Popen(
        [sys.executable, "-m", "archibald", "watchdog", "--after", "2", "--json", "--quiet"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield process
    process.kill()
    process.wait()


@pytest.mark.slow
@needs_real_time
def test_a_real_hog_ends_demoted_and_named(watchdog):
    assert _event(watchdog)["event"] == "watching"
    assert os.sched_getscheduler(watchdog.pid) & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
    assert os.sched_getparam(watchdog.pid).sched_priority == 99
    hog = subprocess.Popen([sys.executable, "-c", HOG])
    try:
        event = _event(watchdog)
        assert hog.wait(timeout=30) == 0, "it ended by itself instead of being demoted"
    finally:
        hog.kill()
    assert event["event"] == "demoted"
    assert event["thread"]["pid"] == hog.pid
    assert (event["thread"]["policy"], event["thread"]["priority"]) == ("FIFO", 50)
    assert event["thread"]["cpu_share"] > 0.5
    watchdog.send_signal(signal.SIGTERM)
    assert watchdog.wait(timeout=30) == 0


@needs_locked_memory
def test_canaries_say_when_they_ran_and_end_with_the_block():
    cpu = min(os.sched_getaffinity(0))
    with canaries([cpu], beat_s=0.01) as birds:
        (pid,) = birds.pids.values()
        first = birds.look().beats[cpu]
        while birds.look().beats[cpu].due_s == first.due_s:
            birds.check()
            time.sleep(0.01)
        assert os.sched_getaffinity(pid) == {cpu}
        assert os.sched_getscheduler(pid) == os.SCHED_OTHER
        birds.check()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def _check_until_it_fails(birds: Canaries) -> None:
    while True:
        birds.check()
        time.sleep(0.01)


@needs_locked_memory
def test_a_canary_that_ends_is_an_error():
    with canaries([min(os.sched_getaffinity(0))]) as birds:
        (pid,) = birds.pids.values()
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(CanaryError, match="has ended") as caught:
            _check_until_it_fails(birds)
    assert "-9" in caught.value.why


def test_a_cpu_that_is_not_there_is_an_error():
    with canaries([100_000]) as birds, pytest.raises(CanaryError, match="CPU 100000"):
        _check_until_it_fails(birds)


def test_no_cpu_is_an_error():
    with pytest.raises(CanaryError, match="no CPU to watch"), canaries([]):
        pass


def test_canaries_end_with_a_parent_that_is_killed():
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        try:
            with canaries([min(os.sched_getaffinity(0))]) as birds:
                os.write(write, str(next(iter(birds.pids.values()))).encode())
                os.kill(os.getpid(), signal.SIGKILL)
        finally:
            os._exit(1)
    os.waitpid(parent, 0)
    canary = int(os.read(read, 20))
    os.close(read)
    os.close(write)
    deadline = time.monotonic() + 20
    while _lives(canary):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stream:  # noqa: PTH123 - may vanish while it is read
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class _Birds:
    """Canaries of CPU 1 that never run."""

    def __init__(self) -> None:
        self.now = 0.0

    def look(self) -> Look:
        self.now += 1.0
        return Look(self.now, {1: Beat(0.0, 0.0)})


def _hog(now: float) -> Thread:
    return Thread(5, 5, 1, "hog", "hog", "RR", 10, 1, 0.95 * now, kernel=False)


@pytest.mark.parametrize(("refusal", "kind"), [("", Kind.DEMOTED), ("no", Kind.REFUSED)])
def test_all_are_demoted_before_anybody_is_told(refusal, kind):
    birds, order = _Birds(), []

    def demote(thread: Thread) -> str:
        order.append(f"demote {thread.comm}")
        return refusal

    acts = service.Acts(
        lambda: Sample(birds.now, [_hog(birds.now)]), demote, lambda e: order.append(e.kind.value)
    )
    watch, events = Watch(after_s=3.0), []
    for _ in range(6):
        events += service.judge(watch, birds.look(), acts, 1.0)
    assert order == ["demote hog", kind.value]
    assert [(event.kind, event.detail) for event in events] == [(kind, refusal)]


def test_threads_are_not_listed_while_nobody_waits():
    def never() -> Sample:
        raise AssertionError("threads were listed")

    with canaries([min(os.sched_getaffinity(0))], beat_s=3600) as birds:
        acts = service.Acts(never, lambda _thread: "", lambda _event: None)
        watch = Watch()
        for _ in range(3):
            assert service.judge(watch, birds.look(), acts, 3600.0) == []


def _refused(monkeypatch, error: OSError, uid: int):
    def refuse(*_args):
        raise error

    monkeypatch.setattr(os, "sched_setscheduler", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(service, "name_process", lambda _name: None)
    return CliRunner().invoke(cli, ["watchdog"])


@pytest.mark.parametrize(
    ("error", "uid", "why"),
    [
        (PermissionError(1, "no"), 1000, "you are user 1000"),
        (PermissionError(1, "no"), 0, "no real-time budget"),
        (OSError(38, "Function not implemented"), 0, "Function not implemented"),
    ],
)
def test_without_the_right_it_says_so(monkeypatch, error, uid, why):
    found = _refused(monkeypatch, error, uid).exception
    assert isinstance(found, service.NoRealtimeError)
    assert why in found.why
    assert found.next_step
    assert found.exit_code is ExitCode.REFUSED


def test_what_the_journal_has_is_not_printed_into_it_again(monkeypatch):
    def one_event(*, said, ready, **_options):
        ready({1})
        said(Event(Kind.UNEXPLAINED, 1, 5.0, 0.9))

    monkeypatch.setattr(service, "guard", one_event)
    stdout = os.fstat(1)
    for stream, times in ((f"{stdout.st_dev}:{stdout.st_ino}", 0), ("8:1", 1), ("", 1)):
        monkeypatch.setenv("JOURNAL_STREAM", stream)
        output = CliRunner().invoke(cli, ["watchdog"]).output
        assert output.count("left ordinary programs waiting") == times


@pytest.mark.parametrize("after", ["0", "-1", "nan", "inf", "1e9"])
def test_times_that_make_no_sense_are_refused(after):
    result = CliRunner().invoke(cli, ["watchdog", "--after", after])
    assert "out of bounds" in str(result.exception)
