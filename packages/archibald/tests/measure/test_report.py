"""Reports: whole, self-contained, and safe against what a file may say."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from packages.archibald.tests.measure.samples import jitter_data, run_of
from packages.archibald.tests.measure.test_advise import calm
from packages.archibald.tests.measure.test_document import ALL_DATA

from archibald.measure.figures import figures_of
from archibald.measure.plot import Axis, number
from archibald.measure.report import html_report, markdown_report

_VOID = {"meta", "br", "line", "rect", "circle", "path", "polyline", "polygon"}
#: Their end tags may be left out.
_OPEN = {"tr", "td", "th", "p"}


class _Nesting(HTMLParser):
    """Checks that what is opened is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.add(tag)
        if tag not in _VOID | _OPEN:
            self.stack.append(tag)

    def handle_endtag(self, tag) -> None:
        if tag not in _VOID | _OPEN:
            assert self.stack.pop() == tag


RUNS = [*(run_of(data) for data in ALL_DATA), calm()]


def test_every_kind_is_in_one_whole_file() -> None:
    text = html_report(RUNS)
    parser = _Nesting()
    parser.feed(text)
    assert not parser.stack
    assert text.count("<svg") >= len(RUNS)
    assert "prefers-color-scheme:dark" in text
    assert "width=device-width" in text
    assert "nan" not in text.lower().replace("finance", "")


def test_nothing_comes_from_outside() -> None:
    text = html_report(RUNS)
    assert not re.search(r"\b(?:src|href)\s*=|@import|url\(|https?://", text)
    assert "script" not in _tags(text)


def _tags(text: str) -> set[str]:
    parser = _Nesting()
    parser.feed(text)
    return parser.tags


def test_hostile_text_stays_text() -> None:
    bad = '<script>alert(1)</script>"&|`*'
    run = run_of(jitter_data(), label=bad, notes=(bad,), warnings=(bad,), settings={bad: bad})
    text = html_report([run], title=bad)
    assert "script" not in _tags(text)
    assert "&lt;script&gt;" in text
    summary = markdown_report([run], title=bad)
    assert "\n\n| figure |" in summary, "a table stands apart from the list before it"
    assert "<script>" not in summary.replace("\\<", "")


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.kind.value)
def test_every_figure_is_in_the_summary(run) -> None:
    text = markdown_report([run])
    for one in figures_of(run.data):
        assert f"| {number(one.value)} | {one.unit} |" in text
    assert not re.search(r"\bnan\b", text)


def test_prediction_or_its_refusal_is_told() -> None:
    assert "No prediction" in html_report([run_of(jitter_data())])
    text = html_report([calm()])
    assert "Prediction from load at 96000 Hz" in text
    assert "P(at least one xrun in 10 min)" in text
    assert " 0 %" not in text


@pytest.mark.parametrize("settings", [{}, {"rate": None}, {"rate": "48000"}, {"rate": 7}])
def test_without_a_rate_there_is_no_prediction(settings) -> None:
    """It must not take 48000 Hz in silence: at 96000 every deadline is half as long."""
    run = calm().model_copy(update={"settings": settings})
    for text in (html_report([run]), markdown_report([run])):
        assert "No prediction" in text
        assert "Q / R" in text
        assert "P(at least one" not in text
    assert "at 96000 Hz" in markdown_report([calm()])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (615028, "615028"), (0.00012345, "1.23e-4"), (0.67, "0.67"), (1234.5, "1234")],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


def test_axes_have_round_ticks() -> None:
    assert Axis("", 0, 97).ticks() == [0, 20, 40, 60, 80]
    assert Axis("", 0.5, 2e5, log=True).ticks() == [1, 10, 100, 1000, 10000, 100000]
    assert Axis("", 5, 5).share(5) == 0
