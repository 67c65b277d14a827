"""Whose turn it is to write: a queue of processes that a killed one cannot spoil.

LMDB's own mutex would do, but for one thing: a process that is killed just after it was woken takes
the wake-up with it, and then the others may sleep for ever. (An unlock wakes one waiter, and the
kernel looks after the mutex of a dead owner, not after who was about to own it.) A lock on a byte
of LMDB's lock file that LMDB does not use is given back by the kernel when its owner ends, however
it ends, and all who wait are told. With it, LMDB's mutex is always free when it is asked for.
"""

from __future__ import annotations

import errno
import fcntl
import time

# LMDB locks byte 0, and for each reader the byte whose number is the process's.
_TURN_AT = 1 << 40


def take(descriptor: int) -> None:
    """Wait until no other process writes.

    Raises:
        OSError: the file system has no locks.
    """
    while True:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX, 1, _TURN_AT)
        except OSError as error:
            # Threads that wait for several stores look like a cycle to the kernel.
            if error.errno != errno.EDEADLK:
                raise
            time.sleep(0.001)
        else:
            return


def end(descriptor: int) -> None:
    """Let another process write; does nothing when it is not our turn."""
    fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, _TURN_AT)
