"""When a follower compares everything with a peer, and when it waits."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from hydramesh.library.following import RECONCILE_EVERY_S, Follower, Ways


def follower(own: bytes) -> Follower:
    shelf = SimpleNamespace(head=SimpleNamespace(sum=own))
    return Follower(cast("Any", shelf), cast("Any", None), cast("Any", None))


def is_due(one: Follower, past: float, quiet: float, compared: tuple[bytes, bytes]) -> bool:
    now = 1e6
    one._changed_at = now - quiet
    ways = Ways(since=now - past, compared=compared)
    return one._is_due(cast("Any", SimpleNamespace(sum=b"theirs")), ways, now)


def test_equal_replicas_are_not_compared():
    assert not is_due(follower(b"theirs"), 10 * RECONCILE_EVERY_S, 60.0, (b"", b""))


def test_a_difference_that_nothing_explains_is_looked_for_once():
    assert is_due(follower(b"ours"), 10.0, 5.0, (b"", b""))
    assert not is_due(follower(b"ours"), 10.0, 5.0, (b"theirs", b"ours"))
    assert is_due(follower(b"ours"), RECONCILE_EVERY_S + 1, 5.0, (b"theirs", b"ours"))


def test_changes_on_their_way_explain_a_difference_unless_they_never_end():
    one = follower(b"ours")
    assert not is_due(one, 2 * RECONCILE_EVERY_S, 1.0, (b"", b""))
    one.pending[cast("Any", "key")] = cast("Any", "item")
    assert not is_due(one, 2 * RECONCILE_EVERY_S, 60.0, (b"", b""))
    assert is_due(one, 4 * RECONCILE_EVERY_S, 60.0, (b"", b""))
