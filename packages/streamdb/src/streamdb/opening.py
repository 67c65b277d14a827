"""Opening a store, or making one: what is checked, in which order, and what is refused."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from streamdb import dictionary, pages, place, rows
from streamdb.engine import KV_KEY, KV_STORE, Engine, acquire
from streamdb.errors import (
    CorruptData,
    InvalidArgument,
    KeyRequired,
    NotAStore,
    ReadOnlyStore,
)
from streamdb.segments import sync_directory

if TYPE_CHECKING:
    from streamdb.crypto import Cipher, Key


def check_options(durability: str, **counts: int) -> None:
    """See that the options of a handle are in their ranges.

    Raises:
        InvalidArgument: one is not.
    """
    if durability not in ("full", "normal", "bulk"):
        raise InvalidArgument(
            f"there is no durability {durability!r}", next_step="choose full, normal or bulk"
        )
    for name, value in counts.items():
        if value < 0:
            raise InvalidArgument(f"{name} cannot be {value}", next_step="give 0 or more")


def open_engine(
    root: Path,
    *,
    key: Key | None,
    readonly: bool,
    create: bool,
    map_bytes: int,
    segment_bytes: int,
) -> Engine:
    """The engine of the store at ``root``, made first where there is none and ``create`` says so.

    Raises:
        NotFound, NotAStore, NewerFormat, OlderFormat, CorruptData, KeyRequired, WrongKey,
        ReadOnlyStore, UnsuitableFileSystem, StoreFull, StoreBusy.
    """
    marker = place.read_marker(root)
    if marker is None:
        if readonly or not create:
            raise place.no_store(root)
        marker = _create(root, key, map_bytes, segment_bytes)
    place.refuse_network(root)
    if not readonly and not place.writable(root):
        raise ReadOnlyStore(
            f"the store at {root} may not be written to",
            why="its index or its segments belong to another user, or lie on a read-only disk",
            next_step="open it with readonly=True, or change the owner of its files",
        )
    unlock = _unlocker(marker, key, root)
    engine = acquire(
        root, marker, readonly=readonly, map_bytes=map_bytes, segment_bytes=segment_bytes
    )
    try:
        if unlock is not None and engine.cipher is None:
            engine.cipher = unlock
        _check_identity(engine)
        dictionary.resume(engine)
    except BaseException:
        engine.release()
        raise
    return engine


def _unlocker(marker: place.Marker, key: Key | None, root: Path) -> Cipher | None:
    if marker.key is None:
        if key is not None:
            raise InvalidArgument(
                f"the store at {root} is not encrypted, and a key was given",
                next_step="open it without a key",
            )
        return None
    if key is None:
        kind = "passphrase" if marker.key.get("kdf") == "scrypt" else "key file"
        raise KeyRequired(
            f"the store at {root} is encrypted",
            why=f"it was made with a {kind}",
            next_step="give the key: --key-file FILE, or --passphrase-file FILE",
        )
    from streamdb.crypto import KeyHeader

    return KeyHeader.from_bytes(json.dumps(marker.key).encode()).cipher(key)


def _create(root: Path, key: Key | None, map_bytes: int, segment_bytes: int) -> place.Marker:
    place.check_vacant(root)
    above = place.missing_parents(root)
    place.prepare(root)
    place.refuse_network(root)
    with place.creation_lock(root):
        # Another process may have made it while this one waited.
        marker = place.read_marker(root)
        if marker is not None:
            return marker
        _clear_unfinished(root)
        header = None
        if key is not None:
            from streamdb.crypto import KeyHeader

            header = json.loads(KeyHeader.create(key).to_bytes())
        marker = place.Marker(place.FORMAT_VERSION, os.urandom(16), header)
        engine = acquire(
            root, marker, readonly=False, map_bytes=map_bytes, segment_bytes=segment_bytes
        )
        try:
            _fill(engine, marker)
        finally:
            engine.release()
        # The marker comes last: every name that it vouches for is on the disk before it.
        for directory in (root / place.INDEX, root / place.SEGMENTS, root, *above):
            sync_directory(directory)
        place.write_marker(root, marker)
        return marker


def _clear_unfinished(root: Path) -> None:
    """Begin anew where the making of a store was cut short; but never where documents are."""
    data = root / place.INDEX / "data.mdb"
    if not data.exists():
        return
    descriptor = os.open(data, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if len(pages.read_metas(descriptor)) == 2:
            return
        for key, value in pages.carve(descriptor):
            with contextlib.suppress(CorruptData):
                rows.unseal(rows.DOC, key, value)
                raise _lost_marker(root)
    finally:
        os.close(descriptor)
    data.unlink()
    data.with_name("lock.mdb").unlink(missing_ok=True)


def _lost_marker(root: Path) -> NotAStore:
    return NotAStore(
        f"{root} was a StreamDB store and has lost its {place.MARKER} file",
        next_step=f"run `streamdb repair {root}`, or copy the file from a backup",
    )


def _fill(engine: Engine, marker: place.Marker) -> None:
    with engine.env.begin() as txn:
        if txn.stat(engine.tables.doc)["entries"]:
            raise _lost_marker(engine.root)
    with engine.committer.exclusive(full=True) as changes:
        engine.put_kv(changes.txn, KV_STORE, marker.store_id)
        engine.put_kv(changes.txn, KV_KEY, json.dumps(marker.key).encode())
        changes.touch()


def _check_identity(engine: Engine) -> None:
    txn = engine.begin()
    try:
        held = engine.kv(txn, KV_STORE)
        key = engine.kv(txn, KV_KEY)
    finally:
        txn.abort()
    if key is not None and json.loads(key) != engine.marker.key:
        raise CorruptData(
            f"the {place.MARKER} file of {engine.root} is damaged",
            why="what it says of the key is not what the index says",
            next_step="run `streamdb repair`, or copy the file from a backup of this store",
        )
    if held != engine.marker.store_id:
        raise CorruptData(
            f"the index of {engine.root} belongs to another store than its {place.MARKER} file",
            next_step="put back the file, or the index, that belongs here (a backup has both)",
        )


def reopen(before: Engine) -> Engine:
    """The engine of a store that was closed, opened anew as it was."""
    marker = place.read_marker(before.root)
    if marker is None:
        raise place.no_store(before.root)
    engine = acquire(
        before.root,
        marker,
        readonly=before.readonly,
        map_bytes=before.map_bytes,
        segment_bytes=before.segment_bytes,
    )
    engine.cipher = before.cipher
    dictionary.resume(engine)
    return engine
