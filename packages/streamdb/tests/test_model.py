"""Identities of documents."""

from __future__ import annotations

import time

import pytest

from streamdb.model import GUID, CheckReport, Problem


def test_a_guid_says_when_it_was_made():
    before = time.time_ns() // 1_000_000 * 1_000_000
    made = GUID.new()
    assert before <= made.created_ns <= time.time_ns()
    assert str(made)[14] == "7"
    assert GUID.parse(str(made)) == made
    assert repr(made) == f"GUID('{made}')"


def test_guids_differ():
    assert len({GUID.new() for _ in range(1000)}) == 1000


def test_a_guid_has_16_bytes():
    with pytest.raises(ValueError, match="16 bytes"):
        GUID.parse("00")


def test_a_report_with_a_problem_is_not_ok():
    problem = Problem("row", "here", "it is damaged", "a/b")
    assert str(problem) == "here: it is damaged (document 'a/b')"
    assert not CheckReport((problem,), 0, 0, 0, 0, 0, 0).ok
    assert CheckReport((), 0, 0, 0, 0, 0, 0).ok
