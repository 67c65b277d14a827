"""Who may change what: signatures of edits, and grants, as nobody can make them up."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hydramesh.identity.certs import new_key, public_bytes
from hydramesh.identity.names import node_id
from hydramesh.sync.charter import EVERYONE, Charter, collection_id, read_grants, split_id
from hydramesh.sync.errors import BadMessage, NotPermitted
from hydramesh.sync.proofs import Signer, Verifier
from hydramesh.sync.replica import Replica, Role
from hydramesh.sync.versions import Item, compare, item_of, merge
from hydramesh.wire import pack_items, unpack_items

KEYS = [new_key() for _ in range(4)]
NODES = [node_id(public_bytes(key)) for key in KEYS]
DRUMS = collection_id("drums", NODES[0])


def signer(at: int) -> Signer:
    return Signer(DRUMS, NODES[at], KEYS[at])


def verifier(*writers: int) -> Verifier:
    made = Verifier(DRUMS, lambda n: Role.EDITOR if n in [NODES[w] for w in writers] else None)
    made.learn({node: public_bytes(key) for node, key in zip(NODES, KEYS, strict=True)})
    return made


def edit(at: int, path: str = "kick", digest: bytes = b"1" * 32) -> Item:
    return signer(at)(Item(path, ((NODES[at], 1),), digest, 5, 7))


def test_an_edit_is_taken_from_who_may_and_no_one_else():
    assert verifier(1).check(edit(1)) == edit(1)
    with pytest.raises(NotPermitted, match="kick"):
        verifier(0).check(edit(1))
    with pytest.raises(NotPermitted):
        verifier(1).check(replace(edit(1), proofs=()))


@pytest.mark.parametrize(
    "change",
    [
        {"digest": b"2" * 32}, {"path": "kick2"}, {"size": 6}, {"mtime_ns": 8},
        {"version": ((NODES[1], 2),)}, {"author": NODES[0]}, {"signature": b"x"},
        {"version": ((NODES[2], 1),)},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_nothing_of_an_edit_can_be_changed(change):
    item = edit(1)
    forged = replace(item, proofs=(replace(item.proofs[0], **change),))
    with pytest.raises(BadMessage):
        verifier(0, 1, 2).check(forged)


def test_what_an_item_says_beside_its_proofs_counts_for_nothing():
    lie = replace(edit(1), digest=b"3" * 32, version=((NODES[1], 99),), size=99)
    taken = verifier(1).check(lie)
    assert (taken.digest, taken.version, taken.size) == (b"1" * 32, ((NODES[1], 1),), 5)


def test_the_part_of_who_may_not_is_left_out():
    both, _ = merge(edit(1), edit(2, digest=b"9" * 32))
    assert len(both.proofs) == 2
    assert verifier(1, 2).check(both) == both
    assert verifier(1).check(both) == edit(1)
    assert not verifier(1).stands(both)


def test_an_edit_of_another_collection_is_none_here():
    other = Signer(collection_id("other", NODES[0]), NODES[1], KEYS[1])
    with pytest.raises(BadMessage, match="signed"):
        verifier(1).check(other(Item("kick", ((NODES[1], 1),), b"1" * 32)))


def test_keys_belong_to_their_nodes():
    with pytest.raises(BadMessage, match="another node"):
        Verifier(DRUMS, lambda _: None).learn({NODES[0]: public_bytes(KEYS[1])})
    with pytest.raises(BadMessage, match="none"):
        Verifier(DRUMS, lambda _: None).learn({NODES[0]: b"x" * 91})


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 4), st.integers(0, 2**32))
def test_replicas_with_signed_edits_become_equal_and_all_of_it_can_be_checked(count, seed):
    chance = random.Random(seed)
    replicas = [Replica(NODES[at], at, sign=signer(at)) for at in range(count)]
    check = verifier(*range(count))
    edits: list[Item] = []
    for _ in range(25):
        one, other = chance.sample(replicas, 2)
        if chance.random() < 0.5:
            path = chance.choice(("x", "d/y.wav"))
            made = (
                one.edit(path, chance.randbytes(32), 1, chance.randrange(100))
                if chance.random() < 0.7
                else one.delete(path, chance.randrange(100))
            )
            edits += [made] if made is not None else []
        else:
            items = list(other.items.values())
            sent = chance.sample(items, chance.randint(0, len(items)))
            one.take([check.check(item) for item in unpack_items(pack_items(sent))])
    for _ in range(3):
        for one in replicas:
            for other in replicas:
                one.take([check.check(item) for item in other.items.values()])
    assert all(each.documents() == replicas[0].documents() for each in replicas)
    assert all(each.sum() == replicas[0].sum() for each in replicas)
    kept = set(replicas[0].documents().values())
    for made in edits:
        newer = any(
            other.path == made.path and compare(other.version, made.version).value == "newer"
            for other in edits
        )
        assert made.digest in kept or newer or made.deleted


def test_a_proof_of_another_path_makes_no_item():
    with pytest.raises(ValueError, match="speak"):
        item_of("snare", edit(1).proofs)


# -- grants ----------------------------------------------------------------------------------------


def test_the_founder_makes_owners_and_owners_make_editors():
    charter = Charter(DRUMS)
    assert charter.role(NODES[0]) is Role.OWNER
    assert charter.role(NODES[1]) is None
    charter.merge([charter.make(EVERYONE, Role.READER, KEYS[0])])
    assert charter.role(NODES[1]) is Role.READER
    # Who is no owner grants nothing.
    assert not charter.merge([charter.make(NODES[1], Role.EDITOR, KEYS[1])])
    charter.merge([charter.make(NODES[1], Role.OWNER, KEYS[0])])
    charter.merge([charter.make(NODES[2], Role.EDITOR, KEYS[1])])
    assert charter.role(NODES[2]) is Role.EDITOR
    # An owner that was not made by the founder is none.
    charter.merge([charter.make(NODES[3], Role.OWNER, KEYS[1])])
    assert charter.role(NODES[3]) is Role.READER
    # Nor can it take the founder's own grants of ownership back, or lose its own to another owner.
    charter.merge([charter.make(NODES[1], Role.READER, KEYS[1])])
    assert charter.role(NODES[1]) is Role.OWNER
    # What an owner granted holds as long as it is one.
    charter.merge([charter.make(NODES[1], Role.READER, KEYS[0])])
    assert charter.role(NODES[2]) is Role.READER
    assert read_grants(DRUMS, charter.pack())


def test_charters_agree_in_whatever_order_grants_come():
    charter = Charter(DRUMS)
    grants = [charter.make(EVERYONE, Role.READER, KEYS[0])]
    grants.append(charter.make(NODES[1], Role.OWNER, KEYS[0]))
    charter.merge(grants)
    for number in range(6):
        grants.append(charter.make(NODES[2], list(Role)[number % 3], KEYS[number % 2]))
        charter.merge(grants)
    for seed in range(10):
        chance = random.Random(seed)
        order = [*grants, *grants]
        chance.shuffle(order)
        other = Charter(DRUMS)
        for grant in order:
            other.merge([grant])
        other.merge(grants)
        assert (other.roles(), other.mark()) == (charter.roles(), charter.mark())


def test_a_grant_that_was_changed_is_none():
    charter = Charter(DRUMS)
    grant = charter.make(NODES[1], Role.READER, KEYS[0])
    for change in (
        {"role": Role.OWNER}, {"subject": NODES[2]}, {"number": 7}, {"by": NODES[1]},
        {"key": public_bytes(KEYS[1])}, {"signature": b"x"}, {"subject": "nobody"},
    ):  # fmt: skip
        forged = Charter(DRUMS)
        forged._grants[NODES[0], NODES[1]] = replace(grant, **change)
        with pytest.raises(BadMessage):
            read_grants(DRUMS, forged.pack())
    forged._grants = {(NODES[0], NODES[1]): grant}
    with pytest.raises(BadMessage, match="signed"):
        read_grants(collection_id("other", NODES[0]), forged.pack())


@given(st.binary(max_size=200))
def test_no_bytes_are_taken_for_a_charter(raw):
    try:
        assert isinstance(read_grants(DRUMS, raw), list)
    except BadMessage:
        return


def test_names_of_collections():
    assert split_id(DRUMS) == ("drums", NODES[0])
    for bad in ("drums", "drums.x", "../x." + NODES[0], "Drums." + NODES[0], "." + NODES[0]):
        with pytest.raises(Exception, match="not a"):
            split_id(bad)
