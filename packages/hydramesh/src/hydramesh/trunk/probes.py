"""Measuring the way to a node: round trips of a short question, and chunks pulled as in a sync.

Every member answers: a question comes back as it is, and the chunk is the same noise on all nodes,
so that who pulls it can verify it by its digest, as with content.
"""

from __future__ import annotations

import asyncio
import functools
import math
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

from blake3 import blake3

from hydramesh.errors import MessageMalformed, PeerStalled
from hydramesh.trunk.session import Session

CHUNK_BYTES = 1 << 20
WINDOW = 4
ECHO_BYTES = 64
_MAX_ECHO = 1024
_CHUNK_TIMEOUT_S = 30.0
_MAX_FAILURES = 5
_GAP_S, _AGAIN_S = 0.01, 0.2
_OLDER = "hydramesh peers; and see that it runs this version"


@functools.cache
def noise() -> tuple[bytes, bytes]:
    """The chunk of 1 MiB that everybody has, and its BLAKE3."""
    made = blake3(b"hydramesh benchmark").digest(length=CHUNK_BYTES)
    return made, blake3(made).digest()


def serve(session: Session, prefix: str) -> None:
    """Answer the measurements of others."""
    session.answer(f"{prefix}/echo", _MAX_ECHO, lambda asked: asked)
    session.answer(f"{prefix}/noise", 0, lambda _: noise()[0], where="thread")


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which a share of all lies (nearest rank); 0 for no values.

    >>> percentile([3.0, 1.0, 2.0], 0.5), percentile([3.0, 1.0, 2.0], 0.99)
    (2.0, 3.0)
    """
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@dataclass(slots=True)
class Bulk:
    """What pulling showed: seconds of each chunk, and when each was there (from the first ask)."""

    took_s: list[float] = field(default_factory=list)
    at_s: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def bytes_per_s(self) -> float:
        """All bytes by all of the time."""
        return len(self.at_s) * CHUNK_BYTES / self.at_s[-1] if self.at_s else 0.0

    def intervals(self, length_s: float = 0.25) -> list[float]:
        """Bytes a second, of each whole interval; of all the time when that was shorter."""
        whole = int(self.at_s[-1] / length_s) if self.at_s else 0
        counts = [0] * whole
        for at in self.at_s:
            if at < whole * length_s:
                counts[min(whole - 1, int(at / length_s))] += 1
        return [each * CHUNK_BYTES / length_s for each in counts] or [self.bytes_per_s]


class Prober:
    """Measures the way to one node."""

    def __init__(self, session: Session, prefix: str) -> None:
        self._session, self._prefix = session, prefix

    async def round_trip(self) -> float | None:
        """Seconds of one question and its answer, or None when it was lost."""
        asked = os.urandom(ECHO_BYTES)
        began = time.perf_counter()
        told = await self._session.fetch(f"{self._prefix}/echo", asked, _MAX_ECHO)
        return time.perf_counter() - began if told == asked else None

    async def round_trips(self, count: int) -> AsyncIterator[float | None]:
        """Round trips one after the other; raises ``PeerStalled`` when none comes back."""
        lost = 0
        for _ in range(count):
            took = await self.round_trip()
            lost = 0 if took is not None else lost + 1
            if lost >= _MAX_FAILURES:
                raise PeerStalled(
                    "the node does not answer measurements",
                    why=f"{lost} questions in a row came to nothing",
                    next_step=_OLDER,
                )
            yield took
            await asyncio.sleep(_GAP_S * 4**lost)

    async def pull(self, chunks: int, bulk: Bulk) -> None:
        """Pull chunks into ``bulk``, a few at a time; raises ``PeerStalled``."""
        todo = iter(range(chunks))
        began = time.perf_counter()
        tasks = [asyncio.create_task(self._work(todo, bulk, began)) for _ in range(WINDOW)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _work(self, todo: Iterator[int], bulk: Bulk, began: float) -> None:
        for _ in todo:
            asked, data = await self._chunk(bulk)
            # In a thread, as long as it takes: the heartbeats of the daemon go on meanwhile.
            digest = await asyncio.to_thread(lambda got: blake3(got).digest(), data)
            if digest != noise()[1]:
                raise MessageMalformed("a chunk came damaged", why="its BLAKE3 does not fit")
            now = time.perf_counter()
            bulk.took_s.append(now - asked)
            bulk.at_s.append(now - began)

    async def _chunk(self, bulk: Bulk) -> tuple[float, bytes]:
        for turn in range(_MAX_FAILURES):
            asked = time.perf_counter()
            data = await self._session.fetch(
                f"{self._prefix}/noise", b"", CHUNK_BYTES, bulk=True, timeout_s=_CHUNK_TIMEOUT_S
            )
            if data is not None:
                return asked, data
            bulk.failed += 1
            # Nobody is there to answer while messages look for another way.
            await asyncio.sleep(_AGAIN_S * 2**turn)
        raise PeerStalled(
            "the node stopped answering",
            why=f"a chunk was asked for {_MAX_FAILURES} times in vain",
            next_step=_OLDER,
        )
