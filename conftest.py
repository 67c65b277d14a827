"""What every test of the repository needs."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Let programs under test hear Ctrl-C, even where a shell started us in the background.

    Such a shell has SIGINT ignored, and ignored signals are inherited.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
