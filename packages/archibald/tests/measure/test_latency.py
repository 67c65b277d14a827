"""Round trips against truth: loops of a known length in a real jackd."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from archibald.cli.common import run_cli
from archibald.errors import MissingToolError, PreconditionError, UsageError
from archibald.measure.document import load_run
from archibald.measure.graph import Jack, NoGraphError, find_graph
from archibald.measure.iodelay import SETTLED, NoSignalError, Readings, no_signal
from archibald.measure.latency import LatencyRequest, check
from archibald.measure.records import LatencyData
from archibald.tune.observe import recorded_sight

BLOCK = (
    "{frames:10.3f} frames {ms:10.3f} ms total roundtrip latency\n"
    "\textra loopback latency: 63 frames\n\tuse 31 for the backend arguments -I and -O{more}\n"
)


def text(*frames: float, more: str = "") -> str:
    return "".join(BLOCK.format(frames=f, ms=f / 48, more=more) for f in frames)


def test_readings_are_those_that_agree():
    readings = Readings()
    readings.feed("new capture latency: [0, 0]\nSignal below threshold...\r\n")
    readings.feed(text(900.0, 64.001, *([64.0] * (SETTLED - 1))))
    assert not readings.settled(), "the newest one may still get its remarks"
    readings.feed(text(64.0)[:20])
    assert not readings.settled()
    readings.feed(text(64.0)[20:])
    assert [round(reading.frames) for reading in readings.settled()] == [64] * SETTLED
    assert readings.silent == 1


def test_remarks_belong_to_the_figure_before():
    readings = Readings()
    readings.feed(text(64.0) + text(65.0, more=" ??") + text(66.0, more=" ?? Inv"))
    found = [(r.frames, r.uncertain, r.inverted) for r in readings.found]
    assert found == [(64.0, False, False), (65.0, True, False), (66.0, True, True)]


def test_uncertain_or_wandering_readings_do_not_settle():
    for piece in (text(*([64.0] * 9), more=" ??"), text(*range(60, 80))):
        readings = Readings()
        readings.feed(piece)
        assert readings.settled() == []


@pytest.mark.parametrize(
    ("said", "kind", "what"),
    [
        ("Signal below threshold...\n", NoSignalError, "no signal comes back"),
        ("", NoSignalError, "said nothing"),
        ("Can't connect to Jack, is the server running ?\n", PreconditionError, "no JACK server"),
    ],
)
def test_silence_has_a_reason(said, kind, what):
    readings = Readings()
    readings.feed(said)
    error = no_signal(readings, "at 64 frames")
    assert type(error) is kind
    assert what in error.what


def test_a_loop_has_two_ends():
    with pytest.raises(UsageError, match="go together"):
        check(LatencyRequest(play="a:b"))


@pytest.mark.parametrize(
    "words",
    ["--quantum 0", "--quantum -64", "--quantum 99999", "--injected -1", "--play x:y",
     "--server alsa"],
)  # fmt: skip
def test_absurd_arguments_are_a_usage_error(words, capsys):
    assert run_cli(["measure", "latency", "--json", *words.split()]) == 2
    assert capsys.readouterr().err


def test_without_a_server_it_is_refused(capsys):
    words = ["--server", "jack", "--jack-server", "no-such-server"]
    assert run_cli(["measure", "latency", "--json", *words]) == 3
    assert json.loads(capsys.readouterr().out)["error"] in ("NoGraphError", "MissingToolError")


def test_without_pipewire_and_jackd_both_are_named(tmp_path, monkeypatch, capsys):
    """And where PipeWire is wanted, the package of its missing tools."""
    with contextlib.suppress(PreconditionError):
        pytest.skip(f"a jackd runs here: {Jack().period()}")
    sight = recorded_sight(tmp_path)
    with pytest.raises(NoGraphError, match="neither PipeWire nor jackd runs") as caught:
        find_graph(sight, "auto", "")
    assert "pipewire-0" in caught.value.why
    assert "--user" in caught.value.next_step
    monkeypatch.setattr("archibald.run.find_tool", lambda _name: None)
    with pytest.raises(MissingToolError, match="pw-link, pw-metadata, pw-top") as missing:
        find_graph(sight, "pipewire", "")
    assert missing.value.next_step.endswith("pipewire-bin")


def measured(tmp_path, server, *words) -> LatencyData:
    target = tmp_path / "run.json"
    words = ("measure", "latency", "--jack-server", server.name, "-o", str(target), *words)
    assert run_cli([str(word) for word in words]) == 0
    data = load_run(target).data
    assert isinstance(data, LatencyData)
    return data


@pytest.mark.slow
def test_a_software_loop_is_one_quantum_long(jackd, tmp_path):
    quanta = (16, 32, 64, 256)
    words = [word for quantum in quanta for word in ("--quantum", quantum)]
    server = jackd(512)
    data = measured(tmp_path, server, *words)
    for point in data.points:
        assert all(abs(frames - point.quantum) < 0.5 for frames in point.rtts_frames), point
        assert len(point.rtts_frames) == SETTLED
        assert not point.inverted
    assert [point.quantum for point in data.points] == list(quanta)
    assert Jack(server.name).period() == (512, 48000), "the quantum is as it was"


@pytest.mark.slow
@pytest.mark.parametrize(("delay", "gain"), [(1000, 1.0), (37, -1.0)])
def test_a_known_delay_is_found(jackd, tmp_path, delay, gain):
    server = jackd(128)
    server.client("loop", delay=delay, gain=gain)
    data = measured(
        tmp_path, server, "--play", "loop:in", "--record", "loop:out", "--injected", delay
    )
    (point,) = data.points
    assert abs(sorted(point.rtts_frames)[SETTLED // 2] - (128 + delay)) < 1
    assert point.inverted == (gain < 0)
    assert data.injected_frames == delay


@pytest.mark.slow
def test_nothing_connected_and_ports_that_are_not_there_are_said(jackd, capsys):
    server = jackd()
    base = ["measure", "latency", "--json", "--jack-server", server.name]
    ends = ["--play", "system:playback_1", "--record", "system:capture_1"]
    assert run_cli([*base, *ends]) == 3
    assert json.loads(capsys.readouterr().out)["error"] == "NoSignalError"
    assert run_cli([*base, "--play", "no:port", "--record", "system:capture_1"]) == 3
    assert "no:port" in capsys.readouterr().err


def quantum_of(jack):
    """The quantum now; 0 for a client that came while jackd changed it, and was left to wait."""
    try:
        return jack.period()[0]
    except NoGraphError:
        return 0


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_the_quantum_comes_back_however_it_ends(jackd, tmp_path, how):
    server = jackd(512)
    held = subprocess.Popen(
        [sys.executable, "-m", "archibald", "measure", "latency", "--jack-server", server.name,
         "--quantum", "64", "--play", "system:playback_1", "--record", "system:capture_1"],
        cwd=tmp_path, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    jack = Jack(server.name)
    deadline = time.monotonic() + 40
    try:
        while quantum_of(jack) != 64:
            assert held.poll() is None, "it ended before it changed anything"
            assert time.monotonic() < deadline
            time.sleep(0.05)
        held.send_signal(how)
        held.wait(timeout=20)
        while quantum_of(jack) != 512:
            assert time.monotonic() < deadline + 20, "the quantum stayed"
            time.sleep(0.1)
    finally:
        held.kill()
        held.wait()
