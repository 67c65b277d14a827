"""Which paths a store takes, and what it says of the others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdb.errors import InvalidPath
from streamdb.paths import MAX_PATH_BYTES, parents, validate, validate_prefix, validate_suffix


@pytest.mark.parametrize(
    "path",
    [
        "a",
        "x" * 4096,
        "é" * 2048,
        "drums/kick 01.wav",
        ".hidden",
        "a/..b",
        "...",
        "a/\n",
        b"\xc3\xa9",
    ],
)
def test_good_paths_stay_as_they_are(path):
    assert validate(path) == (path if isinstance(path, str) else path.decode())


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "empty"),
        ("a\0b", "NUL"),
        (b"\xff\xfe", "not UTF-8"),
        ("\udcff", "not valid Unicode"),
        ("/a", "begins with a slash"),
        ("a/", "ends with a slash"),
        ("a//b", "an empty part"),
        ("..", "'..'"),
        ("a/../b", "'..'"),
        ("./a", "'.'"),
        ("a/.", "'.'"),
        ("x" * 4097, "4097 bytes"),
        ("é" * 2049, "4098 bytes"),
        (7, "not int"),
    ],
)
def test_bad_paths_are_named(path, says):
    with pytest.raises(InvalidPath) as caught:
        validate(path)
    assert says in caught.value.what
    assert caught.value.next_step
    assert caught.value.exit_code == 2


def test_a_leading_slash_is_answered_with_the_path_without_it():
    with pytest.raises(InvalidPath) as caught:
        validate("/drums/kick")
    assert "'drums/kick'" in caught.value.next_step


@given(st.text(max_size=30))
def test_what_is_taken_is_a_relative_path(text):
    try:
        path = validate(text)
    except InvalidPath:
        return
    parts = path.split("/")
    assert 1 <= len(path.encode()) <= MAX_PATH_BYTES
    assert "" not in parts
    assert ".." not in parts
    assert "\0" not in path


def test_prefixes_may_be_empty_or_end_anywhere():
    assert validate_prefix("") == ""
    assert validate_prefix("drums/") == "drums/"
    for bad in ("/a", "a\0", "x" * 4097, b"\xff"):
        with pytest.raises(InvalidPath):
            validate_prefix(bad)


def test_suffixes_may_begin_with_a_slash():
    assert validate_suffix("/kick.wav") == "/kick.wav"
    with pytest.raises(InvalidPath):
        validate_suffix("a\0")


def test_parents_begin_at_the_top():
    assert parents("kick") == [""]
    assert parents("a/b/c") == ["", "a", "a/b"]
