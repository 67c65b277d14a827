"""What peers ask of the collections here, answered: only to members whose role allows it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from blake3 import blake3

from hydramesh.errors import HydraMeshError, TooManyRequests
from hydramesh.library import bundles
from hydramesh.library.door import Door
from hydramesh.library.errors import NoCollection, NoContent, StoreUnusable, SyncPaused
from hydramesh.library.limits import Bucket, Turnstile
from hydramesh.library.shelf import Shelf
from hydramesh.sync.errors import BadMessage, NotPermitted
from hydramesh.sync.pulls import PIECE
from hydramesh.wire import (
    pack_frame,
    pack_head,
    pack_parts,
    unpack_frame,
    unpack_parts,
    unpack_piece,
    unpack_since,
    unpack_wanted,
)
from streamdb import StreamDB
from streamdb.errors import StreamDBError

_MOST_WAIT_S = 8.0
_MOST_FRAMES = 8
_MOST_WANTS = 64
_OPEN_FILES = 16
_LISTS = 64


@dataclass(slots=True)
class _Open:
    """A long content that is being read, piece by piece."""

    file: BinaryIO
    lock: threading.Lock = field(default_factory=threading.Lock)


class Reader:
    """Reads pieces of contents; for threads that may wait. Long contents stay open for a while."""

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, _Open] = OrderedDict()
        self._lists: OrderedDict[bytes, tuple[bytes, ...]] = OrderedDict()
        self._lock = threading.Lock()

    def piece(self, digest: bytes, place: tuple[StreamDB, str], index: int) -> bytes:
        """One piece; b"" behind the end."""
        held = self._file(digest, place)
        with held.lock:
            held.file.seek(index * PIECE)
            return held.file.read(PIECE)

    def pieces(self, digest: bytes, place: tuple[StreamDB, str]) -> tuple[bytes, ...]:
        """The digests of all pieces.

        Raises:
            NoContent: what is stored is something else by now.
        """
        if digest in self._lists:
            return self._lists[digest]
        whole, found = blake3(), list[bytes]()
        with place[0].get_stream(place[1]) as file:
            while piece := file.read(PIECE):
                whole.update(piece)
                found.append(blake3(piece).digest())
        if whole.digest() != digest:
            raise NoContent("the content has just been replaced")
        with self._lock:
            self._lists[digest] = tuple(found)
            while len(self._lists) > _LISTS:
                self._lists.popitem(last=False)
        return tuple(found)

    def _file(self, digest: bytes, place: tuple[StreamDB, str]) -> _Open:
        with self._lock:
            held = self._open.get(digest)
            if held is not None:
                self._open.move_to_end(digest)
                return held
        if place[0].stat(place[1]).digest != digest.hex():
            raise NoContent("the content has just been replaced")
        fresh = _Open(place[0].get_stream(place[1]))
        with self._lock:
            self._open[digest] = fresh
            while len(self._open) > _OPEN_FILES:
                self._drop(self._open.popitem(last=False)[1])
        return fresh

    @staticmethod
    def _drop(held: _Open) -> None:
        with held.lock, contextlib.suppress(StreamDBError, OSError):
            held.file.close()

    def close(self) -> None:
        """Let everything go."""
        with self._lock:
            while self._open:
                self._drop(self._open.popitem()[1])


class Server:
    """Answers requests; every refusal is an error whose name alone the peer is told."""

    def __init__(
        self, door: Door, shelves: Callable[[], dict[str, Shelf]], paused: Callable[[str], bool]
    ) -> None:
        self.bucket = Bucket(0)
        self.sent = 0
        self.refused: dict[str, int] = {}
        self._door, self._shelves, self._paused = door, shelves, paused
        self._closed = False
        self._turnstile = Turnstile()
        self._reader = Reader()
        self._threads = ThreadPoolExecutor(4, thread_name_prefix="library-serve")

    def close(self) -> None:
        """Stop answering."""
        self._closed = True
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._reader.close()

    async def answer(self, topic: str, data: bytes) -> bytes:
        """Answer a request for ``sync/<nid>/<collection>/<kind>`` or ``blob/<nid>/<digest>``."""
        try:
            peer, body = self._door.read_request(topic, data)
            if not self._turnstile.admits(peer, time.monotonic()):
                raise TooManyRequests(f"{peer} asks too often")
            parts = topic.split("/")
            if parts[2] == "blob":
                return await self._blob(topic, peer, parts[4], data, body)
            shelf = self._shelf(peer, parts[4])
            if parts[5] == "contents":
                return await self._contents(shelf, body)
            # A store that is locked must not keep those waiting who ask for other collections.
            async with asyncio.timeout(_MOST_WAIT_S):
                reply = await self._sync(shelf, parts[5], body)
            return self._door.reply(topic, data, reply)
        except HydraMeshError as error:
            self.refused[error.name] = self.refused.get(error.name, 0) + 1
            raise
        except TimeoutError:
            raise StoreUnusable("the store does not answer now") from None
        except (StreamDBError, OSError) as error:
            raise NoContent("the store cannot be read now", why=str(error)[:200]) from None

    def _shelf(self, peer: str, collection: str) -> Shelf:
        shelf = self._shelves().get(collection)
        if shelf is None or shelf.head is None or self._closed:
            raise NoCollection(f"{collection[:60]!r} is not here")
        if shelf.role(peer) is None:
            raise NotPermitted(f"{peer} may not read {shelf.entry.name}")
        if self._paused(collection):
            raise SyncPaused(f"{shelf.entry.name} is paused")
        return shelf

    async def _sync(self, shelf: Shelf, kind: str, body: bytes) -> bytes:
        if kind == "head":
            assert shelf.head is not None
            return pack_head(shelf.head)
        if kind == "charter":
            return shelf.charter.pack()
        if kind == "delta":
            return await shelf.run(shelf.delta, *unpack_since(body))
        if kind == "reconcile":
            frames = [unpack_frame(part) for part in unpack_parts(body, _MOST_FRAMES)]
            return pack_parts(pack_frame(each) for each in await shelf.run(shelf.frames, frames))
        if kind == "records":
            wants = [unpack_wanted(part) for part in unpack_parts(body, _MOST_WANTS)]
            return await shelf.run(shelf.records, wants)
        raise BadMessage(f"{kind[:20]!r} cannot be asked for")

    async def _blob(self, topic: str, peer: str, name: str, data: bytes, body: bytes) -> bytes:
        collection, index = unpack_piece(body)
        shelf = self._shelf(peer, collection)
        digest = _digest(name)
        place = shelf.content(digest)
        if place is None:
            raise NoContent("the content is not here")
        if index < 0:
            pieces: Iterable[bytes] = await self._in_thread(self._reader.pieces, digest, place)
            return self._door.reply(topic, data, pack_parts(pieces))
        delay = self.bucket.delay(time.monotonic())
        if delay > _MOST_WAIT_S:
            raise TooManyRequests("the rate is used up for now")
        self.bucket.spend(PIECE, time.monotonic())
        await asyncio.sleep(delay)
        piece: bytes = await self._in_thread(self._reader.piece, digest, place, index)
        if not piece:
            raise NoContent("the content has no such piece")
        self.bucket.spend(len(piece) - PIECE, time.monotonic())
        self.sent += len(piece)
        return piece

    async def _contents(self, shelf: Shelf, body: bytes) -> bytes:
        """Short contents, as many as there is room for; b"" for one that is not here."""
        digests = bundles.checked(unpack_parts(body, bundles.MOST))
        await self._wait_for_rate()
        found = await self._in_thread(_short_contents, shelf, digests)
        size = sum(map(len, found))
        self.bucket.spend(size, time.monotonic())
        self.sent += size
        return pack_parts(found)

    async def _wait_for_rate(self) -> None:
        delay = self.bucket.delay(time.monotonic())
        if delay > _MOST_WAIT_S:
            raise TooManyRequests("the rate is used up for now")
        await asyncio.sleep(delay)

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)


def _short_contents(shelf: Shelf, digests: list[bytes]) -> list[bytes]:
    found: list[bytes] = []
    size = 0
    for digest in digests:
        place = shelf.content(digest)
        data = b""
        if place is not None:
            with contextlib.suppress(StreamDBError):
                # What was replaced in this moment is not here any more; what is long is not short.
                if place[0].stat(place[1]).size <= bundles.SHORT:
                    data = place[0].get(place[1])
        if data and blake3(data).digest() != digest:
            data = b""
        size += len(data)
        if found and size > bundles.MOST_BYTES:
            break
        found.append(data)
    return found


def _digest(name: str) -> bytes:
    try:
        digest = bytes.fromhex(name)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise BadMessage("a content is asked for by no digest")
    return digest
