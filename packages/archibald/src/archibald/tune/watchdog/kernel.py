"""Three calls of libc that Python's own library does not have."""

from __future__ import annotations

import ctypes
import os
import signal

from archibald.errors import PreconditionError

# <sys/mman.h>: what is there now and what comes, each page from its first use on.
_MCL_CURRENT, _MCL_FUTURE, _MCL_ONFAULT = 1, 2, 4

# <linux/prctl.h>
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15


class MemoryLockError(PreconditionError):
    """Memory could not be locked."""


def lock_memory() -> None:
    """Keep every page in memory from its first use on (mlockall(2), MCL_ONFAULT: Linux 4.4).

    Pages that are never used take no memory. Raises :class:`MemoryLockError`.
    """
    if _libc().mlockall(_MCL_CURRENT | _MCL_FUTURE | _MCL_ONFAULT) != 0:
        raise MemoryLockError(
            "memory cannot be locked", why=os.strerror(ctypes.get_errno()),
            next_step="run it as root, or raise the limit (ulimit -l unlimited)",
        )  # fmt: skip


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent ends."""
    _libc().prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def name_process(name: str) -> None:
    """Name this process in /proc; the kernel keeps 15 bytes."""
    _libc().prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
