"""Replicas over real stores: after everything was exchanged all are equal, and no edit is lost."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from blake3 import blake3

from hydramesh.sync.apply import TOMBSTONE_LIFE_NS, Collection
from hydramesh.sync.errors import BadMessage, StoreChanged
from hydramesh.sync.versions import Item
from hydramesh.wire import pack_delta, unpack_delta
from streamdb import StreamDB

PATHS = ("kick.wav", "drums/snare.wav", "drums/hat.wav", "bass", "pad.flac")


class Band:
    """Some nodes, each with a store of its own, and a network that loses messages."""

    def __init__(self, root: Path, count: int, seed: int, stack: ExitStack) -> None:
        self.random = random.Random(seed)
        self.root = root
        self.stack = stack
        self.written: dict[bytes, str] = {}
        self.superseded: set[bytes] = set()
        self.transferred = 0
        self.nodes = [self._open(at) for at in range(count)]

    def _open(self, at: int) -> Collection:
        documents, notes = (
            self.stack.enter_context(
                StreamDB.open(self.root / f"{at}-{name}", durability="normal", map_bytes=1 << 26)
            )
            for name in ("documents", "notes")
        )
        return Collection(f"n{at}", documents, notes)

    def act(self, one: Collection) -> None:
        """Something that a user does, straight to the store."""
        path = self.random.choice(PATHS)
        store = one.documents
        held = store.get(path) if store.exists(path) else None
        kind = self.random.random()
        if kind < 0.6 or held is None:
            data = self.random.randbytes(self.random.choice((5, 200, 5000)))
            store.write_document(path, data)
            self.written[data] = path
            gone = held
        elif kind < 0.8:
            store.delete(path)
            gone = held
        else:
            new = self.random.choice((*PATHS, "new name.wav"))
            if new == path:
                return
            gone = store.get(new) if store.exists(new) else None
            store.rename(path, new, overwrite=True)
        if gone is not None:
            self.superseded.add(gone)
        if self.random.random() < 0.5:
            one.scan()

    def tell(self, sender: Collection, receiver: Collection, loss: float) -> None:
        """One change set and the contents for it, some of which are lost."""
        sender.scan()
        delta = sender.replica.since(0, sender.replica.epoch)
        contents = {blake3(d).digest(): d for d in self._contents(sender)}

        def fetched(digest: bytes) -> bytes | None:
            if self.random.random() < loss:
                return None
            found = contents.get(digest)
            self.transferred += found is not None
            return found

        if self.random.random() >= loss:
            receiver.apply(unpack_delta(pack_delta(delta)).items, fetched)

    @staticmethod
    def _contents(one: Collection) -> list[bytes]:
        return [one.documents.get(path) for path in one.documents.search()]

    def reopen(self, at: int) -> None:
        """The process of a node starts anew on its stores."""
        old = self.nodes[at]
        self.nodes[at] = Collection(f"n{at}", old.documents, old.notes)

    def check(self) -> None:
        """Everybody has the same, and every edit that nobody knowingly replaced is somewhere."""
        shown = [
            {path: one.documents.get(path) for path in one.documents.search()} for one in self.nodes
        ]
        assert all(each == shown[0] for each in shown)
        held = set(shown[0].values())
        lost = [data for data in self.written if data not in held | self.superseded]
        assert lost == []


def _play(root: Path, count: int, seed: int, steps: int) -> None:
    with ExitStack() as stack:
        band = Band(root, count, seed, stack)
        for _ in range(steps):
            one, other = band.random.sample(band.nodes, 2)
            if band.random.random() < 0.6:
                band.act(one)
            else:
                band.tell(one, other, loss=0.3)
            if band.random.random() < 0.05:
                band.reopen(band.random.randrange(count))
        for _ in range(3):
            for one in band.nodes:
                for other in band.nodes:
                    if one is not other:
                        band.tell(one, other, loss=0.0)
        band.check()
        for one in band.nodes:
            assert one.documents.check().ok


@pytest.mark.parametrize("count", [2, 5])
def test_replicas_with_random_edits_and_losses_become_equal(tmp_path, count):
    _play(tmp_path, count, seed=count, steps=40)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_many_replicas_become_equal(tmp_path, seed):
    _play(tmp_path, 2 if seed % 2 else 5, seed + 100, steps=80)


@pytest.fixture
def pair(tmp_path):
    with ExitStack() as stack:
        yield Band(tmp_path, 2, 1, stack)


def test_a_rename_transfers_nothing(pair):
    one, other = pair.nodes
    one.documents.write_document("a.wav", b"x" * 5000)
    pair.tell(one, other, loss=0.0)
    before = pair.transferred
    one.documents.rename("a.wav", "b.wav")
    pair.tell(one, other, loss=0.0)
    assert other.documents.search() == ["b.wav"]
    assert pair.transferred == before


def test_contents_that_lie_change_nothing(pair):
    one, _ = pair.nodes
    good = Item("good", (("p", 1),), blake3(b"good").digest(), 4)
    bad = Item("bad", (("p", 1),), blake3(b"bad").digest(), 3)
    with pytest.raises(BadMessage, match="digest"):
        one.apply([good, bad], lambda digest: b"good")
    assert one.documents.search() == []
    assert one.replica.documents() == {}


def test_names_that_meet_others_are_taken_and_told(pair):
    one, _ = pair.nodes
    contents = {blake3(name).digest(): name for name in (b"1", b"2", b"3")}
    marks = list(contents)
    one.apply([Item("Kick.wav", (("p", 1),), marks[0], 1)], contents.get)
    one.apply(
        [Item("kick.wav", (("p", 1),), marks[1], 1), Item("snare", (("p", 1),), marks[2], 1)],
        contents.get,
    )
    assert one.documents.search() == ["Kick.wav", "kick.wav", "snare"]
    assert one.clashes() == ["Kick.wav", "kick.wav"]
    one.apply([Item("Kick.wav", (("p", 2),), b"")], contents.get)
    assert one.clashes() == []


def test_a_crash_between_documents_and_notes_loses_nothing(pair, monkeypatch):
    one, other = pair.nodes
    one.documents.write_document("a", b"theirs")
    one.scan()

    def crash(self, items):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        other.scan()
        patched.setattr(Collection, "_note", crash)
        patched.setattr(Collection, "scan", lambda self: [])
        with pytest.raises(KeyboardInterrupt):
            other.apply(one.replica.items.values(), lambda digest: b"theirs")
    pair.reopen(1)
    for _ in range(2):
        pair.tell(one, pair.nodes[1], loss=0.0)
        pair.tell(pair.nodes[1], one, loss=0.0)
    pair.check()
    assert one.documents.search() == ["a"]


def test_an_edit_in_the_very_moment_is_not_overwritten(pair):
    one, other = pair.nodes
    one.documents.write_document("a", b"theirs")
    one.scan()

    def fetched(digest: bytes) -> bytes:
        # Between the look at the store and the transaction the user writes.
        other.documents.write_document("a", b"mine")
        return b"theirs"

    with pytest.raises(StoreChanged):
        other.apply(one.replica.items.values(), fetched)
    assert other.documents.get("a") == b"mine"
    for _ in range(2):
        pair.tell(one, other, loss=0.0)
        pair.tell(other, one, loss=0.0)
    pair.check()
    assert {one.documents.get(path) for path in one.documents.search()} == {b"mine", b"theirs"}


def test_old_deletions_are_forgotten_and_not_learned_again(pair):
    one, other = pair.nodes
    one.documents.write_document("old", b"1")
    one.documents.write_document("new", b"2")
    pair.tell(one, other, loss=0.0)
    one.documents.delete("old")
    pair.tell(one, other, loss=0.0)
    later = time.time_ns() + TOMBSTONE_LIFE_NS + 1
    assert one.expire(time.time_ns()) == 0
    assert one.expire(later) == 1
    assert "old" not in one.replica.items
    gone = other.replica.items["old"]
    past = Item("old", gone.version, b"", 0, 1)
    one.apply([past], lambda digest: None)
    assert "old" not in one.replica.items
    pair.reopen(0)
    assert set(pair.nodes[0].replica.items) == {"new"}
    assert pair.nodes[0].replica.sum() != other.replica.sum()
    other.expire(later)
    assert pair.nodes[0].replica.sum() == other.replica.sum()


def test_a_store_that_was_put_back_is_looked_at_anew(pair, tmp_path):
    one, _ = pair.nodes
    one.documents.write_document("a", b"1")
    one.scan()
    one._seen += 100  # as after a newer state of the same store
    one.documents.write_document("b", b"2")
    one.scan()
    assert set(one.replica.documents()) == {"a", "b"}


def test_a_document_with_two_paths_is_written_through_one_of_them(pair):
    one, other = pair.nodes
    one.documents.write_document("a", b"1")
    one.documents.bind("a", "b")
    pair.tell(one, other, loss=0.0)
    one.documents.write_document("a", b"2")
    pair.tell(one, other, loss=0.0)
    assert {path: other.documents.get(path) for path in other.documents.search()} == {
        "a": b"2",
        "b": b"2",
    }
    # From outside, each path is a document of its own.
    other.documents.write_document("b", b"3")
    pair.tell(other, one, loss=0.0)
    assert {path: one.documents.get(path) for path in one.documents.search()} == {
        "a": b"2",
        "b": b"3",
    }
