"""Patterns: on names, on paths, on folders; upper and lower case alike."""

from __future__ import annotations

import pytest

from streamdb.errors import InvalidArgument
from streamdb.importing.selection import EVERYTHING, Selection


@pytest.mark.parametrize(
    ("include", "exclude", "path", "taken"),
    [
        ([], [], "a/b.wav", True),
        (["*.wav"], [], "a/b.WAV", True),
        (["*.wav"], [], "a/b.mid", False),
        (["*.wav", "*.mid"], [], "b.mid", True),
        (["drums/*.wav"], [], "drums/deep/kick.wav", True),
        (["drums/*.wav"], [], "bass/kick.wav", False),
        (["/drums/*"], [], "old/drums/kick.wav", False),
        ([], ["old"], "old", False),
        ([], ["old"], "a/old/b.wav", False),
        ([], ["old"], "a/old.wav", True),
        ([], ["old/"], "old", True),
        ([], ["old/"], "old/b.wav", False),
        ([], ["._*"], "a/._kick.wav", False),
        ([], ["a/b"], "a/b/c/d.wav", False),
        ([], ["a/b"], "x/a/b/d.wav", True),
        (["*.wav"], ["*808*"], "kick 808.wav", False),
        (["kick?.wav"], [], "kick12.wav", False),
        (["kick[12].wav"], [], "kick2.wav", True),
    ],
)
def test_what_is_taken(include, exclude, path, taken):
    assert Selection.of(include, exclude).takes(path) is taken


@pytest.mark.parametrize("text", ["", "/", "//"])
def test_an_empty_pattern_is_refused(text):
    with pytest.raises(InvalidArgument, match="matches nothing"):
        Selection.of(include=[text])


def test_everything_is_everything():
    assert EVERYTHING.takes(".hidden/x")
    assert EVERYTHING.enters(".hidden")
