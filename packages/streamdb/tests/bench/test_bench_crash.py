"""The crash benchmark runs, counts what it did, and says when something was not kept."""

from __future__ import annotations

import json
from importlib import util
from pathlib import Path

import pytest
from packages.streamdb.tests.crash import verdict

SCRIPT = Path(__file__).parents[2] / "bench/crash.py"


@pytest.fixture
def crash():
    spec = util.spec_from_file_location("crash_bench", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_kills_are_counted(crash, tmp_path, capsys):
    assert crash.main(["--kills", "2", "--seed", "4", "--room", str(tmp_path), "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report["count"] == sum(report["killed in"].values()) >= 2
    assert report["findings"] == []
    assert list(tmp_path.iterdir()) == []


def test_a_finding_is_told_and_kept(crash, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(verdict, "judge_whole", lambda found: ["something is wrong"])
    assert crash.main(["--kills", "1", "--seed", "4", "--room", str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert "something is wrong" in told.out
    assert str(tmp_path) in told.err
    assert list(tmp_path.iterdir()) != []


def test_what_is_asked_for(crash):
    assert crash.options([]).kills == 1000
    assert crash.options(["--power", "5"]).kills is None
    for wrong in (["--kills", "0"], ["--power", "x"]):
        with pytest.raises(SystemExit) as ended:
            crash.options(wrong)
        assert ended.value.code == 2
