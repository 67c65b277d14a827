"""MIDI through an audio graph: what jack_midi_latency_test says, and loops of a known length."""

from __future__ import annotations

import json

import pytest

from archibald.cli.common import run_cli
from archibald.measure.document import load_run
from archibald.measure.midi import is_jack_port, raw_request
from archibald.measure.midi_jack import STEP_US, Said
from archibald.measure.records import MidiData

SAID = """\
Waiting for connections ...\r
Waiting for test completion ...\r
\r
Reported out-port latency: 0.00-0.00 ms (0-0 frames)
Reported in-port latency: 0.00-0.00 ms (0-0 frames)
Average latency: 5.45 ms (261.60 frames)
Lowest latency: 5.33 ms (256 frames)
Highest latency: 16.00 ms (768 frames)
Peak MIDI jitter: 10.67 ms (512 frames)
Average MIDI jitter: 0.21 ms (10.24 frames)

Jitter Plot:
0.1 - 0.2 ms: 2
     > 10 ms: 1

Latency Plot:
5.3 - 5.4 ms: 7
5.4 - 5.5 ms: 2
     > 15.3 ms: 1

Messages sent: 10
Messages received: 10
Xruns: 3
"""


def said(text: str) -> Said:
    found = Said()
    for start in range(0, len(text), 7):
        found.feed(text[start : start + 7])
    return found


def test_round_trips_are_the_ends_and_the_steps_between() -> None:
    found = said(SAID)
    assert found.connected
    assert (found.error, found.xruns) == ("", 3)
    values = found.round_trips_us(48000)
    assert len(values) == 10
    assert (values[0], values[-1]) == (5333.3, 16000.0)
    assert values[1:-1] == (5350.0,) * 6 + (5450.0,) * 2


@pytest.mark.parametrize(
    "text",
    ["", SAID.replace("Lowest", "Least"), SAID.replace("5.3 - 5.4 ms: 7", ""),
     SAID.replace("received: 10", "received: 9")],
)  # fmt: skip
def test_what_is_not_complete_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no lowest|a histogram of"):
        said(text).round_trips_us(48000)


def test_errors_are_those_of_the_program() -> None:
    line = "/usr/bin/jack_midi_latency_test: handle_process: timed out while waiting\r\n"
    assert said(f"Waiting for connections ...\r\n{line}").error.endswith("timed out while waiting")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("system:midi_playback_1", True), ("Midi-Bridge:a:b (playback)", True),
     ("/dev/snd/midiC1D0", False), ("./a:b", False), ("", False), ("midi", False)],
)  # fmt: skip
def test_ports_of_a_graph_are_told_from_devices(name: str, expected: bool) -> None:
    assert is_jack_port(name) is expected


def test_one_end_stands_for_both() -> None:
    for ends in (("/a", ""), ("", "/a"), ("/a", "/a")):
        request = raw_request(*ends, 5, 0.01)
        assert (str(request.send), str(request.receive)) == ("/a", "/a")


@pytest.mark.parametrize("words", [["--send", "a:b"], ["--receive", "a:b"]])
def test_a_loop_has_two_ends(words, capsys) -> None:
    assert run_cli(["measure", "midi", "--json", *words]) == 2
    assert "two ends" in capsys.readouterr().err


def test_without_a_server_it_is_refused(capsys) -> None:
    words = ["--send", "a:b", "--receive", "c:d", "--jack-server", "no-such-server"]
    assert run_cli(["measure", "midi", "--json", *words]) == 3
    assert json.loads(capsys.readouterr().out)["error"] in ("NoGraphError", "MissingToolError")


@pytest.mark.slow
@pytest.mark.parametrize(("quantum", "delay"), [(256, 0), (64, 100)])
def test_a_loop_is_one_quantum_and_what_was_injected(jackd, tmp_path, quantum, delay) -> None:
    server = jackd(quantum)
    server.client("loop", delay=delay)
    target = tmp_path / "m.json"
    words = ["measure", "midi", "--jack-server", server.name, "--send", "loop:midi_in",
             "--receive", "loop:midi_out", "--count", "50", "-o", str(target)]  # fmt: skip
    # A machine that misses a cycle loses what was in it: measured anew then.
    assert any(run_cli(words) == 0 for _ in range(5))
    run = load_run(target)
    data = run.data
    assert isinstance(data, MidiData)
    assert len(data.rtts_us) == data.sent == 50
    assert data.resolution_us == STEP_US
    assert run.settings["quantum"] == quantum
    # A machine that is overrun delays single ones by whole periods, and the run says so.
    ends = data.rtts_us[:1] if run.warnings else (data.rtts_us[0], data.rtts_us[-1])
    for value in ends:
        assert value * 48000 / 1e6 == pytest.approx(quantum + delay, abs=1)


@pytest.mark.slow
def test_ports_that_are_no_loop_are_said(jackd, capsys) -> None:
    server = jackd()
    server.client("loop")
    server.client("other")
    base = ["measure", "midi", "--json", "--jack-server", server.name]
    assert run_cli([*base, "--send", "loop:midi_in", "--receive", "other:midi_out"]) == 3
    assert "no MIDI message comes back" in capsys.readouterr().err
    assert run_cli([*base, "--send", "no:port", "--receive", "loop:midi_out"]) == 3
    assert "there is no port 'no:port'" in capsys.readouterr().err
    assert run_cli([*base, "--send", "loop:in", "--receive", "loop:midi_out"]) in (3, 4)
    assert "cannot be connected" in capsys.readouterr().err
