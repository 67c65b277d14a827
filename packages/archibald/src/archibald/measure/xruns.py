"""Xruns over a session: who missed how many wake-ups, and when.

PipeWire counts per node what was not ready in time; the counters are looked at about once a
second, and their differences are the events. jackd tells its clients of each xrun at once; that
message comes on a thread of its own, outside of the audio.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from archibald.errors import MissingToolError, PreconditionError, UsageError
from archibald.measure.clocks import without_sleep
from archibald.measure.document import Kind, Run
from archibald.measure.dspload import busy, loaded
from archibald.measure.graph import Graph, Jack, NoGraphError, PipeWire
from archibald.measure.records import XrunData, XrunEvent, XrunNode
from archibald.measure.session import Bench, Clock, Notes
from archibald.measure.xrunstats import summarize
from archibald.tune.live.model import Node

#: Time between two looks at PipeWire's counters (s), each of which takes a second.
LOOK_S = 0.1

#: The node that stands for the whole graph of a jackd.
JACK_NODE = "jackd"

OnLook = Callable[[float, int], None]


@dataclass(frozen=True)
class XrunRequest:
    """How long, and how busy the graph is kept (None: as it is)."""

    duration_s: float
    dsp_load: float | None = None


@dataclass
class Counters:
    """Per node what was missed since the first look. A node that was made anew counts from 0."""

    last: dict[int, int | None] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    events: dict[int, list[XrunEvent]] = field(default_factory=dict)
    ran: set[int] = field(default_factory=set)
    told_s: dict[int, float] = field(default_factory=dict)
    #: How long before it was seen an event may have been, at most (s).
    coarsest_s: float = 0.0

    def look(self, nodes: Sequence[Node], at_s: float) -> None:
        """Take what pw-top shows at a moment.

        It shows 0 for a node of which it has no report (yet, or while nothing runs it): that says
        nothing, and least of all that the counter went back.
        """
        first = not self.names
        for node in nodes:
            told = node.wait_share is not None
            if self.names.get(node.object_id) != node.name:
                # What a node missed before it was seen is not of this session.
                self.names[node.object_id] = node.name
                self.last[node.object_id] = None if first else 0
            if not told:
                continue
            known = self.last[node.object_id]
            missed = 0 if known is None else node.errors - known
            if missed > 0:
                event = XrunEvent(at_s=round(at_s, 3), missed=missed)
                self.events.setdefault(node.object_id, []).append(event)
                since = at_s - self.told_s.get(node.object_id, at_s)
                self.coarsest_s = max(self.coarsest_s, since)
            self.last[node.object_id], self.told_s[node.object_id] = node.errors, at_s
            if node.state == "R" or missed > 0:
                self.ran.add(node.object_id)

    @property
    def missed(self) -> int:
        """All missed wake-ups."""
        return sum(event.missed for events in self.events.values() for event in events)

    def nodes(self) -> tuple[XrunNode, ...]:
        """Return every node that took part in cycles; equal names get the nodes' numbers."""
        names = [self.names[number] for number in self.names if number in self.ran]
        return tuple(
            XrunNode(
                name=name if names.count(name) == 1 else f"{name} ({number})",
                events=tuple(self.events.get(number, ())),
            )
            for number, name in self.names.items()
            if number in self.ran
        )


def measure_xruns(
    bench: Bench,
    graph: Graph,
    request: XrunRequest,
    *,
    on_look: OnLook = lambda _elapsed_s, _missed: None,
) -> Run:
    """Count for a time, and return the run document.

    Raises PreconditionError (no server, no driver, a suspended machine) and ToolFailedError.
    """
    share = request.dsp_load
    if share is not None and not 0 < share < 1:
        raise UsageError(
            f"--dsp-load {share:g} is no share of a cycle", next_step="choose 0.01 to 0.95"
        )
    clock, remarks = Clock.now(), Notes()
    with without_sleep("xruns"):
        if isinstance(graph, PipeWire):
            data = _count_pipewire(bench, graph, request, remarks, on_look)
        else:
            data = _count_jack(graph, request, on_look)
    remarks.warnings += doubts(data)
    return bench.document(
        Kind.XRUNS,
        data,
        clock=clock,
        settings={
            "server": graph.name,
            "duration_s": request.duration_s,
            "dsp_load_wanted": request.dsp_load,
        },
        remarks=remarks,
    )


def doubts(data: XrunData) -> list[str]:
    """Return for each node with dropouts why its rate may not hold; nothing where it does."""
    found = [
        (node.name, summarize(node.events, data.observed_s, resolution_s=data.resolution_s).doubt)
        for node in data.nodes
    ]
    return [f"{name}: {doubt}" for name, doubt in found if doubt]


