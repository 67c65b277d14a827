"""One collection kept equal with its replicas elsewhere: whom to ask what, and what comes of it.

Of each peer the change log is followed. Without a common number in it, after a restart, and now and
then, the difference is found by comparing ranges of paths. Items wait here for their contents.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from blake3 import blake3

from hydramesh.errors import HydraMeshError, PeerRefused, PeerStalled
from hydramesh.library.pulling import Puller
from hydramesh.library.shelf import Shelf, read_charter
from hydramesh.sync.apply import Applied
from hydramesh.sync.contents import Content
from hydramesh.sync.errors import BadMessage, StoreChanged
from hydramesh.sync.reconcile import Frame, Wanted
from hydramesh.sync.versions import Item, Key, Order, compare
from hydramesh.wire import (
    Head,
    pack_frame,
    pack_parts,
    pack_since,
    pack_wanted,
    unpack_delta,
    unpack_frame,
    unpack_items,
    unpack_parts,
    unpack_told,
)
from streamdb.errors import StreamDBError

log = logging.getLogger("hydramesh")

LOOK_EVERY_S = 0.5
RECONCILE_EVERY_S = 600.0
_AT_LAST = 3
BATCH_ITEMS = 200
BATCH_BYTES = 64 << 20
MAX_PENDING = 200_000
_SETTLED_S = 3.0
_CHANGED_S = 0.05
_STORE_AGAIN_S = 5.0
_GATHER_S = 0.2
_FRAME_RANGES = 128
_WANTS_AT_ONCE = 64
_EMPTY = blake3(b"").digest()


class Asking(Protocol):
    """What a follower asks of other nodes and of the library around it."""

    async def ask(self, peer: str, collection: str, kind: str, body: bytes) -> bytes:
        """A peer's answer."""

    def heads(self, collection: str) -> dict[str, Head]:
        """What the peers that are reached said last."""

    def elsewhere(self, digest: bytes, collection: str) -> Content | None:
        """A content from another collection here."""

    def changed(self, collection: str) -> None:
        """The replica here is different now."""


@dataclass(slots=True)
class Ways:
    """How it stands with one peer."""

    epoch: int = -1
    seq: int = 0
    compared: tuple[bytes, bytes] = (b"", b"")
    reconciled: float = 0.0
    failures: int = 0
    not_before: float = 0.0
    since: float = field(default_factory=time.monotonic)


