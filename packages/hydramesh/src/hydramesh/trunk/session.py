"""The Zenoh session of a node, behind the switchboard.

Router mode with explicit endpoints, mutual TLS on every link. Traps that decided the settings:
gossip and multicast would connect everybody with everybody; ``lowlatency`` loses long replies;
shared memory does not work in a sandboxed service; the administration space would show the
configuration to every member.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zenoh
from zenoh.handlers import Callback

from hydramesh.errors import TrunkRefused
from hydramesh.trunk import bulk, queries

QUERY_TIMEOUT_S = 3.0
_REFUSAL_WAIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Files:
    """The files that Zenoh reads: the CA, and this node's certificate and key."""

    ca: Path
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class TrunkLink:
    """A link as Zenoh sees it: the peer's id from its certificate, and the two inner ports."""

    nid: str
    source_port: int
    destination_port: int


def zenoh_settings(files: Files, listen_port: int, line_ports: list[int]) -> dict[str, Any]:
    """The configuration as plain data."""
    return {
        "mode": "router",
        "listen": {"endpoints": [f"tls/127.0.0.1:{listen_port}"]},
        "connect": {
            "endpoints": [f"tls/127.0.0.1:{port}" for port in line_ports],
            "timeout_ms": -1,
            "exit_on_failure": False,
            "retry": {"period_init_ms": 50, "period_max_ms": 500, "period_increase_factor": 2},
        },
        "scouting": {"multicast": {"enabled": False}, "gossip": {"enabled": False}},
        "adminspace": {"enabled": False},
        "transport": {
            "link": {
                "tx": {"lease": 4000, "keep_alive": 4},
                "tls": {
                    # Short queues: see the switchboard.
                    "so_sndbuf": 48 << 10,
                    "root_ca_certificate": str(files.ca),
                    "listen_private_key": str(files.key),
                    "listen_certificate": str(files.certificate),
                    "connect_private_key": str(files.key),
                    "connect_certificate": str(files.certificate),
                    "enable_mtls": True,
                    # Addresses change and say nothing: who it is stands in the certificate.
                    "verify_name_on_connect": False,
                    "close_link_on_expiration": True,
                },
            },
            "shared_memory": {"enabled": False},
        },
    }


