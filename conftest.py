"""What every test of the repository needs."""

from __future__ import annotations

import signal

import pytest

#: For a test that builds and boots images, with the fixtures that it is the first to ask for (s).
_VM_TIMEOUT_S = 2700


def pytest_configure() -> None:
    """Let programs under test hear Ctrl-C and hang-ups, even where we were started without.

    A shell ignores SIGINT for what it starts in the background, nohup ignores SIGHUP, and ignored
    signals are inherited.
    """
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give tests that build and boot images the time that an emulated machine needs."""
    for item in items:
        patient = item.get_closest_marker("vm") or item.get_closest_marker("torture")
        if patient and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_VM_TIMEOUT_S))
