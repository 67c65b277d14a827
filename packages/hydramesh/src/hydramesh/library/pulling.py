"""Transfers: what all collections want of whom, piece by piece, within the window and the rate."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from hydramesh.errors import HydraMeshError, PeerRefused, PeerStalled, StorageFailure
from hydramesh.library.bundles import bundled, is_short, stays_in_memory
from hydramesh.library.limits import Bucket
from hydramesh.library.partial import Partials
from hydramesh.library.wanted import Line, Peers, Want
from hydramesh.sync.errors import BadMessage
from hydramesh.sync.pulls import Fetch, Planner, Pull

log = logging.getLogger("hydramesh")

MOST_AT_ONCE = 192
_LISTS_AT_ONCE = 16
MOST_SHORT = 512
MOST_OF_ONE_PIECE = 64
_AGAIN_S = 2.0
_DISK_AGAIN_S = 15.0
_NOTE_EVERY_S = 1.0
_FORGIVE_S = 60.0
_OTHERS_S = 1.0
_T = TypeVar("_T")


class Puller:
    """All transfers to this node.

    Args:
        folder: where contents are kept on their way.
        peers: how to ask.
        arrived: called when a content is whole, with its digest.
        sources: the peers that can be asked now for the contents of a collection.
    """

    def __init__(
        self,
        folder: Path,
        peers: Peers,
        arrived: Callable[[bytes], None],
        sources: Callable[[str], Iterable[str]],
    ) -> None:
        self.partials = Partials(folder)
        self.planner = Planner()
        self.bucket = Bucket(0)
        self.wants: dict[bytes, Want] = {}
        self.ready: dict[bytes, Path | bytes] = {}
        self.problem = ""
        self.received = 0
        self._peers, self._arrived, self._sources = peers, arrived, sources
        self._fetches: dict[bytes, Fetch] = {}
        self._long, self._middle, self._short = (
            Line(most, most // 4) for most in (MOST_AT_ONCE, MOST_OF_ONE_PIECE, MOST_SHORT)
        )
        self._lines = (self._long, self._middle, self._short)
        self._later: list[tuple[float, bytes]] = []
        self._left: dict[str, int] = {}
        self._writing: dict[bytes, int] = {}
        self._noted: dict[bytes, float] = {}
        self._forgive: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._room = asyncio.Semaphore(_LISTS_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="library-pull")

    # -- what the collections say ------------------------------------------------------------------

    def want(self, digest: bytes, size: int, collection: str) -> None:
        """A collection waits for a content."""
        held = self.wants.get(digest)
        if held is None:
            held = self.wants[digest] = Want(digest, size)
            self._line(held).join(digest, collection)
        if collection not in held.collections:
            held.collections.add(collection)
            self._left[collection] = self._left.get(collection, 0) + size
        if digest in self.ready:
            self._arrived(digest)
        self._wake.set()

    def done_with(self, digest: bytes, collection: str) -> None:
        """A collection has the content, or does not want it any more."""
        held = self.wants.get(digest)
        if held is None or collection not in held.collections:
            return
        held.collections.discard(collection)
        self._left[collection] -= held.size
        if not held.collections:
            in_memory = isinstance(self.ready.get(digest), bytes)
            self._forget(digest)
            if not in_memory:
                self._discard(digest)
            self._wake.set()

    def leave(self, collection: str) -> None:
        """A collection is not ours any more."""
        for digest in [d for d, want in self.wants.items() if collection in want.collections]:
            self.done_with(digest, collection)

    def left(self, collection: str) -> int:
        """The bytes that a collection still waits for."""
        here = 0
        for digest in itertools.chain(*(line.active for line in self._lines)):
            want = self.wants.get(digest)
            if want is None or collection not in want.collections:
                continue
            fetch = self._fetches.get(digest)
            if digest in self.ready:
                here += want.size
            elif fetch is not None:
                here += sum(fetch.length(at) for at in fetch.here)
        return max(0, self._left.get(collection, 0) - here)

    def content(self, digest: bytes) -> Path | bytes | None:
        """A content that is whole."""
        return self.ready.get(digest)

    def lost(self, digest: bytes) -> None:
        """A content that was whole is not there any more: fetch it again."""
        want = self.wants.get(digest)
        if self.ready.pop(digest, None) is not None and want is not None:
            self._end_turn(digest)
            self._queue(want)
            self._wake.set()

    def poke(self) -> None:
        """Look again whom to ask."""
        self._wake.set()

    # -- the work ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Transfer, until cancelled."""
        await self._in_thread(self.partials.prepare)
        try:
            while True:
                wait = self._round(time.monotonic())
                await asyncio.sleep(0)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._wake.wait()
                self._wake.clear()
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            self._threads.shutdown(wait=True)

    def _round(self, now: float) -> float:
        """Begin what can begin; how long to wait then."""
        for peer, until in list(self._forgive.items()):
            if now >= until:
                del self._forgive[peer]
                self.planner.forgive(peer)
        for digest in self.planner.stuck():
            self._give_up(digest, now)
        while self._later and self._later[0][0] <= now:
            want = self.wants.get(heapq.heappop(self._later)[1])
            if want is not None:
                self._queue(want)
        self._begin_next(now)
        delay = self.bucket.delay(now)
        if delay > 0:
            return min(delay, 1.0)
        self._ask_for(self.planner.plan(now), now)
        return 1.0

    def _begin_next(self, now: float) -> None:
        for line in self._lines:
            # Where nobody can be asked, places are free again at once: all of a long line in one go
            # would hold up the heartbeats.
            called = list(itertools.islice(line.call(), line.most))
            if len(called) == line.most:
                self._wake.set()
            for digest in called:
                want = self.wants.get(digest)
                if want is None:
                    line.leave(digest)
                elif stays_in_memory(want.size):
                    self._begin_at_once(want, now)
                else:
                    self._start(self._begin(want))

    def _ask_for(self, pulls: list[Pull], now: float) -> None:
        together: dict[tuple[str, str], list[Pull]] = {}
        for pull in pulls:
            self.bucket.spend(pull.length, now)
            want = self.wants.get(pull.digest)
            if want is not None and is_short(want.size) and pull.peer in want.sources:
                place = pull.peer, want.sources[pull.peer]
                together.setdefault(place, []).append(pull)
            else:
                self._start(self._pull(pull))
        for (peer, collection), short in together.items():
            for bundle in bundled(short):
                self._start(self._pull_bundle(peer, collection, bundle))

    def _line(self, want: Want) -> Line:
        if is_short(want.size):
            return self._short
        return self._middle if stays_in_memory(want.size) else self._long

    def _queue(self, want: Want) -> None:
        self._line(want).join(want.digest, min(want.collections))

    def _end_turn(self, digest: bytes) -> None:
        for line in self._lines:
            line.leave(digest)

    def _give_up(self, digest: bytes, now: float, after: float = _AGAIN_S) -> None:
        """Nobody is left to ask: begin again later, perhaps with others."""
        self.planner.drop(digest)
        fetch = self._fetches.pop(digest, None)
        self._end_turn(digest)
        if fetch is not None and fetch.here and not fetch.done:
            self._threads.submit(self._keep, fetch)
        if digest in self.wants:
            heapq.heappush(self._later, (now + after, digest))

    def _keep(self, fetch: Fetch) -> None:
        """Let what is here be of use the next time."""
        with contextlib.suppress(OSError):
            self.partials.note(fetch)

    def _forget(self, digest: bytes) -> None:
        self.planner.drop(digest)
        self._fetches.pop(digest, None)
        self._noted.pop(digest, None)
        self._end_turn(digest)
        self.wants.pop(digest, None)
        self.ready.pop(digest, None)

    def _begin_at_once(self, want: Want, now: float) -> None:
        """Ask for a content of one piece: nothing has to be known of it before."""
        want.look_for(self._sources, now)
        try:
            fetch = Fetch.of(want.digest, want.size, [want.digest])
        except BadMessage as error:
            log.warning("%s", error.what)
            self._give_up(want.digest, now, _FORGIVE_S)
            return
        if not want.sources:
            self._give_up(want.digest, now)
            return
        fetch.sources.update(want.sources)
        self._fetches[want.digest] = fetch
        self.planner.add(fetch)

    async def _begin(self, want: Want) -> None:
        try:
            path = await self._in_thread(self.partials.find, want.digest)
            if self.wants.get(want.digest) is not want:
                return
            if path is not None:
                self._complete(want.digest, path)
                return
            want.look_for(self._sources, time.monotonic())
            fetch = await self._fetch_of(want, list(want.sources)) if want.sources else None
        except OSError as error:
            self._disk_failed(want.digest, error)
            return
        except HydraMeshError as error:
            log.warning("%s", error.what)
            self._give_up(want.digest, time.monotonic(), _FORGIVE_S)
            return
        if self.wants.get(want.digest) is not want:
            # It was given up, and perhaps wanted again, meanwhile.
            return
        if fetch is None:
            self._give_up(want.digest, time.monotonic())
            return
        self._fetches[want.digest] = fetch
        if fetch.done:
            await self._finish(fetch)
        else:
            self.planner.add(fetch)
            self._wake.set()

    async def _fetch_of(self, want: Want, sources: list[str]) -> Fetch | None:
        """A fetch with those sources that agree on the pieces, the most of them."""
        groups: dict[tuple[bytes, ...], set[str]] = {}
        for peer, pieces in (await self._ask_all(want, sources)).items():
            if pieces:
                groups.setdefault(pieces, set()).add(peer)
        resumed = await self._in_thread(self.partials.resume, want.digest, want.size)
        if resumed is not None and resumed.pieces in groups:
            resumed.sources = groups[resumed.pieces]
            return resumed
        if not groups:
            return None
        pieces, agreed = max(groups.items(), key=lambda group: len(group[1]))
        fetch = Fetch.of(want.digest, want.size, pieces)
        fetch.sources.update(agreed)
        return fetch

    async def _ask_all(self, want: Want, sources: list[str]) -> dict[str, tuple[bytes, ...]]:
        """What sources say of the pieces; once one has said it, the others have not long."""
        loop = asyncio.get_running_loop()
        asked = {loop.create_task(self._ask_pieces(peer, want)): peer for peer in sources}
        try:
            told: set[asyncio.Task[tuple[bytes, ...]]] = set()
            waiting = set(asked)
            while waiting and not any(each.result() for each in told):
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                told |= done
            if waiting:
                told |= (await asyncio.wait(waiting, timeout=_OTHERS_S))[0]
            return {asked[each]: each.result() for each in told}
        finally:
            for task in asked:
                task.cancel()

    async def _ask_pieces(self, peer: str, want: Want) -> tuple[bytes, ...]:
        try:
            async with self._room:
                pieces = await self._peers.pieces(peer, want.sources[peer], want.digest)
            Fetch.of(want.digest, want.size, pieces)
        except BadMessage:
            self._ban(peer)
        except HydraMeshError as error:
            if _has_it_not(error):
                want.lacks(peer, time.monotonic())
        else:
            return tuple(pieces)
        return ()

    async def _pull(self, pull: Pull) -> None:
        want = self.wants.get(pull.digest)
        fetch = self._fetches.get(pull.digest)
        if want is None or fetch is None or pull.peer not in want.sources:
            self.planner.put_back(pull.peer, pull.digest, pull.index, absent=True)
            return
        try:
            data = await self._peers.piece(
                pull.peer, want.sources[pull.peer], pull.digest, pull.index
            )
            news = self.planner.arrived(pull.peer, pull.digest, pull.index, data)
        except BadMessage as error:
            log.warning("%s", error.what)
            self._forgive_later(pull.peer)
        except PeerRefused as error:
            absent = _has_it_not(error)
            if absent:
                want.lacks(pull.peer, time.monotonic())
            await asyncio.sleep(0.2)
            self.planner.put_back(pull.peer, pull.digest, pull.index, absent=absent)
        except PeerStalled:
            self.planner.failed(pull.peer, pull.digest, pull.index)
            self._forgive_later(pull.peer)
        except HydraMeshError:
            self.planner.put_back(pull.peer, pull.digest, pull.index)
        else:
            fetch = self._fetches.get(pull.digest)
            if news and fetch is not None:
                self.received += len(data)
                if stays_in_memory(fetch.size):
                    self._complete(pull.digest, data)
                else:
                    await self._take(fetch, pull.index, data)
        self._wake.set()

    async def _pull_bundle(self, peer: str, collection: str, pulls: list[Pull]) -> None:
        told: tuple[bytes, ...] = ()
        try:
            digests = [pull.digest for pull in pulls]
            told = await self._peers.contents(peer, collection, digests)
        except (BadMessage, PeerStalled) as error:
            log.debug("%s", error.what)
            # One request, one strike.
            self.planner.failed(peer, pulls[0].digest, 0)
            self._forgive_later(peer)
        except HydraMeshError as error:
            if _has_it_not(error):
                told = (b"",) * len(pulls)
            await asyncio.sleep(0.2)
        for pull, data in zip(pulls, told, strict=False):
            self._arrived_short(pull, data)
        for pull in pulls[len(told) :]:
            self.planner.put_back(peer, pull.digest, 0)
        self._wake.set()

    def _arrived_short(self, pull: Pull, data: bytes) -> None:
        want = self.wants.get(pull.digest)
        if not data:
            if want is not None:
                want.lacks(pull.peer, time.monotonic())
            self.planner.put_back(pull.peer, pull.digest, 0, absent=True)
            return
        try:
            if self.planner.arrived(pull.peer, pull.digest, 0, data):
                self.received += len(data)
                self._complete(pull.digest, data)
        except BadMessage as error:
            log.warning("%s", error.what)
            self._forgive_later(pull.peer)

    async def _take(self, fetch: Fetch, index: int, data: bytes) -> None:
        digest = fetch.digest
        self._writing[digest] = self._writing.get(digest, 0) + 1
        try:
            try:
                await self._in_thread(self.partials.write, digest, index, data)
            finally:
                self._writing[digest] -= 1
            if self._fetches.get(digest) is not fetch:
                self._discard(digest)
            elif fetch.done and not self._writing[digest]:
                del self._writing[digest]
                await self._finish(fetch)
            elif time.monotonic() - self._noted.get(digest, 0.0) > _NOTE_EVERY_S:
                self._noted[digest] = time.monotonic()
                await self._in_thread(self.partials.note, fetch)
        except OSError as error:
            # What the journal says is only what was written before: begin again from there.
            self._disk_failed(digest, error)

    async def _finish(self, fetch: Fetch) -> None:
        if fetch.digest not in self.wants or self._fetches.get(fetch.digest) is not fetch:
            return
        path = await self._in_thread(self.partials.finish, fetch.digest)
        if path is not None:
            self._complete(fetch.digest, path)
            return
        log.warning("%s sent a content that is not what its digest says", ", ".join(fetch.sources))
        for peer in fetch.sources:
            self._ban(peer)
        self._give_up(fetch.digest, time.monotonic(), 0.0)

    def _complete(self, digest: bytes, content: Path | bytes) -> None:
        self._fetches.pop(digest, None)
        self.problem = ""
        if digest in self.wants:
            self.ready[digest] = content
            self._arrived(digest)
        elif not isinstance(content, bytes):
            self._discard(digest)
        self._wake.set()

    def _discard(self, digest: bytes) -> None:
        def work() -> None:
            with contextlib.suppress(OSError):
                if digest not in self.wants:
                    self.partials.discard(digest)

        self._threads.submit(work)

    def _disk_failed(self, digest: bytes, error: OSError) -> None:
        if digest not in self.wants:
            return
        self.problem = f"contents cannot be kept: {(error.strerror or str(error)).lower()}"
        log.error("%s", self.problem)
        self._give_up(digest, time.monotonic(), _DISK_AGAIN_S)

    def _ban(self, peer: str) -> None:
        self.planner.ban(peer)
        self._forgive_later(peer)

    def _forgive_later(self, peer: str) -> None:
        self._forgive.setdefault(peer, time.monotonic() + _FORGIVE_S)

    # -- tasks -------------------------------------------------------------------------------------

    async def _in_thread(self, work: Callable[..., _T], *arguments: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _start(self, work: Awaitable[None]) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(_quiet(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _has_it_not(error: HydraMeshError) -> bool:
    """Whether a peer said that it gives this to us not now: another one may.

    It has just dropped the content or the collection, paused it, or we may not read it there. Who
    only has too much to do is asked again.
    """
    return isinstance(error, PeerRefused) and error.why != "TooManyRequests"


async def _quiet(work: Awaitable[None]) -> None:
    try:
        await work
    except StorageFailure as error:
        log.error("a transfer failed: %s", error.what)
    except Exception:
        log.exception("a transfer failed")
