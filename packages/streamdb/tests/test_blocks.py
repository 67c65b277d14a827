"""The path index against a sorted list."""

from __future__ import annotations

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdb import blocks, rows
from streamdb.blocks import Block, PathIndex, check_block, separator, successor
from streamdb.errors import CorruptData

LONG = [b"y" * 440 + bytes([65 + n]) * 30 for n in range(20)]
PATHS = st.sampled_from(
    [f"d{n % 11}/{n:04}".encode() for n in range(900)]
    + LONG
    + [b"a", b"a/b", b"a0", b"\xff\xff", "é".encode()]
)


@pytest.fixture(scope="module")
def env(tmp_path_factory):
    env = lmdb.open(str(tmp_path_factory.mktemp("index")), map_size=1 << 28, max_dbs=1, sync=False)
    yield env
    env.close()


@pytest.fixture(scope="module")
def index(env):
    return PathIndex(env.open_db(b"paths"), rows.FORWARD)


def all_paths(index, txn):
    return [path for part in index.scan(txn, b"", None) for path in part]


def assert_sound(index, txn):
    held = list(index.blocks(txn))
    keys = [key for key, _ in held]
    for at, (key, block) in enumerate(held):
        end = keys[at + 1] if at + 1 < len(keys) else None
        assert check_block(key, end, block) is None
        assert len(key) <= 440


@settings(max_examples=40, deadline=None)
@given(data=st.data(), batches=st.lists(st.sets(PATHS, max_size=400), max_size=6))
def test_answers_as_a_sorted_list_does(index, env, data, batches):
    with env.begin(write=True) as txn:
        txn.drop(index.db, delete=False)
        model: set[bytes] = set()
        for batch in batches:
            # What is there goes, what is not comes.
            index.apply(txn, {path: path not in model for path in batch})
            model ^= batch
            assert all_paths(index, txn) == sorted(model)
        assert_sound(index, txn)
        for _ in range(5):
            prefix = data.draw(PATHS)[: data.draw(st.integers(0, 460))]
            wanted = sorted(path for path in model if path.startswith(prefix))
            end = successor(prefix)
            found = [path for part in index.scan(txn, prefix, end) for path in part]
            assert found == wanted
            assert index.count(txn, prefix, end) == len(wanted)
        txn.abort()


@settings(max_examples=10, deadline=None)
@given(paths=st.sets(PATHS, max_size=600))
def test_built_at_once_it_is_the_same(index, env, paths):
    with env.begin(write=True) as txn:
        txn.drop(index.db, delete=False)
        assert index.build(txn, sorted(paths)) == len(paths)
        assert all_paths(index, txn) == sorted(paths)
        assert_sound(index, txn)
        txn.abort()


def test_paths_that_share_440_bytes_stay_in_one_block(index, env):
    with env.begin(write=True) as txn:
        txn.drop(index.db, delete=False)
        paths = [b"y" * 1000 + str(n).encode() for n in range(1000)]
        for at in range(0, 1000, 50):
            index.apply(txn, dict.fromkeys(paths[at : at + 50], True))
        assert all_paths(index, txn) == sorted(paths)
        assert_sound(index, txn)
        index.apply(txn, dict.fromkeys(paths[5:], False))
        assert all_paths(index, txn) == sorted(paths[:5])
        txn.abort()


def test_separators_are_short_and_part():
    assert separator(b"a/kick", b"a/snare") == b"a/s"
    assert separator(b"a", b"ab") == b"ab"
    assert separator(b"y" * 440, b"y" * 441) is None
    assert separator(b"y" * 439, b"y" * 440) == b"y" * 440


def test_successors():
    assert successor(b"a") == b"b"
    assert successor(b"a\xff") == b"b"
    assert successor(b"\xff") is None
    assert successor(b"") is None


def test_what_is_wrong_with_a_block_is_said():
    good = blocks.pack_block([b"b", b"c"])
    assert check_block(b"b", b"d", Block(good, b"b", rows.FORWARD)) is None
    assert "before its key" in str(check_block(b"bb", None, Block(good, b"bb", rows.FORWARD)))
    assert "behind the next" in str(check_block(b"b", b"c", Block(good, b"b", rows.FORWARD)))
    unsorted = blocks.pack_block([b"c", b"b"])
    assert "not in order" in str(check_block(b"a", None, Block(unsorted, b"a", rows.FORWARD)))
    with pytest.raises(CorruptData):
        Block(b"short", b"b", rows.FORWARD)


def test_a_removed_path_that_is_not_there_is_damage(index, env):
    with env.begin(write=True) as txn:
        txn.drop(index.db, delete=False)
        index.apply(txn, {b"a": True})
        with pytest.raises(CorruptData, match="damaged"):
            index.apply(txn, {b"z": False})
        txn.abort()
