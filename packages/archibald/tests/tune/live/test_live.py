"""The live view: figures from recorded tools, lines for a terminal, one snapshot as a user asks."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from archibald.cli.common import cli
from archibald.errors import PreconditionError, UsageError
from archibald.profile.model import Profile
from archibald.tune.audit import make_scene
from archibald.tune.live import view
from archibald.tune.live.control import Quantum
from archibald.tune.live.gather import gather
from archibald.tune.live.model import (
    Raw,
    next_quantum,
    parse_nodes,
    parse_ticks,
    snapshot,
)
from archibald.tune.observe import NOTES, recorded_sight
from archibald.tune.recording import parse_recording
from archibald.tune.targets import TargetError

ROOT = Path(__file__).parents[5]

#: What pw-top 1.6 printed while one client played into a null sink.
TOP = (ROOT / "packages/archibald/tests/vm/recorded/pw-top.txt").read_text("utf-8")

FILES = {
    "/sys/class/thermal/thermal_zone0/temp": "45000\n",
    "/sys/class/thermal/thermal_zone0/type": "acpitz\n",
    "/sys/class/thermal/thermal_zone1/temp": "61500\n",
    "/sys/class/thermal/thermal_zone1/type": "x86_pkg_temp\n",
    "/sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "3600000\n",
    "/proc/stat": "cpu  9 9 9 9\ncpu0 10 0 10 70 10 0 0 0 5 0\ncpu1 50 0 0 50 0 0 0 0 0 0\n",
}


@pytest.fixture
def root(tmp_path) -> Path:
    """A recorded desktop on which a client plays."""
    folder: Path = tmp_path / "machine"
    path = ROOT / "tests/machines/desktop-usb.machine"
    parse_recording(path.read_text("utf-8"), filename=path.name).write(folder)
    for name, text in FILES.items():
        file = folder / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    notes = json.loads((folder / NOTES).read_text())
    notes["commands"]["pw-top -b -n 2"] = TOP
    (folder / NOTES).write_text(json.dumps(notes))
    return folder


def _scene(root: Path):
    return make_scene(recorded_sight(root), Profile())


def test_nodes_have_times_in_one_unit():
    nodes = {node.name: node for node in parse_nodes(TOP)}
    sink, client = nodes["null-sink"], nodes["pw-play"]
    assert (sink.wait_us, sink.busy_us, sink.wait_share) == (29.4, 3.1, 0.04)
    assert (sink.quantum, sink.rate, sink.errors, sink.follower) == (64, 96000, 17, False)
    assert (client.wait_us, client.errors, client.follower) == (79.9, 240, True)
    assert nodes["Dummy-Driver"].wait_us is None
    assert not nodes["Dummy-Driver"].running


@pytest.mark.parametrize(("text", "us"), [("1.5ms", 1500.0), ("2.0s", 2e6), ("+++", None)])
def test_long_times_are_understood(text, us):
    assert parse_nodes(TOP.replace("29.4us", f"{text:>6}"))[2].wait_us == us


@pytest.mark.parametrize("text", ["", "no", "S   ID  QUANT   RATE\n"])
def test_no_nodes_is_no_graph(text):
    with pytest.raises(ValueError, match="no nodes"):
        parse_nodes(text)


def test_a_snapshot_has_the_graph_that_runs():
    now = snapshot(Raw(nodes=parse_nodes(TOP), settings={"clock.force-quantum": "64"}))
    assert (now.quantum, now.rate, now.forced) == (64, 96000, 64)
    assert (now.load, now.wake_us) == (0.04, 79.9)
    assert now.cycle_ms == pytest.approx(0.6667, abs=1e-4)


def test_missed_wake_ups_are_counted_from_the_first_look():
    nodes = parse_nodes(TOP)
    first = Raw(nodes=nodes)
    later = Raw(nodes=[replace(node, errors=node.errors + 3) for node in nodes])
    assert set(snapshot(first, None, first).xruns.values()) == {0}
    assert snapshot(later, first, first).xruns[47] == 3
    # A node that is new has its own count, which is no news.
    assert snapshot(later, None, Raw()).xruns[47] == 0
    # pw-top had no report of it yet, and showed 0.
    silent = [replace(node, wait_share=None, errors=0) for node in first.nodes]
    assert snapshot(later, None, Raw(nodes=silent)).xruns[47] == 0


def test_without_a_graph_the_settings_count():
    now = snapshot(Raw(settings={"clock.rate": "48000", "clock.quantum": "256"}))
    assert (now.quantum, now.rate, now.load, now.wake_us) == (256, 48000, None, None)


def test_the_driver_with_the_most_clients_counts():
    nodes = parse_nodes(TOP)
    lone = replace(nodes[2], object_id=90, name="lone", quantum=512)
    assert snapshot(Raw(nodes=[lone, *nodes])).quantum == 64


def test_load_is_what_was_gained_between_two_looks():
    assert parse_ticks(FILES["/proc/stat"]) == {0: (20, 100), 1: (50, 100)}
    before, now = Raw(cpus=[0, 1], ticks={0: (20, 100), 1: (50, 100)}), Raw(
        cpus=[0, 1], ticks={0: (20, 200), 1: (125, 200)}
    )  # fmt: skip
    assert [cpu.load for cpu in snapshot(now, before).cpus] == [0.0, 0.75]
    assert [cpu.load for cpu in snapshot(now).cpus] == [None, None]


@pytest.mark.parametrize(
    ("now", "up", "down"), [(64, 128, 32), (100, 128, 64), (16, 32, 16), (8192, 8192, 4096),
                            (0, 16, 16), (1, 16, 16), (65, 128, 64)],
)  # fmt: skip
def test_the_next_quantum_is_a_power_of_two(now, up, down):
    assert (next_quantum(now, 1), next_quantum(now, -1)) == (up, down)


@given(st.integers(0, 100_000), st.sampled_from([1, -1]))
def test_the_next_quantum_stays_within_its_bounds(now, step):
    found = next_quantum(now, step)
    assert 16 <= found <= 8192
    assert found & (found - 1) == 0


def test_a_recorded_machine_is_read(root):
    raw = gather(_scene(root))
    assert raw.trouble == ""
    assert raw.mhz == {1: 3600.0}
    assert raw.temperatures == {"acpitz": 45.0, "x86_pkg_temp": 61.5}
    assert (3, "IRQ 131 xhci_hcd", True) in raw.pinned
    assert any(item.cpu == 2 and "snd_hda_intel" in item.label for item in raw.pinned)
    now = snapshot(raw)
    assert now.temperature_c == 61.5
    assert [cpu.number for cpu in now.cpus if cpu.audio] == [1]


def test_other_sensors_are_found_where_there_are_no_zones(root):
    for path in (root / "sys/class/thermal").rglob("temp"):
        path.write_text("none\n")
    chip = root / "sys/class/hwmon/hwmon2"
    chip.mkdir(parents=True)
    (chip / "name").write_text("k10temp\n")
    (chip / "temp1_input").write_text("50125\n")
    assert gather(_scene(root)).temperatures == {"hwmon2": 50.125}


def test_without_pipewire_it_says_so_in_its_place(root):
    notes = json.loads((root / NOTES).read_text())
    del notes["commands"]["pw-top -b -n 2"]
    (root / NOTES).write_text(json.dumps(notes))
    now = snapshot(gather(_scene(root)))
    lines = view.node_lines(now, 80)
    assert lines[0] == "PipeWire cannot be asked:"
    assert "pw-top" in lines[1]
    assert "systemctl --user start pipewire" in lines[2]
    # The rest is there all the same.
    assert len(view.cpu_lines(now, 80)) == 12
    assert view.head_lines(now, 80)[0] == "no graph"
    assert "62 C" in view.head_lines(now, 80)[1]


def test_lines_fit_and_say_the_figures(root):
    now = snapshot(gather(_scene(root)))
    lines = view.all_lines(now, 80)
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("64 frames at 96000 Hz = 0.67 ms")
    assert any(line.startswith("R      64   96000    29us     3us    4%   17") for line in lines)
    assert any(line.endswith("  pw-play") for line in lines)
    assert any(line.startswith("CPU  3") and "IRQ 131 xhci_hcd" in line for line in lines)
    assert any(line.startswith("CPU  1*") and "3600 MHz" in line for line in lines)


@given(st.integers(20, 200))
def test_lines_never_run_over(width):
    nodes = [replace(node, name=node.name * 20) for node in parse_nodes(TOP)]
    now = snapshot(Raw(nodes=nodes, cpus=[0], pinned=[]))
    lines = [*view.all_lines(now, width), *view.latency_lines([1.0] * 500, width)]
    assert max(map(len, lines)) <= width


def test_names_cannot_write_to_the_terminal():
    nodes = [replace(node, name="\x1b[2Jx") for node in parse_nodes(TOP)]
    text = "\n".join(view.all_lines(snapshot(Raw(nodes=nodes)), 80))
    assert "\x1b" not in text


def test_the_sparkline_has_gaps_where_nothing_was_measured():
    assert view.spark([0, 50, None, 100], 10) == "▁▅ █"
    assert view.spark([1, 2, 3], 2) == "▆█"
    assert view.spark([0, 0], 5) == "▁▁"
    assert view.latency_lines([None], 80)[0] == "wake-up latency: no client in the graph"
    assert view.latency_lines([10, 80, None], 80)[0] == (
        "wake-up latency: 80 us now, 80 us at most"
    )


class _Targets:
    """Stands in for PipeWire's settings."""

    def __init__(self, value: str | None) -> None:
        self.value = value
        self.refuse = False

    def read(self, kind: str, target: str) -> str | None:
        assert (kind, target) == ("pipewire", "clock.force-quantum")
        return self.value

    def write(self, kind: str, target: str, value: str | None) -> None:
        if self.refuse:
            raise TargetError("pw-metadata failed")
        self.value = value


