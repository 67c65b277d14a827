"""What the mesh is measured beside: asyncio UDP, grpc.aio, and TCP with sendfile, on loopback.

Each server is a process of its own: ``python mesh_peers.py NAME`` prints its port, then serves
until it is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from blake3 import blake3

ECHO_BYTES = 64
CHUNK_BYTES = 1 << 20
_METHOD = "/bench.Echo/Echo"


# -- servers ---------------------------------------------------------------------------------------


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # What the loop makes is no DatagramTransport to isinstance before Python 3.13.
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.transport.sendto(data, addr)


async def _serve_udp() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(_Echo, local_addr=("127.0.0.1", 0))
    print(transport.get_extra_info("sockname")[1], flush=True)
    await asyncio.Event().wait()


async def _serve_grpc() -> None:
    import grpc

    async def echo(request: bytes, context: object) -> bytes:
        del context
        return request

    server = grpc.aio.server()
    handlers = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", handlers),))
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await asyncio.Event().wait()


def _serve_tcp() -> None:
    """Send a file of noise from its beginning, again and again, for as many bytes as asked."""
    noise = os.urandom(64 * CHUNK_BYTES)
    with tempfile.TemporaryFile() as file, socket.create_server(("127.0.0.1", 0)) as server:
        file.write(noise)
        file.flush()
        print(server.getsockname()[1], flush=True)
        while True:
            link, _ = server.accept()
            with link, contextlib.suppress(OSError):
                todo = int.from_bytes(link.recv(8), "big")
                while todo > 0:
                    todo -= os.sendfile(link.fileno(), file.fileno(), 0, min(todo, len(noise)))


# -- clients ---------------------------------------------------------------------------------------


class _Once(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.waiting: asyncio.Future[bytes] | None = None

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        del addr
        if self.waiting is not None and not self.waiting.done():
            self.waiting.set_result(data)


async def _udp(port: int, count: int) -> list[float]:
    loop = asyncio.get_running_loop()
    transport, once = await loop.create_datagram_endpoint(_Once, remote_addr=("127.0.0.1", port))
    took = []
    for _ in range(count):
        once.waiting = loop.create_future()
        began = time.perf_counter()
        transport.sendto(os.urandom(ECHO_BYTES))
        await asyncio.wait_for(once.waiting, 5)
        took.append(time.perf_counter() - began)
        await asyncio.sleep(0.01)
    transport.close()
    return took


async def _grpc(port: int, count: int) -> list[float]:
    import grpc

    took = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        echo = channel.unary_unary(_METHOD)
        await echo(b"")
        for _ in range(count):
            began = time.perf_counter()
            await echo(os.urandom(ECHO_BYTES))
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.01)
    return took


def udp_round_trips(port: int, count: int) -> list[float]:
    """Seconds of each."""
    return asyncio.run(_udp(port, count))


def grpc_round_trips(port: int, count: int) -> list[float]:
    """Seconds of each."""
    return asyncio.run(_grpc(port, count))


def tcp_bytes_per_s(port: int, chunks: int) -> float:
    """Bytes a second of a stream that is hashed as it comes."""
    total, hasher = chunks * CHUNK_BYTES, blake3()
    buffer = memoryview(bytearray(CHUNK_BYTES))
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as link:
        link.sendall(total.to_bytes(8, "big"))
        done = 0
        while done < total:
            count = link.recv_into(buffer)
            if not count:
                raise ConnectionError("the server went")
            hasher.update(buffer[:count])
            done += count
    hasher.digest()
    return total / (time.perf_counter() - began)


@contextlib.contextmanager
def server(name: str) -> Iterator[int]:
    """A server in a process of its own; its port."""
    argv = [sys.executable, str(Path(__file__).resolve()), name]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait(30)


def _end_with_parent(parent: int) -> None:
    """A server whose parent was killed must not stay behind."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    if sys.argv[1] == "tcp":
        _serve_tcp()
    asyncio.run({"udp": _serve_udp, "grpc": _serve_grpc}[sys.argv[1]]())
