"""Whose turn it is to write: a queue that a killed process does not spoil."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from streamdb import turns

_WAITER = """
import os, sys, time
from streamdb import turns
descriptor = os.open(sys.argv[1], os.O_RDWR)
print("asking", flush=True)
turns.take(descriptor)
print("mine", flush=True)
time.sleep(60)
"""


def heard(process: subprocess.Popen[str]) -> str:
    """The next line that a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def queue(tmp_path):
    """Starts processes that take their turn on one file; they are ended with the test."""
    path = tmp_path / "lock"
    path.touch()
    running = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", _WAITER, str(path)], stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        assert heard(process) == "asking"
        return process

    yield start, path
    for process in running:
        process.kill()
        process.wait(timeout=60)
        if process.stdout is not None:
            process.stdout.close()


def test_the_next_one_writes_though_the_owner_and_others_who_wait_are_killed(queue):
    start, _ = queue
    owner = start()
    assert heard(owner) == "mine"
    waiting = [start() for _ in range(3)]
    os.kill(waiting[0].pid, signal.SIGKILL)
    os.kill(owner.pid, signal.SIGKILL)
    os.kill(waiting[1].pid, signal.SIGKILL)
    assert heard(waiting[2]) == "mine"


def test_a_turn_that_ends_is_the_next_ones(queue):
    start, path = queue
    descriptor = os.open(path, os.O_RDWR)
    try:
        turns.take(descriptor)
        turns.take(descriptor)  # it is ours already
        other = start()
        turns.end(descriptor)
        turns.end(descriptor)
        assert heard(other) == "mine"
    finally:
        os.close(descriptor)
