"""The running audio graph, PipeWire's or jackd's: its period, its ports, its links.

Both are asked through their own tools. Whoever changes the quantum gets it back, however the
measurement ends; also after SIGKILL, by a process that waits for that.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from archibald.errors import ArchibaldError, PreconditionError, ToolFailedError
from archibald.run import Runner, find_tool, if_killed, require_tools, run
from archibald.tune.knobs.pipewire import SETTINGS_COMMAND
from archibald.tune.live.control import Quantum
from archibald.tune.live.gather import FORCE_QUANTUM, TOP_COMMAND
from archibald.tune.live.model import Node, parse_nodes
from archibald.tune.observe import Sight
from archibald.tune.targets import Targets
from archibald.vm.selftest.model import UnreadableError
from archibald.vm.selftest.pipewire import parse_metadata
from archibald.vm.selftest.reader import session_command

#: How long pw-top is asked until it knows whose cycles a client takes part in (s). One look takes
#: a few cycles only, and shows the followers of just the driver that reported in them.
_LOOKING_S = 5.0

#: What PipeWire is asked and told with.
_PIPEWIRE_TOOLS = ("pw-link", "pw-metadata", "pw-top")

#: How long the ports of a program that was just started are waited for, and those that should be
#: there already (s).
STARTING_S, PRESENT_S = 10.0, 1.0


class Command(NamedTuple):
    """A client of the graph as it has to be started: words, and further environment."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


class NoGraphError(PreconditionError):
    """There is no server, or its graph has no driver and so no cycle."""


class Graph(Protocol):
    """What measurements need of a server. Raises :class:`NoGraphError` where nothing runs."""

    @property
    def name(self) -> str:
        """Which server it is: pipewire or jack."""
        ...

    def client(self, *argv: str) -> Command:
        """Return how to start a JACK client of this graph."""
        ...

    def period(self) -> tuple[int, int]:
        """Return quantum and rate."""
        ...

    def force(self, quantum: int) -> None:
        """Set the quantum for now."""
        ...

    def kept(self) -> contextlib.AbstractContextManager[None]:
        """Set the quantum back at the end of the block, however it ends."""
        ...

    def ports(self) -> list[str]:
        """Return the names of all ports, CLIENT:PORT."""
        ...

    def connect(self, source: str, target: str) -> None:
        """Connect two ports."""
        ...

    def running_period(self, client: str = "") -> tuple[int, int]:
        """Return quantum and rate of the cycles that run, of the client's where one is named.

        Raises NoGraphError when nothing runs cycles.
        """
        ...


