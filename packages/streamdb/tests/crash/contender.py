"""One of several processes that write and read the same paths; see :mod:`linear`."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable

from streamdb.errors import NotFound
from streamdb.store import StreamDB


class Contender:
    """Makes random calls; ``say`` takes a line of its log, which outlives the process."""

    PATHS = ("a", "b/c", "b/d", "b/" + "x" * 600, "e")

    def __init__(self, say: Callable[[str], None], name: str, rng: random.Random) -> None:
        self._line = say
        self._name = name
        self._rng = rng
        self._number = 0

    def call(self, db: StreamDB) -> None:
        """One call, logged before and after."""
        self._number += 1
        path = self._rng.choice(self.PATHS)
        name = f"{self._name}-{self._number}"
        value = f"{name}:" + "v" * self._rng.choice([0, 100, 30_000])
        kind = self._rng.choice(["put", "put", "get", "get", "get", "delete", "swap"])
        start = time.monotonic_ns()
        if kind != "get":
            # In case this process is killed inside of the call.
            self._say("put" if kind != "delete" else "delete", path, value, name, start, None)
        seen = getattr(self, "_" + kind)(db, path, value, name)
        end = time.monotonic_ns()
        if kind == "get" or seen is None:
            self._say("get", path, seen or "", name, start, end)
        else:
            self._say("put" if kind != "delete" else "delete", path, seen, name, start, end)

    def _say(
        self, kind: str, path: str, value: str, name: str, start: int, end: int | None
    ) -> None:
        value = value.partition(":")[0] if kind != "delete" else ""
        self._line(json.dumps([kind, path, value, name, start, end]))

    def _put(self, db: StreamDB, path: str, value: str, name: str) -> str | None:
        db.write_document(path, value.encode(), origin=name)
        return value

    def _swap(self, db: StreamDB, path: str, value: str, name: str) -> str | None:
        with db.transaction(origin=name) as together:
            together.write_document(path, value.encode())
        return value

    def _delete(self, db: StreamDB, path: str, value: str, name: str) -> str | None:
        try:
            with db.transaction(origin=name) as together:
                together.delete(path)
        except NotFound:
            return None
        return value

    def _get(self, db: StreamDB, path: str, value: str, name: str) -> str | None:
        how = self._rng.randrange(4)
        try:
            if how == 0:
                with db.get_stream(path) as file:
                    return file.read().decode()
            if how == 1:
                return db.get_many([path]).get(path, b"").decode()
            if how == 2:
                with db.snapshot() as state:
                    return state.get(path).decode()
            return db.get(path).decode()
        except NotFound:
            return None
