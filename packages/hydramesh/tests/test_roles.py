"""Elections settle on one master on each side of a partition, and on one when the sides meet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hydramesh.membership import Claim
from hydramesh.roles import Election, Mode


def _settle(elections, rounds=8):
    claims = {one.node: Claim(one.mode.value, one.term, one.leader) for one in elections}
    for _ in range(rounds):
        claims = {one.node: one.update(claims) for one in elections}
    return claims


@given(st.lists(st.sampled_from(Mode), min_size=1, max_size=8))
def test_all_follow_one_leader_that_may_lead(modes):
    elections = [Election(f"n{at}", mode) for at, mode in enumerate(modes)]
    claims = _settle(elections)
    able = {one.node: one.mode for one in elections if one.mode in (Mode.AUTO, Mode.MASTER)}
    followers = {claim.leader for claim in claims.values() if claim.mode != Mode.P2P}
    assert followers <= {min(able, key=lambda node: (able[node] != Mode.MASTER, node), default="")}
    assert _settle(elections) == claims


@given(st.lists(st.sampled_from([Mode.AUTO, Mode.MASTER]), min_size=2, max_size=8), st.data())
def test_sides_of_a_partition_lead_themselves_and_agree_again(modes, data):
    elections = [Election(f"n{at}", mode) for at, mode in enumerate(modes)]
    _settle(elections)
    at = data.draw(st.integers(1, len(elections) - 1))
    for side in (elections[:at], elections[at:]):
        claims = _settle(side)
        assert {claim.leader for claim in claims.values()} <= {one.node for one in side} - {""}
        assert len({claim.leader for claim in claims.values()}) == 1
    together = _settle(elections)
    assert len({claim.leader for claim in together.values()}) == 1


def test_a_sitting_leader_stays_when_a_smaller_id_comes():
    sitting = Election("b", Mode.AUTO)
    _settle([sitting])
    claims = _settle([Election("a", Mode.AUTO), sitting])
    assert {claim.leader for claim in claims.values()} == {"b"}


def test_terms_from_the_network_do_not_run_over():
    election = Election("a", Mode.AUTO)
    claim = election.update({"b": Claim("nonsense", (1 << 53) - 1, "b")})
    assert claim.leader == "a"
    assert claim.term <= (1 << 53) - 1
