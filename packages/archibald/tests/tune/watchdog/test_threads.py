"""Reading and demoting threads: recorded stat lines, and the kernel that runs the tests."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest

from archibald.tune.watchdog import threads
from archibald.tune.watchdog.model import Thread

#: A real line of a thread at FIFO 88 that was on CPU 1: 300 + 25 ticks of CPU time.
LINE = (
    "912 ({comm}) S 880 900 900 0 -1 {flags} 210 0 1 0 300 25 0 0 -89 0 3 0 4711 101 202 "
    "18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 -1 1 {priority} {policy} 0 0 0 0 0 0 0\n"
)


def _line(comm="data-loop.0", flags=0x40, priority=88, policy=1) -> str:
    return LINE.format(comm=comm, flags=flags, priority=priority, policy=policy)


def _parsed(text: str) -> Thread:
    found = threads.parse_thread(text, 880, "pipewire", 100)
    assert found is not None
    return found


def test_a_line_is_read():
    found = _parsed(_line())
    assert found == Thread(
        912, 880, 4711, "data-loop.0", "pipewire", "FIFO", 88, 1, 3.25, kernel=False
    )
    assert found.data_loop


@pytest.mark.parametrize("comm", [") R 1 1 (", "a b", "x)", "("])
def test_names_cannot_move_the_fields(comm):
    found = _parsed(_line(comm))
    assert (found.comm, found.priority, found.cpu) == (comm, 88, 1)


@pytest.mark.parametrize(("policy", "name"), [(0, None), (1, "FIFO"), (2, "RR"), (3, None),
                                              (5, None), (6, None)])  # fmt: skip
def test_only_fifo_and_round_robin_count(policy, name):
    found = threads.parse_thread(_line(policy=policy), 880, "p", 100)
    assert (found.policy if found else None) == name


def test_threads_of_the_kernel_are_told_apart():
    assert _parsed(_line(flags=0x208040)).kernel


@pytest.mark.parametrize("text", ["", "1 (x) R", "912 no bracket 1 2 3", "1 (x) " + "a " * 50])
def test_what_is_no_line_is_refused(text):
    with pytest.raises(ValueError, match=r"no stat line|invalid literal"):
        threads.parse_thread(text, 1, "x", 100)


def _tree(tmp_path, pid: int, lines: dict[int, str]):
    for tid, text in lines.items():
        folder = tmp_path / str(pid) / "task" / str(tid)
        folder.mkdir(parents=True)
        (folder / "stat").write_text(text)
    (tmp_path / str(pid) / "comm").write_text("pipewire\n")


def test_a_sample_has_the_real_time_threads_of_all_processes(tmp_path):
    _tree(tmp_path, 880, {880: _line(policy=0), 912: _line()})
    _tree(tmp_path, 7, {7: _line("mine")})
    _tree(tmp_path, 8, {8: "garbage"})
    (tmp_path / "uptime").write_text("1 2\n")
    (tmp_path / "9").mkdir()  # ended while it was listed
    found = threads.sample(tmp_path, without=frozenset({7}))
    assert [(t.pid, t.tid, t.comm, t.program) for t in found.threads] == [
        (880, 912, "data-loop.0", "pipewire")
    ]


def test_a_number_that_was_used_again_is_left_alone(tmp_path):
    _tree(tmp_path, 880, {912: _line()})
    old = _parsed(_line())
    other = replace(old, start=1)
    assert threads.demote(other, tmp_path) == "it has ended, or is an ordinary thread already"
    assert "No such file" in threads.demote(replace(old, tid=999999), tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="real-time priority needs root")
def test_a_real_thread_is_demoted():
    child = os.fork()
    if child == 0:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(3))
        while os.sched_getscheduler(0) == os.SCHED_FIFO and os.getppid() != 1:
            os.sched_yield()
            time.sleep(0.01)
        os._exit(7)
    try:
        found: list[Thread] = []
        while not found:
            found = [t for t in threads.sample().threads if t.pid == child]
        assert (found[0].policy, found[0].priority) == ("FIFO", 3)
        assert threads.demote(found[0]) == ""
    finally:
        if os.sched_getscheduler(child) != os.SCHED_OTHER:
            os.kill(child, 9)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
