"""Round-trip latency: a tone goes out and comes back, at several quanta.

Through a cable from an output to an input it is the latency of playing: buffers, bus, converters.
In a software loop, where the sender's output is its own input, it is what the graph alone adds:
one quantum, because the edge that closes the loop waits for the next cycle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from archibald.errors import PreconditionError, UsageError
from archibald.measure.clocks import without_sleep
from archibald.measure.document import Kind, Run
from archibald.measure.graph import PRESENT_S, STARTING_S, Graph, connected, wait_for_ports
from archibald.measure.iodelay import iodelay, wait_until_settled
from archibald.measure.latency_fit import FitError, fit_points
from archibald.measure.records import LatencyData, LatencyPoint
from archibald.measure.session import Bench, Clock, Notes
from archibald.run import require_tools

_CLIENT = "jack_delay"
_OUT, _IN = f"{_CLIENT}:out", f"{_CLIENT}:in"


@dataclass(frozen=True)
class LatencyRequest:
    """What to measure. Without ports it is the software loop; no quanta: the one that runs."""

    quanta: tuple[int, ...] = ()
    play: str = ""
    record: str = ""
    injected_frames: int = 0

    def links(self, graph: Graph) -> tuple[tuple[str, str], ...]:
        """Return what has to be connected.

        A software loop is the program's output at its own input; PipeWire does not delay that by a
        cycle, so there it goes through the monitor of a sink. Raises PreconditionError without one.
        """
        if self.play:
            return ((_OUT, self.play), (self.record, _IN))
        if graph.name == "jack":
            return ((_OUT, _IN),)
        play, record = monitored_sink(graph.ports())
        return ((_OUT, play), (record, _IN))


def monitored_sink(ports: Sequence[str]) -> tuple[str, str]:
    """Return a sink's input and the monitor that repeats it. Raises PreconditionError."""
    for port in ports:
        node, _, name = port.rpartition(":")
        monitor = f"{node}:{name.replace('playback_', 'monitor_')}"
        if name.startswith("playback_") and monitor in ports:
            return port, monitor
    raise PreconditionError(
        "there is no sink to loop through",
        why="no sink of this PipeWire has a monitor",
        next_step="connect an interface, or name ports with --play and --record",
    )


def check(request: LatencyRequest) -> None:
    """Raise UsageError for a request that makes no sense."""
    if bool(request.play) != bool(request.record):
        raise UsageError(
            "--play and --record go together", why="a loop has two ends",
            next_step="name both, or neither for the software loop",
        )  # fmt: skip


def is_cable(request: LatencyRequest) -> bool:
    """Say whether sound leaves the machine: not when it comes back from a monitor."""
    return bool(request.play) and ":monitor_" not in request.record


def measure_latency(
    bench: Bench,
    graph: Graph,
    request: LatencyRequest,
    *,
    on_point: Callable[[int, int], None] = lambda _quantum, _rate: None,
) -> Run:
    """Measure at each quantum, set the quantum back, and return the run document.

    Raises UsageError, PreconditionError (no server, no driver, no signal, a suspended machine) and
    ToolFailedError.
    """
    check(request)
    if graph.name == "jack":
        require_tools(["jack_iodelay"], purpose="measuring latency")
    clock, remarks = Clock.now(), Notes()
    points = []
    with without_sleep("latency"), graph.kept():
        for quantum in request.quanta or (graph.period()[0],):
            if request.quanta:
                graph.force(quantum)
            point = _point(graph, request, on_point)
            points.append(point)
    data = LatencyData(
        path="cable" if is_cable(request) else "software-loop",
        method=f"jack_iodelay ({graph.name})",
        points=tuple(points),
        injected_frames=request.injected_frames,
    )
    _remark(remarks, data)
    return bench.document(
        Kind.LATENCY,
        data,
        clock=clock,
        settings={
            "server": graph.name,
            "quanta": ", ".join(str(point.quantum) for point in points),
            "play": request.play,
            "record": request.record,
        },
        remarks=remarks,
    )


def _point(
    graph: Graph, request: LatencyRequest, on_point: Callable[[int, int], None]
) -> LatencyPoint:
    on_point(*graph.period())
    command = graph.client("jack_iodelay")
    with iodelay(command.argv, command.env) as listen:
        refused = listen(0.3)
        if refused.refused:
            wait_until_settled(listen, where="")
        wait_for_ports(graph, [_OUT, _IN], STARTING_S)
        links = request.links(graph)
        wait_for_ports(graph, [port for link in links for port in link], PRESENT_S)
        connected(graph, links)
        listen(0.5)
        quantum, rate = graph.running_period()
        found = wait_until_settled(listen, where=f"at {quantum} frames")
        if not request.quanta:
            # Each driver has its own, and only by now has PipeWire settled which one is ours.
            quantum, rate = graph.running_period(_CLIENT)
        everything = listen(0.0).found
    return LatencyPoint(
        quantum=quantum,
        rate=rate,
        rtts_frames=tuple(round(reading.frames, 3) for reading in found),
        uncertain=sum(reading.uncertain for reading in everything),
        inverted=all(reading.inverted for reading in found),
    )


def _remark(remarks: Notes, data: LatencyData) -> None:
    inverted = [point.quantum for point in data.points if point.inverted]
    if inverted:
        remarks.warnings.append(
            f"the loop inverts the signal (at {_listed(inverted)} frames): a cable or preamplifier "
            "swaps the poles; the latency is right"
        )
    unsure = [point.quantum for point in data.points if point.uncertain]
    if unsure:
        remarks.notes.append(f"uncertain readings before it settled, at {_listed(unsure)} frames")
    try:
        fit = fit_points(data.points, path=data.path)
    except FitError as error:
        remarks.notes.append(f"{error.what}: {error.next_step}")
        return
    remarks.notes.append(f"slope {fit.slope:.2f}: {fit.meaning}")
    if not fit.exact:
        remarks.warnings.append("no whole number of periods fits: do not rely on the constant")


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
