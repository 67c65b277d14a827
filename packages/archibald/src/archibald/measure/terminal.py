"""A program in a pseudo terminal, so that it prints each line at once, and ended by SIGINT."""

from __future__ import annotations

import contextlib
import os
import pty
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from archibald.run import spawn

#: Takes a piece of what a program printed.
Feed = Callable[[str], None]


@contextlib.contextmanager
def in_terminal(
    argv: Sequence[str], env: Mapping[str, str], feed: Feed
) -> Iterator[Callable[[float], bool]]:
    """Run a program inside the block.

    Yields a function that listens for some seconds, hands what was printed to ``feed``, and says
    whether the program still runs.
    """
    master, slave = pty.openpty()
    try:
        with spawn(argv, env=env, stdout=slave, stderr=slave) as process:
            os.close(slave)
            slave = -1
            yield lambda seconds: _listen(master, process, feed, seconds)
            # A client of JACK closes itself on SIGINT; the server need not find out by itself.
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=2.0)
    finally:
        os.close(master)
        if slave >= 0:
            os.close(slave)


def _listen(master: int, process: subprocess.Popen[bytes], feed: Feed, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        selector.register(master, selectors.EVENT_READ)
        while (left := deadline - time.monotonic()) > 0:
            if not selector.select(timeout=min(left, 0.2)):
                if process.poll() is not None:
                    return False
                continue
            try:
                data = os.read(master, 4096)
            except OSError:  # EIO: the other end is closed
                return False
            feed(data.decode("utf-8", "replace"))
    return True
