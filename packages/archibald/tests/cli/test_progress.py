"""How long work looks: lines for logs, bars for terminals, and errors that pass through both."""

from __future__ import annotations

import pytest

from archibald.cli.progress import BarUi, PlainUi, _eta, choose_ui


@pytest.mark.parametrize("kind", [PlainUi, BarUi])
def test_every_stage_is_announced_and_timed(kind, capsys):
    ui = kind()
    with ui.stage("base", "installing packages", 100.0) as tell:
        for fraction in (0.0, 0.01, 0.5, 1.0):
            tell(fraction)
    with ui.stage("iso", "the medium", None):
        pass
    ui.note("something to know")
    assert [name for name, _ in ui.seconds] == ["base", "iso"]
    assert all(seconds >= 0 for _, seconds in ui.seconds)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "installing packages" in captured.err
    assert "something to know" in captured.err


@pytest.mark.parametrize("kind", [PlainUi, BarUi])
@pytest.mark.parametrize("text", ["deb [trusted=yes] x", "a [/bold] b", "[red]c"])
def test_a_remark_is_printed_as_it_is(kind, text, capsys):
    kind().note(text)
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("kind", [PlainUi, BarUi])
def test_a_stage_that_fails_is_not_counted_as_done(kind, capsys):
    ui = kind()
    with pytest.raises(ValueError, match="broken"), ui.stage("base", "x", 5.0):
        raise ValueError("broken")
    assert ui.seconds == []
    assert "done" not in capsys.readouterr().err


def test_the_last_runs_time_is_said_when_it_is_worth_it(capsys):
    for expected in (None, 1.0, 12.4):
        with PlainUi().stage("base", "packages", expected):
            pass
    lines = [line for line in capsys.readouterr().err.splitlines() if "done" not in line]
    assert lines == ["base: packages", "base: packages", "base: packages, about 12 s last time"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, ""), (-3.0, ""), (0.4, ""), (1.0, "1 s left"), (61.4, "61 s left")]
)
def test_the_estimate(seconds, text):
    assert _eta(seconds) == text


@pytest.mark.parametrize(("terminal", "kind"), [(True, BarUi), (False, PlainUi)])
def test_bars_are_for_terminals(monkeypatch, terminal, kind):
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    assert isinstance(choose_ui(), kind)
