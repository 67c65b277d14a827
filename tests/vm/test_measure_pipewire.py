"""Measuring through the image's own PipeWire, in a chroot of it: loops, delays, loads and xruns
that are known, and graphs that cannot be measured.

Nothing boots, so it runs with ``make test``, on whatever kernel there is.
"""

from __future__ import annotations

import shutil
import signal
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from packages.archibald.tests.measure.jackclient import build

from archibald.errors import PreconditionError
from archibald.measure.document import Run
from archibald.measure.graph import Command, NoGraphError, PipeWire
from archibald.measure.iodelay import NoSignalError
from archibald.measure.latency import LatencyRequest, measure_latency
from archibald.measure.midi_jack import JackMidiRequest, measure_jack_midi
from archibald.measure.records import LatencyData, MidiData, XrunData
from archibald.measure.session import Bench
from archibald.measure.xruns import XrunRequest, measure_xruns

from .studio import NEEDS_ROOT, Studio, wait_for

pytestmark = [pytest.mark.vm, NEEDS_ROOT]

#: What is not in an image: programs of this host that run in the image's PipeWire.
GUESTS = ("jack_iodelay", "jack_midi_latency_test")


@pytest.fixture
def graph(studio: Studio) -> PipeWire:
    """The PipeWire of the image, with programs of this host in it."""
    for name in GUESTS:
        found = shutil.which(name)
        assert found, "jackd2, or jack-example-tools, has it"
        shutil.copy(found, studio.root / "usr/bin" / name)

    def words(argv) -> Command:
        return Command(tuple(studio._words(argv, realtime=True)), {})

    sight = studio.scene().sight
    return PipeWire(sight, words, root=studio.root, folder=studio.root / "tmp")


@pytest.fixture
def passing_on(studio: Studio, graph: PipeWire, tmp_path: Path) -> Callable[[int, float], None]:
    """Put a client into the graph that passes sound and MIDI on: after so many frames, so loud."""
    shutil.copy(build(tmp_path), studio.root / "usr/bin/archibald-client")

    def start(delay: int, gain: float) -> None:
        words = ("loop", str(delay), str(gain), "0", "0", "0")
        studio.start("pw-jack", "archibald-client", *words, realtime=True)
        wait_for(lambda: "loop:midi_out" in graph.ports())

    return start


def test_a_loop_through_a_null_sink_is_one_quantum(studio: Studio, graph: PipeWire):
    bench = Bench(studio.scene(), "test")
    with pytest.raises(NoGraphError, match="cannot be asked"):
        graph.period()
    studio.serve(realtime=True)
    with pytest.raises(NoGraphError, match="no driver"):
        graph.running_period()
    run = measure_latency(bench, graph, LatencyRequest((16, 32, 64, 256)))
    assert isinstance(run.data, LatencyData)
    assert run.data.path == "software-loop"
    for point in run.data.points:
        assert all(abs(frames - point.quantum) < 0.5 for frames in point.rtts_frames), point
    assert graph.period() == (256, 48000), "the quantum is as it was"
    with pytest.raises(PreconditionError, match="no port 'no:port'"):
        measure_latency(bench, graph, LatencyRequest(play="no:port", record="no:other"))
    apart = LatencyRequest(play="test-sink:playback_FL", record="test-sink:monitor_FR")
    with pytest.raises(NoSignalError, match="no signal comes back"):
        measure_latency(bench, graph, apart)
    assert graph.period() == (256, 48000)


def test_the_quantum_is_what_a_player_asks_for(studio: Studio, graph: PipeWire):
    """Not the one of the settings, which nothing runs at."""
    studio.serve(realtime=True)
    studio.play()
    run = measure_latency(Bench(studio.scene(), "test"), graph, LatencyRequest())
    assert isinstance(run.data, LatencyData)
    (point,) = run.data.points
    assert (point.quantum, graph.period()[0]) == (64, 256)
    assert all(abs(frames - 64) < 0.5 for frames in point.rtts_frames), point


@pytest.mark.parametrize(("delay", "gain"), [(1000, 1.0), (37, -1.0)])
def test_a_known_delay_is_found(studio: Studio, graph: PipeWire, passing_on, delay, gain):
    studio.serve(realtime=True)
    studio.play()
    passing_on(delay, gain)
    request = LatencyRequest(play="loop:in", record="loop:out")
    run = measure_latency(Bench(studio.scene(), "test"), graph, request)
    assert isinstance(run.data, LatencyData)
    (point,) = run.data.points
    assert abs(statistics.median(point.rtts_frames) - (point.quantum + delay)) < 1
    assert point.inverted == (gain < 0)
    assert any("inverts" in text for text in run.warnings) == (gain < 0)


def _midi_not_lost(measure: Callable[[], Run]) -> Run:
    """Measure anew when a message was lost: a machine that misses a cycle loses what was in it."""
    for _ in range(4):
        try:
            return measure()
        except PreconditionError as error:
            if error.what != "a MIDI message was lost":
                raise
    return measure()


def test_midi_through_the_graph_takes_what_was_injected(
    studio: Studio, graph: PipeWire, passing_on,
):  # fmt: skip
    studio.serve(realtime=True)
    studio.play()
    passing_on(100, 1.0)
    request = JackMidiRequest("loop:midi_in", "loop:midi_out", 50)
    run = _midi_not_lost(lambda: measure_jack_midi(Bench(studio.scene(), "test"), graph, request))
    assert isinstance(run.data, MidiData)
    assert (run.settings["quantum"], run.settings["rate"]) == (None, 48000)
    # The player's driver or the one of the settings: PipeWire takes either.
    frames = run.data.rtts_us[0] * 48000 / 1e6
    assert any(frames == pytest.approx(quantum + 100, abs=1) for quantum in (64, 256)), frames


def test_provoked_xruns_are_those_of_the_client(studio: Studio, graph: PipeWire):
    studio.serve(realtime=True)
    player = studio.play()

    def stop_for_a_while() -> None:
        time.sleep(2)
        player.send_signal(signal.SIGSTOP)
        time.sleep(0.5)
        player.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=stop_for_a_while)
    thread.start()
    run = measure_xruns(Bench(studio.scene(), "test"), graph, XrunRequest(6))
    thread.join()
    assert isinstance(run.data, XrunData)
    events = {node.name: node.events for node in run.data.nodes}
    # Half a second of 64 frames at 48 kHz are 375 cycles; a busy machine adds its own.
    during = [event.missed for event in events["pw-cat"] if 1.5 <= event.at_s <= 5]
    assert sum(during) >= 100, events


def test_a_known_load_is_put_on_the_graph(studio: Studio, graph: PipeWire):
    studio.serve(realtime=True)
    run = measure_xruns(Bench(studio.scene(), "test"), graph, XrunRequest(4, 0.3))
    assert isinstance(run.data, XrunData)
    assert 0.1 < run.data.dsp_load < 0.7
    assert "archibald-load.out" in {node.name for node in run.data.nodes}
