"""MIDI round trips through an audio graph: jack_midi_latency_test between two of its ports.

The program sends a message at a random frame of a cycle and notes the frame at which it comes back,
so what it measures is exact to a frame and holds the periods of the graph. It tells the smallest,
the largest and the mean, and a histogram in steps of 0.1 ms, which is where the others are from.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from archibald.errors import PreconditionError, ToolFailedError, UsageError
from archibald.measure.clocks import without_sleep
from archibald.measure.document import Kind, Run
from archibald.measure.graph import (
    PRESENT_S,
    STARTING_S,
    Graph,
    connected,
    wait_for_ports,
)
from archibald.measure.records import MidiData
from archibald.measure.session import Bench, Clock, Notes
from archibald.measure.terminal import in_terminal
from archibald.run import require_tools

TOOL = "jack_midi_latency_test"

#: A message that is not back after this time (s) is lost, and ends the measurement.
_LOST_S = 2

#: How long it takes until the program knows of its connections, at most (s).
_CONNECT_S = 10.0

#: PipeWire tells of links before sound and messages pass through them, so the first message may be
#: lost, and the program waits for each.
_ATTEMPTS = {"jack": 1, "pipewire": 3}

#: The steps of the program's histogram (us).
STEP_US = 100.0

_EXTREME = re.compile(r"^(Lowest|Highest) latency: \S+ ms \((\d+) frames\)", re.MULTILINE)
_STEP = re.compile(r"^\s*(?:(?P<low>\d+\.\d+) - |> )(?P<high>\d+\.\d+) ms: (?P<count>\d+)\s*$")
_COUNT = re.compile(r"^(Messages sent|Messages received|Xruns): (\d+)", re.MULTILINE)
_ERROR = re.compile(rf"^\S*{TOOL}: (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class JackMidiRequest:
    """The port that messages go to, the one that they come back from, and how many."""

    send: str
    receive: str
    count: int = 200


@dataclass
class Said:
    """What the program has printed so far."""

    text: str = ""

    def feed(self, piece: str) -> None:
        """Take a piece of its output."""
        self.text += piece.replace("\r", "")

    @property
    def connected(self) -> bool:
        """Does it know both of its connections?"""
        return "Waiting for test completion" in self.text

    @property
    def error(self) -> str:
        """What it says went wrong, "" if nothing."""
        found = _ERROR.search(self.text)
        return found[1].strip() if found else ""

    @property
    def received(self) -> int:
        """Messages that came back."""
        return self._count("Messages received")

    @property
    def xruns(self) -> int:
        """Xruns while it measured."""
        return self._count("Xruns")

    def _count(self, name: str) -> int:
        return next((int(n) for key, n in _COUNT.findall(self.text) if key == name), 0)

    def round_trips_us(self, rate: int) -> tuple[float, ...]:
        """Return the round trips, smallest first. Raises ValueError on what it did not print.

        The ends are exact to a frame; those between stand in the middle of their step.
        """
        ends = {name: int(frames) for name, frames in _EXTREME.findall(self.text)}
        if set(ends) != {"Lowest", "Highest"}:
            raise ValueError("no lowest and highest latency")
        low, high = (1e6 * ends[name] / rate for name in ("Lowest", "Highest"))
        found: list[float] = []
        for line in self.text.partition("Latency Plot:")[2].splitlines():
            if step := _STEP.match(line):
                first = 1000 * float(step["low"]) if step["low"] else high
                found += [min(high, max(low, first + STEP_US / 2))] * int(step["count"])
        if not found or len(found) != self.received:
            raise ValueError(f"a histogram of {len(found)} messages")
        found.sort()
        found[0], found[-1] = low, high
        return tuple(round(value, 1) for value in found)


def check(request: JackMidiRequest) -> None:
    """Raise UsageError for a request that makes no sense."""
    if not (request.send and request.receive):
        raise UsageError(
            "--send and --receive go together for ports of JACK", why="a loop has two ends",
            next_step="name both: pw-link -io, or jack_lsp, lists the ports",
        )  # fmt: skip


def measure_jack_midi(bench: Bench, graph: Graph, request: JackMidiRequest) -> Run:
    """Time the messages, and return the run document.

    Raises UsageError, PreconditionError (no server, no port, no loop, a suspended machine) and
    ToolFailedError.
    """
    check(request)
    if graph.name == "jack":
        require_tools([TOOL], purpose="measuring MIDI through a graph")
    clock, remarks = Clock.now(), Notes()
    with without_sleep("MIDI"):
        wait_for_ports(graph, [request.send, request.receive], PRESENT_S)
        quantum, rate = graph.period()
        for left in reversed(range(_ATTEMPTS[graph.name])):
            said = _listened(graph, request)
            if said.received or not left:
                break
    data = MidiData(
        path=f"{request.send} to {request.receive}", sent=request.count,
        rtts_us=_round_trips(said, request, rate), resolution_us=STEP_US,
    )  # fmt: skip
    remarks.notes.append("the figures hold a period of the graph for each loop, one at least")
    if said.xruns:
        remarks.warnings.append(f"{said.xruns} xruns while it was measured")
    return bench.document(
        Kind.MIDI,
        data,
        clock=clock,
        settings={
            # PipeWire has one for each driver, and may change which driver is ours at any time.
            "server": graph.name, "quantum": quantum if graph.name == "jack" else None,
            "rate": rate, "count": request.count,
        },
        remarks=remarks,
    )  # fmt: skip


def _listened(graph: Graph, request: JackMidiRequest) -> Said:
    """Run the program between the ports until it has counted all, and return what it said."""
    said = Said()
    before = set(graph.ports())
    command = graph.client(TOOL, "--samples", str(request.count), "--timeout", str(_LOST_S))
    with in_terminal(command.argv, command.env, said.feed) as listen:
        out, back = _own_ports(graph, before, said, listen)
        connected(graph, [(out, request.send), (request.receive, back)])
        alive, waited = True, 0.0
        while alive and not said.connected and waited < _CONNECT_S:
            alive, waited = listen(0.2), waited + 0.2
        while alive and said.connected:
            alive = listen(0.5)
    return said


def _own_ports(
    graph: Graph, before: set[str], said: Said, listen: Callable[[float], bool]
) -> tuple[str, str]:
    """Wait for the program's ports, whatever the server calls its client."""
    for _ in range(round(STARTING_S / 0.2)):
        alive = listen(0.2)
        new = {
            port.rpartition(":")[2]: port
            for port in graph.ports()
            if TOOL in port and port not in before
        }
        if {"in", "out"} <= set(new):
            return new["out"], new["in"]
        if not alive:
            break
    raise PreconditionError(
        f"{TOOL} does not reach the graph",
        why=" ".join(said.text.split())[:300] or "no answer",
        next_step="start PipeWire (systemctl --user start pipewire wireplumber) or jackd",
    )


def _round_trips(said: Said, request: JackMidiRequest, rate: int) -> tuple[float, ...]:
    if "timed out" in said.error or not said.connected:
        raise PreconditionError(
            "no MIDI message comes back" if not said.received else "a MIDI message was lost",
            why=f"{TOOL}: {said.error or 'it knows no loop'}; {said.received} came back",
            next_step=f"connect what follows {request.send} to what feeds {request.receive}",
        )  # fmt: skip
    if said.error:
        raise ToolFailedError(
            f"{TOOL} failed", why=said.error, next_step="run it by hand between the same ports"
        )
    try:
        return said.round_trips_us(rate)
    except ValueError as error:
        raise ToolFailedError(
            f"{TOOL} cannot be understood", why=str(error),
            next_step="run it by hand between the same ports",
        ) from None  # fmt: skip
