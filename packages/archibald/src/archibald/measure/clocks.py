"""Did the machine sleep while it was measured? Two clocks tell.

CLOCK_MONOTONIC stands still while the machine is suspended, CLOCK_BOOTTIME does not
(clock_gettime(2)); their difference is the time that was slept since the boot.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from archibald.errors import PreconditionError

#: Two clocks are not read at the very same moment; a real suspension takes longer than this (s).
_TOLERANCE_S = 0.25


class SuspendedError(PreconditionError):
    """The machine was suspended in the middle; what was measured is worth nothing."""


def slept_s() -> float:
    """Return how long this machine has been suspended since it was booted, in seconds."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


@contextlib.contextmanager
def without_sleep(what: str, *, slept: Callable[[], float] = slept_s) -> Iterator[None]:
    """Raise :class:`SuspendedError` at the end of the block if the machine slept inside it."""
    before = slept()
    yield
    gone = slept() - before
    if abs(gone) > _TOLERANCE_S:
        raise SuspendedError(
            f"the machine was suspended while {what} was measured",
            why=f"it slept for {gone:.1f} s; nothing was kept",
            next_step="measure again: systemd-inhibit --what=sleep archibald measure ...",
        )
