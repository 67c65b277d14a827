"""The coarse attributes never hide a document that matches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamdb import attributes
from streamdb.query import parse

NUMBERS = st.integers(-5, 400_000) | st.floats(-10, 1e6) | st.floats(0, 300)
METADATA = st.fixed_dictionaries(
    {}, optional={name: NUMBERS | st.lists(NUMBERS) | st.text() for name in attributes.NAMES}
)
TERMS = st.builds(
    lambda name, op, number, span, two: (
        f"{name}={number}..{number + span}" if two else f"{name}{op}{number}"
    ),
    st.sampled_from(attributes.NAMES),
    st.sampled_from(["=", "<", "<=", ">", ">=", "!=", "~"]),
    st.integers(0, 100_000) | st.sampled_from([1, 2, 16, 24, 44100, 120]),
    st.integers(0, 50),
    st.booleans(),
)


@given(METADATA, st.lists(TERMS, min_size=1, max_size=3))
def test_whatever_matches_is_let_through(metadata, terms):
    query = parse(" ".join(terms))
    passes = attributes.may_match(attributes.ranges_of(query), 3)
    if query.matches("a", metadata, 0) and passes is not None:
        assert passes(b"123" + attributes.pack(metadata))


def test_most_others_are_kept_out():
    passes = attributes.may_match(attributes.ranges_of(parse("tempo=118..122 rate=96000")), 0)
    assert passes is not None
    assert passes(attributes.pack({"tempo": 120, "rate": 96000}))
    assert not passes(attributes.pack({"tempo": 90, "rate": 96000}))
    assert not passes(attributes.pack({"tempo": 120, "rate": 44100}))
    assert not passes(attributes.pack({}))
    assert passes(attributes.UNKNOWN)


def test_queries_without_numbers_have_no_test():
    assert attributes.may_match(attributes.ranges_of(parse("kick key=Cmin -rate=96000")), 0) is None