@pytest.mark.parametrize("before", [None, "0", "256"])
def test_the_quantum_is_set_back_to_what_it_was(before):
    targets: Any = _Targets(before)
    quantum = Quantum(targets)
    assert quantum.restore() == ""
    assert (quantum.force(64), quantum.force(128)) == ("", "")
    assert targets.value == "128"
    assert quantum.restore() == ""
    assert targets.value == before


def test_what_cannot_be_set_is_said():
    targets: Any = _Targets("0")
    quantum = Quantum(targets)
    targets.refuse = True
    assert quantum.force(64) == "pw-metadata failed"
    assert quantum.restore() == "pw-metadata failed"


@pytest.fixture
def top(root) -> Callable[..., Any]:
    """Call the verb on the recorded machine."""
    return lambda *words: CliRunner().invoke(cli, ["top", "--root", str(root), *words])


def test_one_snapshot_as_json(top):
    found = json.loads(top("--json").output)
    assert (found["quantum"], found["dsp_load"], found["wake_up_us"]) == (64, 0.04, 79.9)
    assert found["nodes"][3]["name"] == "pw-play"
    assert found["cpus"][3]["audio_work"][0] == "IRQ 131 xhci_hcd"


def test_one_snapshot_as_text(top):
    assert "64 frames at 96000 Hz" in top("--once").output


def test_without_a_terminal_it_says_so(top):
    error = top().exception
    assert isinstance(error, PreconditionError)
    assert "--once" in error.next_step


@pytest.mark.parametrize("interval", ["0", "-1", "nan", "1000"])
def test_intervals_that_make_no_sense(top, interval):
    assert isinstance(top("--once", "--interval", interval).exception, UsageError)
