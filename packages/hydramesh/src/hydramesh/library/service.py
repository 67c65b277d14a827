"""The library of a running node: its collections, what peers say of theirs, and the transfers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hydramesh.errors import HydraMeshError, PeerStalled
from hydramesh.identity.names import is_node_id
from hydramesh.library import bundles
from hydramesh.library.catalogue import Catalogue, Entry
from hydramesh.library.door import Door
from hydramesh.library.following import Follower
from hydramesh.library.limits import Turnstile
from hydramesh.library.pulling import Puller
from hydramesh.library.relays import ASIDE, Relays, refuse_to_relay
from hydramesh.library.serving import Server
from hydramesh.library.shelf import Shelf
from hydramesh.sync.charter import split_id
from hydramesh.sync.contents import Content, Stored
from hydramesh.sync.errors import BadMessage
from hydramesh.sync.pulls import PIECE, TIMEOUT_S
from hydramesh.wire import (
    MAX_MESSAGE_BYTES,
    Head,
    pack_head,
    pack_parts,
    pack_piece,
    unpack_head,
    unpack_parts,
)
from streamdb.errors import StreamDBError

if TYPE_CHECKING:
    from hydramesh.node import Node
    from hydramesh.trunk.session import Session

log = logging.getLogger("hydramesh")

ANNOUNCE_EVERY_S = 5.0
_TICK_S = 0.2
_OPEN_AGAIN_S = 5.0
_MOST_HEADS = 4096
_MOST_PIECES = 4096
_SEALED_BYTES = 1 << 16


class Library:
    """Everything about collections that runs; ``verbs`` are what users do with it."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.folder = node.state.root / "library" / node.realm.realm_id
        self.catalogue = Catalogue(self.folder / "catalogue.json")
        self.shelves: dict[str, Shelf] = {}
        self.followers: dict[str, Follower] = {}
        self.problems: dict[str, str] = {}
        self.door = Door(lambda: node.realm)
        self.server = Server(self.door, lambda: self.shelves, self.is_paused)
        self.puller = Puller(self.folder / "pulls", self, self._arrived, self._sources)
        self.rate = 0.0
        self.relays = Relays(self.folder / "relays.json")
        node.standing.before_relay.append(self._refuse_to_relay)
        self._told: dict[str, dict[str, Head]] = {}
        self._turnstile = Turnstile(20.0, 400.0)
        self._dirty: set[str] = set()
        self._announced = 0.0
        self._alive: set[str] = set()
        self._roster = -1
        self._open_again: dict[str, float] = {}
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # -- start and stop ----------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin; the collections of the catalogue are opened behind.

        Raises:
            StateUnsafe: the catalogue is damaged.
        """
        self.catalogue = Catalogue.load(self.catalogue.path)
        self.relays.load()
        self.set_limits(self.catalogue.down, self.catalogue.up)
        self._open_again = dict.fromkeys(self.catalogue.entries, 0.0)
        if self.is_aside:
            self.problems = dict.fromkeys(self.catalogue.entries, ASIDE)
        self._start(self.puller.run())
        self._start(self._tick_forever())

    async def stop(self) -> None:
        """End all transfers and close the stores."""
        for task in (*self._tasks, *self._runs.values()):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._runs.values(), return_exceptions=True)
        await asyncio.to_thread(self.server.close)
        for shelf in self.shelves.values():
            await shelf.shut()

    def attach(self, session: Session) -> None:
        """Listen and answer on a session of the trunk; called for each that opens."""
        nid = self.node.realm.nid
        session.subscribe(self._topic("doc/*/head/*"), self._on_head)
        session.serve_bulk(self._topic(f"sync/{nid}/*/*"), self.server.answer)
        session.serve_bulk(self._topic(f"blob/{nid}/*"), self.server.answer)

    def _topic(self, rest: str) -> str:
        return f"hm/{self.node.realm.realm_id}/{rest}"

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a task of the library failed", exc_info=task.exception())

    # -- collections -------------------------------------------------------------------------------

    async def open(self, entry: Entry) -> bool:
        """Open a collection and follow it; a failure is kept to be shown, and tried again."""
        realm = self.node.realm
        shelf = Shelf(entry, self.folder / entry.collection, realm.nid, realm.key, self._has_no_say)
        try:
            await shelf.run(shelf.open)
        except (HydraMeshError, StreamDBError, OSError) as error:
            self.problems[entry.collection] = getattr(error, "what", "") or str(error)
            self._open_again[entry.collection] = time.monotonic() + _OPEN_AGAIN_S
            log.error("%s: %s", entry.name, error)
            return False
        self.problems.pop(entry.collection, None)
        self.shelves[entry.collection] = shelf
        follower = Follower(shelf, self.puller, self)
        follower.paused = self.is_paused(entry.collection)
        self.followers[entry.collection] = follower
        if shelf.mirror is not None:
            loop = asyncio.get_running_loop()
            shelf.mirror.changed = functools.partial(loop.call_soon_threadsafe, follower.poke)
        self._runs[entry.collection] = asyncio.get_running_loop().create_task(_go_on(follower))
        self._dirty.add(entry.collection)
        return True

    async def _open_behind(self, entry: Entry) -> None:
        await self.open(entry)
        self.follow_pauses()

    async def close(self, collection: str, *, forget: bool = False) -> None:
        """Stop with a collection; its documents stay where they are."""
        run = self._runs.pop(collection, None)
        if run is not None:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
        self.followers.pop(collection, None)
        self.puller.leave(collection)
        self.problems.pop(collection, None)
        self._open_again.pop(collection, None)
        shelf = self.shelves.pop(collection, None)
        if shelf is not None:
            if forget:
                await shelf.run(shelf.forget)
            await shelf.shut()

    def is_paused(self, collection: str) -> bool:
        """Whether nothing of a collection is to move."""
        entry = self.catalogue.entries.get(collection)
        return self.catalogue.paused or (entry is not None and entry.paused)

    def follow_pauses(self) -> None:
        """Do what the catalogue says about pauses."""
        for collection, follower in self.followers.items():
            follower.paused = self.is_paused(collection)
            follower.poke()
        self.puller.planner.paused = self.catalogue.paused
        self.puller.poke()

    def set_limits(self, down: int, up: int) -> None:
        """Bytes a second that all transfers together may take; 0 for no limit."""
        self.puller.bucket.rate, self.server.bucket.rate = float(down), float(up)
        self.puller.poke()

    def _has_no_say(self, nid: str) -> bool:
        """Whether a node may do nothing in any collection: it was expelled, or is a relay."""
        entry = self.node.realm.roster.entries.get(nid)
        return nid in self.relays.nodes or (entry is not None and bool(entry.revoked))

    @property
    def is_aside(self) -> bool:
        """Whether this node is a relay, which has no library."""
        return self.node.standing.relay

    def _refuse_to_relay(self) -> None:
        refuse_to_relay(entry.name for entry in self.catalogue.entries.values())

    # -- what peers say ----------------------------------------------------------------------------

    def _on_head(self, topic: str, data: bytes) -> None:
        parts = topic.split("/")
        collection, nid = parts[3], parts[5]
        if nid == self.node.realm.nid or not is_node_id(nid):
            return
        if not self._turnstile.admits(nid, time.monotonic()):
            return
        body = self.door.read_announcement(topic, nid, data)
        if body is None:
            return
        try:
            split_id(collection)
            self._hear(collection, nid, unpack_head(body))
        except HydraMeshError as error:
            log.warning("%s announced something that is none: %s", nid, error.what)

    def _hear(self, collection: str, nid: str, head: Head) -> None:
        told = self._told.setdefault(collection, {})
        held = told.get(nid)
        if held is not None and head.time < held.time:
            return
        if held is None and sum(len(each) for each in self._told.values()) >= _MOST_HEADS:
            raise BadMessage(f"there are more than {_MOST_HEADS} replicas in this realm")
        told[nid] = head
        follower = self.followers.get(collection)
        if follower is not None and (held is None or held != replace(head, time=held.time)):
            follower.poke()
            self.puller.poke()

    def heads(self, collection: str) -> dict[str, Head]:
        """What the peers that are reached said last of a collection."""
        told = self._told.get(collection, {})
        able = self._alive - self.relays.nodes
        return {nid: head for nid, head in told.items() if nid in able}

    def offered(self) -> dict[str, dict[str, Head]]:
        """What peers that are reached have, by collection."""
        found = {collection: self.heads(collection) for collection in sorted(self._told)}
        return {collection: heads for collection, heads in found.items() if heads}

    def _sources(self, collection: str) -> list[str]:
        if self.is_paused(collection):
            return []
        return [nid for nid, head in self.heads(collection).items() if not head.lazy]

    def elsewhere(self, digest: bytes, collection: str) -> Content | None:
        """A content from another collection here."""
        for other, shelf in self.shelves.items():
            place = shelf.content(digest) if other != collection else None
            if place is not None and place[0].exists(place[1]):
                return Stored(*place)
        return None

    def changed(self, collection: str) -> None:
        """A replica here is different now: tell the peers."""
        self._dirty.add(collection)

    def _arrived(self, digest: bytes) -> None:
        want = self.puller.wants.get(digest)
        for collection in list(want.collections) if want is not None else ():
            follower = self.followers.get(collection)
            if follower is not None:
                follower.arrived(digest)

    # -- asking ------------------------------------------------------------------------------------

    async def ask(self, peer: str, collection: str, kind: str, body: bytes) -> bytes:
        """A peer's answer, which nobody else can have written."""
        return await self._ask(
            peer, self._topic(f"sync/{peer}/{collection}/{kind}"), body, MAX_MESSAGE_BYTES
        )

    async def _ask(self, peer: str, topic: str, body: bytes, limit: int) -> bytes:
        request = self.door.request(topic, body)
        data = await self._query(topic, request, limit + _SEALED_BYTES)
        return self.door.read_reply(topic, peer, request, data)

    async def _query(self, topic: str, request: bytes, limit: int) -> bytes:
        session = self.node.session
        if session is None:
            raise PeerStalled("the trunk is not open")
        return await session.query(topic, request, limit=limit, timeout_s=TIMEOUT_S)

    async def piece(self, peer: str, collection: str, digest: bytes, index: int) -> bytes:
        """One piece of a content; its digest is for the caller to check."""
        topic = self._topic(f"blob/{peer}/{digest.hex()}")
        request = self.door.request(topic, pack_piece(collection, index))
        return await self._query(topic, request, PIECE)

    async def contents(self, peer: str, collection: str, digests: list[bytes]) -> tuple[bytes, ...]:
        """Short contents, the first of those asked for; b"" for one that is not there.

        Their digests are for the caller to check.
        """
        topic = self._topic(f"sync/{peer}/{collection}/contents")
        request = self.door.request(topic, pack_parts(digests))
        limit = bundles.MOST_BYTES + bundles.SHORT + _SEALED_BYTES
        return unpack_parts(await self._query(topic, request, limit), len(digests))

    async def pieces(self, peer: str, collection: str, digest: bytes) -> tuple[bytes, ...]:
        """The digests of all pieces of a content, as a peer says."""
        topic = self._topic(f"blob/{peer}/{digest.hex()}")
        body = await self._ask(peer, topic, pack_piece(collection, -1), MAX_MESSAGE_BYTES)
        return unpack_parts(body, _MOST_PIECES)

    async def fresh_heads(self, collection: str) -> None:
        """Ask all replicas that are reached how they are now."""

        async def one(peer: str) -> None:
            with contextlib.suppress(HydraMeshError):
                body = await self.ask(peer, collection, "head", b"head")
                self._hear(collection, peer, replace(unpack_head(body), time=time.time()))

        await asyncio.gather(*(one(peer) for peer in self.heads(collection)))

    # -- now and then ------------------------------------------------------------------------------

    async def _tick_forever(self) -> None:
        before, rate_at = 0, time.monotonic()
        while True:
            now = time.monotonic()
            heard_of_relays = self._watch_peers()
            await self._watch_roster(anew=heard_of_relays)
            self._announce(now)
            if now - rate_at >= 1.0:
                fresh = (self.puller.received - before) / (now - rate_at)
                self.rate = fresh if not self.rate else 0.7 * self.rate + 0.3 * fresh
                before, rate_at = self.puller.received, now
            for collection, due in list(self._open_again.items()):
                if now >= due and not self.is_aside:
                    del self._open_again[collection]
                    self._start(self._open_behind(self.catalogue.entries[collection]))
            await asyncio.sleep(_TICK_S)

    def _watch_peers(self) -> bool:
        """Follow who is there; whether others are relays than before."""
        peers = self.node.membership.peers
        alive = {nid for nid, peer in peers.items() if peer.effective.reachable}
        for nid in self._alive - alive:
            self.puller.planner.gone(nid)
            for follower in self.followers.values():
                follower.forget_peer(nid)
        fresh, self._alive = alive - self._alive, alive
        if fresh:
            self._dirty.update(self.shelves)
            for nid in fresh:
                self.puller.planner.forgive(nid)
            for follower in self.followers.values():
                follower.poke()
            self.puller.poke()
        before = set(self.relays.nodes)
        heard = self.relays.hear(peers)
        for nid in self.relays.nodes - before:
            self.puller.planner.gone(nid)
        return heard

    async def _watch_roster(self, *, anew: bool) -> None:
        version = self.node.realm.roster.version
        if version == self._roster and not anew:
            return
        self._roster = version
        for collection, shelf in list(self.shelves.items()):
            with contextlib.suppress(HydraMeshError):
                await shelf.run(shelf.follow_roles)
                self.changed(collection)

    def _announce(self, now: float) -> None:
        if now - self._announced > ANNOUNCE_EVERY_S:
            self._announced = now
            self._dirty.update(self.shelves)
        session = self.node.session
        if session is None:
            return
        nid = self.node.realm.nid
        for collection in self._dirty:
            shelf = self.shelves.get(collection)
            if shelf is not None and shelf.head is not None:
                topic = self._topic(f"doc/{collection}/head/{nid}")
                told = pack_head(replace(shelf.head, time=time.time()))
                session.publish(topic, self.door.announce(topic, told))
        self._dirty.clear()


async def _go_on(follower: Follower) -> None:
    """Follow, also after an error that nobody thought of: what is in the stores is whole."""
    while True:
        try:
            await follower.run()
        except Exception:
            log.exception("%s: following begins anew", follower.shelf.entry.name)
            await asyncio.sleep(_OPEN_AGAIN_S)
