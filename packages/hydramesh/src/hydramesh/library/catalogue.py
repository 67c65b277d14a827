"""Which collections this node shares and follows, kept in its state directory."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hydramesh.errors import StateUnsafe
from hydramesh.identity.state import write_private
from hydramesh.sync.charter import split_id

MAX_COLLECTIONS = 256


@dataclass(slots=True)
class Entry:
    """One collection.

    ``store`` is the directory of its StreamDB, ``base`` the folder in it that the collection is
    (with a slash at its end; "" for all of it), ``folder`` a directory of files that the store
    mirrors ("" for none), ``prefix`` the part of the collection that is followed.
    """

    collection: str
    store: str
    base: str = ""
    folder: str = ""
    store_id: str = ""
    prefix: str = ""
    lazy: bool = False
    paused: bool = False

    @property
    def name(self) -> str:
        """What users call it."""
        return split_id(self.collection)[0]


@dataclass(slots=True)
class Catalogue:
    """All of them, with what holds for all; rates in bytes a second, 0 for no limit."""

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    paused: bool = False
    down: int = 0
    up: int = 0

    @classmethod
    def load(cls, path: Path) -> Catalogue:
        """Read it; an empty one if there is none.

        Raises:
            StateUnsafe: it is damaged.
        """
        try:
            data = json.loads(path.read_bytes())
            entries = [_entry(each) for each in data["collections"]]
            paused, down, up = bool(data["paused"]), int(data["down"]), int(data["up"])
        except FileNotFoundError:
            return cls(path)
        except (ValueError, KeyError, TypeError) as error:
            raise StateUnsafe(
                f"{path} is damaged",
                why=str(error)[:100],
                next_step="put back a copy, or delete it and share anew",
            ) from None
        return cls(path, {each.collection: each for each in entries}, paused, down, up)

    def save(self) -> None:
        """Write it, whole or not at all."""
        data = {
            "collections": [asdict(each) for each in self.entries.values()],
            "paused": self.paused,
            "down": self.down,
            "up": self.up,
        }
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self.path, json.dumps(data, indent=1).encode())


def _entry(data: dict[str, Any]) -> Entry:
    made = Entry(**data)
    split_id(made.collection)
    return made
