"""Fresh processes at the price of a fork: a parent that has imported all and opened nothing.

Each task runs in a child of its own, so that a crash, a hang or a kill hits only that. The parent
never opens a store: LMDB's handles do not survive a fork.

    python -m packages.streamdb.tests.crash.nursery            serve requests, one JSON a line
    python -m packages.streamdb.tests.crash.nursery --run FILE run one task in this very process
"""

from __future__ import annotations

import contextlib
import faulthandler
import itertools
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[4]
MODULE = "packages.streamdb.tests.crash.nursery"


@dataclass(frozen=True)
class Outcome:
    """How a task ended: ``value`` is what it returned, ``signal`` what killed it (0: nothing).

    ``hung`` when it was ended because its time was over; ``error`` is the text of an exception.
    """

    value: Any
    signal: int
    hung: bool
    error: str

    @property
    def ok(self) -> bool:
        """Whether the task returned."""
        return not (self.signal or self.hung or self.error)

    def __str__(self) -> str:
        if self.hung:
            return "it hung"
        if self.signal:
            return f"it was ended by {signal.Signals(self.signal).name}"
        return self.error or "it returned"


class Child:
    """A task that runs."""

    def __init__(self, nursery: Nursery, pid: int, out: Path) -> None:
        self._nursery = nursery
        self.pid = pid
        self._out = out

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self._nursery.status(self.pid) is not None

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if not self.ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def tell_where(self) -> None:
        """Make a child that hangs print, on stderr, where each of its threads is."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR1)
        time.sleep(0.5)

    def wait(self, timeout_s: float = 60.0) -> Outcome:
        """Wait for the end; a task that takes longer is killed and counts as hung."""
        status = self._nursery.wait(self.pid, timeout_s)
        hung = status is None
        if hung:
            self.tell_where()
            self.kill()
            self._nursery.wait(self.pid, 30)
        answer: dict[str, Any] = {}
        if self._out.exists():
            answer = json.loads(self._out.read_text())
            self._out.unlink()
        killed = os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else 0
        error = answer.get("error", "")
        if not answer and not killed and not hung:
            error = f"it ended with status {status} and said nothing"
        return Outcome(answer.get("value"), killed, hung, error)


class Nursery:
    """The serving process as its user sees it."""

    def __init__(self, room: Path) -> None:
        self._room = room
        self._statuses: dict[int, int] = {}
        self._numbers = itertools.count()
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in: IO[str] = self._process.stdin
        self._out: IO[str] = self._process.stdout
        os.set_blocking(self._out.fileno(), False)
        self._rest = ""

    def start(self, task: str, **arguments: Any) -> Child:
        """Run ``tasks.task(**arguments)`` in a new process."""
        out = self._room / f"out-{next(self._numbers)}.json"
        self._in.write(json.dumps({"task": task, "arguments": arguments, "out": str(out)}) + "\n")
        self._in.flush()
        end = time.monotonic() + 30
        while True:
            for line in self._lines(0.2):
                if "started" in line:
                    return Child(self, line["started"], out)
            if time.monotonic() > end or self._process.poll() is not None:
                raise RuntimeError("the nursery does not answer")

    def run(self, task: str, timeout_s: float = 60.0, **arguments: Any) -> Outcome:
        """Run a task to its end."""
        return self.start(task, **arguments).wait(timeout_s)

    def status(self, pid: int) -> int | None:
        """How a child ended, if it has."""
        if pid not in self._statuses:
            for _ in self._lines(0):
                pass
        return self._statuses.get(pid)

    def wait(self, pid: int, timeout_s: float) -> int | None:
        """How a child ended, if it does so in time."""
        end = time.monotonic() + timeout_s
        while self.status(pid) is None and time.monotonic() < end:
            for _ in self._lines(min(0.5, max(0.0, end - time.monotonic()))):
                pass
        return self._statuses.get(pid)

    def _lines(self, timeout_s: float) -> Iterator[dict[str, Any]]:
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._out, selectors.EVENT_READ)
            if not waiting.select(timeout_s):
                return
        self._rest += os.read(self._out.fileno(), 65536).decode()
        *lines, self._rest = self._rest.split("\n")
        parsed = [json.loads(line) for line in lines]
        for line in parsed:
            if "ended" in line:
                self._statuses[line["ended"]] = line["status"]
            else:
                # The kernel gives the number of a child that is gone to another one.
                self._statuses.pop(line["started"], None)
        yield from parsed

    def close(self) -> None:
        """End the server and whatever of its children still runs."""
        self._in.close()
        self._process.wait(30)
        self._out.close()

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# -- the serving process ---------------------------------------------------------------------------


def perform(request: dict[str, Any]) -> None:
    """Run a task, and leave what it returned, or the exception, in the file that was asked for."""
    from packages.streamdb.tests.crash import tasks

    try:
        value = getattr(tasks, request["task"])(**request["arguments"])
        answer = {"value": value}
    except BaseException as error:
        import traceback

        where = "".join(traceback.format_exception(error)[-3:])
        answer = {"error": f"{type(error).__name__}: {error}\n{where}"}
    out = Path(request["out"])
    temporary = out.with_suffix(".tmp")
    temporary.write_text(json.dumps(answer))
    temporary.rename(out)


def _say(**line: int) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


def _bury(running: set[int]) -> None:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        running.discard(pid)
        _say(ended=pid, status=status)


def serve() -> None:
    """Fork a child for each request until the input ends."""
    from packages.streamdb.tests.crash import tasks

    tasks.preload()
    wake, bell = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(bell, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
    running: set[int] = set()
    rest = b""
    with selectors.DefaultSelector() as waiting:
        waiting.register(0, selectors.EVENT_READ)
        waiting.register(wake, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in waiting.select()}
            if wake in ready:
                os.read(wake, 4096)
            _bury(running)
            if 0 not in ready:
                continue
            read = os.read(0, 1 << 20)
            if not read:
                break
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                pid = os.fork()
                if not pid:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    _in_child(line)
                running.add(pid)
                _say(started=pid)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _in_child(line: bytes) -> None:
    code = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        faulthandler.register(signal.SIGUSR1, all_threads=True)
        os.dup2(2, 1)  # what a task prints must not be taken for an answer
        perform(json.loads(line))
        code = 0
    finally:
        os._exit(code)


if __name__ == "__main__":
    from streamdb import naming

    # A short run takes names into the indexes as often as a long one.
    naming.MOST = 7
    if sys.argv[1:2] == ["--run"]:
        perform(json.loads(Path(sys.argv[2]).read_text()))
    else:
        serve()
