"""The store's own dictionaries for metadata: when one is trained, and which is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamdb import zstd
from streamdb.engine import KV_DICTIONARY
from streamdb.metapack import DICTIONARY_BYTES

if TYPE_CHECKING:
    from streamdb.engine import Engine


def train(engine: Engine) -> None:
    """When enough documents have been seen: a dictionary made of their metadata."""
    taken = engine.packer.take_samples()
    if taken is None:
        return
    number, samples = taken
    content = zstd.train(samples, DICTIONARY_BYTES)
    if not content:
        return
    if engine.committer.submit(lambda changes: changes.add_dictionary(number, content), full=False):
        engine.packer.add(number, content, use=True)
    else:
        engine.packer.resume(number)


def resume(engine: Engine) -> None:
    """Pack with the newest dictionary that the store has."""
    newest = 0
    txn = engine.begin()
    try:
        cursor = txn.cursor(engine.tables.kv)
        more = cursor.set_range(KV_DICTIONARY)
        while more and cursor.key().startswith(KV_DICTIONARY):
            newest = max(newest, cursor.key()[-1])
            more = cursor.next()
    finally:
        txn.abort()
    engine.packer.resume(newest)
