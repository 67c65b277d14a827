"""StreamDB: the embedded, crash-safe store of a sample library.

>>> import tempfile
>>> from streamdb import StreamDB
>>> with StreamDB.open(tempfile.mkdtemp()) as db:
...     guid = db.write_document("drums/kick.wav", b"boom", metadata={"tempo": 120})
...     db.get("drums/kick.wav")
b'boom'

Names are imported on first use, so that ``import streamdb`` costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamdb.aio import AsyncStreamDB
    from streamdb.crypto import Key
    from streamdb.errors import StreamDBError
    from streamdb.model import GUID
    from streamdb.snapshot import Snapshot
    from streamdb.store import StreamDB
    from streamdb.transaction import Transaction

__version__ = "0.1.0"

_HOMES = {
    "AsyncStreamDB": "aio",
    "GUID": "model",
    "Key": "crypto",
    "Snapshot": "snapshot",
    "StreamDB": "store",
    "StreamDBError": "errors",
    "Transaction": "transaction",
}

__all__ = [
    "GUID",
    "AsyncStreamDB",
    "Key",
    "Snapshot",
    "StreamDB",
    "StreamDBError",
    "Transaction",
    "__version__",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'streamdb' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"streamdb.{home}"), name)
