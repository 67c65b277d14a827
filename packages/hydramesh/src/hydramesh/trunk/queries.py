"""Questions over the trunk from the event loop: one answer each, with a timeout. Nothing is pushed.

A consumer that stalls makes Zenoh close its link after a while and lose what comes later without an
error; so whatever is long is pulled, piece by piece, by whoever wants it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Literal

import zenoh
from zenoh.handlers import Callback

from hydramesh.errors import HydraMeshError

ANSWER_S = 3.0
Where = Literal["here", "thread", "loop"]


async def fetch(
    session: zenoh.Session,
    topic: str,
    payload: bytes,
    limit: int,
    *,
    bulk: bool = False,
    timeout_s: float = ANSWER_S,
) -> bytes | None:
    """The first answer to a question, or None: nobody answered in time, or at too great length.

    ``bulk`` gives way to everything else; otherwise it goes ahead of everything else.
    """
    loop = asyncio.get_running_loop()
    told: asyncio.Future[bytes | None] = loop.create_future()

    def settle(data: bytes | None) -> None:
        if not told.done():
            told.set_result(data)

    def on_reply(reply: zenoh.Reply) -> None:
        sample = reply.ok
        if sample is not None and len(sample.payload) <= limit and not loop.is_closed():
            loop.call_soon_threadsafe(settle, sample.payload.to_bytes())

    def on_end() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, None)

    session.get(
        topic,
        Callback(on_reply, on_end, indirect=False),
        payload=payload,
        timeout=timeout_s,
        consolidation=zenoh.ConsolidationMode.NONE,
        priority=zenoh.Priority.BACKGROUND if bulk else zenoh.Priority.REAL_TIME,
        congestion_control=zenoh.CongestionControl.BLOCK,
        express=not bulk,
    )
    try:
        async with asyncio.timeout(timeout_s + 1):
            return await told
    except TimeoutError:
        return None


def answer(
    session: zenoh.Session,
    topic: str,
    limit: int,
    reply: Callable[[bytes], bytes],
    *,
    where: Where = "here",
) -> Any:
    """Answer questions for a topic.

    ``where`` is the thread that makes and sends the answer. ``here``: Zenoh's own, which receives
    nothing from that link meanwhile, not even heartbeats: for what is short and at hand only.
    ``thread``: one of this topic's own, for what is long. ``loop``: the event loop.

    Questions that are too long, and those that ``reply`` refuses by a named error, stay unanswered.
    """
    loop = asyncio.get_running_loop()

    def on_query(query: zenoh.Query) -> None:
        with query:
            asked = query.payload
            if asked is not None and len(asked) > limit:
                return
            with contextlib.suppress(HydraMeshError):
                query.reply(topic, reply(asked.to_bytes() if asked is not None else b""))

    def hand_on(query: zenoh.Query) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(on_query, query)

    work = hand_on if where == "loop" else on_query
    return session.declare_queryable(topic, Callback(work, indirect=where == "thread"))
