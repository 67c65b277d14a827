"""The verbs of ``archibald system``."""

from __future__ import annotations

import json

import pytest

from archibald.cli.common import run_cli
from archibald.errors import ExitCode

CORE = """\
[desktop]
enable = false

[[variant]]
name = "low-latency"
title = "Low latency"
audio = { quantum = 16 }
"""


@pytest.fixture
def profile(tmp_path):
    path = tmp_path / "core.toml"
    path.write_text(CORE)
    return path


@pytest.fixture
def other(tmp_path):
    path = tmp_path / "other.toml"
    path.write_text(CORE + '\n[apps]\ngroups = ["network"]\n\n[realtime]\nswappiness = 1\n')
    return path


def archibald(capsys, *argv):
    code = run_cli(["system", *map(str, argv)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_show_is_plain_lines_when_piped(capsys, profile):
    code, out, err = archibald(capsys, "show", "-p", profile)
    assert (code, err) == (ExitCode.OK, "")
    rows = [line.split("\t") for line in out.splitlines()]
    assert all(len(row) == 3 for row in rows)
    assert ["package:rtkit", "package rtkit"] in [row[:2] for row in rows]


def test_show_one_kind(capsys, profile):
    _, out, _ = archibald(capsys, "show", "-p", profile, "--kind", "sysctl")
    assert {line.partition(":")[0] for line in out.splitlines()} == {"sysctl"}


def test_show_as_tables_on_a_terminal(capsys, profile, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    code, out, _ = archibald(capsys, "show", "-p", profile, "--kind", "kernel-arg")
    assert code == ExitCode.OK
    assert "cpufreq.default_governor=performance" in out
    assert "realtime" in out
    assert "wanted by" in out


def test_why_shows_origins_keys_and_content(capsys, profile):
    code, out, _ = archibald(capsys, "show", "-p", profile, "--why", "92-low-latency.conf")
    assert code == ExitCode.OK
    assert "wanted by audio" in out
    assert "audio.quantum" in out
    assert "default.clock.quantum = 32" in out


def test_why_in_a_variant(capsys, profile):
    _, out, _ = archibald(
        capsys, "show", "-p", profile, "--variant", "low-latency", "--why", "92-low-latency.conf"
    )
    assert "default.clock.quantum = 16" in out


def test_why_json(capsys, profile):
    _, out, _ = archibald(capsys, "show", "-p", profile, "--why", "package:rtkit", "--json")
    data = json.loads(out)
    assert data["variant"] == "default"
    (item,) = data["items"]
    assert item["key"] == "package:rtkit"
    assert {"module": "realtime", "keys": ["realtime.rtkit"]}.items() <= item["origins"][0].items()


def test_why_of_nothing_suggests_a_name(capsys, profile):
    code, _, err = archibald(capsys, "show", "-p", profile, "--why", "rtkitt")
    assert code == ExitCode.USAGE
    assert "did you mean 'rtkit'" in err


def test_an_unknown_variant(capsys, profile):
    code, _, err = archibald(capsys, "show", "-p", profile, "--variant", "low")
    assert code == ExitCode.USAGE
    assert "low-latency" in err


def test_the_password_is_not_shown(capsys, tmp_path):
    path = tmp_path / "p.toml"
    path.write_text('[desktop]\nenable = false\n[users]\nlive_password = "correct horse"\n')
    for extra in ([], ["--json"], ["--why", "audio-user"]):
        _, out, _ = archibald(capsys, "show", "-p", path, "--kind", "user", *extra)
        assert "audio-user" in out
        assert "correct horse" not in out


def test_a_conflict_is_one_json_object(capsys, tmp_path):
    path = tmp_path / "p.toml"
    path.write_text(CORE + '\n[cpu]\nisolated = [1]\nkernel_args = ["isolcpus=0"]\n')
    code, out, err = archibald(capsys, "show", "-p", path, "--json")
    assert code == ExitCode.USAGE
    data = json.loads(out)
    assert data["error"] == "ConflictError"
    assert len(data["sides"]) == 2
    assert "Traceback" not in err


def test_equal_systems(capsys, profile):
    assert archibald(capsys, "diff", profile, profile) == (ExitCode.OK, "", "")


def test_different_systems(capsys, profile, other):
    code, out, _ = archibald(capsys, "diff", profile, other)
    assert code == ExitCode.FINDINGS
    assert "+ package jacktrip  <- apps: in the group network (apps.groups)" in out
    assert "~ vm.swappiness = 10" in out
    assert "vm.swappiness = 1 " in out
    code, out, _ = archibald(capsys, "diff", other, profile)
    assert "- package jacktrip" in out


def test_different_systems_as_json(capsys, profile, other):
    code, out, _ = archibald(capsys, "diff", profile, other, "--json")
    assert code == ExitCode.FINDINGS
    data = json.loads(out)
    assert [item["key"] for item in data["added"]] == ["package:jacktrip"]
    assert "sysctl:vm.swappiness" in [change["before"]["key"] for change in data["changed"]]


def test_a_changed_file_shows_its_lines(capsys, profile, other):
    other.write_text(CORE + "\n[audio]\nquantum = 64\n")
    _, out, _ = archibald(capsys, "diff", profile, other)
    assert "-    default.clock.quantum = 32" in out
    assert "+    default.clock.quantum = 64" in out


def test_a_missing_file(capsys, profile, tmp_path):
    code, _, err = archibald(capsys, "diff", profile, tmp_path / "none.toml")
    assert code == ExitCode.USAGE
    assert "none.toml" in err


@pytest.mark.parametrize("argv", [["--help"], ["show", "--help"], ["diff", "--help"]])
def test_help_has_examples(capsys, argv):
    code, out, _ = archibald(capsys, *argv)
    assert code == ExitCode.OK
    assert "Examples:" in out
