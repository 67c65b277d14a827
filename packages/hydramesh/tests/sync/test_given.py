"""Metadata given by hand: canonical bytes, hostile ones refused, replicas that agree on them."""

from __future__ import annotations

import io
import json
import struct
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hydramesh.errors import HydraMeshError
from hydramesh.identity import certs
from hydramesh.identity.names import node_id
from hydramesh.sync.apply import Collection
from hydramesh.sync.errors import BadMessage, StoreChanged
from hydramesh.sync.given import MAX_GIVEN, given_of, pack_given, unpack_given, with_given
from hydramesh.sync.proofs import Signer, Verifier
from hydramesh.sync.reconcile import fingerprint
from hydramesh.sync.replica import Role
from hydramesh.sync.versions import Item, conflict_copy, merge
from hydramesh.wire import pack_items, unpack_items
from streamdb import StreamDB

texts = st.text(max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def wav(frames=4):
    """A file that tells about itself."""
    head = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 44100, 88200, 2, 16)
    body = b"WAVE" + head + b"data" + struct.pack("<I", 2 * frames) + bytes(2 * frames)
    return b"RIFF" + struct.pack("<I", len(body)) + body


# -- bytes -----------------------------------------------------------------------------------------


@given(st.dictionaries(texts, values, max_size=6))
def test_what_is_packed_comes_back_and_nothing_else_is_made_of_it(metadata):
    raw = pack_given(metadata)
    told = unpack_given(raw)
    assert set(told) <= set(metadata)
    assert pack_given(told) == raw
    assert len(raw) <= MAX_GIVEN


@given(st.binary(max_size=200) | texts.map(str.encode))
def test_any_bytes_are_read_or_refused(raw):
    try:
        told = unpack_given(raw)
    except BadMessage:
        return
    assert pack_given(told) == raw


@pytest.mark.parametrize(
    "raw",
    [
        b"{}", b"[]", b"7", b'{"a": 1}', b'{"b":1,"a":2}', b'{"a":1,"a":2}', b'{"a":NaN}',
        b'{"a":1e999}', b'{"a":1E2}', b'{"":1}', b'{"a":"\\u0041"}', b'{"a":"\\ud800"}',
        b'{"a":"\x1b[2J"}', '{"a":"\u202e"}'.encode(), b'{"a":' + b"9" * 4000 + b"}",
        b"[" * 4000, b'{"a":' + b"[" * 20 + b"]" * 20 + b"}", b'{"' + b"n" * 65 + b'":1}',
        json.dumps({"a": "x" * MAX_GIVEN}).encode(), b'{"a":1}x', b"\xff",
        json.dumps({f"{n:03}": 1 for n in range(65)}, separators=(",", ":")).encode(),
    ],
)  # fmt: skip
def test_what_no_honest_peer_sends(raw):
    with pytest.raises(BadMessage):
        unpack_given(raw)


def test_what_cannot_be_sent_is_left_out():
    assert pack_given({"ok": 1, "nan": float("nan"), "long": 1 << 70, "hidden\0": 1}) == b'{"ok":1}'
    assert pack_given({"a": "x" * MAX_GIVEN}) == b""
    assert pack_given({}) == b""


# -- what is given, of all that is stored ----------------------------------------------------------


def test_what_the_file_tells_is_not_given():
    source = io.BytesIO(wav())
    told = with_given(source, "kick_120bpm.wav", b"")
    assert told["tempo"] == 120.0
    assert given_of(source, "kick_120bpm.wav", told, b"") == b""
    assert given_of(source, "kick_120bpm.wav", {}, b"") == b""
    mine = {**told, "tempo": 121.0, "mood": "dark"}
    raw = given_of(source, "kick_120bpm.wav", mine, b"")
    assert unpack_given(raw) == {"mood": "dark", "tempo": 121.0}
    assert with_given(source, "kick_120bpm.wav", raw) == mine
    # Nor is it an edit when a reader of files has learned to tell by itself what was given.
    known = pack_given({"tempo": 120.0, "mood": "dark"})
    now = with_given(source, "kick_120bpm.wav", known)
    assert given_of(source, "kick_120bpm.wav", now, known) == known
    assert given_of(source, "kick_120bpm.wav", told, known) == b""


# -- items -----------------------------------------------------------------------------------------


def item(given, version=(("a", 1),), digest=b"1" * 32):
    return Item("kick.wav", version, digest, 5, 7, given)


def test_it_is_part_of_the_item_and_of_its_signature():
    key = certs.new_key()
    node = node_id(certs.public_bytes(key))
    mood = pack_given({"mood": "dark"})
    made = Signer("drums", node, key)(item(mood, ((node, 1),)))
    [read] = unpack_items(pack_items([made]))
    assert read == made
    verifier = Verifier("drums", lambda _: Role.EDITOR)
    verifier.learn({node: certs.public_bytes(key)})
    assert verifier.check(read).given == mood
    for false in (b"", pack_given({"mood": "light"})):
        raw = pack_items([made]).replace(mood, false) if false else pack_items([item(b"")])
        with pytest.raises(HydraMeshError):
            verifier.check(unpack_items(raw)[0])
    plain = Signer("drums", node, key)(item(b"", ((node, 1),)))
    assert unpack_items(pack_items([plain])) == (plain,)
    assert fingerprint(plain) != fingerprint(made)


