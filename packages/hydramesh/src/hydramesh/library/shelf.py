"""One open collection: its stores, its replica and its charter, in a thread of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from hydramesh.identity.certs import PrivateKey, public_bytes
from hydramesh.library.catalogue import Entry
from hydramesh.library.errors import StoreUnusable
from hydramesh.library.locks import program, refuse_locked, wait_for_turn
from hydramesh.library.mirror import Mirror
from hydramesh.sync.apply import Applied, Collection
from hydramesh.sync.charter import Charter, Grant, read_grants
from hydramesh.sync.contents import Content
from hydramesh.sync.errors import BadMessage, NotPermitted
from hydramesh.sync.proofs import Signer, Verifier
from hydramesh.sync.reconcile import Frame, Session, Summary, Wanted, answer, found
from hydramesh.sync.replica import MOST_ITEMS, Role
from hydramesh.sync.versions import Item, Order, compare
from hydramesh.wire import Head, pack_delta, pack_items, pack_told
from streamdb import StreamDB

log = logging.getLogger("hydramesh")

MAX_ANSWER_BYTES = 1 << 20
_EXPIRE_EVERY_S = 6 * 3600.0
_LONG_S = 5.0
_NOTES_MAP_BYTES = 64 << 30
_T = TypeVar("_T")


class Shelf:
    """A collection of the catalogue. All but ``run`` and the plain fields is for its own thread.

    Args:
        entry: as the catalogue has it.
        folder: where this node keeps its notes about it.
        nid, key: of this node.
        expelled: whether a node is no member any more.
    """

    def __init__(
        self,
        entry: Entry,
        folder: Path,
        nid: str,
        key: PrivateKey,
        expelled: Callable[[str], bool],
    ) -> None:
        self.entry = entry
        self.folder = folder
        self.nid = nid
        self._key = key
        self._expelled = expelled
        self.charter = Charter(entry.collection)
        self.verifier = Verifier(entry.collection, self.role)
        self.verifier.learn({nid: public_bytes(key)})
        self.collection: Collection | None = None
        self.mirror: Mirror | None = None
        self.head: Head | None = None
        self._documents: StreamDB | None = None
        self._notes: StreamDB | None = None
        self._summary: tuple[int, Summary] | None = None
        self._expired = self._since = 0.0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"library-{entry.name}")

    async def run(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Do something in the collection's thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._do, work, *arguments)

    def _do(self, work: Callable[..., _T], *arguments: Any) -> _T:
        self._since = time.monotonic()
        try:
            return work(*arguments)
        finally:
            self._since = 0.0

    @property
    def trouble(self) -> str:
        """What keeps the thread waiting, or ""; for any thread."""
        since, documents = self._since, self._documents
        if not since or time.monotonic() - since < _LONG_S or documents is None:
            return ""
        process = documents.engine.writer_elsewhere()
        return f"its store is locked by {program(process)}" if process else ""

    def role(self, node: str) -> Role | None:
        """What a node may do here now."""
        return None if self._expelled(node) else self.charter.role(node)

    @property
    def may_write(self) -> bool:
        """Whether this node's edits are taken by others."""
        role = self.charter.role(self.nid)
        return role is not None and role.may_write

    # -- opening and closing -----------------------------------------------------------------------

    def open(self) -> None:
        """Open the stores.

        Raises:
            StoreUnusable: it is not the store that was shared; StoreLocked: another process writes
            to it; errors of the stores.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        entry = self.entry
        try:
            refuse_locked(Path(entry.store))
            self._documents = StreamDB.open(entry.store, create=not entry.store_id, cache=0)
            held = self._documents.engine.marker.store_id.hex()
            if entry.store_id and held != entry.store_id:
                raise StoreUnusable(
                    f"{entry.store} is another store than the one that was shared",
                    why="taken for it, everything that is not there would be deleted for all",
                    next_step=f"put it back; or: hydramesh unshare {entry.name}, and share anew",
                )
            entry.store_id = held
            self._notes = StreamDB.open(
                self.folder / "notes", cache=0, versions=0, map_bytes=_NOTES_MAP_BYTES
            )
            self._load(self._notes)
            self.collection = Collection(
                self.nid,
                self._documents,
                self._notes,
                base=entry.base,
                sign=Signer(entry.collection, self.nid, self._key),
                lazy=entry.lazy,
            )
        except BaseException:
            self.close()
            raise
        self.collection.writes = self.may_write
        self._take_stock()
        if entry.folder:
            self._mirror(Path(entry.folder), self.collection)

    def _mirror(self, folder: Path, collection: Collection) -> None:
        mirror = Mirror(folder, collection.documents, self.keep, self.recall)
        try:
            mirror.start()
        except BaseException:
            self.close()
            raise
        self.mirror = collection.outside = mirror

    def close(self) -> None:
        """Close them."""
        if self.mirror is not None:
            self.mirror.stop()
        self.mirror = self.collection = None
        for store in (self._documents, self._notes):
            if store is not None:
                store.close()
        self._documents = self._notes = None

    async def shut(self) -> None:
        """Close, and end the thread."""
        await self.run(self.close)
        self._thread.shutdown(wait=False)

    def _load(self, notes: StreamDB) -> None:
        if notes.exists("charter"):
            self.charter.merge(read_grants(self.entry.collection, notes.get("charter")))
        if notes.exists("keys"):
            told = json.loads(notes.get("keys"))
            self.verifier.learn({node: bytes.fromhex(key) for node, key in told.items()})

    def recall(self, name: str) -> bytes:
        """What was kept under a name; b"" if nothing was."""
        notes = self._notes
        return notes.get(name) if notes is not None and notes.exists(name) else b""

    def keep(self, name: str, data: bytes) -> None:
        """Keep something with the notes of the collection."""
        if self._notes is not None:
            self._notes.write_document(name, data)

    def _need(self) -> Collection:
        if self.collection is None:
            raise StoreUnusable(f"the store of {self.entry.name} is not open")
        return self.collection

    # -- what happens here -------------------------------------------------------------------------

    def scan(self) -> bool:
        """Take in what the user did; whether anything is different now."""
        collection = self._need()
        before = collection.replica.seq
        collection.scan()
        if self.mirror is not None:
            self.mirror.look_again()
        now = time.monotonic()
        if now - self._expired > _EXPIRE_EVERY_S:
            self._expired = now
            collection.expire(time.time_ns())
        if collection.replica.seq == before and self.head is not None:
            return False
        self._take_stock()
        return True

    def apply(self, items: Iterable[Item], fetched: Callable[[bytes], Content | None]) -> Applied:
        """As ``Collection.apply``.

        Raises:
            StoreLocked: another process writes to the store.
        """
        collection = self._need()
        wait_for_turn(collection.documents)
        outcome = collection.apply(items, fetched)
        self._take_stock()
        return outcome

    def fill(self, path: str, content: Content) -> bool:
        """As ``Collection.fill``; raises ``StoreLocked`` as ``apply`` does."""
        collection = self._need()
        wait_for_turn(collection.documents)
        return collection.fill(path, content)

    def _take_stock(self) -> None:
        collection = self._need()
        self.head = Head(
            time.time(),
            collection.replica.epoch,
            collection.replica.seq,
            collection.count,
            collection.size,
            collection.replica.sum(),
            self.charter.mark(),
            self.entry.prefix,
            self.entry.lazy,
        )

    def item(self, path: str) -> Item | None:
        """What is known of a path."""
        return self._need().replica.items.get(path)

    def listed(self, prefix: str, after: str, limit: int) -> list[tuple[Item, bool]]:
        """Documents by path, with whether their contents are here."""
        collection = self._need()
        items = collection.replica.items
        paths = sorted(
            path
            for path, item in items.items()
            if not item.deleted and path.startswith(prefix) and path > after
        )
        return [(items[path], path not in collection.absent) for path in paths[:limit]]

    # -- who may do what ---------------------------------------------------------------------------

    def take_grants(self, grants: Iterable[Grant]) -> bool:
        """Take in checked grants, and do what follows; whether one was news."""
        if not self.charter.merge(grants):
            return False
        self.keep("charter", self.charter.pack())
        self.follow_roles()
        return True

    def follow_roles(self) -> None:
        """Do what follows from changed roles: edits of who may not write any more are either made
        ours, or go no further."""
        collection = self._need()
        if self.may_write:
            if not collection.writes:
                collection.writes = True
                collection.local.clear()
                collection.look_anew()
                collection.scan()
            collection.endorse(self.verifier.stands)
        else:
            collection.writes = False
        self._take_stock()

    def grant(self, subject: str, role: Role | None) -> None:
        """Give a role, as an owner."""
        self.take_grants([self.charter.make(subject, role, self._key)])

    # -- what peers send ---------------------------------------------------------------------------

    def check(self, items: Iterable[Item], keys: Mapping[str, bytes]) -> tuple[list[Item], int]:
        """(the items that are news and were made by who may, how many others were refused).

        Raises:
            BadMessage: a signature or a key is wrong.
        """
        held = self._need().replica.items
        fresh, refused = [], 0
        if self.verifier.learn(keys):
            told = {node: key.hex() for node, key in self.verifier.keys.items()}
            self.keep("keys", json.dumps(told).encode())
        for item in items:
            known = held.get(item.path)
            if not item.path.startswith(self.entry.prefix):
                continue
            if known is not None and _includes(known, item):
                continue
            try:
                fresh.append(self.verifier.check(item))
            except NotPermitted:
                refused += 1
        return fresh, refused

    # -- what peers ask ----------------------------------------------------------------------------

    def delta(self, epoch: int, seq: int, prefix: str) -> bytes:
        """The changes after a number, as many as fit an answer."""
        limit = MOST_ITEMS
        while True:
            delta = self._need().replica.since(seq, epoch, limit)
            keys = self._keys(delta.items)
            if prefix:
                items = tuple(each for each in delta.items if each.path.startswith(prefix))
                delta = type(delta)(delta.epoch, delta.since, delta.upto, delta.more, items)
            body = pack_delta(delta)
            if len(body) <= MAX_ANSWER_BYTES or limit == 1:
                return pack_told(body, keys)
            limit = max(1, limit // 4)

    def frames(self, asked: Iterable[Frame]) -> list[Frame]:
        """The answers to the frames of a reconciliation."""
        summary = self.summary()
        return [reply for frame in asked for reply in answer(summary, frame)]

    def records(self, wants: Iterable[Wanted]) -> bytes:
        """The items that a peer wants, of as many of its ranges as fit an answer."""
        summary, items = self.summary(), list[Item]()
        held = self._need().replica.items
        done = size = 0
        for wanted in wants:
            here = [held.get(path.decode()) for path in found(summary, wanted)]
            chosen = [item for item in here if item is not None]
            size += len(pack_items(chosen))
            if done and (size > MAX_ANSWER_BYTES or len(items) + len(chosen) > MOST_ITEMS):
                break
            items += chosen
            done += 1
        return pack_told(pack_items(items), self._keys(items), done)

    def begin_session(self, prefix: str) -> tuple[Session, list[Frame]]:
        """The asking side of a reconciliation."""
        session = Session(self.summary())
        return session, session.begin(prefix)

    def summary(self) -> Summary:
        """The items as they are now, sorted."""
        replica = self._need().replica
        if self._summary is None or self._summary[0] != replica.seq:
            self._summary = replica.seq, Summary.of(replica.items.values())
        return self._summary[1]

    def _keys(self, items: Iterable[Item]) -> dict[str, bytes]:
        return self.verifier.known({proof.author for item in items for proof in item.proofs})

    # -- what the transfers need, from any thread --------------------------------------------------

    def content(self, digest: bytes) -> tuple[StreamDB, str] | None:
        """(store, path) of a document with this content."""
        collection = self.collection
        path = collection.place_of(digest) if collection is not None else None
        return (collection.documents, path) if collection is not None and path else None

    def forget(self) -> None:
        """Delete the notes: the collection is not ours any more."""
        self.close()
        with contextlib.suppress(OSError):
            shutil.rmtree(self.folder / "notes")


def _includes(held: Item, item: Item) -> bool:
    order = compare(held.version, item.version)
    same = held.digest == item.digest and held.given == item.given
    return order is Order.NEWER or (order is Order.SAME and same)


def read_charter(collection: str, raw: bytes) -> list[Grant]:
    """The grants of a charter that a peer sent.

    Raises:
        BadMessage: it is none.
    """
    if len(raw) > MAX_ANSWER_BYTES * 2:
        raise BadMessage("a charter is too long")
    return read_grants(collection, raw)
