"""Queries over the trunk, for much data: behind everything else, and never more than is asked for.

Nothing is pushed: who wants something asks for it, so that a slow receiver holds up nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import zenoh
from zenoh.handlers import Callback

from hydramesh.errors import HydraMeshError, PeerRefused, PeerStalled

MAX_ANSWERS = 64
"""How many queries are answered at once; what comes beyond is refused: a flood ends here."""

MAX_QUERY_BYTES = 2 << 20
_MAX_REFUSAL_BYTES = 80

Asked: TypeAlias = "Callable[[str, bytes], Awaitable[bytes]]"
_Found: TypeAlias = "tuple[bytes, bytes]"


def declare(session: zenoh.Session, threads: ThreadPoolExecutor, topic: str, asked: Asked) -> Any:
    """Answer queries for a topic expression with ``asked``, in the event loop that runs now.

    An error of ours is told to the peer by its name alone.
    """
    loop = asyncio.get_running_loop()
    under_way: set[asyncio.Task[None]] = set()
    room = threading.Semaphore(MAX_ANSWERS)

    def tell(query: zenoh.Query, key: str, reply: bytes, refusal: bytes) -> None:
        # Leaving ends the answer, which waits for room on the link as the answer itself does: never
        # in the event loop, which moves what is on the link.
        try:
            with contextlib.suppress(zenoh.ZError), query:
                if refusal:
                    query.reply_err(refusal)
                else:
                    query.reply(key, reply)
        finally:
            room.release()

    async def work(query: zenoh.Query, key: str, data: bytes) -> None:
        reply, refusal = b"", b"refused"
        try:
            reply, refusal = await asked(key, data), b""
        except HydraMeshError as error:
            refusal = error.name.encode()
        finally:
            # The threads may have ended meanwhile, and with them everything.
            with contextlib.suppress(RuntimeError):
                threads.submit(tell, query, key, reply, refusal)

    def begin(query: zenoh.Query, key: str, data: bytes) -> None:
        task = loop.create_task(work(query, key, data))
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    def on_query(query: zenoh.Query) -> None:
        size = len(query.payload) if query.payload is not None else 0
        if loop.is_closed() or size > MAX_QUERY_BYTES or not room.acquire(blocking=False):
            with query:
                query.reply_err(b"TooManyRequests")
            return
        data = query.payload.to_bytes() if query.payload is not None else b""
        loop.call_soon_threadsafe(begin, query, str(query.key_expr), data)

    return session.declare_queryable(topic, Callback(on_query, indirect=False))


async def ask(
    session: zenoh.Session,
    threads: ThreadPoolExecutor,
    topic: str,
    data: bytes,
    *,
    limit: int,
    timeout_s: float,
) -> bytes:
    """The answer of one node.

    Raises:
        PeerStalled: no answer came in time; PeerRefused: the peer said no, ``why`` is its word.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_Found] = loop.create_future()
    stalled = PeerStalled("the peer did not answer", why=f"within {timeout_s:g} s")
    send = functools.partial(
        session.get,
        topic,
        _settling(loop, answer, limit),
        payload=data,
        timeout=timeout_s,
        priority=zenoh.Priority.BACKGROUND,
        congestion_control=zenoh.CongestionControl.BLOCK,
        consolidation=zenoh.ConsolidationMode.NONE,
    )
    try:
        async with asyncio.timeout(timeout_s + 1):
            await loop.run_in_executor(threads, send)
            body, refusal = await answer
    except TimeoutError:
        raise stalled from None
    except (zenoh.ZError, RuntimeError) as error:
        raise PeerStalled("the trunk is closed now", why=str(error)[:200]) from None
    if refusal:
        raise PeerRefused("the peer refused", why=refusal.decode("ascii", "replace"))
    if not body:
        raise stalled
    return body


def _settling(
    loop: asyncio.AbstractEventLoop, answer: asyncio.Future[_Found], limit: int
) -> Callback[zenoh.Reply]:
    """What Zenoh calls with the replies, and at their end: the first one is the answer."""

    def settle(found: _Found) -> None:
        if not answer.done():
            answer.set_result(found)

    def on_reply(reply: zenoh.Reply) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, _read(reply, limit))

    def on_end() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, (b"", b""))

    return Callback(on_reply, on_end, indirect=False)


def _read(reply: zenoh.Reply, limit: int) -> _Found:
    """(answer, refusal) of a reply."""
    if reply.ok is not None:
        if len(reply.ok.payload) <= limit:
            return reply.ok.payload.to_bytes(), b""
        return b"", b"MessageTooLarge"
    refusal = reply.err.payload.to_bytes() if reply.err is not None else b""
    return b"", refusal[:_MAX_REFUSAL_BYTES] or b"refused"
