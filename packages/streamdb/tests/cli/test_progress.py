"""Progress: the rate, the estimate, lines in pipes."""

from __future__ import annotations

import sys

import pytest

from streamdb.cli.progress import Lines, Pace, describe, showing, time_left_text
from streamdb.model import Progress


def at(done, total=1000, stage="importing", unit="bytes"):
    return Progress(stage, done, total, unit)


def test_the_rate_counts_from_the_beginning_of_the_stage():
    pace = Pace()
    assert pace.rate(at(0), 10.0) == 0
    assert pace.rate(at(100), 12.0) == 50
    assert pace.rate(at(500, stage="other"), 13.0) == 0
    assert pace.rate(at(600, stage="other"), 14.0) == 100


def test_a_line_says_share_rate_and_time_left():
    line = describe(at(1 << 20, 4 << 20), 1 << 19)
    assert line == "importing: 25% (1.0 MiB), 512.0 KiB/s, 6 s left"
    assert describe(at(12, 0, unit="documents"), 0) == "importing: 12 documents"


@pytest.mark.parametrize(("seconds", "text"), [(0.2, "0 s"), (60, "1:00"), (3600, "1:00:00")])
def test_time_left(seconds, text):
    assert time_left_text(seconds) == text


def test_lines_come_now_and_then(capsys):
    now = [0.0]
    lines = Lines(lambda: now[0], every_s=5.0)
    for second in range(12):
        now[0] = float(second)
        lines(at(second * 10))
    assert capsys.readouterr().err.splitlines() == [
        "importing: 5% (50 B), 10 B/s, 1:35 left",
        "importing: 10% (100 B), 10 B/s, 1:30 left",
    ]


def test_nobody_is_told_when_it_is_quiet():
    with showing(quiet=True) as tell:
        assert tell is None


def test_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    with showing() as tell:
        assert tell is not None
        tell(at(0, 0, "looking", "documents"))
        tell(at(500))
    shown = capsys.readouterr().err
    assert "importing" in shown
    assert "50%" in shown
