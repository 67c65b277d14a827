"""Machines for the mesh: network namespaces on a bridge, with real daemons in them.

The bridge has a namespace of its own, so nothing of the machine's network is touched. Faults are
made with what every kernel has, without a packet filter and without netem:

- a **partition**: the ports of one side move to another bridge. Cables stay plugged in, packets
  vanish.
- a **one-way cut**: a false neighbour entry sends a node's packets for another to an address that
  nobody has. The way back stays.
- **no way in** (as behind NAT): a policy rule ahead of the table of local addresses drops what
  comes for the daemon's port; answers to what the node itself dialled come in.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from packages.hydramesh.tests.daemon.test_daemons import Peer, wait_for

from hydramesh.v1 import control_pb2, control_pb2_grpc, mesh_pb2, mesh_pb2_grpc

PORT = 50051
NOBODY = "02:00:00:00:00:ff"
HERE = ("alive", "suspect")
_LABS = itertools.count()


class NotHere(Exception):
    """Namespaces cannot be made here; the text says why."""


def run(*argv: object) -> None:
    """Run a command; raises ``NotHere`` with what it said."""
    words = list(map(str, argv))
    try:
        subprocess.run(words, check=True, capture_output=True, text=True)
    except OSError as error:
        raise NotHere(f"{words[0]} cannot be run: {error}") from None
    except subprocess.CalledProcessError as error:
        raise NotHere(f"{' '.join(words)}: {error.stderr.strip()}") from None


def ip(*argv: object) -> None:
    """Run ``ip``."""
    run("ip", *argv)


def until(test: Callable[[], bool], patience_s: float, what: Callable[[], str] = str) -> float:
    """Seconds until the test holds; an AssertionError after ``patience_s``."""
    began = time.monotonic()
    while not test():
        assert time.monotonic() - began < patience_s, what()
        time.sleep(0.01)
    return time.monotonic() - began


@dataclass
class Machine:
    """One namespace, and the daemon in it."""

    number: int
    space: str
    peer: Peer
    channel: grpc.Channel | None = None
    proxy: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        """The name of the node."""
        return str(self.peer.name)

    @property
    def address(self) -> str:
        """Its address on the bridge."""
        return f"10.77.0.{self.number}"

    def ask(self, method: str, request: object, *, mesh: bool = False) -> Any:
        """Ask its daemon over a connection that stays open."""
        if self.channel is None:
            self.channel = grpc.insecure_channel(f"unix:{self.peer.folder / 's' / 'control.sock'}")
        stub = (mesh_pb2_grpc.MeshStub if mesh else control_pb2_grpc.ControlStub)(self.channel)
        return getattr(stub, method)(request, timeout=120)

    def peers(self) -> dict[str, control_pb2.Peer]:
        """The other nodes as it sees them, by name; who joined anew counts as the new one."""
        found = self.ask("ListPeers", control_pb2.PeersRequest())
        return {
            each.name: each for each in sorted(found.peers, key=lambda peer: peer.state in HERE)
        }

    def sees(self, other: Machine) -> str:
        """The state of another node in its eyes."""
        held = self.peers().get(other.name)
        return held.state if held is not None else "unknown"

    def alive(self) -> set[str]:
        """The names of those that it reaches; nobody while it starts."""
        with contextlib.suppress(grpc.RpcError):
            return self._alive()
        return set()

    def _alive(self) -> set[str]:
        return {name for name, each in self.peers().items() if each.state in HERE}

    def echo(self, other: Machine, chunks: int = 4) -> mesh_pb2.BenchmarkResult:
        """The result of a very short benchmark."""
        asked = mesh_pb2.BenchmarkRequest(node=other.name, count=5, chunks=chunks)
        return list(self.ask("Benchmark", asked, mesh=True))[-1].result

    def start(self) -> None:
        """Start its daemon."""
        self.peer.start()

    def kill(self) -> None:
        """Kill its daemon as a power cut would."""
        self.peer.stop(signal.SIGKILL)
        self.hang_up()

    def behind(self, *, delay_ms: float, loss: float) -> None:
        """From its next start on others reach it over a slow and lossy way only (``proxy.py``)."""
        outside, inside = f"{self.address}:{PORT + 1}", f"{self.address}:{PORT}"
        self.peer.configure(advertise=[outside])
        argv = [
            "ip", "netns", "exec", self.space, sys.executable, Path(__file__).with_name("proxy.py"),
            "--listen", outside, "--to", inside, "--seed", self.number,
            "--delay-ms", delay_ms, "--loss", loss,
        ]  # fmt: skip
        self.proxy = subprocess.Popen(list(map(str, argv)), stdout=subprocess.PIPE)
        assert self.proxy.stdout is not None
        assert self.proxy.stdout.readline() == b"listening\n"

    def close(self) -> None:
        """End everything that runs in it."""
        self.hang_up()
        self.peer.stop(signal.SIGKILL)
        if self.proxy is not None:
            self.proxy.kill()
            self.proxy.wait(30)

    def hang_up(self) -> None:
        """Close our connection to its daemon."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None


