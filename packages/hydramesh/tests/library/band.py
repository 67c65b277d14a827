"""Real daemons with collections, and the stores that their users write to."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from packages.hydramesh.tests.daemon.test_daemons import Peer, pair, wait_for

from streamdb import StreamDB

__all__ = ["Peer", "content", "documents", "level", "made", "pair", "wait_for", "write"]
PATIENCE_S = 60.0


@contextlib.contextmanager
def store(path):
    """A store as another program opens it."""
    with StreamDB.open(path, create=False) as db:
        yield db


def made(folder: Path, **contents: bytes) -> Path:
    """A new store with some documents."""
    with StreamDB.open(folder) as db:
        for name, data in contents.items():
            db.write_document(name.replace("__", "/"), data)
    return folder


def write(path, name: str, data: bytes | None) -> None:
    """Write a document, or delete it (None)."""
    with store(path) as db:
        if data is None:
            db.delete(name)
        else:
            db.write_document(name, data)


def content(path) -> dict[str, bytes]:
    """All documents of a store."""
    with store(path) as db, db.snapshot() as shown:
        return {name: shown.get(name) for name in shown.search()}


def documents(peer: Peer, name: str) -> Path:
    """Where a peer keeps a collection."""
    return Path(info(peer, name)["store"])


def info(peer: Peer, name: str) -> dict:
    """What a peer says of a collection."""
    found = peer.run("collections")[1].get("collections", [])
    return next((each for each in found if each["name"] == name), {})


def level(peers, stores, wanted=None) -> None:
    """Wait until all stores have the same documents, and those that are wanted."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        shown = [content(each) for each in stores]
        if all(each == shown[0] for each in shown) and wanted in (None, shown[0]):
            return
        time.sleep(0.2)
    told = "\n".join(f"--- {peer.name}\n{peer.log()[-3000:]}" for peer in peers)
    seen = [{name: len(data) for name, data in each.items()} for each in shown]
    raise AssertionError(f"{seen}\n{told}")
