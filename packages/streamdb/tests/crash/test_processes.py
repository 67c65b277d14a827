"""Three processes on the same paths, with reopening and kills: one order explains all they saw."""

from __future__ import annotations

import json
import random
import time

import pytest
from packages.streamdb.tests.crash import linear
from packages.streamdb.tests.crash.linear import Event
from packages.streamdb.tests.crash.nursery import Nursery


@pytest.fixture
def nursery(tmp_path):
    with Nursery(tmp_path) as running:
        yield running


def _events(lines: list[str]) -> list[Event]:
    """The calls of one log: a write is logged when it begins, and again when it returns."""
    found: dict[str, Event] = {}
    for line in lines:
        event = linear.parse(json.loads(line))
        # A delete that found nothing was a read.
        found[event.name] = event
    return list(found.values())


def _contest(nursery, room, seed: int, calls: int, kills: int) -> None:
    store = str(room / "store")
    assert nursery.run("make", store=store, log=str(room / "made")).ok
    rng = random.Random(seed)
    logs = []
    running = []
    for at in range(3 + kills):
        log = room / f"{at}.log"
        logs.append(log)
        running.append(
            nursery.start(
                "contend", store=store, log=str(log), name=f"p{at}", seed=seed * 100 + at,
                calls=calls,
            )
        )  # fmt: skip
        if at >= 3:
            time.sleep(rng.uniform(0.05, 0.3))
            running[-1].kill()
    for at, child in enumerate(running):
        ended = child.wait(120)
        assert ended.ok or (at >= 3 and ended.signal == 9), str(ended)
    after = nursery.run("contended", store=store)
    assert after.ok, str(after)
    assert after.value["problems"] == []
    lines = [log.read_text().split("\n")[:-1] for log in logs if log.exists()]
    events = [event for each in lines for event in _events(each)]
    feed = after.value["feed"]
    assert linear.judge(events, feed) == []
    assert linear.judge_reads(events, feed) == []
    last = {path: (kind, origin) for _, kind, path, origin in feed}
    alive = {path: origin for path, (kind, origin) in last.items() if kind == "put"}
    assert after.value["documents"] == alive
    assert len(feed) > calls / 4


def test_three_processes_agree(nursery, tmp_path):
    _contest(nursery, tmp_path, seed=1, calls=60, kills=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 8))
def test_processes_agree_though_some_are_killed(nursery, tmp_path, seed):
    _contest(nursery, tmp_path, seed, calls=400, kills=3)


# -- the judge itself ------------------------------------------------------------------------------


def _put(name: str, start: int, end: int | None) -> Event:
    return Event("put", "a", name, name, start, end)


def _get(value: str, start: int, end: int) -> Event:
    return Event("get", "a", value, f"g{start}", start, end)


FEED = [[1, "put", "a", "x"], [2, "put", "a", "y"]]
WRITES = [_put("x", 10, 20), _put("y", 30, 40)]


def test_reads_of_what_was_current_make_sense():
    reads = [_get("", 1, 12), _get("x", 5, 12), _get("x", 25, 28), _get("x", 31, 50)]
    reads += [_get("y", 31, 39), _get("y", 50, 60)]
    assert linear.judge(WRITES + reads, FEED) == []


@pytest.mark.parametrize(
    "read", [_get("", 21, 25), _get("y", 21, 25), _get("x", 41, 45), _get("z", 15, 35)]
)
def test_a_read_of_anything_else_is_noticed(read):
    assert linear.judge([*WRITES, read], FEED)


def test_a_lost_or_late_write_is_noticed():
    assert linear.judge(WRITES, FEED[:1])
    assert linear.judge(WRITES, [[1, "put", "a", "y"], [2, "put", "a", "x"]])
    assert linear.judge(WRITES, [*FEED, [3, "put", "a", "y"]])
    # One that never returned may be there, or not.
    assert linear.judge([WRITES[0], _put("y", 30, None)], FEED) == []
    assert linear.judge([WRITES[0], _put("y", 30, None)], FEED[:1]) == []


def test_reads_that_go_back_are_noticed():
    writes = [_put("x", 10, 20), _put("y", 15, 90)]
    reads = [_get("y", 30, 35), _get("x", 40, 45)]
    assert linear.judge(writes + reads, FEED) == []
    assert linear.judge_reads(writes + reads, FEED)
    assert linear.judge_reads(writes + reads[::-1][1:], FEED) == []
