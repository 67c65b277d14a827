"""The verbs that read measured runs: advise, report, compare, latency-budget."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from packages.archibald.tests.measure.samples import DATA, jitter_data, run_of
from packages.archibald.tests.measure.test_advise import calm

from archibald.cli.common import run_cli
from archibald.measure.document import write_run

PROFILE = "# mine\nformat = 1\n\n[audio]\nquantum = 1024  # safe\nmax_quantum = 2048\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_run(calm(1), Path("calm.json"))
    write_run(calm(2, scale=12), Path("worse.json"))
    write_run(run_of(jitter_data()), Path("vm.json"))
    Path("a.toml").write_text(PROFILE)
    return tmp_path


def test_latency_budget(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["latency-budget", "-p", "a.toml", "--quantum", "32", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["nominal_ms"] == pytest.approx(2 / 3)
    assert "nominal buffering" in found["statement"]
    assert run_cli(["latency-budget", "-p", "a.toml", "--interface", "pcie"]) == 0
    text = capsys.readouterr().out
    assert "1024 frames at 96000 Hz, pcie" in text
    assert "sources:" in text


@pytest.mark.parametrize(
    "arguments",
    [["--quantum", "0"], ["--rate", "-1"], ["--headroom", "-5"], ["--interface", "tape"]],
)
def test_absurd_arguments_are_usage_errors(folder: Path, arguments: list[str]) -> None:
    assert run_cli(["latency-budget", *arguments]) == 2


def test_advice_is_written_and_nothing_else_changes(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["advise", "calm.json", "--profile", "a.toml"]
    assert run_cli([*arguments, "--json"]) == 0
    changes = json.loads(capsys.readouterr().out)["changes"]
    assert changes["audio.quantum"] < 1024
    assert Path("a.toml").read_text() == PROFILE
    assert run_cli([*arguments, "--write", "--chart", "c.svg"]) == 0
    text = Path("a.toml").read_text()
    assert f"quantum = {changes['audio.quantum']}  # safe" in text
    assert text.startswith("# mine\n")
    shown = capsys.readouterr().out
    assert "-quantum = 1024  # safe" in shown
    assert Path("c.svg").read_text().startswith("<svg")
    assert run_cli([*arguments, "--write"]) == 0
    assert "already says so" in capsys.readouterr().out
    assert sorted(path.name for path in folder.iterdir()) == [
        "a.toml", "c.svg", "calm.json", "vm.json", "worse.json",
    ]  # fmt: skip


def test_no_prediction_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["advise", "vm.json", "-p", "a.toml"]) == 0
    assert "no prediction" in capsys.readouterr().out
    assert run_cli(["advise", "vm.json", "-p", "a.toml", "--chart", "c.svg"]) == 2
    assert not Path("c.svg").exists()


def test_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["report", "calm.json", "vm.json", "-o", "r.html", "--markdown", "r.md"]) == 0
    assert Path("r.html").read_text("utf-8").startswith("<!doctype html>")
    assert Path("r.md").read_text("utf-8").startswith("# Measurements")
    assert run_cli(["report", "calm.json", "-o", "none/r.html"]) == 3


def test_compare(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["compare", "calm.json", "calm.json"]) == 0
    assert run_cli(["compare", "worse.json", "calm.json", "--json"]) == 0
    assert run_cli(["compare", "calm.json", "worse.json"]) == 1
    assert "worse" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", ["--dsp-load nan", "--dsp-load 96", "--risk nan",
                                       "--risk 0", "--risk inf", "--rate 1"])  # fmt: skip
def test_absurd_arguments_of_advise_are_usage_errors(folder: Path, arguments: str) -> None:
    assert run_cli(["advise", "calm.json", *arguments.split()]) == 2


def test_advice_needs_a_profile_to_write_into(folder: Path, capsys) -> None:
    assert run_cli(["advise", "calm.json", "--write"]) == 3
    assert "archibald profile init archibald.toml" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["report", "advise"])
def test_other_files_are_refused(folder: Path, verb: str, capsys) -> None:
    assert run_cli([verb, str(DATA / "cyclictest.json"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"] == "NotARunError"
    assert run_cli([verb, "none.json"]) == 2
