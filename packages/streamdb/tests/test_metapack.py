"""Metadata: what is taken, what is refused, and that it comes back."""

from __future__ import annotations

import datetime
import enum
import types
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdb import metapack, zstd
from streamdb.errors import CorruptData, InvalidMetadata
from streamdb.metapack import Packer, from_json, to_json

TEXT = st.text(st.characters(codec="utf-8"), max_size=10)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(TEXT, VALUES, max_size=8))
def test_metadata_comes_back(metadata):
    packer = Packer(lambda number: None)
    assert from_json(packer.unpack(packer.pack(to_json(metadata)))) == metadata


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ([1], "list"),
        ("text", "str"),
        ({1: 2}, "not text: 1"),
        ({"a": {2: 3}}, "in a"),
        ({"a": float("nan")}, "nan"),
        ({"a": [float("inf")]}, "inf"),
        ({"a": None, "b": [float("-inf")]}, "inf"),
        ({"a": b"bytes"}, "bytes"),
        ({"a": [uuid.UUID(int=1)]}, "UUID"),
        ({"a": {"b": datetime.date(2026, 1, 1)}}, "date"),
        ({"a": object()}, "object"),
        ({"a": "\udcff"}, "JSON"),
        ({"a": "x" * (1 << 20)}, "limit"),
    ],
)
def test_what_is_no_json_is_refused_by_name(metadata, says):
    with pytest.raises(InvalidMetadata) as caught:
        to_json(metadata)
    assert says in str(caught.value)
    assert caught.value.next_step


class Level(enum.IntEnum):
    LOUD = 3


class Name(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("metadata", "back"),
    [
        ({"a": (1, 2)}, {"a": [1, 2]}),
        ({"a": Level.LOUD}, {"a": 3}),
        ({Name("a"): Name("b")}, {"a": "b"}),
        (types.MappingProxyType({"a": types.MappingProxyType({"b": 1})}), {"a": {"b": 1}}),
        ({"a": None}, {"a": None}),
        ({"a": 2**64}, {"a": 2**64}),
    ],
)
def test_what_is_nearly_json_is_taken_as_such(metadata, back):
    found = from_json(to_json(metadata))
    assert found == back
    assert [type(value) for value in found.values()] == [type(value) for value in back.values()]


def test_endless_nesting_is_refused():
    deep: list[object] = []
    for _ in range(30):
        deep = [deep]
    assert from_json(to_json({"a": deep})) == {"a": deep}
    with pytest.raises(InvalidMetadata, match="32 levels"):
        to_json({"a": [[deep]]})
    endless: dict[str, object] = {}
    endless["a"] = endless
    with pytest.raises(InvalidMetadata, match="32 levels"):
        to_json(endless)


def test_nothing_is_nothing():
    assert to_json(None) == to_json({}) == b""
    packer = Packer(lambda number: None)
    assert packer.pack(b"") == packer.unpack(b"") == b""
    assert from_json(b"") == {}


def test_large_metadata_needs_no_dictionary():
    packer = Packer(lambda number: None)
    encoded = to_json({"text": "kick " * 50_000})
    packed = packer.pack(encoded)
    assert len(packed) < 1000
    assert Packer(lambda number: None).unpack(packed) == encoded


def test_a_trained_dictionary_is_found_again_by_its_number():
    samples = [
        to_json({"title": f"Kick {n}", "tempo": 60 + n % 120, "vendor": "Nobody & Sons"})
        for n in range(metapack.TRAIN_AFTER[0])
    ]
    packer = Packer(lambda number: None)
    plain = [packer.pack(sample) for sample in samples]
    for sample in samples:
        assert packer.take_samples() is None
        packer.sample(sample)
    assert packer.take_samples() == (3, samples)
    assert packer.take_samples() is None
    content = zstd.train(samples, metapack.DICTIONARY_BYTES)
    packer.add(3, content, use=True)
    packed = [packer.pack(sample) for sample in samples]
    assert sum(map(len, packed)) < sum(map(len, plain))
    asked = []

    def load(number):
        asked.append(number)
        return content

    other = Packer(load)
    assert [other.unpack(each) for each in packed] == samples
    assert asked == [3]
    with pytest.raises(CorruptData, match="dictionary 3"):
        Packer(lambda number: None).unpack(packed[0])


def test_the_second_dictionary_is_made_of_all_that_was_seen():
    packer = Packer(lambda number: None)
    seen = [b'{"n":%d}' % n for n in range(metapack.TRAIN_AFTER[1])]
    for each in seen:
        packer.sample(each)
    assert packer.gathers
    made = packer.take_samples()
    assert made is not None
    taken = made[1]
    assert made[0] == 4
    assert not packer.gathers
    assert len(taken) == len(set(taken)) == metapack.SAMPLES
    # A spread: every tenth of them has its share.
    tenth = len(seen) // 10
    for at in range(0, len(seen), tenth):
        part = set(seen[at : at + tenth])
        assert metapack.SAMPLES / 20 < len(part & set(taken)) < metapack.SAMPLES / 5


def test_a_dictionary_that_cannot_be_read_keeps_nobody_from_writing():
    packer = Packer(lambda number: None)
    packer.resume(3)
    assert packer.unpack(packer.pack(b'{"tempo":120}' * 9)) == b'{"tempo":120}' * 9


@given(st.binary(max_size=60))
def test_damaged_metadata_is_an_error_and_no_crash(packed):
    packer = Packer(lambda number: None)
    try:
        from_json(packer.unpack(packed))
    except CorruptData:
        return
