"""Measuring an image: its kernels in virtual time, and round trips through its PipeWire."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from archibald.errors import PreconditionError
from archibald.measure.document import Run, parse_run
from archibald.measure.graph import Command, NoGraphError, PipeWire
from archibald.measure.latency import LatencyRequest, measure_latency
from archibald.measure.records import LatencyData, VirtualJitterData, XrunData
from archibald.measure.session import Bench
from archibald.measure.xruns import XrunRequest, measure_xruns

from .conftest import BuiltImage, archibald
from .test_pipewire import Studio, core_tree, studio  # noqa: F401 - fixtures

#: Boots in counted instructions take minutes, and `make test` has half an hour for everything.
pytestmark = [pytest.mark.vm, pytest.mark.torture]

BOUNDS = json.loads(Path(__file__).with_name("virtual_jitter.json").read_text("utf-8"))


def virtual(image: Path, logs: Path, *words: str) -> Run:
    """Measure in virtual time through the command line."""
    cycles = str(BOUNDS["cycles"])
    done = archibald("measure", "virtual-jitter", image, "--json", "--cycles", cycles,
                     "--console-logs", logs, *words)  # fmt: skip
    assert done.code == 0, done.err
    return parse_run(done.out, filename="virtual-jitter")


def largest(run: Run) -> dict[tuple[str, str], float]:
    assert isinstance(run.data, VirtualJitterData)
    return {(row.kernel, row.load): row.histogram.max_us for row in run.data.rows}


def test_the_real_time_kernel_has_not_become_slower(core_image: BuiltImage, tmp_path):
    run = virtual(core_image.path, tmp_path / "one", "--load", "tmpfs", "--load", "memory",
                  "--kernel", "rt")  # fmt: skip
    assert any(BOUNDS["kernel"] in note for note in run.notes), (
        "another kernel: measure it, and write its bounds down", run.notes,
    )  # fmt: skip
    for load, bound in BOUNDS["max_us"].items():
        assert largest(run)["rt", load] <= bound, load
    # The other kernel is late in the same place: what is measured is the kernel, not the emulator.
    generic = virtual(core_image.path, tmp_path / "one", "--load", "tmpfs", "--kernel", "generic")
    assert largest(generic)["generic", "tmpfs"] >= BOUNDS["generic_at_least_us"]["tmpfs"]


def test_two_runs_are_the_same_to_the_last_byte(core_image: BuiltImage, tmp_path):
    words = ("--load", "tmpfs", "--kernel", "rt")
    first = virtual(core_image.path, tmp_path / "one", *words)
    second = virtual(core_image.path, tmp_path / "two", *words)
    assert first.data == second.data
    logs = [(tmp_path / name / "rt-tmpfs.log").read_bytes() for name in ("one", "two")]
    assert logs[0] == logs[1]


@pytest.fixture
def graph(studio: Studio) -> PipeWire:  # noqa: F811
    """The PipeWire of the image, with this host's jack_iodelay in it."""
    shutil.copy("/usr/bin/jack_iodelay", studio.root / "usr/bin/jack_iodelay")

    def words(argv) -> Command:
        return Command(tuple(studio._words(argv, realtime=True)), {})

    sight = studio.scene().sight
    return PipeWire(sight, words, root=studio.root, folder=studio.root / "tmp")


def test_a_loop_through_a_null_sink_is_one_quantum(studio: Studio, graph: PipeWire):  # noqa: F811
    bench = Bench(studio.scene(), "test")
    with pytest.raises(NoGraphError, match="cannot be asked"):
        graph.period()
    studio.serve(realtime=True)
    with pytest.raises(NoGraphError, match="no driver"):
        graph.require_driver()
    run = measure_latency(bench, graph, LatencyRequest((16, 32, 64, 256)))
    assert isinstance(run.data, LatencyData)
    assert run.data.path == "software-loop"
    for point in run.data.points:
        assert all(abs(frames - point.quantum) < 0.5 for frames in point.rtts_frames), point
    assert graph.period() == (256, 48000), "the quantum is as it was"
    with pytest.raises(PreconditionError, match="no port 'no:port'"):
        measure_latency(bench, graph, LatencyRequest(play="no:port", record="no:other"))


def test_provoked_xruns_are_those_of_the_client(studio: Studio, graph: PipeWire):  # noqa: F811
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


def test_a_known_load_is_put_on_the_graph(studio: Studio, graph: PipeWire):  # noqa: F811
    studio.serve(realtime=True)
    run = measure_xruns(Bench(studio.scene(), "test"), graph, XrunRequest(4, 0.3))
    assert isinstance(run.data, XrunData)
    assert 0.1 < run.data.dsp_load < 0.7
    assert "archibald-load.out" in {node.name for node in run.data.nodes}
