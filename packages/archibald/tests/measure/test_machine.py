"""Boot, resources and MIDI: what the tools print, and what this machine really takes."""

from __future__ import annotations

import json
import os
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from archibald.cli.common import run_cli
from archibald.errors import ToolFailedError
from archibald.measure.boot import parse_chain, parse_target, parse_time, span_s
from archibald.measure.document import load_run
from archibald.measure.midi import Parser, find_port, message
from archibald.measure.records import MidiData, ResourcesData
from archibald.measure.resources import Look, Process, measure_resources, owner_of, services
from archibald.run import Result, find_tool

TIME = """\
Startup finished in 5.263s (firmware) + 1.021s (loader) + 1min 2.5s (kernel) + 4.004s (userspace) \
= 1min 12.789s
graphical.target reached after 3.999s in userspace.
"""
CHAIN = """\
The time when unit became active or started is printed after the "@" character.
The time the unit took to start is printed after the "+" character.

graphical.target @3.999s
└─multi-user.target @3.998s
  └─rtkit-daemon.service @2.100s +1.512s
    └─basic.target @2.099s
      └─-.mount
"""


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1min 2.345s", 62.345), ("123ms", 0.123), ("2h 3min", 7380), ("4us", 4e-6), ("5.5s", 5.5)],
)
def test_time_spans(text, seconds):
    assert span_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "soon", "5 apples", "3s and more"])
def test_what_is_no_time_span_is_refused(text):
    with pytest.raises(ValueError, match="no time span"):
        span_s(text)


def test_phases_of_a_boot():
    assert parse_time(TIME) == pytest.approx(
        {"firmware": 5.263, "loader": 1.021, "kernel": 62.5, "userspace": 4.004}
    )
    assert parse_target(TIME) == "graphical.target"
    for text in ("", "Startup finished in 3s (kernel) = 3s"):
        with pytest.raises(ValueError, match="no "):
            parse_time(text)


def test_the_critical_chain():
    units = parse_chain(CHAIN)
    assert [(unit.unit, unit.at_s, unit.took_s) for unit in units] == [
        ("graphical.target", 3.999, 0.0),
        ("multi-user.target", 3.998, 0.0),
        ("rtkit-daemon.service", 2.1, 1.512),
        ("basic.target", 2.099, 0.0),
    ]


def _answers(monkeypatch, answers):
    def runner(argv, **_):
        code, out, err = answers[argv[1]]
        return Result(tuple(argv), code, out, err)

    monkeypatch.setattr("archibald.measure.boot.measure_boot.__kwdefaults__", {"runner": runner})
    monkeypatch.setattr("archibald.measure.boot.require_tools", lambda *_, **__: None)


def test_a_boot_is_a_document(monkeypatch, capsys):
    _answers(monkeypatch, {"time": (0, TIME, ""), "critical-chain": (0, CHAIN, "")})
    assert run_cli(["measure", "boot", "--json"]) == 0
    run = json.loads(capsys.readouterr().out)
    assert run["data"]["firmware_s"] == 5.263
    assert run["data"]["initrd_s"] is None
    assert len(run["data"]["critical_chain"]) == 4


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ((1, "", "Bootup is not yet finished."), 3, "not finished yet"),
        ((1, "", "System has not been booted with systemd"), 3, "tells nothing of a boot"),
        ((0, "nonsense", ""), 4, "cannot be understood"),
    ],
)
def test_a_boot_that_cannot_be_told_is_refused(monkeypatch, capsys, answer, code, said):
    _answers(monkeypatch, {"time": answer, "critical-chain": (0, CHAIN, "")})
    assert run_cli(["measure", "boot", "--json"]) == code
    assert said in capsys.readouterr().err