class Session:
    """One open Zenoh session; every blocking call runs in a thread."""

    def __init__(self, session: zenoh.Session) -> None:
        self._session = session
        self._declared: list[Any] = []
        # A full link holds up who sends over it, but not the event loop, and not the other threads.
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="trunk")

    @classmethod
    async def open(cls, settings: dict[str, Any]) -> Session:
        """Open a session; raises ``TrunkRefused``, without what Zenoh says of keys."""
        try:
            config = zenoh.Config.from_json5(json.dumps(settings))
            return cls(await asyncio.to_thread(zenoh.open, config))
        except zenoh.ZError as error:
            raise TrunkRefused(
                "the trunk did not start", why=str(error).partition(" at /")[0][:200]
            ) from None

    async def close(self) -> None:
        """Close all links."""
        await asyncio.to_thread(self._session.close)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def publish(self, topic: str, data: bytes) -> None:
        """Send to whoever listens, ahead of everything else, or not at all."""
        self._session.put(
            topic,
            data,
            congestion_control=zenoh.CongestionControl.DROP,
            priority=zenoh.Priority.REAL_TIME,
            express=True,
        )

    def subscribe(self, topic: str, heard: Callable[[str, bytes], None]) -> None:
        """Call ``heard`` in the event loop with each message's topic and bytes."""
        loop = asyncio.get_running_loop()

        def on_sample(sample: zenoh.Sample) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(heard, str(sample.key_expr), sample.payload.to_bytes())

        self._declared.append(
            self._session.declare_subscriber(topic, Callback(on_sample, indirect=False))
        )

    def serve(self, topic: str, answer: Callable[[], bytes]) -> None:
        """Answer queries for a topic; ``answer`` runs in a thread of Zenoh."""

        def on_query(query: zenoh.Query) -> None:
            with query:
                query.reply(topic, answer())

        self._declared.append(
            self._session.declare_queryable(topic, Callback(on_query, indirect=False))
        )

    async def ask(self, topic: str, limit: int) -> bytes | None:
        """The first answer to a query, or None."""

        def first() -> bytes | None:
            for reply in self._session.get(topic, timeout=QUERY_TIMEOUT_S):
                sample = reply.ok
                if sample is not None and len(sample.payload) <= limit:
                    return sample.payload.to_bytes()
            return None

        return await asyncio.to_thread(first)

    async def fetch(
        self, topic: str, payload: bytes, limit: int, *, bulk: bool = False, timeout_s: float = 3.0
    ) -> bytes | None:
        """Ask with a payload, without a thread; see :func:`hydramesh.trunk.queries.fetch`."""
        return await queries.fetch(
            self._session, topic, payload, limit, bulk=bulk, timeout_s=timeout_s
        )

    def answer(
        self,
        topic: str,
        limit: int,
        reply: Callable[[bytes], bytes],
        *,
        where: queries.Where = "here",
    ) -> None:
        """Answer such queries; see :func:`hydramesh.trunk.queries.answer`."""
        self._declared.append(queries.answer(self._session, topic, limit, reply, where=where))

    def serve_bulk(self, topic: str, asked: Callable[[str, bytes], Awaitable[bytes]]) -> None:
        """Answer queries for a topic expression with a coroutine of the event loop."""
        self._declared.append(bulk.declare(self._session, self._threads, topic, asked))

    async def query(self, topic: str, data: bytes, *, limit: int, timeout_s: float) -> bytes:
        """The answer of one node to a query, behind everything else on its way.

        Raises:
            PeerStalled: no answer came in time; PeerRefused: the peer said no, and why.
        """
        return await bulk.ask(
            self._session, self._threads, topic, data, limit=limit, timeout_s=timeout_s
        )

    def links(self) -> list[TrunkLink]:
        """The links that are up."""
        return [
            TrunkLink(each.auth_identifier or "", _port(each.src), _port(each.dst))
            for each in self._session.info.links()
        ]


def _port(locator: str) -> int:
    tail = locator.partition("?")[0].partition("#")[0].rpartition(":")[2]
    return int(tail) if tail.isdigit() else 0


# -- the check of our own door ---------------------------------------------------------------------


def _stranger(files: Files | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if files is not None:
        context.load_cert_chain(files.certificate, files.key)
    return context


async def admits(host: str, port: int, files: Files | None, wait_s: float) -> bool:
    """Whether a listener keeps a TLS connection open, with our certificate or without any.

    TLS 1.3 tells a client of its refusal only after the handshake, so the connection has to be
    watched: a listener that wants no certificate waits for the first message.
    """
    try:
        async with asyncio.timeout(_REFUSAL_WAIT_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=_stranger(files))
    except (OSError, TimeoutError):
        return False
    try:
        async with asyncio.timeout(wait_s):
            await reader.read(1)
        return False
    except TimeoutError:
        return True
    except OSError:
        return False
    finally:
        writer.transport.abort()


async def check_door(host: str, port: int, files: Files) -> None:
    """Make sure that our own listener wants certificates, by trying without one.

    The same attempt with our certificate must succeed, or the check would prove nothing.
    """
    if await admits(host, port, None, _REFUSAL_WAIT_S):
        raise TrunkRefused(
            "our own listener admits a peer without a certificate",
            why=f"a TLS connection to port {port} without one stayed open",
            next_step="the daemon has closed it; please report this",
        )
    if not await admits(host, port, files, 0.3):
        raise TrunkRefused(
            "our own listener refuses our certificate",
            why="so its refusal of strangers proves nothing",
            next_step="see that the clock is right: hydramesh doctor",
        )