class Follower:
    """Keeps one shelf up to date until cancelled."""

    def __init__(self, shelf: Shelf, puller: Puller, around: Asking) -> None:
        self.shelf = shelf
        self.puller = puller
        self.ways: dict[str, Ways] = {}
        self.pending: dict[Key, Item] = {}
        self.problem = ""
        self.refused = 0
        self.paused = False
        self._around = around
        self._at: dict[str, set[Key]] = {}
        self._waits: dict[bytes, set[Key]] = {}
        self._needs: dict[Key, set[bytes]] = {}
        self._opening: dict[bytes, asyncio.Event] = {}
        self._kept = b""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due: dict[Key, None] = {}
        self._due_since = 0.0
        self._news = False
        self._busy: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._changed_at = time.monotonic()
        self._store_again = 0.0

    @property
    def collection(self) -> str:
        """The collection's id."""
        return self.shelf.entry.collection

    def poke(self) -> None:
        """Look again at once."""
        self._wake.set()

    def arrived(self, digest: bytes) -> None:
        """A content is here that some items wait for."""
        if not self._due:
            self._due_since = time.monotonic()
        for key in self._waits.get(digest, ()):
            self._due[key] = None
        if digest in self._opening:
            self._opening[digest].set()
        self._wake.set()

    def forget_peer(self, peer: str) -> None:
        """A peer is away: when it is back, all of it is compared."""
        self.ways.pop(peer, None)
        task = self._busy.pop(peer, None)
        if task is not None:
            task.cancel()

    def compare_all(self) -> None:
        """Compare everything with everybody once more."""
        for ways in self.ways.values():
            ways.epoch, ways.compared, ways.not_before = -1, (b"", b""), 0.0
        self._wake.set()

    def is_level_with(self, heads: dict[str, Head]) -> bool:
        """Whether all that some peers told of is here."""
        return not self.pending and all(
            self._is_level(head, self.ways.setdefault(peer, Ways())) for peer, head in heads.items()
        )

    # -- the work ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow, until cancelled."""
        self._loop = asyncio.get_running_loop()
        await self.shelf.run(self._recall)
        try:
            while True:
                await self._round()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_GATHER_S if self._due else LOOK_EVERY_S):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            for task in self._busy.values():
                task.cancel()
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _round(self) -> None:
        now = time.monotonic()
        if now < self._store_again:
            return
        try:
            if await self.shelf.run(self.shelf.scan):
                self._note_change()
            if not self.paused:
                if self._is_ripe(now):
                    await self._apply_due()
                self._visit(now)
            if not self.pending:
                await self.shelf.run(self._remember)
            self.problem = ""
        except StoreChanged as error:
            log.info("%s: %s", self.shelf.entry.name, error.what)
            await asyncio.sleep(_CHANGED_S)
            self._wake.set()
        except (HydraMeshError, StreamDBError, OSError) as error:
            self._store_again = now + _STORE_AGAIN_S
            self.problem = getattr(error, "what", "") or str(error)
            log.error("%s: %s", self.shelf.entry.name, self.problem)

    def _note_change(self) -> None:
        self._changed_at = time.monotonic()
        self._around.changed(self.collection)

    def _visit(self, now: float) -> None:
        for peer, head in self._around.heads(self.collection).items():
            ways = self.ways.setdefault(peer, Ways())
            if peer in self._busy or now < ways.not_before or len(self.pending) > MAX_PENDING:
                continue
            if self._is_level(head, ways) and not self._is_due(head, ways, now):
                continue
            task = asyncio.get_running_loop().create_task(self._meet(peer, head, ways))
            self._busy[peer] = task
            task.add_done_callback(functools.partial(self._met, peer))

    def _met(self, peer: str, task: asyncio.Task[None]) -> None:
        if self._busy.get(peer) is task:
            del self._busy[peer]

    def _is_level(self, head: Head, ways: Ways) -> bool:
        """Whether all that a peer told of is known."""
        own = self.shelf.head
        if own is None or head.charter != self.shelf.charter.mark():
            return False
        if own.sum == head.sum and not self.shelf.entry.prefix and not head.prefix:
            ways.epoch, ways.seq = head.epoch, head.seq
        return (ways.epoch, ways.seq) == (head.epoch, head.seq)

    def _is_due(self, head: Head, ways: Ways, now: float) -> bool:
        """Whether to compare all with a peer whose log has nothing new."""
        own = self.shelf.head
        if own is None or own.sum == head.sum:
            return False
        past = now - max(ways.reconciled, ways.since)
        if self.pending or now - self._changed_at <= _SETTLED_S:
            # Changes are on their way, and explain the difference; unless they never end.
            return past > _AT_LAST * RECONCILE_EVERY_S
        return past > RECONCILE_EVERY_S or ways.compared != (head.sum, own.sum)

    async def _meet(self, peer: str, head: Head, ways: Ways) -> None:
        try:
            if head.charter != self.shelf.charter.mark():
                await self._fetch_charter(peer)
            if not self._is_level(head, ways):
                await self._catch_up(peer, head, ways)
            elif self._is_due(head, ways, time.monotonic()):
                await self._reconcile(peer, head, ways)
            ways.failures = 0
        except (HydraMeshError, StreamDBError, OSError) as error:
            self._failed(peer, ways, error)
        except Exception as error:
            log.exception("%s from %s", self.shelf.entry.name, peer)
            self._failed(peer, ways, error)
        self._wake.set()

    def _failed(self, peer: str, ways: Ways, error: Exception) -> None:
        ways.failures += 1
        wait = min(30.0, 0.25 * 2**ways.failures)
        if isinstance(error, PeerRefused) and error.why in ("SyncPaused", "TooManyRequests"):
            wait = 2.0
        elif isinstance(error, BadMessage):
            wait = 60.0
            log.warning("%s from %s: %s", self.shelf.entry.name, peer, error.what)
        elif not isinstance(error, PeerStalled):
            log.info("%s from %s: %s", self.shelf.entry.name, peer, error)
        ways.not_before = time.monotonic() + wait

    async def _ask(self, peer: str, kind: str, body: bytes) -> bytes:
        return await self._around.ask(peer, self.collection, kind, body)

    async def _fetch_charter(self, peer: str) -> None:
        grants = read_charter(self.collection, await self._ask(peer, "charter", b"charter"))
        if await self.shelf.run(self.shelf.take_grants, grants):
            self.compare_all()
            self._note_change()

    # -- the change log ----------------------------------------------------------------------------

    async def _catch_up(self, peer: str, head: Head, ways: Ways) -> None:
        if ways.epoch != head.epoch and self.shelf.head is not None and self.shelf.head.count:
            await self._reconcile(peer, head, ways)
            return
        more = True
        while more and not self.paused:
            asked = pack_since(max(0, ways.epoch), ways.seq, self.shelf.entry.prefix)
            raw, keys, _ = unpack_told(await self._ask(peer, "delta", asked))
            delta = unpack_delta(raw)
            if ways.epoch == delta.epoch and delta.upto <= ways.seq and delta.more:
                raise BadMessage(f"the changes of {peer} do not come to an end")
            await self._take(peer, delta.items, keys)
            ways.epoch, ways.seq, more = delta.epoch, delta.upto, delta.more
            while len(self.pending) > MAX_PENDING:
                await asyncio.sleep(LOOK_EVERY_S)

    # -- reconciliation ----------------------------------------------------------------------------

    async def _reconcile(self, peer: str, head: Head, ways: Ways) -> None:
        own = self.shelf.head
        assert own is not None
        compared = head.sum, own.sum
        prefix = _narrower(self.shelf.entry.prefix, head.prefix)
        if prefix is not None:
            session, frames = await self.shelf.run(self.shelf.begin_session, prefix)
            while frames:
                replies: list[Frame] = []
                for frame in _split(frames):
                    body = pack_parts([pack_frame(frame)])
                    raw = await self._ask(peer, "reconcile", body)
                    replies += [unpack_frame(part) for part in unpack_parts(raw, 1000)]
                frames = await self.shelf.run(session.take, replies)
            await self._fetch_records(peer, session.wanted)
        ways.epoch, ways.seq = head.epoch, head.seq
        ways.compared, ways.reconciled = compared, time.monotonic()

    async def _fetch_records(self, peer: str, wanted: list[Wanted]) -> None:
        at = 0
        while at < len(wanted):
            asked = wanted[at : at + _WANTS_AT_ONCE]
            body = pack_parts([pack_wanted(each) for each in asked])
            raw, keys, done = unpack_told(await self._ask(peer, "records", body))
            if not 1 <= done <= len(asked):
                raise BadMessage(f"{peer} answered {done} of {len(asked)} requests")
            await self._take(peer, unpack_items(raw), keys)
            at += done

    # -- items and their contents ------------------------------------------------------------------

    async def _take(self, peer: str, items: Iterable[Item], keys: dict[str, bytes]) -> None:
        fresh, refused = await self.shelf.run(self.shelf.check, list(items), keys)
        self.refused += refused
        if refused:
            log.warning(
                "%s: %d changes from %s were refused: their authors may not write",
                self.shelf.entry.name, refused, peer,
            )  # fmt: skip
        for item in fresh:
            self._add(item)
        self._wake.set()

    def _add(self, item: Item) -> None:
        """Let an item wait, unless a newer one does; those that it replaces wait no more.

        Two that were made side by side are kept as they came, and meet in the replica: the copy of
        the one that loses needs its content, and so do we then.
        """
        for key in list(self._at.get(item.path, ())):
            order = compare(self.pending[key].version, item.version)
            if order is Order.NEWER or key == item.key:
                return
            if order is Order.OLDER:
                self._drop(key)
        self.pending[item.key] = item
        self._at.setdefault(item.path, set()).add(item.key)
        self._due[item.key] = None
        self._news = True

    def _drop(self, key: Key) -> None:
        """An item is in the replica, or is of no use any more."""
        self.pending.pop(key, None)
        self._due.pop(key, None)
        keys = self._at.get(key[0], set())
        keys.discard(key)
        if not keys:
            self._at.pop(key[0], None)
        self._release(key)

    def _is_ripe(self, now: float) -> bool:
        """Whether what is due is worth a transaction: many, or all, or some for a while."""
        many = len(self._due) >= BATCH_ITEMS or len(self._due) == len(self.pending)
        return bool(self._due) and (self._news or many or now - self._due_since >= _GATHER_S)

    async def _apply_due(self) -> None:
        self._news = False
        while self._due and not self.paused:
            batch = self._next_batch()
            try:
                outcome = await self.shelf.run(self.shelf.apply, batch, self._content)
            except BaseException:
                self._due.update(dict.fromkeys(item.key for item in batch))
                raise
            self._settle(batch, outcome)
            if outcome.changed:
                self._note_change()

    def _next_batch(self) -> list[Item]:
        batch: list[Item] = []
        size = 0
        for key in list(self._due):
            item = self.pending.get(key)
            if batch and (len(batch) >= BATCH_ITEMS or size > BATCH_BYTES):
                break
            del self._due[key]
            if item is not None:
                batch.append(item)
                size += item.size
        return batch

    def _settle(self, batch: list[Item], outcome: Applied) -> None:
        for item in batch:
            missing = outcome.waiting.get(item.key)
            if missing is None:
                self._drop(item.key)
            elif item.key in self.pending:
                self._await(item.key, missing, outcome.missing[missing])

    def _await(self, key: Key, digest: bytes, size: int) -> None:
        self._needs.setdefault(key, set()).add(digest)
        self._waits.setdefault(digest, set()).add(key)
        self.puller.want(digest, size, self.collection)

    def _release(self, key: Key) -> None:
        """An item waits for no content any more."""
        for digest in self._needs.pop(key, ()):
            keys = self._waits[digest]
            keys.discard(key)
            if not keys:
                del self._waits[digest]
                self.puller.done_with(digest, self.collection)

    def _content(self, digest: bytes) -> Content | None:
        if digest == _EMPTY:
            return b""
        held = self.puller.content(digest)
        if isinstance(held, bytes) or (held is not None and held.exists()):
            return held
        if held is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self.puller.lost, digest)
        return self._around.elsewhere(digest, self.collection)

    async def open(self, path: str, size: int, digest: bytes) -> None:
        """Bring the content of a document of which only the name is here."""
        self._opening.setdefault(digest, asyncio.Event())
        try:
            while (content := self._content(digest)) is None:
                self.puller.want(digest, size, self.collection)
                await self._opening[digest].wait()
            await self.shelf.run(self.shelf.fill, path, content)
        finally:
            self._opening.pop(digest, None)
            if digest not in self._waits:
                self.puller.done_with(digest, self.collection)

    # -- what outlasts the process -----------------------------------------------------------------

    def _recall(self) -> None:
        self._kept = self.shelf.recall("cursors")
        try:
            for peer, (epoch, seq) in json.loads(self._kept or b"{}").items():
                self.ways[str(peer)] = Ways(int(epoch), int(seq))
        except (ValueError, TypeError, AttributeError):
            self.ways.clear()

    def _remember(self) -> None:
        """Write down how far the logs of the peers are known: only what is in the store."""
        known = {peer: [w.epoch, w.seq] for peer, w in self.ways.items() if w.epoch >= 0}
        told = json.dumps(known, sort_keys=True).encode()
        if told != self._kept and not self.pending and not self._busy:
            self.shelf.keep("cursors", told)
            self._kept = told


def _narrower(one: str, other: str) -> str | None:
    """The prefix of what two replicas both have; None if that is nothing."""
    if one.startswith(other):
        return one
    return other if other.startswith(one) else None


def _split(frames: Iterable[Frame]) -> Iterable[Frame]:
    """Frames so short that the answer to each fits a message."""
    for frame in frames:
        lower = frame.lower
        for at in range(0, len(frame.ranges), _FRAME_RANGES):
            part = frame.ranges[at : at + _FRAME_RANGES]
            yield Frame(lower, part)
            lower = part[-1].upper