@dataclass
class PipeWire:
    """The PipeWire of a user's session. ``words`` starts clients as that user.

    ``root`` is where its programs see "/" (a chroot in tests), ``folder`` a place below it for
    files that they read.
    """

    sight: Sight
    words: Callable[[Sequence[str]], Command]
    root: Path = Path("/")
    folder: Path | None = None
    _quantum: Quantum = field(init=False)

    def __post_init__(self) -> None:
        """Prepare to change the quantum; nothing is changed yet."""
        self._quantum = Quantum(Targets(self.sight))

    @property
    def name(self) -> str:
        """The server's name."""
        return "pipewire"

    def _ask(self, *argv: str) -> str:
        try:
            return self.sight.commands(argv, in_session=True, accept=(0,))
        except UnreadableError as error:
            raise NoGraphError(
                "PipeWire cannot be asked", why=" ".join(str(error).split())[:300],
                next_step="systemctl --user start pipewire wireplumber, or name whose with --user",
            ) from None  # fmt: skip

    def client(self, *argv: str) -> Command:
        """Return the command, with PipeWire's libjack in place of another one."""
        return self.words(["pw-jack", *argv])

    def _settings(self) -> dict[str, str]:
        try:
            return parse_metadata(self._ask(*SETTINGS_COMMAND))
        except ValueError as error:
            raise NoGraphError(
                "PipeWire tells no settings", why=str(error)[:300],
                next_step="systemctl --user restart pipewire wireplumber",
            ) from None  # fmt: skip

    def period(self) -> tuple[int, int]:
        """Return quantum and rate: what is forced, else the default."""
        found = self._settings()
        forced = {key: int(found.get(f"clock.force-{key}", "0")) for key in ("quantum", "rate")}
        return (
            forced["quantum"] or int(found["clock.quantum"]),
            forced["rate"] or int(found["clock.rate"]),
        )

    def force(self, quantum: int) -> None:
        """Force a quantum. Raises ToolFailedError."""
        why = self._quantum.force(quantum)
        if why:
            raise ToolFailedError(
                f"the quantum cannot be set to {quantum}", why=why,
                next_step="pw-metadata -n settings 0 clock.force-quantum 0",
            )  # fmt: skip

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Set the forced quantum back at the end."""
        before = self._settings().get(FORCE_QUANTUM, "0")
        back = self.words([*SETTINGS_COMMAND, FORCE_QUANTUM, before])
        with if_killed(back.argv, env=back.env):
            try:
                yield
            finally:
                why = self._quantum.restore()
        if why:
            raise ToolFailedError(
                "the quantum could not be set back", why=why,
                next_step=f"pw-metadata -n settings 0 clock.force-quantum {before}",
            )  # fmt: skip

    def ports(self) -> list[str]:
        """Return outputs and inputs."""
        text = self._ask("pw-link", "-o") + "\n" + self._ask("pw-link", "-i")
        return [line.strip() for line in text.splitlines() if ":" in line]

    def connect(self, source: str, target: str) -> None:
        """Link two ports."""
        self._ask("pw-link", source, target)

    def nodes(self) -> list[Node]:
        """Return the nodes with their times and counters; takes about a second."""
        try:
            return parse_nodes(self._ask(*TOP_COMMAND))
        except ValueError:
            return []

    def running_period(self, client: str = "") -> tuple[int, int]:
        """Return quantum and rate of the driver that runs; what a player asks for counts, too.

        Raises NoGraphError when none runs cycles.
        """
        deadline = time.monotonic() + _LOOKING_S
        running: dict[int, Node] = {}
        while True:
            nodes = self.nodes()
            if found := driver_of(nodes, client):
                return found.quantum, found.rate
            running.update((n.object_id, n) for n in nodes if n.running and not n.follower)
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        if len(running) > 1:
            raise NoGraphError(
                f"it cannot be told in whose cycles {client} takes part",
                why="pw-top shows it under none of " + ", ".join(n.name for n in running.values()),
                next_step="give the quantum: --quantum 64 forces it on every driver",
            )
        found = next(iter(running.values()), None)
        if found is None:
            raise NoGraphError(
                "the graph has no driver",
                why="pw-top shows no node that runs cycles: there is no sound card, or nothing "
                "plays or records",
                next_step="connect an interface, or make a null sink: pw-cli create-node adapter "
                "'{ factory.name=support.null-audio-sink node.name=null media.class=Audio/Sink "
                "object.linger=true }'",
            )
        return found.quantum, found.rate


def driver_of(nodes: Sequence[Node], client: str) -> Node | None:
    """Return the driver whose cycles a client takes part in; without a client the first that runs.

    None where none runs, or none of which it is known.
    """
    driver = None
    for node in nodes:
        if not node.follower:
            driver = node if node.running else None
        if driver and (not client or (node.follower and node.name.startswith(client))):
            return driver
    return None


@dataclass
class Jack:
    """A jackd. ``server`` is its name, "" for the default one."""

    server: str = ""
    runner: Runner = run

    @property
    def name(self) -> str:
        """The server's name."""
        return "jack"

    @property
    def _env(self) -> dict[str, str]:
        names = {"JACK_NO_START_SERVER": "1"}
        return {**names, "JACK_DEFAULT_SERVER": self.server} if self.server else names

    def _ask(self, *argv: str) -> str:
        require_tools([argv[0]], purpose="asking jackd")
        try:
            result = self.runner(argv, check=False, env=self._env, timeout_s=10)
        except ToolFailedError as error:
            raise NoGraphError("jackd does not answer", why=error.what) from None
        said = f"{result.stdout}\n{result.stderr}"
        silent = re.search(r".*server (?:is )?not running.*", said) or re.search(
            r".*[Cc]annot connect.*", said
        )
        if result.returncode != 0 or silent:
            why = silent[0] if silent else " ".join(said.split())[:200]
            raise NoGraphError(
                "no jackd answers", why=why or f"{argv[0]} failed",
                next_step="start one: jackd -d alsa -d hw:0 -r 96000 -p 32",
            )  # fmt: skip
        return result.stdout

    def client(self, *argv: str) -> Command:
        """Return the command."""
        return Command(argv, self._env)

    def period(self) -> tuple[int, int]:
        """Return period and rate."""
        numbers = [
            re.search(r"^\D*(\d+)\s*$", self._ask(tool), re.MULTILINE)
            for tool in ("jack_bufsize", "jack_samplerate")
        ]
        if None in numbers:
            raise NoGraphError("jackd tells no period", next_step="jack_bufsize shows what it says")
        quantum, rate = (int(found[1]) for found in numbers if found)
        return quantum, rate

    def force(self, quantum: int) -> None:
        """Set the period. Raises ToolFailedError when the driver refuses it."""
        self._ask("jack_bufsize", str(quantum))
        now = self.period()[0]
        if now != quantum:
            raise ToolFailedError(
                f"the period cannot be set to {quantum}", why=f"jackd stays at {now} frames",
                next_step="choose others with --quantum",
            )  # fmt: skip

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Set the period back at the end."""
        before = self.period()[0]
        with if_killed(["jack_bufsize", str(before)], env=self._env):
            try:
                yield
            finally:
                if self.period()[0] != before:
                    self.force(before)

    def ports(self) -> list[str]:
        """Return all ports."""
        return [line.strip() for line in self._ask("jack_lsp").splitlines() if ":" in line]

    def connect(self, source: str, target: str) -> None:
        """Connect two ports."""
        self._ask("jack_connect", source, target)

    def running_period(self, client: str = "") -> tuple[int, int]:
        """Return the period; a jackd has one for all clients."""
        del client
        return self.period()


def find_graph(sight: Sight, server: str, jack_server: str) -> Graph:
    """Return the graph to measure: "pipewire", "jack", or "auto" (PipeWire where it runs).

    Raises MissingToolError without the tools to ask it with, NoGraphError where neither runs.
    """
    socket = f"{sight.user.runtime_dir}/pipewire-0"
    auto = server == "auto" and not jack_server
    if server == "pipewire" or (auto and sight.exists(socket)):
        require_tools(_PIPEWIRE_TOOLS, purpose="measuring at PipeWire")

        def words(argv: Sequence[str]) -> Command:
            plain = list(argv)
            if plain[0] == "pw-jack" and find_tool("pw-jack") is None:
                plain = plain[1:]
            return Command(*session_command(sight.user, plain))

        return PipeWire(sight, words)
    graph = Jack(jack_server)
    if auto:
        _require_any(graph, socket)
    return graph


def _require_any(jack: Jack, socket: str) -> None:
    """Raise NoGraphError that names both servers where not even a jackd runs."""
    try:
        jack.period()
    except PreconditionError as error:
        raise NoGraphError(
            "neither PipeWire nor jackd runs", why=f"there is no {socket}; {error.what}",
            next_step="systemctl --user start pipewire wireplumber, or name whose PipeWire with "
            "--user; or start a jackd: jackd -d alsa -d hw:0 -r 96000 -p 32",
        ) from None  # fmt: skip


def wait_for_ports(graph: Graph, names: Sequence[str], patience_s: float) -> None:
    """Wait until ports are there. Raises PreconditionError that names the missing one."""
    deadline = time.monotonic() + patience_s
    while True:
        there = graph.ports()
        missing = [name for name in names if name not in there]
        if not missing:
            return
        if time.monotonic() > deadline:
            raise PreconditionError(
                f"there is no port {missing[0]!r}",
                why=f"the graph has {', '.join(there[:12]) or 'no port at all'}",
                next_step="pw-link -io, or jack_lsp, lists the ports",
            )
        time.sleep(0.1)


def connected(graph: Graph, links: Sequence[tuple[str, str]]) -> None:
    """Make links; a port that vanished meanwhile is said. Raises ArchibaldError."""
    for source, target in links:
        try:
            graph.connect(source, target)
        except ArchibaldError as error:
            raise ToolFailedError(
                f"{source} cannot be connected to {target}", why=error.why,
                next_step="see which ports go together: pw-link -io, or jack_lsp",
            ) from None  # fmt: skip
