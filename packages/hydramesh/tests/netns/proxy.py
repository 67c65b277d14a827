"""A slow and lossy way into a daemon: a TCP proxy, run inside its namespace.

There is no netem here, and what passes is TCP, whose user never sees a lost segment: it sees the
stream stand still until the segment was sent again. So that is what this does. Each segment (at
most 1448 bytes) takes ``--delay-ms`` one way. One that is "lost" holds itself and all behind it up:
for two round trips (the tail loss probe of RFC 8985), when it is lost again for a retransmission
timeout of RFC 6298 (the round trip and 200 ms) that doubles each time. Congestion control is left
out: a real stream would also become slower than this one.

    ip netns exec SPACE python proxy.py --listen 10.77.0.1:50052 --to 10.77.0.1:50051 \\
        --delay-ms 50 --loss 0.2 --seed 1
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys

SEGMENT = 1448
MOST_HELD = 32


def stall_s(rng: random.Random, loss: float, delay_s: float) -> float:
    """How long a segment is held up before it arrives; 0 for one that was not lost."""
    round_trip = 2 * delay_s
    wait, timeout, held = 2 * round_trip, round_trip + 0.2, 0.0
    while rng.random() < loss:
        held += wait
        wait, timeout = timeout, 2 * timeout
    return held


class Way:
    """One direction of one connection."""

    def __init__(self, loss: float, delay_s: float, rng: random.Random) -> None:
        self.loss, self.delay_s, self.rng = loss, delay_s, rng
        self.queue: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue(MOST_HELD)
        self.last = 0.0

    async def take(self, reader: asyncio.StreamReader) -> None:
        """Read segments, and say of each when it arrives."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while data := await reader.read(SEGMENT):
                at = loop.time() + self.delay_s + stall_s(self.rng, self.loss, self.delay_s)
                # In order: what is behind a lost segment waits for it.
                self.last = max(self.last, at)
                await self.queue.put((self.last, data))
        await self.queue.put(None)

    async def give(self, writer: asyncio.StreamWriter) -> None:
        """Write each when its time has come."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while (held := await self.queue.get()) is not None:
                at, data = held
                await asyncio.sleep(max(0.0, at - loop.time()))
                writer.write(data)
                await writer.drain()
        writer.close()


async def serve(listen: str, to: str, delay_s: float, loss: float, seed: int) -> None:
    """Serve until killed."""
    rng = random.Random(seed)

    # The loop itself keeps no hold of a connection's task.
    held: set[asyncio.Task[None] | None] = set()

    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.add(asyncio.current_task())
        try:
            host, _, port = to.rpartition(":")
            inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        ways = [Way(loss, delay_s, rng) for _ in range(2)]
        await asyncio.gather(
            ways[0].take(reader), ways[0].give(inner_writer),
            ways[1].take(inner_reader), ways[1].give(writer),
        )  # fmt: skip
        held.discard(asyncio.current_task())

    host, _, port = listen.rpartition(":")
    server = await asyncio.start_server(passed, host, int(port), limit=SEGMENT)
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    await server.serve_forever()


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    parser.add_argument("--to", required=True)
    parser.add_argument("--delay-ms", type=float, default=50.0)
    parser.add_argument("--loss", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(given.listen, given.to, given.delay_ms / 1000, given.loss, given.seed))


if __name__ == "__main__":
    main()
