"""A killed writer loses nothing that was acknowledged, and leaves nothing half done."""

from __future__ import annotations

import os
import random

import pytest
from packages.streamdb.tests.crash import tasks, workload
from packages.streamdb.tests.crash.kills import AIMS, Rounds
from packages.streamdb.tests.crash.nursery import Nursery
from packages.streamdb.tests.crash.verdict import Feed, Said, Writer, judge, judge_whole, least
from packages.streamdb.tests.crash.workload import Model, Planner


@pytest.fixture
def nursery(tmp_path):
    with Nursery(tmp_path) as running:
        yield running


def _key_file(tmp_path) -> str:
    path = tmp_path / "key"
    path.write_bytes(os.urandom(32))
    path.chmod(0o600)
    return str(path)


def test_a_round_of_each_durability(nursery, tmp_path):
    rounds = Rounds(nursery, tmp_path, seed=11)
    for number in (5, 12, 2):
        assert rounds.play(number) == []
    assert rounds.tally.total >= 3


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "kills", "sealed"), [(1, 160, False), (2, 40, True)])
def test_killed_writers_lose_nothing(nursery, tmp_path, seed, kills, sealed):
    rounds = Rounds(nursery, tmp_path, seed, _key_file(tmp_path) if sealed else None)
    aims = {"open", "make", "txn", "gc", "stream", "import"} if kills > 100 else set()
    number = 0
    # Where a kill hits is chance: go on for a while until each kind of moment was hit.
    while rounds.tally.total < kills or (aims - set(rounds.tally.kills) and number < 3 * kills):
        rounds.play(number)
        assert rounds.tally.findings == []
        number += 1
    assert set(rounds.tally.durabilities) == {"full", "normal", "bulk"}
    assert aims <= set(rounds.tally.kills)


# -- the harness itself ----------------------------------------------------------------------------


def _found(tmp_path, steps) -> dict:
    store = str(tmp_path / "store")
    tasks.write(store, str(tmp_path / "log"), steps, "1.0", "full")
    return tasks.inspect(store, 0, sorted({p for step in steps for p in workload.touched(step)}))


def _writer(steps, said, fewest) -> Writer:
    return Writer("w0", Model(), steps, said, fewest, "1.0")


def test_the_model_agrees_with_an_undisturbed_writer(tmp_path):
    steps = Planner(random.Random(5), Model(), "w0", 0).plan(120)
    assert {step["label"] for step in steps} == set(workload.KINDS)
    found = _found(tmp_path, steps)
    said = Said.of((tmp_path / "log").read_text().splitlines())
    assert said.closed
    assert least(steps, said, "bulk", power=True) == len(steps)
    model, wrong = judge(_writer(steps, said, len(steps)), found)
    assert wrong == []
    assert model is not None
    assert judge_whole(found) == []
    assert Feed().follow(found) == []


def test_a_lost_write_is_noticed(tmp_path):
    steps = Planner(random.Random(6), Model(), "w0", 0).plan(10, {"small": 90})
    found = _found(tmp_path, steps[:-1])
    said = Said(opened=True, begun=len(steps), done=len(steps))
    assert judge(_writer(steps, said, len(steps)), found)[0] is None
    # One that was not acknowledged may be missing.
    assert judge(_writer(steps, said, len(steps) - 1), found)[1] == []


def test_half_a_transaction_is_noticed(tmp_path):
    txn = next(
        step
        for step in Planner(random.Random(7), Model(), "w0", 0).plan(40, {"txn": 90})
        if step["op"] == "txn" and all(each["op"] == "put" for each in step["steps"])
    )
    found = _found(tmp_path, txn["steps"][:-1])
    model, wrong = judge(_writer([txn], Said(opened=True, begun=1), 0), found)
    assert model is None
    assert wrong


def test_wrong_bytes_and_a_wrong_feed_are_noticed(tmp_path):
    steps = Planner(random.Random(8), Model(), "w0", 0).plan(12, {"small": 90})
    found = _found(tmp_path, steps)
    said = Said(opened=True, begun=len(steps), done=len(steps), closed=True)
    name = next(iter(found["documents"]))
    held = found["documents"][name]
    found["documents"][name] = ["0" * 64, *held[1:]]
    assert judge(_writer(steps, said, len(steps)), found)[0] is None
    found["documents"][name] = held
    del found["changes"][next(n for n, each in enumerate(found["changes"]) if each[1] == "put")]
    assert Feed().follow(found)
    assert judge(_writer(steps, said, len(steps)), found)[1]


def test_every_kind_of_step_is_aimed_at():
    assert set(AIMS) >= set(workload.KINDS) - {"hold"}
