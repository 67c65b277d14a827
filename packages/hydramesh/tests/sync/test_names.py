"""Names from the network: what leads outside is refused by name, what meets another is told."""

from __future__ import annotations

import pytest

from hydramesh.sync.errors import BadName
from hydramesh.sync.names import Names, check_name


@pytest.mark.parametrize(
    "path",
    [
        "../x", "a/../../x", "/etc/passwd", "a//b", "a/", "", ".", "a/./b", "nul\0", "bell\a",
        "/".join("a" * 10_000), "x" * 4097, "a/" + "x" * 256, "\ud800", b"bytes", None, 7,
    ],
)  # fmt: skip
def test_hostile_names_are_refused(path):
    with pytest.raises(BadName):
        check_name(path)


@pytest.mark.parametrize("path", ["kick.wav", "a/b c/d..e", "..a", "é/日本.wav", "x" * 255])
def test_ordinary_names_pass(path):
    assert check_name(path) == path


@pytest.mark.parametrize(
    ("one", "other"),
    [("Kick.wav", "kick.wav"), ("\u00e4.wav", "a\u0308.wav"), ("Drums/a", "drums/b"), ("ß", "ss")],
)
def test_names_that_meet_on_some_file_systems_are_told(one, other):
    names = Names.of([one])
    assert names.clashes() == []
    names.add(other)
    assert len(names.clashes()) == 2
    names.discard(one)
    names.discard(one)
    assert names.clashes() == []
