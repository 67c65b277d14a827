"""The harness itself: a verdict is only worth as much as what it was told of its processes."""

from __future__ import annotations

import json
import os

import pytest
from packages.streamdb.tests.crash.nursery import Nursery


@pytest.fixture
def nursery(tmp_path):
    """One without a serving process; what it would hear is written into a pipe."""
    made = Nursery.__new__(Nursery)
    hear, say = os.pipe()
    os.set_blocking(hear, False)
    made._out = os.fdopen(hear)
    made._statuses, made._rest = {}, ""
    yield (
        made,
        lambda *lines: os.write(say, b"".join(json.dumps(x).encode() + b"\n" for x in lines)),
    )
    made._out.close()
    os.close(say)


def test_a_child_is_not_taken_for_an_earlier_one_of_the_same_number(nursery):
    made, say = nursery
    say({"started": 7})
    say({"ended": 7, "status": 9})
    assert made.status(7) == 9
    say({"started": 7})
    assert list(made._lines(1)) == [{"started": 7}]
    assert made.status(7) is None
    say({"ended": 7, "status": 0})
    assert made.status(7) == 0


def test_an_end_that_is_heard_with_its_beginning_counts(nursery):
    made, say = nursery
    say({"ended": 7, "status": 9}, {"started": 7}, {"ended": 7, "status": 0})
    assert len(list(made._lines(1))) == 3
    assert made.status(7) == 0