def _count_pipewire(
    bench: Bench, graph: PipeWire, request: XrunRequest, remarks: Notes, on_look: OnLook
) -> XrunData:
    with contextlib.ExitStack() as stack:
        if request.dsp_load is not None:
            priority = bench.scene.profile.audio.data_loop_priority
            count = stack.enter_context(loaded(graph, request.dsp_load, priority))
            remarks.notes.append(f"load: {count} second-order filters of PipeWire's filter-chain")
        quantum, rate = graph.running_period()
        counters, shares, looks = Counters(), [], 0
        counters.look(nodes := graph.nodes(), 0.0)
        started = time.monotonic()
        while (elapsed := time.monotonic() - started) < request.duration_s:
            time.sleep(min(LOOK_S, request.duration_s - elapsed))
            nodes = graph.nodes()
            elapsed, looks = time.monotonic() - started, looks + 1
            counters.look(nodes, elapsed)
            shares += [used.share for used in [busy(nodes)] if used]
            on_look(elapsed, counters.missed)
    running = busy(nodes)
    load = min(1.0, statistics.median(shares)) if shares else 0.0
    if request.dsp_load is not None and abs(load - request.dsp_load) > 0.1:
        remarks.warnings.append(
            f"the load was {load:.0%} of the cycle, not {request.dsp_load:.0%}: other clients "
            "came or went, or the CPU changed its frequency"
        )
    return XrunData(
        server=graph.name,
        quantum=running.quantum if running else quantum,
        rate=running.rate if running else rate,
        dsp_load=load,
        observed_s=elapsed,
        resolution_s=round(max(elapsed / max(1, looks), counters.coarsest_s), 3),
        nodes=counters.nodes(),
    )


def _count_jack(graph: Graph, request: XrunRequest, on_look: OnLook) -> XrunData:
    if not isinstance(graph, Jack):
        raise NoGraphError("there is no server to count at")
    if request.dsp_load is not None:
        raise PreconditionError(
            "--dsp-load needs PipeWire", why="its filters are PipeWire's own",
            next_step="start clients of your own beside jackd, and measure without it",
        )  # fmt: skip
    quantum, rate = graph.period()
    with jack_watch(graph.server) as watch:
        started = time.monotonic()
        while (elapsed := time.monotonic() - started) < request.duration_s:
            if watch.ended:
                raise NoGraphError(
                    "jackd ended in the middle", why=f"after {elapsed:.0f} s; nothing was kept",
                    next_step="start it again, and read what it printed",
                )  # fmt: skip
            time.sleep(min(0.2, max(0.0, request.duration_s - elapsed)))
            on_look(elapsed, len(watch.times))
        elapsed = time.monotonic() - started
        times = [at - started for at in list(watch.times) if at >= started]
        load = watch.load()
    events = tuple(XrunEvent(at_s=round(at, 4), missed=1) for at in times if at <= elapsed)
    return XrunData(
        server=graph.name, quantum=quantum, rate=rate, dsp_load=load, observed_s=elapsed,
        resolution_s=0.0, nodes=(XrunNode(name=JACK_NODE, events=events),),
    )  # fmt: skip


@dataclass
class JackWatch:
    """What jackd has told: when each xrun was (monotonic seconds), and whether it ended."""

    times: list[float] = field(default_factory=list)
    ended: bool = False
    load: Callable[[], float] = lambda: 0.0


def _noted(watch: JackWatch) -> int:
    watch.times.append(time.monotonic())
    return 0


_NO_START, _SERVER_NAME = 0x01, 0x04


@contextlib.contextmanager
def jack_watch(server: str) -> Iterator[JackWatch]:
    """Listen to a jackd inside the block, as a client without ports and without a callback for
    audio, so it takes no part in the cycle.

    Raises MissingToolError without libjack, NoGraphError without a server.
    """
    found = ctypes.util.find_library("jack") or "libjack.so.0"
    try:
        library = ctypes.CDLL(found)
    except OSError:
        raise MissingToolError(
            "counting at jackd needs its library", why="libjack.so.0 is not there",
            next_step="sudo apt-get install --no-install-recommends libjack-jackd2-0",
        ) from None  # fmt: skip
    library.jack_client_open.restype = ctypes.c_void_p
    library.jack_cpu_load.restype = ctypes.c_float
    options = _NO_START | (_SERVER_NAME if server else 0)
    status = ctypes.c_int(0)
    further = [ctypes.c_char_p(server.encode())] if server else []
    client = library.jack_client_open(
        b"archibald-xruns", ctypes.c_int(options), ctypes.byref(status), *further
    )
    if not client:
        raise NoGraphError(
            "no jackd answers", why=f"its library says status {status.value:#x}",
            next_step="start one: jackd -d alsa -d hw:0 -r 96000 -p 32",
        )  # fmt: skip
    handle = ctypes.c_void_p(client)
    watch = JackWatch()
    # The library keeps the pointers: these names must live as long as the client.
    on_xrun = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(lambda _: _noted(watch))
    on_end = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: setattr(watch, "ended", True))
    watch.load = lambda: min(1.0, max(0.0, library.jack_cpu_load(handle) / 100))
    try:
        library.jack_set_xrun_callback(handle, on_xrun, None)
        library.jack_on_shutdown(handle, on_end, None)
        library.jack_activate(handle)
        yield watch
    finally:
        library.jack_client_close(handle)
