"""A real jackd without hardware, and a client in C for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packages.archibald.tests.measure.jackclient import build

from archibald.measure.graph import Jack


@dataclass
class JackServer:
    """A jackd with the dummy driver; it runs in real time, and plays nowhere."""

    name: str
    stack: contextlib.ExitStack
    client_program: Path

    @property
    def env(self) -> dict[str, str]:
        """What clients need to find it."""
        return {**os.environ, "JACK_DEFAULT_SERVER": self.name, "JACK_NO_START_SERVER": "1"}

    def client(
        self, name: str, *, delay: int = 0, gain: float = 1.0, busy_us: int = 0,
        stall_every: int = 0, stall_us: int = 0,
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        """Start a client and wait until it is active."""
        words = (name, delay, gain, busy_us, stall_every, stall_us)
        process = subprocess.Popen(
            [str(self.client_program), *map(str, words)],
            env=self.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.stack.callback(end, process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process that a test started."""
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


@pytest.fixture(scope="session")
def client_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The client, compiled."""
    return build(tmp_path_factory.mktemp("client"))


@pytest.fixture
def jackd(client_program: Path) -> Iterator[Callable[..., JackServer]]:
    """Start a jackd of its own name; it ends with the test."""
    with contextlib.ExitStack() as stack:

        def start(quantum: int = 256, rate: int = 48000) -> JackServer:
            server = JackServer(f"archibald-test-{os.getpid()}", stack, client_program)
            process = subprocess.Popen(
                ["jackd", "-n", server.name, "-d", "dummy", "-r", str(rate), "-p", str(quantum)],
                env={**os.environ, "JACK_NO_AUDIO_RESERVATION": "1"},
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            stack.callback(end, process)
            deadline = time.monotonic() + 20
            while True:
                try:
                    assert Jack(server.name).period() == (quantum, rate)
                    return server
                except Exception:
                    assert process.poll() is None, "jackd ended"
                    assert time.monotonic() < deadline, "jackd does not answer"
                    time.sleep(0.1)

        yield start
