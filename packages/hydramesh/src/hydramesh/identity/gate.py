"""The gate: the TLS connection between the realm's authority and a node that wants a certificate.

The server side listens behind the switchboard of the trunk. Either side gives up on a stalled one,
and reads no more than the longest honest message.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

from hydramesh.errors import (
    HydraMeshError,
    MessageTooLarge,
    PeerStalled,
    TooManyRequests,
    Unreachable,
    WrongRealm,
)
from hydramesh.identity import enrol
from hydramesh.identity.enrol import MAX_REQUEST_BYTES, Greeting
from hydramesh.identity.invites import Endpoint
from hydramesh.identity.names import GATE_NAME
from hydramesh.identity.roster import MAX_ROSTER_BYTES

TIMEOUT_S = 10.0
#: A lost first packet is sent again after 1 s, the second one after 3 s.
CONNECT_S = 4.0
MAX_AT_ONCE = 16
#: So many requests a second are answered in the long run, and so many at once.
RATE_PER_S, BURST = 20.0, 100.0


async def read_frame(reader: asyncio.StreamReader, limit: int) -> bytes:
    """One message: its length in four bytes, then itself."""
    length = int.from_bytes(await reader.readexactly(4), "big")
    if length > limit:
        raise MessageTooLarge("a message is too long", why=f"{length} bytes, {limit} are allowed")
    return await reader.readexactly(length)


def frame(message: bytes) -> bytes:
    """A message with its length ahead."""
    return len(message).to_bytes(4, "big") + message


class GateServer:
    """The authority's side. ``handle`` turns a request into a reply, and has kept the books."""

    def __init__(
        self,
        certificate: Path,
        key: Path,
        greet: Callable[[], bytes],
        handle: Callable[[bytes], bytes],
    ) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._files = (certificate, key)
        self._greet, self._handle = greet, handle
        self._server: asyncio.Server | None = None
        self._busy = 0
        self._tokens, self._filled = BURST, time.monotonic()

    async def start(self, path: Path) -> None:
        """Listen on a Unix socket of the state directory."""
        self.reload()
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(
            self._serve,
            path,
            ssl=self._context,
            ssl_handshake_timeout=TIMEOUT_S,
            limit=MAX_REQUEST_BYTES,
        )

    def reload(self) -> None:
        """Take the renewed certificate for connections from now on."""
        self._context.load_cert_chain(*self._files)

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    def admitted_by_rate(self) -> bool:
        """Whether one more request may be answered now; takes it into account."""
        now = time.monotonic()
        self._tokens = min(BURST, self._tokens + (now - self._filled) * RATE_PER_S)
        self._filled = now
        if self._tokens < 1 or self._busy >= MAX_AT_ONCE:
            return False
        self._tokens -= 1
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        allowed = self.admitted_by_rate()
        self._busy += 1
        try:
            async with asyncio.timeout(TIMEOUT_S):
                writer.write(frame(self._greet()))
                await writer.drain()
                reply = await self._reply(reader) if allowed else enrol.failure(_TOO_MANY)
                writer.write(frame(reply))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            # The other side went, or stalled: nothing was promised to it.
            pass
        finally:
            self._busy -= 1
            writer.close()
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await writer.wait_closed()

    async def _reply(self, reader: asyncio.StreamReader) -> bytes:
        try:
            request = await read_frame(reader, MAX_REQUEST_BYTES)
        except MessageTooLarge as error:
            return enrol.failure(error)
        return self._handle(request)


_TOO_MANY = TooManyRequests(
    "the authority has had too many requests", next_step="try again in a few seconds"
)


def _client_context() -> ssl.SSLContext:
    # Who answers is verified against the pin, by ``enrol.read_hello``, before anything is sent.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


async def _connect(endpoint: Endpoint) -> socket.socket:
    """A TCP connection. It gets less time than an answer: there may be endpoints to try still."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(CONNECT_S):
        found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
        for number, (family, kind, protocol, _, address) in enumerate(found, 1):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                await loop.sock_connect(sock, address)
            except BaseException as error:
                sock.close()
                if isinstance(error, OSError) and number < len(found):
                    continue
                raise
            return sock
    raise OSError("the name has no address")


async def _ask_one(
    endpoint: Endpoint, pinned: bytes, request: Callable[[Greeting], bytes]
) -> tuple[Greeting, bytes]:
    sock = await _connect(endpoint)
    # The socket is closed by the transport, also when the handshake fails.
    reader, writer = await asyncio.open_connection(
        sock=sock,
        ssl=_client_context(),
        server_hostname=GATE_NAME,
        limit=MAX_ROSTER_BYTES,
    )
    try:
        leaf = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        said = await read_frame(reader, MAX_REQUEST_BYTES)
        greeting = enrol.read_hello(said, leaf or b"", pinned, time.time())
        writer.write(frame(request(greeting)))
        await writer.drain()
        return greeting, await read_frame(reader, 2 * MAX_ROSTER_BYTES)
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                await writer.wait_closed()


async def ask(
    endpoints: tuple[Endpoint, ...], pinned: bytes, request: Callable[[Greeting], bytes]
) -> tuple[Greeting, bytes]:
    """Ask the authority at the first endpoint that answers; its greeting, and the raw reply.

    ``request`` makes the message once the other side is verified.
    """
    reasons = []
    stalled = False
    stranger: WrongRealm | None = None
    for endpoint in endpoints:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await _ask_one(endpoint, pinned, request)
        except WrongRealm as error:
            # The address may be that of another machine where we are.
            stranger = error
        except HydraMeshError:
            raise
        except TimeoutError:
            stalled = True
            reasons.append(f"{endpoint}: no answer in time")
        except asyncio.IncompleteReadError:
            reasons.append(f"{endpoint}: it closed the connection")
        except OSError as error:
            reasons.append(f"{endpoint}: {_said(error)}")
    if stranger is not None:
        raise stranger
    kind = PeerStalled if stalled and len(reasons) == 1 else Unreachable
    raise kind(
        "the realm's authority cannot be reached",
        why="; ".join(reasons) or "no endpoint of it is known",
        next_step="see that hydrameshd runs there, and that its port is open",
    )


def _said(error: OSError) -> str:
    """Why there was no answer. A member that does not reach the authority ends the handshake."""
    ended = isinstance(error, ssl.SSLError | ConnectionResetError)
    return "no HydraMesh gate, or none that it reaches" if ended else str(error.strerror or error)
