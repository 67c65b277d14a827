"""The state directory: for one user only, and never half written."""

from __future__ import annotations

import asyncio
import stat

import pytest

from hydramesh import errors
from hydramesh.identity import realm as realms
from hydramesh.identity.invites import Endpoint
from hydramesh.identity.state import State

NOW = 1_800_000_000.0


@pytest.fixture
def state(tmp_path):
    made = State(tmp_path / "state")
    made.prepare()
    return made


def test_nothing_is_readable_by_others(state):
    realms.found(state, "band", "studio", 3600, NOW)
    paths = [state.root, *state.root.rglob("*")]
    assert len(paths) == 9
    assert [path for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_what_others_can_read_is_refused(state):
    realms.found(state, "band", "studio", 3600, NOW)
    state.path("node.key").chmod(0o644)
    with pytest.raises(errors.StateUnsafe, match="read by others") as caught:
        realms.load(state)
    assert "PRIVATE" not in str(caught.value)
    state.root.chmod(0o755)
    with pytest.raises(errors.StateUnsafe):
        state.prepare()


def test_a_realm_is_founded_once(state):
    with pytest.raises(errors.NoRealm):
        realms.load(state)
    made = realms.found(state, "band", "studio", 3600, NOW)
    assert realms.load(state).nid == made.nid
    assert "key" not in repr(made)
    with pytest.raises(errors.RealmExists):
        realms.found(state, "other", "studio", 3600, NOW)


def test_what_a_crash_left_is_cleared(state):
    (state.root / "realm.new").mkdir()
    state.prepare()
    assert realms.found(state, "band", "studio", 3600, NOW)


def test_damage_is_named(state):
    realms.found(state, "band", "studio", 3600, NOW)
    state.write("realm.json", b"[]")
    with pytest.raises(errors.StateUnsafe, match="damaged"):
        realms.load(state)


def test_one_process_at_a_time(state):
    with state.locked(), pytest.raises(errors.StateBusy), State(state.root).locked():
        pass


def test_the_authority_stays_while_others_need_it(state):
    made = realms.found(state, "band", "studio", 3600, NOW)
    made, code, _ = realms.invite(state, made, "", 60, [Endpoint("::1", 5)], NOW)
    assert code not in state.path("ledger.json").read_text()
    with pytest.raises(errors.InvalidArgument):
        realms.revoke(state, made, "studio", NOW)
    assert asyncio.run(realms.leave(state, made, NOW, dissolve=False)) is False
    assert not state.has_realm()
