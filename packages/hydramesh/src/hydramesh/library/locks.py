"""A store that another process writes to: seen before we wait for it, and named.

StreamDB waits for its turn to write for as long as it takes, and a thread that waits there can do
nothing else. So we look first whether it would have to.
"""

from __future__ import annotations

import fcntl
import os
import struct
import time
from pathlib import Path

from hydramesh.library.errors import StoreLocked
from streamdb import StreamDB
from streamdb.place import INDEX
from streamdb.turns import _TURN_AT

PATIENCE_S = 1.0
_LOOK_S = 0.02
#: struct flock: kind, from where, first byte, bytes, process; padded to its alignment.
_LOCK = struct.Struct("@hhqqi0q")


def writer_of(store: StreamDB) -> int:
    """The process that writes to a store now: 0 for none or this one, -1 where it has no number.

    It asks, and takes nothing: the lock belongs to whole processes, and is not ours to try.
    """
    descriptor = store.engine._lock_file
    if descriptor < 0:
        return 0
    asked = _LOCK.pack(fcntl.F_WRLCK, 0, _TURN_AT, 1, 0)
    try:
        kind, *_, process = _LOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    except OSError:
        return 0
    return 0 if kind == fcntl.F_UNLCK else int(process) or -1


def wait_for_turn(store: StreamDB) -> None:
    """Wait a little while until nobody else writes to a store.

    Raises:
        StoreLocked: somebody goes on writing.
    """
    end = time.monotonic() + PATIENCE_S
    while (process := writer_of(store)) and time.monotonic() < end:
        time.sleep(_LOOK_S)
    if process:
        raise StoreLocked(
            f"its store is locked by {program(process)}, which writes to it",
            why=f"it has not ended within {PATIENCE_S:g} s",
            next_step="nothing is lost: it is tried again by itself when that has ended",
        )


def refuse_locked(path: Path) -> None:
    """Refuse to open a store while another process writes to it.

    LMDB would wait, and hold up every thread of this process meanwhile.

    Raises:
        StoreLocked: it does.
    """
    try:
        found = (path / INDEX / "lock.mdb").stat()
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return
    place = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    for line in lines:
        _, kind, *_, process, file, first, _ = line.replace("-> ", "").split()
        if (kind, file, first) != ("POSIX", place, str(_TURN_AT)) or int(process) == os.getpid():
            continue
        raise StoreLocked(f"its store is locked by {program(int(process))}, which writes to it")


def program(process: int) -> str:
    """A process as the user knows it."""
    try:
        name = Path(f"/proc/{process}/comm").read_text(errors="replace").strip()
    except OSError:
        name = ""
    plain = "".join(each for each in name if each.isprintable())
    return f"process {process} ({plain})" if plain else "another process"