@pytest.mark.skipif(find_tool("systemd-analyze") is None, reason="asks the real systemd-analyze")
def test_the_boot_of_this_machine_is_told_or_refused(capsys):
    """Where systemd started it there is a run, elsewhere (a container) the reason."""
    booted = Path("/run/systemd/system").is_dir()
    code = run_cli(["measure", "boot", "--json"])
    found = json.loads(capsys.readouterr().out)
    if not booted:
        assert (code, found["what"]) == (3, "systemd tells nothing of a boot here")
        assert "not in a container or chroot" in found["next_step"]
    elif code == 0:
        assert found["data"]["userspace_s"] > 0
    else:
        assert (code, found["what"]) == (3, "the boot has not finished yet")


@pytest.mark.parametrize(
    ("cgroup", "owner"),
    [
        ("0::/system.slice/dbus.service\n", "dbus.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service/app.slice/pipewire.service\n",
         "pipewire.service"),
        ("0::/user.slice/user-1000.slice/session-1.scope\n", "session-1.scope"),
        ("0::/\n", "bash"),
        ("", "bash"),
    ],
)  # fmt: skip
def test_processes_belong_to_their_innermost_unit(cgroup, owner):
    assert owner_of(cgroup, "bash") == owner


def test_services_add_up():
    first = Look(100, 50, 0, {1: Process("a.service", 10, True, 100)})
    last = Look(
        100, 50, 0,
        {1: Process("a.service", 20, True, 150), 2: Process("a.service", 5, True, 50),
         3: Process("b.service", 90, True, 0)},
    )  # fmt: skip
    found = [(use.name, use.memory_bytes, use.cpu_s) for use in services(first, last, 100)]
    assert found == [("b.service", 90, 0.0), ("a.service", 25, 1.0)]


def test_resources_of_this_machine(tmp_path):
    target = tmp_path / "r.json"
    assert run_cli(["measure", "resources", "-d", "1", "-o", str(target)]) == 0
    data = load_run(target).data
    assert isinstance(data, ResourcesData)
    assert 0 < data.memory_used_bytes < data.memory_total_bytes
    assert data.services
    assert data.observed_s >= 1


@pytest.mark.parametrize(
    ("received", "found"),
    [
        (b"\xb0\x66\x01", [(102, 1)]),
        (b"\xb0\x66\x01\x67\x02", [(102, 1), (103, 2)]),
        (b"\xb0\xf8\x66\xfe\x01", [(102, 1)]),
        (b"\x90\x40\x40\xb0\x66\x05", [(102, 5)]),
        (b"\x66\x01", []),
        (b"\xb0\x66", []),
    ],
)
def test_messages_are_found_among_others(received, found):
    assert Parser().feed(received) == found
    parser, pieces = Parser(), []
    for number in range(len(received)):
        pieces += parser.feed(received[number : number + 1])
    assert pieces == found


def test_messages_differ_and_make_no_sound():
    seen = [message(number) for number in range(2304)]
    assert len(set(seen)) == 2304
    assert all(102 <= controller <= 119 and 0 <= value <= 127 for controller, value in seen)


def test_a_loop_is_timed(tmp_path):
    port, target = tmp_path / "midi", tmp_path / "m.json"
    os.mkfifo(port)
    words = ["measure", "midi", "--send", str(port), "--count", "30", "--interval", "1"]
    assert run_cli([*words, "-o", str(target)]) == 0
    data = load_run(target).data
    assert isinstance(data, MidiData)
    assert len(data.rtts_us) == data.sent == 30
    assert os.sched_getscheduler(0) == os.SCHED_OTHER, "as it was"