@dataclass
class Lab:
    """The machines, the bridge, and the faults between them."""

    folder: Path
    hub: str
    machines: list[Machine] = field(default_factory=list)
    spaces: list[str] = field(default_factory=list)

    # -- faults ------------------------------------------------------------------------------------

    def partition(self, side: Iterable[Machine]) -> None:
        """Put some machines on a bridge of their own."""
        for machine in side:
            ip("-n", self.hub, "link", "set", f"p{machine.number}", "master", "br1")

    def join(self) -> None:
        """Put all machines on one bridge."""
        for machine in self.machines:
            ip("-n", self.hub, "link", "set", f"p{machine.number}", "master", "br0")

    def one_way(self, sender: Machine, receiver: Machine, *, cut: bool) -> None:
        """Lose what one machine sends to another, or no longer."""
        what = ["lladdr", NOBODY, "nud", "permanent"] if cut else []
        verb = "replace" if cut else "del"
        ip("-n", sender.space, "neigh", verb, receiver.address, *what, "dev", "hm0")

    def apart(self, one: Machine, other: Machine, *, cut: bool) -> None:
        """Lose what two machines send to each other directly, or no longer."""
        self.one_way(one, other, cut=cut)
        self.one_way(other, one, cut=cut)

    def no_way_in(self, machine: Machine) -> None:
        """Drop what comes for the daemon's port, as a router with NAT does."""
        rule = ["-n", machine.space, "rule"]
        ip(*rule, "add", "pref", 10, "lookup", "local")
        ip(*rule, "del", "pref", 0)
        filtered = ["dev", "hm0", "ipproto", "tcp", "dport", PORT]
        ip(*rule, "add", "pref", 5, *filtered, "blackhole")

    def slow(self, machine: Machine, mbit_per_s: float) -> None:
        """Give a machine a line of so many megabit a second in each direction.

        Its queue holds 100 ms, as that of a modem does.
        """
        shape = ["root", "tbf", "rate", f"{mbit_per_s}mbit", "burst", "16kb", "latency", "100ms"]
        run("tc", "-n", machine.space, "qdisc", "replace", "dev", "hm0", *shape)
        run("tc", "-n", self.hub, "qdisc", "replace", "dev", f"p{machine.number}", *shape)

    # -- machines ----------------------------------------------------------------------------------

    def add(self, name: str, **settings: object) -> Machine:
        """One more machine on the bridge, with a daemon that does not run yet."""
        number = len(self.machines) + 1
        space = f"{self.hub}n{number}"
        self._space(space)
        port = f"p{number}"
        ip("link", "add", "hm0", "netns", space, "type", "veth", "peer", port, "netns", self.hub)
        ip("-n", self.hub, "link", "set", port, "master", "br0")
        ip("-n", self.hub, "link", "set", port, "up")
        peer = Peer(self.folder, name, host="", port=PORT, space=space)
        if settings:
            peer.configure(**settings)
        machine = Machine(number, space, peer)
        ip("-n", space, "addr", "add", f"{machine.address}/24", "dev", "hm0")
        for device in ("lo", "hm0"):
            ip("-n", space, "link", "set", device, "up")
        self.machines.append(machine)
        return machine

    def _space(self, name: str) -> None:
        ip("netns", "add", name)
        self.spaces.append(name)

    def build(self) -> None:
        """Make the bridge, and the other one for partitions."""
        self._space(self.hub)
        for bridge in ("br0", "br1"):
            ip("-n", self.hub, "link", "add", bridge, "type", "bridge")
            ip("-n", self.hub, "link", "set", bridge, "up")

    def close(self) -> None:
        """End all daemons and take everything down."""
        for machine in self.machines:
            machine.close()
        for space in self.spaces:
            subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"-- {m.name}\n{m.peer.log()[-2000:]}" for m in self.machines)

    # -- the mesh ----------------------------------------------------------------------------------

    def realm(self, names: Sequence[str], *, life: str = "24h") -> list[Machine]:
        """Machines with running daemons in one realm; the first is the authority."""
        made = [self.add(name) for name in names]
        for machine in made:
            machine.start()
        first, *others = made
        first.peer.ok("init", "--realm", "band", "--certificate-life", life)
        for machine in others:
            machine.peer.ok("join", "-", text=first.peer.ok("invite")["code"])
        self.whole(made)
        return made

    def whole(self, machines: Sequence[Machine], patience_s: float = 60.0) -> float:
        """Seconds until all see all."""
        names = {machine.name for machine in machines}
        return until(
            lambda: all(m.alive() >= names - {m.name} for m in machines), patience_s, self.log
        )

    def settled(self, machines: Sequence[Machine]) -> None:
        """Wait until no link has come or gone for two seconds."""
        held: list[set[str]] = []
        since = time.monotonic()
        end = since + 60
        while time.monotonic() - since < 2 and time.monotonic() < end:
            now = [{n for n, each in m.peers().items() if each.linked} for m in machines]
            if now != held:
                held, since = now, time.monotonic()
            time.sleep(0.1)


@contextlib.contextmanager
def laboratory() -> Iterator[Lab]:
    """A lab without machines; raises ``NotHere`` where namespaces or bridges cannot be made."""
    if os.geteuid() != 0:
        raise NotHere("network namespaces need root")
    mark = f"hl{os.getpid()}x{next(_LABS)}"
    folder = Path("/tmp", mark)  # sockets want short paths
    folder.mkdir(mode=0o700)
    lab = Lab(folder, mark)
    try:
        lab.build()
        yield lab
    finally:
        lab.close()


__all__ = ["Lab", "Machine", "NotHere", "laboratory", "until", "wait_for"]
