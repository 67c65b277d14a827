"""What every test of the repository needs."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Let programs under test hear Ctrl-C and hang-ups, even where we were started without.

    A shell ignores SIGINT for what it starts in the background, nohup ignores SIGHUP, and ignored
    signals are inherited.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