def test_a_known_delay_is_found(tmp_path):
    """Another thread passes each message on after 20 ms; the clock of the loop is real."""
    out, back, target = tmp_path / "out", tmp_path / "back", tmp_path / "m.json"
    for port in (out, back):
        os.mkfifo(port)
    one, other = os.open(out, os.O_RDWR), os.open(back, os.O_RDWR)

    def pass_on():
        for _ in range(5):
            data = os.read(one, 3)
            time.sleep(0.02)
            os.write(other, data)

    thread = threading.Thread(target=pass_on, daemon=True)
    thread.start()
    words = ["measure", "midi", "--send", out, "--receive", back, "--count", 5, "-o", target]
    assert run_cli([str(word) for word in words]) == 0
    thread.join(timeout=10)
    os.close(one)
    os.close(other)
    data = load_run(target).data
    assert isinstance(data, MidiData)
    assert len(data.rtts_us) == 5
    assert min(data.rtts_us) >= 20_000


def test_ports_that_are_not_there_or_not_connected_are_said(tmp_path, capsys):
    assert run_cli(["measure", "midi", "--send", str(tmp_path / "none"), "--json"]) == 3
    assert "cannot be opened" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert run_cli(["measure", "midi", "--send", str(tmp_path / "file"), "--json"]) == 3
    assert "no MIDI port" in capsys.readouterr().err
    for name in ("a", "b"):
        os.mkfifo(tmp_path / name)
    hold = os.open(tmp_path / "b", os.O_RDWR)
    words = ["--send", str(tmp_path / "a"), "--receive", str(tmp_path / "b"), "--json"]
    for count in ("1", "200"):
        assert run_cli(["measure", "midi", *words, "--count", count]) == 3
        assert "no MIDI message comes back" in capsys.readouterr().err
    os.close(hold)


def test_a_device_that_takes_nothing_more_is_said(tmp_path, capsys):
    """A pipe that nobody empties is full after some messages, as a device that was unplugged."""
    for name in ("full", "back"):
        os.mkfifo(tmp_path / name)
    held = [os.open(tmp_path / name, os.O_RDWR | os.O_NONBLOCK) for name in ("full", "back")]
    os.write(held[0], bytes(65536))
    words = ["--send", str(tmp_path / "full"), "--receive", str(tmp_path / "back"), "--json"]
    assert run_cli(["measure", "midi", *words]) == 3
    for descriptor in held:
        os.close(descriptor)
    assert "does not take or give messages" in capsys.readouterr().err


def test_the_first_port_is_taken(tmp_path):
    for name in ("midiC1D0", "midiC0D1", "pcmC0D0p"):
        (tmp_path / name).touch()
    assert find_port(tmp_path) == tmp_path / "midiC0D1"


@pytest.mark.parametrize("words", ["midi --count 0", "midi --interval 0", "resources -d 0",
                                   "all -d 1", "all -o x.json", "boot --duration 3"])  # fmt: skip
def test_absurd_arguments_are_a_usage_error(words, capsys):
    assert run_cli(["measure", *words.split(), "--json"]) == 2
    assert capsys.readouterr().err


@pytest.mark.slow
def test_all_says_what_it_leaves_out(tmp_path, capsys):
    words = ["all", "-d", "2", "--folder", str(tmp_path), "--jack-server", "no-such-server"]
    assert run_cli(["measure", *words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["left_out"]) >= {"latency", "xruns"}
    assert all(reason["next_step"] for reason in found["left_out"].values())
    kinds = {run["kind"] for run in found["runs"]}
    assert "resources" in kinds
    assert not kinds & set(found["left_out"])
    for run in found["runs"]:
        assert load_run(Path(run["file"])).kind == run["kind"]


def test_all_goes_on_after_a_tool_that_failed(tmp_path, monkeypatch, capsys):
    def broken():
        raise ToolFailedError("the tool failed", why="it is broken", next_step="mend it")

    def two(bench, *_):
        return {"midi": broken, "resources": partial(measure_resources, bench, 1)}

    monkeypatch.setattr("archibald.measure.series.series", two)
    assert run_cli(["measure", "all", "-d", "2", "--folder", str(tmp_path), "--json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert [run["kind"] for run in found["runs"]] == ["resources"]
    assert found["left_out"]["midi"]["next_step"] == "mend it"
