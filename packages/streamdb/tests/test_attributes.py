"""The coarse attributes never hide a document that matches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamdb import attributes
from streamdb.query import parse

NUMBERS = st.integers(-5, 400_000) | st.floats(-10, 1e6) | st.floats(0, 300)
KEYS = st.sampled_from(["Cmin", "c", "8A", "Dbmaj", "C# minor", "H", "", "C" * 40])
METADATA = st.fixed_dictionaries(
    {},
    optional={
        **{name: NUMBERS | st.lists(NUMBERS) | st.text() for name in attributes.NAMES},
        "key": KEYS | st.lists(KEYS) | NUMBERS,
    },
)
NUMBER_TERMS = st.builds(
    lambda name, op, number, span, two: (
        f"{name}={number}..{number + span}" if two else f"{name}{op}{number}"
    ),
    st.sampled_from(attributes.NAMES),
    st.sampled_from(["=", "<", "<=", ">", ">=", "!=", "~"]),
    st.integers(0, 100_000) | st.sampled_from([1, 2, 16, 24, 44100, 120]),
    st.integers(0, 50),
    st.booleans(),
)
KEY_TERMS = st.builds(
    "key{}{}".format,
    st.sampled_from(["=", "~", "!="]),
    st.sampled_from(["Cmin", "C", "minor", "major", "8A|Dbmin", "C#maj"]),
)
PREFIX = b"123"


def passes(query, value):
    return all(
        field.passes[value[field.start : field.stop]]
        for field in attributes.fields(parse(query), len(PREFIX))
    )


@given(METADATA, st.lists(NUMBER_TERMS | KEY_TERMS, min_size=1, max_size=3))
def test_whatever_matches_is_let_through(metadata, terms):
    query = " ".join(terms)
    if parse(query).matches("a", metadata, 0):
        assert passes(query, PREFIX + attributes.pack(metadata))


def test_most_others_are_kept_out():
    def through(**metadata):
        return passes("tempo=118..122 rate=96000 key=Cmin", PREFIX + attributes.pack(metadata))

    assert through(tempo=120, rate=96000, key="c minor")
    assert not through(tempo=90, rate=96000, key="Cmin")
    assert not through(tempo=120, rate=44100, key="Cmin")
    assert not through(tempo=120, rate=96000, key="Cmaj")
    assert not through(tempo=120, rate=96000)
    assert not through()


def test_what_says_nothing_and_what_is_too_short_is_read():
    query = "tempo=118..122 rate=96000 channels=2 bits=16 duration<1 key=Cmin"
    assert passes(query, PREFIX + attributes.UNKNOWN)
    assert passes(query, PREFIX)
    assert passes(query, b"")
    # Rows from before there was a byte for the key.
    assert passes("key=Cmin", PREFIX + bytes(9))


def test_queries_of_other_kinds_pass_over_nothing():
    assert attributes.fields(parse("kick -key=Cmin -rate=96000"), 0) == []
