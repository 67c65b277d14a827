"""Transfers while nobody can be asked."""

from __future__ import annotations

import asyncio
import os
from typing import Any, cast

from hydramesh.library.pulling import MOST_SHORT, Puller


def test_a_long_line_without_sources_does_not_hold_up_the_loop(tmp_path, monkeypatch):
    rounds: list[int] = []

    async def work():
        turn = 0
        puller = Puller(tmp_path, cast("Any", None), lambda _: None, lambda _: ())
        begin_at_once = puller._begin_at_once

        def begin(want, now):
            rounds.append(turn)
            begin_at_once(want, now)

        monkeypatch.setattr(puller, "_begin_at_once", begin)
        for _ in range(10 * MOST_SHORT):
            puller.want(os.urandom(32), 100, "drums")
        running = asyncio.ensure_future(puller.run())
        while len(rounds) < 10 * MOST_SHORT:
            turn += 1
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(asyncio.wait_for(work(), 30))
    # In each turn of the loop as many as have a place, and all of them in the end.
    assert len(rounds) == 10 * MOST_SHORT
    assert max(map(rounds.count, set(rounds))) <= MOST_SHORT
