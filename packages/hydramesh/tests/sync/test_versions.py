"""Merging commutes, associates, repeats without effect, and loses no edit."""

from __future__ import annotations

import doctest
import random

from hypothesis import given, settings
from hypothesis import strategies as st

import hydramesh.library.bundles
import hydramesh.library.wanted
import hydramesh.sync.names
import hydramesh.sync.versions
from hydramesh.sync.replica import Replica
from hydramesh.sync.versions import Item, Order, compare, join, merge

NODES = ("a", "b", "c")
VECTORS = st.dictionaries(st.sampled_from(NODES), st.integers(1, 3), min_size=1).map(
    lambda counts: tuple(sorted(counts.items()))
)


def test_examples_run():
    pure = (hydramesh.sync.versions, hydramesh.sync.names)
    for module in (*pure, hydramesh.library.bundles, hydramesh.library.wanted):
        result = doctest.testmod(module)
        assert result.attempted
        assert not result.failed


@given(VECTORS, VECTORS)
def test_a_joined_version_includes_both(one, other):
    both = join(one, other)
    assert both == join(other, one)
    for part in (one, other):
        assert compare(both, part) in (Order.SAME, Order.NEWER)
    opposite = {Order.NEWER: Order.OLDER, Order.OLDER: Order.NEWER}
    assert compare(other, one) is opposite.get(compare(one, other), compare(one, other))


def test_an_edit_beside_a_deletion_stays():
    edit = Item("x", (("a", 2),), b"1" * 32)
    gone = Item("x", (("a", 1), ("b", 1)), b"")
    kept, copy = merge(edit, gone)
    assert (kept.digest, copy) == (edit.digest, None)
    assert merge(gone, edit) == (kept, None)


def test_same_content_beside_itself_makes_no_copy():
    one = Item("x", (("a", 1),), b"1" * 32, 5, 1)
    other = Item("x", (("b", 1),), b"1" * 32, 5, 2)
    assert merge(one, other) == merge(other, one)
    assert merge(one, other)[1] is None


def _act(replica: Replica, chance: random.Random) -> None:
    path = chance.choice(("x", "d/y.wav", "z.wav"))
    kind = chance.random()
    if kind < 0.6:
        replica.edit(path, chance.randbytes(32), 1, chance.randrange(100))
    elif kind < 0.8:
        replica.delete(path)
    else:
        replica.rename(path, chance.choice(("x", "z.wav", "new")))


def _newest_of_each_writer(edits: list[Item], held: dict[str, Item]) -> None:
    """Every edit is there, in a conflict copy, or was overwritten by one who had seen it."""
    contents = {item.digest for item in held.values()}
    for edit in edits:
        later = any(
            other.path == edit.path and compare(other.version, edit.version) is Order.NEWER
            for other in edits
        )
        assert edit.digest in contents or later or not edit.digest, edit


@settings(max_examples=150, deadline=None)
@given(st.integers(2, 5), st.integers(0, 2**32))
def test_replicas_that_exchange_everything_are_equal_and_lose_no_edit(count, seed):
    chance = random.Random(seed)
    replicas = [Replica(f"n{at}", at) for at in range(count)]
    edits: list[Item] = []
    for _ in range(40):
        one, other = chance.sample(replicas, 2)
        if chance.random() < 0.5:
            before = dict(one.items)
            _act(one, chance)
            edits += [item for path, item in one.items.items() if before.get(path) != item]
        else:
            # A message that may be a part of the truth, late, or come twice.
            items = list(other.items.values())
            one.take(chance.sample(items, chance.randint(0, len(items))))
    for _ in range(2):
        for one in replicas:
            for other in replicas:
                delta = other.since(0, other.epoch)
                one.take(delta.items)
    assert all(dict(one.items) == dict(replicas[0].items) for one in replicas)
    _newest_of_each_writer(edits, dict(replicas[0].items))


def test_the_log_tells_each_path_once_and_in_parts():
    replica = Replica("a", 9)
    for turn in range(3):
        for path in ("x", "y", "z"):
            replica.edit(path, bytes([turn]) * 32)
    first = replica.since(0, 9, limit=2)
    assert ([item.path for item in first.items], first.more) == (["x", "y"], True)
    rest = replica.since(first.upto, 9, limit=2)
    assert ([item.path for item in rest.items], rest.more) == (["z"], False)
    assert replica.since(rest.upto, 9).items == ()
    assert len(replica.since(rest.upto, 8).items) == 3


def test_a_rename_asks_for_no_content():
    one, other = Replica("a", 1), Replica("b", 2)
    one.edit("old.wav", b"1" * 32)
    other.take(one.items.values())
    have = set(other.documents().values())
    one.rename("old.wav", "new.wav")
    other.take(one.items.values())
    assert other.documents() == {"new.wav": b"1" * 32}
    assert list(other.missing(have.__contains__)) == []
