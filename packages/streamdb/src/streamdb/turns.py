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
import os
import struct
import time
from pathlib import Path

# LMDB locks byte 0, and for each reader the byte whose number is the process's.
_TURN_AT = 1 << 40
# struct flock: kind, from where, first byte, bytes, process; padded to its alignment.
_LOCK = struct.Struct("@hhqqi0q")


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


def holder(descriptor: int) -> int:
    """The other process whose turn it is: 0 for none, -1 where it has no number here.

    It asks, and takes nothing: the lock belongs to whole processes.
    """
    asked = _LOCK.pack(fcntl.F_WRLCK, 0, _TURN_AT, 1, 0)
    try:
        kind, *_, process = _LOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    except OSError:
        return 0
    return 0 if kind == fcntl.F_UNLCK else int(process) or -1


def holder_of(path: Path) -> int:
    """As :func:`holder`, of a lock file that need not be open; this process counts as none.

    Opening it would not do: closing it again drops all locks that this process has on it.
    """
    try:
        found = path.stat()
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in lines:
        _, kind, *_, process, file, first, _ = line.replace("-> ", "").split()
        if (kind, file, first) == ("POSIX", place, str(_TURN_AT)) and int(process) != os.getpid():
            return int(process)
    return 0
