"""Role, relay and groups of a node: kept on the disk, told with heartbeats."""

from __future__ import annotations

import pytest

from hydramesh import config
from hydramesh.errors import InvalidArgument, StateUnsafe
from hydramesh.identity.invites import Endpoint
from hydramesh.identity.state import State
from hydramesh.membership import Membership
from hydramesh.roles import Mode
from hydramesh.standing import LISTEN_S, Standing, configured_mode, read_choice


@pytest.fixture
def state(tmp_path):
    made = State(tmp_path / "s")
    made.prepare()
    made.make_realm({"realm.json": b"{}"})
    return made


def standing(state, *, now=0.0, **settings):
    return Standing(state, config.check(settings), "a", now)


def test_the_configuration_decides_until_the_user_does(state):
    assert standing(state).mode is Mode.P2P
    assert standing(state, mode="server").mode is Mode.MASTER
    chosen = standing(state, mode="auto")
    chosen.set_mode("client")
    assert standing(state, mode="auto").mode is Mode.CLIENT
    chosen.set_mode("configured")
    assert standing(state, mode="auto").mode is Mode.AUTO
    with pytest.raises(InvalidArgument):
        chosen.set_mode("king")


def test_every_configured_mode_is_a_role():
    for mode in config.KEYS["mode"].schema["enum"]:
        assert configured_mode(config.check({"mode": mode})) in Mode


def test_a_relay_stays_one_over_restarts(state):
    told = (Endpoint("relay.example", 50051), Endpoint("::1", 7))
    standing(state).set_relay(True, told)
    again = standing(state)
    assert again.relay
    assert again.advertised == told
    again.set_relay(False, told)
    assert (standing(state).relay, standing(state).advertised) == (False, ())


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b"\xff", b'{"mode": "king", "relay": false, "advertise": []}']
)
def test_a_damaged_file_is_named(text):
    with pytest.raises(StateUnsafe):
        read_choice(text)


def test_it_listens_before_it_takes_part(state):
    chosen = standing(state, mode="auto", now=100.0)
    membership = Membership("a", 1, 100.0)
    chosen.update(membership, 100.0)
    assert membership.claim is not None
    assert (membership.claim.mode, membership.claim.leader) == ("auto", "")
    chosen.update(membership, 100.0 + LISTEN_S)
    assert membership.claim.leader == chosen.leader == "a"


def test_a_node_alone_is_a_group(state):
    chosen = standing(state)
    chosen.update(Membership("a", 1, 0.0), 0.0)
    assert chosen.grouping.groups == (("a",),)