def test_of_two_side_by_side_one_is_kept_everywhere_and_copies_keep_theirs():
    dark, light = pack_given({"mood": "dark"}), pack_given({"mood": "light"})
    one, other = item(dark), item(light, (("b", 1),))
    assert merge(one, other) == merge(other, one)
    assert merge(one, other)[0].given == max(dark, light)
    assert merge(one, item(b"", (("b", 1),)))[0].given == dark
    _, copy = merge(one, item(light, (("b", 1),), b"2" * 32))
    assert copy is not None
    assert copy.given == dark
    assert conflict_copy(one).given == dark


# -- stores ----------------------------------------------------------------------------------------


@pytest.fixture
def two(tmp_path):
    with ExitStack() as stack:
        made = []
        for name in ("one", "other"):
            documents, notes = (
                stack.enter_context(StreamDB.open(tmp_path / f"{name}-{kind}"))
                for kind in ("documents", "notes")
            )
            made.append(Collection(name, documents, notes))
        yield made


def send(one, other):
    """All that one has, to the other."""
    one.scan()
    contents = {}
    for path, each in one.replica.items.items():
        if each.digest:
            contents[each.digest] = one.documents.get(path)
    return other.apply(unpack_items(pack_items(one.replica.items.values())), contents.get)


def test_it_goes_along_with_a_document_and_alone(two):
    one, other = two
    one.documents.write_document("kick_120bpm.wav", wav(), metadata={"mood": "dark"}, mtime_ns=5)
    send(one, other)
    told = other.documents.metadata("kick_120bpm.wav")
    assert (told["mood"], told["tempo"], told["rate"]) == ("dark", 120.0, 44100)
    assert other.scan() == []

    # Changed beside the same content; and what it had is taken away again.
    for metadata in ({**told, "mood": "light", "count": 3}, {}):
        before = other.replica.seq
        other.documents.write_document("kick_120bpm.wav", wav(), metadata=metadata)
        [made] = other.scan()
        assert made.digest == one.replica.items["kick_120bpm.wav"].digest
        assert other.replica.seq == before + 1
        send(other, one)
        found = one.documents.metadata("kick_120bpm.wav")
        assert found.get("mood") == metadata.get("mood")
        assert found.get("count") == metadata.get("count")
        assert found["rate"] == 44100
        assert one.scan() == other.scan() == []
        assert send(one, other).changed == []
    assert one.replica.sum() == other.replica.sum()


def test_a_copy_of_a_content_does_not_take_what_was_given_to_another_document(two):
    one, other = two
    one.documents.write_document("a.wav", wav(), metadata={"mood": "dark"})
    send(one, other)
    one.documents.write_document("b.wav", wav())
    send(one, other)
    assert "mood" not in other.documents.metadata("b.wav")
    assert other.scan() == []
    one.documents.rename("a.wav", "c.wav")
    send(one, other)
    assert other.documents.metadata("c.wav")["mood"] == "dark"
    assert not other.documents.exists("a.wav")


def test_both_gave_something_without_seeing_each_other(two):
    one, other = two
    for each, mood in zip(two, ("dark", "light"), strict=True):
        each.documents.write_document("kick.wav", wav(), metadata={"mood": mood}, mtime_ns=5)
    one.scan(), other.scan()
    send(one, other)
    send(other, one)
    assert {each.documents.metadata("kick.wav")["mood"] for each in two} == {"light"}
    assert one.replica.sum() == other.replica.sum()
    assert sorted(one.documents.search()) == ["kick.wav"]


def test_what_the_user_gives_in_the_very_moment_is_never_written_over(two, monkeypatch):
    one, other = two
    one.documents.write_document("kick.wav", wav(), metadata={"mood": "dark"})
    send(one, other)
    one.documents.write_document("kick.wav", wav(), metadata={"mood": "light"})
    commit = other._commit

    def late(changed, batch):
        other.documents.write_document("kick.wav", wav(), metadata={"mood": "mine"})
        commit(changed, batch)

    monkeypatch.setattr(other, "_commit", late)
    with pytest.raises(StoreChanged):
        send(one, other)
    assert other.documents.metadata("kick.wav") == {"mood": "mine"}


def test_it_outlasts_a_restart(two, tmp_path):
    one, other = two
    one.documents.write_document("kick.wav", wav(), metadata={"mood": "dark"})
    send(one, other)
    again = Collection("other", other.documents, other.notes)
    assert again.replica.items["kick.wav"].given == pack_given({"mood": "dark"})
    again.look_anew()
    assert again.scan() == []
