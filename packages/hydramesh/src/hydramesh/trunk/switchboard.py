"""The sockets of the trunk: one open port outside, and lines that can be dialled and hung up.

Zenoh fixes its endpoints when a session opens, and cannot close a single link. So its sockets are
on the loopback interface only, and this switchboard joins them with the world. What passes is TLS
between the two Zenoh sessions: the switchboard moves bytes that it cannot read.

- Outside, one TCP port. The first bytes of a connection tell whether it is a trunk link or a joiner
  (see ``clienthello``); both are then joined with the listener behind it.
- Inside, a number of *lines*: loopback ports that Zenoh dials as soon as it starts. A line holds
  Zenoh's connection until somebody is to be dialled, and then joins the two at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hydramesh.errors import PortTaken, StorageFailure, Unreachable
from hydramesh.identity.names import GATE_NAME
from hydramesh.trunk.clienthello import NotTls, server_name

LINES = 8
MAX_INBOUND = 128
MAX_PER_ADDRESS = 32
_HELLO_TIMEOUT_S = 5.0
_DIAL_TIMEOUT_S = 3.0
#: What waits between Zenoh and the line outside: a heartbeat stands in this queue, too. More of it
#: is no faster, and on a line of 5 Mbit/s each 64 KiB are 0.1 s.
_HIGH_WATER = 64 << 10
_INNER_BUFFER = 48 << 10
_UNSENT = 16 << 10


class _End(asyncio.Protocol):
    """One end of a joined pair: what comes in goes out at the other."""

    def __init__(self, on_lost: Callable[[_End], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: _End | None = None
        self.first = bytearray()
        self.on_first: Callable[[_End], None] | None = None
        self.on_lost = on_lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        sock: socket.socket | None = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)

    def data_received(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)
            return
        self.first += data
        if self.on_first is not None:
            self.on_first(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        other, self.other = self.other, None
        if other is not None:
            other.close()
        self.on_lost(self)

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.resume_reading()

    def join(self, other: _End) -> None:
        """Join two ends, handing on what has come in already."""
        self.other, other.other = other, self
        for one, two in ((self, other), (other, self)):
            if one.first and two.transport is not None:
                two.transport.write(bytes(one.first))
                one.first.clear()

    def close(self) -> None:
        """Close this end after what is still to be written; the other follows."""
        if self.transport is not None:
            self.transport.close()

    def abort(self) -> None:
        """Close this end at once."""
        if self.transport is not None:
            self.transport.abort()

    @property
    def alive(self) -> bool:
        """Whether the connection is there."""
        return self.transport is not None and not self.transport.is_closing()

    def address(self) -> str:
        """The other side's IP address."""
        peer = self.transport.get_extra_info("peername") if self.transport else None
        return str(peer[0]) if isinstance(peer, tuple) else "local"

    def own_port(self) -> int:
        """The port of our side of this connection."""
        own = self.transport.get_extra_info("sockname") if self.transport else None
        return int(own[1]) if isinstance(own, tuple) else 0


@dataclass(slots=True)
class Line:
    """One loopback port that Zenoh dials; ``node`` is whom it is joined with."""

    server: asyncio.Server | None = None
    port: int = 0
    node: str = ""
    held: _End | None = None
    dialled: _End | None = None
    retired: bool = False


@dataclass(slots=True)
class _Inbound:
    outer: _End
    inner: _End | None = None
    deadline: asyncio.TimerHandle | None = field(default=None)


