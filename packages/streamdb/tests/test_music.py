"""Keys and notes in every notation that is understood, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdb.music import MusicalKey, note_name, parse_key, parse_note


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("C", "Cmaj"),
        ("c", "Cmaj"),
        ("CM", "Cmaj"),
        ("Cmaj", "Cmaj"),
        ("C major", "Cmaj"),
        ("c_maj", "Cmaj"),
        ("Cm", "Cmin"),
        ("cm", "Cmin"),
        ("CMIN", "Cmin"),
        ("C minor", "Cmin"),
        ("C-minor", "Cmin"),
        ("F#m", "F#min"),
        ("f#M", "F#maj"),
        ("F♯ minor", "F#min"),
        ("Fsharp_minor", "F#min"),
        ("Gbm", "F#min"),
        ("Db", "Dbmaj"),
        ("C#", "Dbmaj"),
        ("C#min", "C#min"),
        ("Dbmin", "C#min"),
        ("Eb", "Ebmaj"),
        ("E♭maj", "Ebmaj"),
        ("b", "Bmaj"),
        ("bm", "Bmin"),
        ("bb", "Bbmaj"),
        ("bbm", "Bbmin"),
        ("BbM", "Bbmaj"),
        ("Cb", "Bmaj"),
        ("E#", "Fmaj"),
        ("8A", "Amin"),
        ("8b", "Cmaj"),
        ("1A", "G#min"),
        ("12B", "Emaj"),
        ("05A", "Cmin"),
        ("1d", "Cmaj"),
        ("1m", "Amin"),
        ("6m", "G#min"),
        (" Am ", "Amin"),
    ],
)
def test_notations_of_a_key(written, expected):
    assert str(parse_key(written)) == expected


@pytest.mark.parametrize(
    "written", ["", "H", "Amen", "Cmm", "13A", "0A", "8C", "C##", "m", "min", "A 4", "A4", "C m x"]
)
def test_what_is_no_key(written):
    assert parse_key(written) is None


@given(st.integers(0, 11), st.booleans())
def test_keys_read_back_from_both_of_their_names(tonic, minor):
    key = MusicalKey(tonic, minor)
    assert parse_key(str(key)) == key
    assert parse_key(key.camelot) == key


@given(st.text(max_size=12))
def test_any_text_is_a_key_or_none(text):
    assert parse_key(text) is None or isinstance(parse_key(text), MusicalKey)
    note = parse_note(text)
    assert note is None or 0 <= note <= 127


@given(st.integers(0, 127))
def test_notes_read_back(number):
    assert parse_note(note_name(number)) == number
    assert parse_note(str(number)) == number


@pytest.mark.parametrize(
    ("written", "number"),
    [("C4", 60), ("c4", 60), ("A0", 21), ("Bb2", 46), ("C-1", 0), ("G9", 127), ("E#4", 65)],
)
def test_names_of_notes(written, number):
    assert parse_note(written) == number


@pytest.mark.parametrize("written", ["", "G#9", "128", "H3", "C", "C4x", "-1", "C-2", "\u0663"])
def test_what_is_no_note(written):
    assert parse_note(written) is None
