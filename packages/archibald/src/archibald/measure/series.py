"""All measurements of this machine, in an order that lets none disturb the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from archibald.measure.boot import measure_boot
from archibald.measure.document import Kind, Run
from archibald.measure.graph import Graph
from archibald.measure.jitter import JitterRequest, measure_jitter
from archibald.measure.latency import LatencyRequest, measure_latency
from archibald.measure.loads import default_loads, find_load
from archibald.measure.midi import MidiRequest, find_port, measure_midi
from archibald.measure.resources import measure_resources
from archibald.measure.session import Bench
from archibald.measure.xruns import XrunRequest, measure_xruns


def series(
    bench: Bench, duration_s: int, find_graph: Callable[[], Graph]
) -> Mapping[str, Callable[[], Run]]:
    """Return what to call for each kind; rest first, loads last.

    ``find_graph`` is asked anew for each: a server may have come or gone.
    Latency is measured at the profile's smallest, own and largest quantum.
    """
    audio = bench.scene.profile.audio
    quanta = tuple(sorted({audio.min_quantum, audio.quantum, audio.max_quantum}))
    loads = tuple(find_load(name) for name in default_loads())

    def graph_latency() -> Run:
        return measure_latency(bench, find_graph(), LatencyRequest(quanta))

    def graph_xruns() -> Run:
        return measure_xruns(bench, find_graph(), XrunRequest(duration_s))

    def first_port() -> Run:
        port = find_port()
        return measure_midi(bench, MidiRequest(port, port))

    return {
        Kind.BOOT.value: partial(measure_boot, bench),
        Kind.RESOURCES.value: partial(measure_resources, bench, duration_s),
        Kind.LATENCY.value: graph_latency,
        Kind.MIDI.value: first_port,
        Kind.XRUNS.value: graph_xruns,
        Kind.JITTER.value: partial(measure_jitter, bench, JitterRequest(loads, duration_s)),
    }