class Switchboard:
    """All sockets of the trunk; ``open_lines`` first, ``close`` at the end."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.trunk_port = 0
        self.gate_path: str | None = None
        self.refused = 0
        self._server: asyncio.Server | None = None
        self._inbound: dict[_End, _Inbound] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # -- outside -----------------------------------------------------------------------------------

    async def open_lines(self, count: int = LINES) -> list[int]:
        """Open loopback ports that a session is to dial, and return them.

        Lines that are there already are not dialled on any more, but keep what they hold until
        ``close_retired``, or until these new ones are taken back by ``close_new``.
        """
        loop = asyncio.get_running_loop()
        older = list(self.lines)
        for line in older:
            line.retired = True
        for _ in range(count):
            line = Line()
            inner = _inner_socket()
            inner.bind(("127.0.0.1", 0))
            line.port = inner.getsockname()[1]
            line.server = await loop.create_server(
                functools.partial(self._line_end, line), sock=inner
            )
            self.lines.append(line)
        return [line.port for line in self.lines[len(older) :]]

    def close_retired(self) -> None:
        """Close the lines of the session before."""
        for line in self.lines:
            if line.retired:
                _close_line(line)
        self.lines = [line for line in self.lines if not line.retired]

    def close_new(self) -> None:
        """Close the newest lines, and use those before again."""
        for line in self.lines:
            if not line.retired:
                _close_line(line)
        self.lines = [line for line in self.lines if line.retired]
        for line in self.lines:
            line.retired = False

    async def take_port(self, host: str, port: int) -> None:
        """Take the port outside, still closed, before the kernel gives it to a connection of ours.

        Raises:
            PortTaken, StorageFailure: it cannot be had.
        """
        loop = asyncio.get_running_loop()
        with _named(host, port):
            self._server = await loop.create_server(
                self._outer_end, host, port, backlog=64, start_serving=False
            )

    async def open_port(self) -> list[str]:
        """Open the port that was taken; returns the addresses that are listened on.

        Raises:
            PortTaken, StorageFailure: it cannot be opened.
        """
        assert self._server is not None
        addresses = [each.getsockname() for each in self._server.sockets]
        with _named(*addresses[0][:2]):
            await self._server.start_serving()
        return [_shown(each) for each in addresses]

    def _outer_end(self) -> _End:
        end = _End(self._outer_lost)
        end.on_first = self._outer_first
        loop = asyncio.get_running_loop()
        record = _Inbound(end)
        record.deadline = loop.call_later(_HELLO_TIMEOUT_S, self._too_slow, end)
        self._inbound[end] = record
        return end

    def _crowded(self, end: _End) -> bool:
        address = end.address()
        same = sum(each.address() == address for each in self._inbound)
        return len(self._inbound) > MAX_INBOUND or same > MAX_PER_ADDRESS

    def _too_slow(self, end: _End) -> None:
        record = self._inbound.get(end)
        if record is not None and record.inner is None:
            self.refused += 1
            end.abort()

    def _outer_first(self, end: _End) -> None:
        record = self._inbound.get(end)
        if record is None or end.transport is None:
            return
        try:
            name = server_name(bytes(end.first))
        except NotTls:
            name = "?"
        if name is None:
            return
        end.on_first = None
        if name not in ("", GATE_NAME) or self._crowded(end) or not self._wanted(name):
            self.refused += 1
            end.abort()
            return
        end.transport.pause_reading()
        self._start(self._join_inbound(record, to_gate=name == GATE_NAME))

    def _wanted(self, name: str) -> bool:
        return self.gate_path is not None if name == GATE_NAME else self.trunk_port > 0

    async def _join_inbound(self, record: _Inbound, *, to_gate: bool) -> None:
        loop = asyncio.get_running_loop()
        inner = _End(lambda _: None)
        try:
            if to_gate:
                assert self.gate_path is not None
                await loop.create_unix_connection(lambda: inner, self.gate_path)
            else:
                sock = _inner_socket()
                await loop.sock_connect(sock, ("127.0.0.1", self.trunk_port))
                await loop.create_connection(lambda: inner, sock=sock)
        except OSError:
            record.outer.abort()
            return
        if record.deadline is not None:
            record.deadline.cancel()
        record.inner = inner
        if not record.outer.alive or record.outer.transport is None:
            inner.abort()
            return
        record.outer.join(inner)
        record.outer.transport.resume_reading()

    def _outer_lost(self, end: _End) -> None:
        record = self._inbound.pop(end, None)
        if record is not None and record.deadline is not None:
            record.deadline.cancel()

    def inbound_address(self, inner_port: int) -> str | None:
        """Where the inbound link comes from that Zenoh sees as coming from ``inner_port``."""
        for record in self._inbound.values():
            if record.inner is not None and record.inner.own_port() == inner_port:
                return record.outer.address()
        return None

    # -- lines -------------------------------------------------------------------------------------

    def _line_end(self, line: Line) -> _End:
        end = _End(lambda lost: self._line_lost(line, lost))
        if line.held is not None:
            line.held.abort()
            if line.dialled is not None:
                line.node, line.dialled = "", None
        line.held = end
        return end

    def _line_lost(self, line: Line, end: _End) -> None:
        if line.held is end:
            line.held = None
            if line.dialled is not None:
                line.node = ""
                line.dialled = None

    def name_line(self, port: int, node: str) -> None:
        """Say who answered on a line, where only an endpoint was dialled."""
        for line in self.lines:
            if line.port == port and line.dialled is not None:
                line.node = node

    def line_of(self, node: str) -> Line | None:
        """The line that is joined with a node, or about to be."""
        return next((e for e in self.lines if e.node == node and not e.retired), None)

    async def dial(self, node: str, endpoints: list[tuple[str, int]]) -> str:
        """Join a free line with the first endpoint that answers, and say which one.

        Zenoh then does the handshake with the peer, which may still fail: look for the link.
        """
        line = self.line_of("")
        if line is None:
            raise Unreachable("all lines are in use", why=f"{len(self.lines)} links are dialled")
        line.node = node
        try:
            return await self._dial_on(line, endpoints)
        except BaseException:
            line.node = ""
            raise

    async def _dial_on(self, line: Line, endpoints: list[tuple[str, int]]) -> str:
        loop = asyncio.get_running_loop()
        reasons = []
        for host, port in endpoints:
            outer = _End(lambda _: None)
            try:
                async with asyncio.timeout(_DIAL_TIMEOUT_S / max(1, len(endpoints))):
                    await loop.create_connection(functools.partial(_same, outer), host, port)
                    while line.held is None or not line.held.alive:
                        await asyncio.sleep(0.02)
            except (OSError, TimeoutError) as error:
                outer.abort()
                reasons.append(f"{host}:{port}: {_reason(error)}")
                continue
            line.dialled = outer
            line.held.join(outer)
            return _shown((host, port))
        raise Unreachable(
            "the node cannot be reached", why="; ".join(reasons) or "it has no known endpoint"
        )

    # -- hanging up --------------------------------------------------------------------------------

    def hang_up(self, ports: set[int], node: str = "") -> int:
        """Close the links whose inner ports are named, and the line of a node; how many."""
        count = 0
        for line in self.lines:
            if line.held is not None and line.dialled is not None and node and line.node == node:
                line.held.abort()
                count += 1
        for record in list(self._inbound.values()):
            if record.inner is not None and record.inner.own_port() in ports:
                record.outer.abort()
                count += 1
        return count

    def _start(self, work: object) -> None:
        assert asyncio.iscoroutine(work)
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Close every socket."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        for end in list(self._inbound):
            end.abort()
        for line in self.lines:
            _close_line(line)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)


def _inner_socket() -> socket.socket:
    """A socket towards Zenoh. What it accepts has its small buffer, too."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _INNER_BUFFER)
    return sock


def _close_line(line: Line) -> None:
    if line.server is not None:
        line.server.close()
    for part in (line.held, line.dialled):
        if part is not None:
            part.abort()


def _same(end: _End) -> _End:
    return end


def _reason(error: OSError | TimeoutError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    return (error.strerror or str(error)).lower()


@contextlib.contextmanager
def _named(host: str, port: int) -> Iterator[None]:
    """Name what keeps us from listening."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(
                f"port {port} is taken by another program",
                next_step=f"see which one: ss -ltnp 'sport = :{port}'; or set \"port\" in the"
                " configuration",
            ) from None
        raise StorageFailure(
            f"cannot listen on {host} port {port}", why=error.strerror or str(error)
        ) from None


def _shown(address: tuple[object, ...]) -> str:
    host, port = str(address[0]), address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
