"""Jitter: what is asked for, what is remarked, and a real cyclictest under a real load."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archibald.cli.common import run_cli
from archibald.cli.live_histogram import histogram_lines
from archibald.errors import UsageError
from archibald.measure.document import load_run
from archibald.measure.jitter import JitterRequest, SleepState, resolved, sleep_states
from archibald.measure.loads import LOADS
from archibald.measure.records import JitterData
from archibald.profile.model import Profile
from archibald.tune.observe import recorded_sight
from archibald.vm.selftest.pipewire import parse_cpu_list

ROOT = os.geteuid() == 0
NEEDS_ROOT = pytest.mark.skipif(not ROOT, reason="real-time priority, and giving it up, need root")

PROFILE = Profile.model_validate({"audio": {"rate": 48000, "quantum": 64, "max_quantum": 64}})


def test_the_profile_decides_what_is_measured():
    asked = resolved(JitterRequest((LOADS["idle"],), 5), PROFILE, (0, 1))
    assert (asked.cpus, asked.other_cpu) == ((1,), 0)
    assert (asked.priority, asked.interval_us) == (88, 1333)


def test_arguments_win_over_the_profile():
    request = JitterRequest((LOADS["idle"],), 5, (0, 1), 50, 250, 400)
    asked = resolved(request, PROFILE, (0, 1))
    assert (asked.cpus, asked.other_cpu, asked.priority, asked.interval_us) == (
        (0, 1), None, 50, 250,
    )  # fmt: skip


def test_without_audio_cpus_the_last_one_is_measured():
    profile = Profile.model_validate({"cpu": {"audio": [], "minimum": 1}})
    assert resolved(JitterRequest((), 5), profile, (0, 1, 2)).cpus == (2,)


@pytest.mark.parametrize("cpus", [(7,), (1, 1)])
def test_cpus_that_are_not_there_are_refused(cpus):
    with pytest.raises(UsageError):
        resolved(JitterRequest((), 5, cpus), PROFILE, (0, 1))


def test_slow_sleep_states_are_found(tmp_path):
    states = (("POLL", 0, "0"), ("C1", 2, "0"), ("C6", 133, "0"), ("C10", 890, "1"))
    for number, (name, latency, disabled) in enumerate(states):
        folder = tmp_path / f"sys/devices/system/cpu/cpu1/cpuidle/state{number}"
        folder.mkdir(parents=True)
        for file, text in (("name", name), ("latency", latency), ("disable", disabled)):
            (folder / file).write_text(f"{text}\n")
    sight = recorded_sight(tmp_path)
    assert sleep_states(sight, [1]) == [SleepState("C6", 133)]
    assert sleep_states(sight, [0]) == []


def test_bars_show_the_rare_ones():
    lines = histogram_lines({10: 100_000, 11: 5000, 400: 1}, rows=4, width=10)
    assert len(lines) == 4
    assert "█" * 10 in lines[0]
    assert lines[-1].split()[2].strip()  # one late wake-up has a bar
    assert histogram_lines({}) == []
    assert histogram_lines({5: 1})[0].split()[0] == "5"


@pytest.mark.parametrize(
    "words",
    [
        "--duration 0", "--duration -5", "--duration 99999999", "--priority 0", "--priority 100",
        "--interval 0", "--limit 1", "--cpu -1", "--cpu 4096", "--load heavy", "--duration x",
        "--cpu 0 --cpu 0",
    ],
)  # fmt: skip
def test_absurd_arguments_are_a_usage_error(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_cli(["measure", "jitter", *words.split()]) == 2
    assert capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_missing_cyclictest_names_its_package(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("archibald.run.find_tool", lambda _name: None)
    assert run_cli(["measure", "jitter", "--load", "idle", "--json"]) == 3
    assert "apt-get install --no-install-recommends rt-tests" in capsys.readouterr().err


def test_a_folder_that_may_not_be_written_is_said_before(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("archibald.cli.measuring.os.access", lambda *_: False)
    target = tmp_path / "a/b.json"
    assert run_cli(["measure", "jitter", "-o", str(target)]) == 3
    assert "cannot be kept" in capsys.readouterr().err


def _cpu() -> str:
    """A CPU that this process may use."""
    return str(max(parse_cpu_list(Path("/sys/devices/system/cpu/online").read_text())))


@pytest.mark.slow
@NEEDS_ROOT
def test_a_real_run_is_a_document(tmp_path, capsys):
    target = tmp_path / "deep/run.json"
    words = ["--duration", "2", "--load", "idle", "--load", "hackbench", "--cpu", _cpu()]
    assert run_cli(["measure", "jitter", *words, "-o", str(target)]) == 0
    out = capsys.readouterr().out
    run = load_run(target)
    assert isinstance(run.data, JitterData)
    assert [series.name for series in run.data.series] == ["idle", "hackbench"]
    for series in run.data.series:
        # Two seconds at 333 us are 6006 cycles; a machine that is overrun skips some.
        assert 1000 < series.histogram.cycles < 7000
        assert sum(block.cycles for block in series.blocks) in (0, series.histogram.cycles)
        assert series.histogram.max_us >= series.histogram.mean_us > 0
    assert "hackbench" in run.data.series[1].load
    assert "wake-up latency in us, every 333 us, SCHED_FIFO 88" in out
    assert str(target) in out


@pytest.mark.slow
@NEEDS_ROOT
def test_without_the_right_to_priority_it_is_refused(tmp_path):
    done = subprocess.run(
        ["setpriv", "--reuid=54321", "--clear-groups", sys.executable, "-m", "archibald",
         "measure", "jitter", "--duration", "1", "--load", "idle", "--json"],
        capture_output=True, text=True, timeout=60, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    error = json.loads(done.stdout)
    assert error["what"] == "no right to real-time priority 88"
    assert "group audio" in error["next_step"]


def _cyclictests(parent: int) -> list[int]:
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    return [int(pid) for pid in text.split()]


@pytest.mark.slow
@NEEDS_ROOT
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_everything_ends_however_it_ends(tmp_path, how):
    held = subprocess.Popen(
        [sys.executable, "-m", "archibald", "measure", "jitter", "--duration", "600",
         "--load", "hackbench", "--cpu", _cpu()],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    children: list[int] = []
    try:
        deadline = time.monotonic() + 40
        while len(children) < 2 and time.monotonic() < deadline and held.poll() is None:
            children = _cyclictests(held.pid)
            time.sleep(0.05)
        assert len(children) == 2, "a load and cyclictest"
        held.send_signal(how)
        assert held.wait(timeout=30) == (-9 if how == signal.SIGKILL else 130)
        while any(Path(f"/proc/{pid}").exists() for pid in children):
            assert time.monotonic() < deadline + 20
            time.sleep(0.05)
        assert list(tmp_path.iterdir()) == []
    finally:
        held.kill()
        held.wait()
