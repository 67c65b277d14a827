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
_SETTLED_S, _LOOK_S = 3.0, 0.1


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

    def hears_one(self) -> bool:
        """Whether it has a link, and a peer that is alive."""
        links = self.control("ListLinks", control_pb2.LinksRequest()).links
        peers = self.control("ListPeers", control_pb2.PeersRequest()).peers
        return bool(links) and any(peer.state == "alive" for peer in peers)

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
        settled_s = 0.0
        while settled_s < _SETTLED_S:
            if time.monotonic() > end:
                raise TimeoutError((daemons[0].folder / "log").read_text())
            # A node that has just joined may come and go for a few seconds.
            settled_s = settled_s + _LOOK_S if all(each.hears_one() for each in daemons) else 0.0
            time.sleep(_LOOK_S)
        yield one, two
    finally:
        for each in daemons:
            each.close()
        shutil.rmtree(folder)
