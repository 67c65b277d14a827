"""Editing a profile: only the values change."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archibald.measure.tomledit import LayoutError, diff, set_values

PROFILE = """\
# My studio
format = 1   # do not touch

[audio]  # the graph
rate = 96000
  quantum=32# small
#min_quantum = 16

[cpu]
audio = [
  1, 2
]  # both
"""


def test_comments_and_layout_stay() -> None:
    found = set_values(PROFILE, {"audio.quantum": 128, "cpu.audio": [3]}, filename="a.toml")
    assert found == PROFILE.replace("quantum=32#", "quantum=128#").replace("[\n  1, 2\n]", "[3]")


def test_missing_options_go_below_their_header() -> None:
    found = set_values(PROFILE, {"audio.max_quantum": 256}, filename="a.toml")
    assert "[audio]  # the graph\nmax_quantum = 256\nrate" in found


def test_missing_tables_go_to_the_end() -> None:
    found = set_values("format = 1", {"audio.quantum": 64}, filename="a.toml")
    assert found == "format = 1\n\n[audio]\nquantum = 64\n"


@pytest.mark.parametrize(
    "text",
    [
        'x = """\n[audio]\n"""\n',
        "[audio] # no line end",
        "audio.rate = 48000\n",
        "[audio]\r\nrate = 48000\r\n",
        "['audio']\nquantum = 1\n",
        "audio = {quantum = 7}\n",
    ],
)
def test_odd_layouts_are_edited_rightly_or_refused(text: str) -> None:
    before = tomllib.loads(text)
    try:
        found = tomllib.loads(set_values(text, {"audio.quantum": 64}, filename="a.toml"))
    except LayoutError:
        return
    before.setdefault("audio", {})["quantum"] = 64
    assert found == before


def test_a_text_that_is_no_toml_is_refused() -> None:
    with pytest.raises(LayoutError, match="is no TOML"):
        set_values("quantum = = 3", {"audio.quantum": 64}, filename="a.toml")


def test_a_list_with_comments_inside_is_refused() -> None:
    text = "[cpu]\naudio = [ # ]\n 1 ]\n"
    with pytest.raises(LayoutError, match="cannot be edited") as caught:
        set_values(text, {"cpu.audio": [2]}, filename="a.toml")
    assert "cpu.audio = [2]" in caught.value.next_step


@given(st.integers(16, 2048), st.lists(st.integers(0, 63), unique=True, max_size=4))
def test_what_was_set_is_there_and_setting_again_changes_nothing(quantum, cpus) -> None:
    values = {"audio.quantum": quantum, "cpu.audio": cpus}
    found = set_values(PROFILE, values, filename="a.toml")
    assert set_values(found, values, filename="a.toml") == found
    data = tomllib.loads(found)
    assert (data["audio"]["quantum"], data["cpu"]["audio"]) == (quantum, cpus)


def test_the_diff_shows_the_lines() -> None:
    found = set_values(PROFILE, {"audio.quantum": 64}, filename="a.toml")
    text = diff(PROFILE, found, filename="a.toml")
    assert "-  quantum=32# small\n+  quantum=64# small\n" in text
