"""A store that another process writes to: seen before we wait for it, and named.

StreamDB waits for its turn to write for as long as it takes, and a thread that waits there can do
nothing else. So we look first whether it would have to.
"""

from __future__ import annotations

import time
from pathlib import Path

from hydramesh.library.errors import StoreLocked
from streamdb import StreamDB
from streamdb.place import INDEX
from streamdb.turns import holder_of

PATIENCE_S = 1.0
_LOOK_S = 0.02


def wait_for_turn(store: StreamDB) -> None:
    """Wait a little while until nobody else writes to a store.

    Raises:
        StoreLocked: somebody goes on writing.
    """
    end = time.monotonic() + PATIENCE_S
    while (process := store.engine.writer_elsewhere()) and time.monotonic() < end:
        time.sleep(_LOOK_S)
    if process:
        raise StoreLocked(
            f"its store is locked by {program(process)}, which writes to it",
            why=f"it has not ended within {PATIENCE_S:g} s",
            next_step="nothing is lost: it is tried again by itself when that has ended",
        )


def refuse_locked(path: Path) -> None:
    """Refuse to open a store while another process writes to it: opening waits for its end.

    Raises:
        StoreLocked: it does.
    """
    process = holder_of(path / INDEX / "lock.mdb")
    if process:
        raise StoreLocked(f"its store is locked by {program(process)}, which writes to it")


def program(process: int) -> str:
    """A process as the user knows it."""
    try:
        name = Path(f"/proc/{process}/comm").read_text(errors="replace").strip()
    except OSError:
        name = ""
    plain = "".join(each for each in name if each.isprintable())
    return f"process {process} ({plain})" if plain else "another process"
