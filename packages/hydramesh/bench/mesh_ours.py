"""Two real daemons in one realm on loopback, and what they measure between them."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

from hydramesh.v1 import control_pb2, control_pb2_grpc, library_pb2_grpc, mesh_pb2, mesh_pb2_grpc

PATIENCE_S = 60.0


class Daemon:
    """One of them."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder / name, name
        self.folder.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        config = self.folder / "config.json"
        config.write_text(json.dumps({"host": "127.0.0.1", "port": self.port, "node-id": name}))
        argv = ["hydrameshd", "--state", str(self.folder / "s"), "--config", str(config)]
        program = f"import sys; from hydramesh.daemon import main; sys.argv = {argv!r}; main()"
        log = (self.folder / "log").open("wb")
        self.process = subprocess.Popen([sys.executable, "-c", program], stdout=log, stderr=log)
        self.socket = self.folder / "s" / "control.sock"
        self.channel = grpc.insecure_channel(f"unix:{self.socket}")

    def control(self, method: str, request: Any) -> Any:
        """Ask it; waits for it to come up."""
        stub: Any = control_pb2_grpc.ControlStub(self.channel)  # type: ignore[no-untyped-call]
        return getattr(stub, method)(request, timeout=PATIENCE_S, wait_for_ready=True)

    def library(self, method: str, request: Any) -> Any:
        """Ask it about collections."""
        stub: Any = library_pb2_grpc.LibraryStub(self.channel)  # type: ignore[no-untyped-call]
        return getattr(stub, method)(request, timeout=PATIENCE_S)

    def benchmark(self, node: str, count: int, chunks: int) -> mesh_pb2.BenchmarkResult:
        """Measure the way to another."""
        stub: Any = mesh_pb2_grpc.MeshStub(self.channel)  # type: ignore[no-untyped-call]
        asked = mesh_pb2.BenchmarkRequest(node=node, count=count, chunks=chunks)
        result: mesh_pb2.BenchmarkResult = list(stub.Benchmark(asked))[-1].result
        return result

    def close(self) -> None:
        """End it."""
        self.channel.close()
        self.process.kill()
        self.process.wait(30)


@contextlib.contextmanager
def pair() -> Iterator[tuple[Daemon, Daemon]]:
    """Two daemons that are linked."""
    folder = Path(tempfile.mkdtemp(prefix="hmb"))
    daemons: list[Daemon] = []
    try:
        daemons += [Daemon(folder, "one"), Daemon(folder, "two")]
        one, two = daemons
        one.control("Init", control_pb2.InitRequest(realm="bench"))
        code = one.control("Invite", control_pb2.InviteRequest()).code
        two.control("Join", control_pb2.JoinRequest(code=code))
        end = time.monotonic() + PATIENCE_S
        while not one.control("ListLinks", control_pb2.LinksRequest()).links:
            if time.monotonic() > end:
                raise TimeoutError((daemons[0].folder / "log").read_text())
            time.sleep(0.1)
        time.sleep(2.0)  # until the roles and groups are settled, too
        yield one, two
    finally:
        for each in daemons:
            each.close()
        shutil.rmtree(folder)
