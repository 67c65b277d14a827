"""The way to the authority's gate for joiners that reach another member only.

A member hands on the bytes of a joiner's TLS connection, over the trunk, to the gate itself. The
joiner verifies the authority in that connection against the pin of its invite before it sends the
secret, and asks for a certificate of its own key in it. So the member in between can read neither,
nor put another key in its place: it can only fail to hand them on.

A connection is carried in steps, each a question of the member's with bytes for the gate and an
answer with bytes from it. The gate is whoever listens on a Unix socket beside the daemon's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from hydramesh.errors import HydraMeshError, MessageMalformed, TooManyRequests, Unreachable

log = logging.getLogger("hydramesh")

#: So many connections are carried at once: at the gate there is room for others as well.
MAX_AT_ONCE = 8
#: A connection of the gate may take 10 s for its handshake, and 10 s for the rest.
LIFE_S = 25.0
STEP_TIMEOUT_S = 5.0
PIECE = 32 << 10
#: An honest joiner says about 3 KiB, and at most the gate's longest request.
MAX_IN_BYTES = 64 << 10
_ID, _NUMBER = 16, 2
_HEAD = _ID + _NUMBER + 1
#: So long each side waits for more bytes before it asks, or answers, without any.
_PAUSE_S = 0.2
_WAIT_S = 0.5
_STEPS = 500


@dataclass(frozen=True, slots=True)
class Step:
    """Bytes for the gate: which connection, which step of it, and whether it ends behind them."""

    connection: bytes
    number: int
    ends: bool
    data: bytes


def pack_step(step: Step) -> bytes:
    """A step as bytes."""
    number = step.number.to_bytes(_NUMBER, "big")
    return step.connection + number + bytes([step.ends]) + step.data


def unpack_step(raw: bytes) -> Step:
    """A step from bytes.

    Raises:
        MessageMalformed: it is none.
    """
    if not _HEAD <= len(raw) <= _HEAD + PIECE or raw[_HEAD - 1] > 1:
        raise MessageMalformed("a step towards the gate is none")
    number = int.from_bytes(raw[_ID : _ID + _NUMBER], "big")
    return Step(raw[:_ID], number, bool(raw[_HEAD - 1]), raw[_HEAD:])


def pack_back(data: bytes, *, ends: bool) -> bytes:
    """Bytes from the gate."""
    return bytes([ends]) + data


def unpack_back(raw: bytes) -> tuple[bytes, bool]:
    """(bytes from the gate, whether it has closed the connection behind them).

    Raises:
        MessageMalformed: they are none.
    """
    if not 1 <= len(raw) <= 1 + PIECE or raw[0] > 1:
        raise MessageMalformed("an answer of the gate is none")
    return raw[1:], bool(raw[0])


async def _read(reader: asyncio.StreamReader, wait_s: float) -> bytes | None:
    """What comes next; b"" at the end, None if nothing comes for so long."""
    try:
        async with asyncio.timeout(wait_s):
            return await reader.read(PIECE)
    except TimeoutError:
        return None
    except OSError:
        return b""


class Forwarder:
    """A member's side: takes connections meant for the gate, and has them carried there.

    ``ask`` hands a step to the authority and returns its answer, or raises a named error.
    """

    def __init__(self, ask: Callable[[bytes], Awaitable[bytes]]) -> None:
        self._ask = ask
        self._busy = 0
        self._server: asyncio.Server | None = None

    async def start(self, path: Path) -> None:
        """Listen on a Unix socket of the state directory; the mesh goes on where that fails."""
        try:
            path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._serve, path, limit=PIECE)
        except OSError as error:
            log.warning("nobody can join through this node: %s", error)

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._busy += 1
        try:
            if self._busy <= MAX_AT_ONCE:
                async with asyncio.timeout(LIFE_S):
                    await self._carry(reader, writer)
        except (HydraMeshError, OSError, TimeoutError):
            # The joiner sees its connection end, and tries the next endpoint of its invite.
            pass
        finally:
            self._busy -= 1
            writer.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = secrets.token_bytes(_ID)
        fresh = await _read(reader, LIFE_S)
        for number in range(_STEPS):
            step = Step(connection, number, fresh == b"", fresh or b"")
            back, ended = unpack_back(await self._ask(pack_step(step)))
            writer.write(back)
            await writer.drain()
            if ended or step.ends:
                return
            fresh = await _read(reader, 0.01 if len(back) == PIECE else _PAUSE_S)


@dataclass(slots=True)
class _Carried:
    """A connection to the gate, and how far it has come."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    taken: int = 0
    steps: int = 0
    busy: bool = False


class Passage:
    """The authority's side: makes the connections to the gate, and says what it answers."""

    def __init__(self, gate: Path) -> None:
        self._gate = gate
        self._carried: dict[bytes, _Carried] = {}
        self._opening = 0

    async def answer(self, topic: str, data: bytes) -> bytes:
        """Take a step.

        Raises:
            MessageMalformed: it is none, or not the next one; TooManyRequests; Unreachable.
        """
        del topic
        step = unpack_step(data)
        held = self._carried.get(step.connection)
        if held is None and step.number == 0:
            held = await self._begin(step.connection)
        if held is None or held.busy or step.number != held.steps:
            raise MessageMalformed("a step towards the gate is not the next one")
        held.busy = True
        try:
            return await self._take(held, step)
        finally:
            held.busy = False

    async def _begin(self, connection: bytes) -> _Carried:
        if len(self._carried) + self._opening >= MAX_AT_ONCE:
            raise TooManyRequests("the gate is asked by too many through others")
        self._opening += 1
        try:
            reader, writer = await asyncio.open_unix_connection(self._gate, limit=PIECE)
        except OSError as error:
            raise Unreachable("the gate is closed", why=str(error)) from None
        finally:
            self._opening -= 1
        held = _Carried(reader, writer)
        if self._carried.setdefault(connection, held) is not held:
            writer.close()
            raise MessageMalformed("a connection to the gate begins twice")
        asyncio.get_running_loop().call_later(LIFE_S, self._end, connection)
        return held

    async def _take(self, held: _Carried, step: Step) -> bytes:
        held.steps += 1
        held.taken += len(step.data)
        if step.ends or held.taken > MAX_IN_BYTES:
            self._end(step.connection)
            return pack_back(b"", ends=True)
        held.writer.write(step.data)
        with contextlib.suppress(OSError):
            await held.writer.drain()
        back = await _read(held.reader, _WAIT_S)
        if back == b"":
            self._end(step.connection)
        return pack_back(back or b"", ends=back == b"")

    def _end(self, connection: bytes) -> None:
        held = self._carried.pop(connection, None)
        if held is not None:
            held.writer.close()

    def close(self) -> None:
        """End all connections."""
        for connection in list(self._carried):
            self._end(connection)
