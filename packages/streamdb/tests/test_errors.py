"""Errors carry what, why and what next; over process borders, too."""

from __future__ import annotations

import pickle

from streamdb import errors
from streamdb.errors import InvalidQuery, NotFound, StreamDBError


def test_all_errors_have_exit_codes_of_the_command_line():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    named = [kind for kind in kinds if issubclass(kind, StreamDBError)]
    assert len(named) > 15
    assert {kind.exit_code for kind in named} == {1, 2, 3, 4}


def test_the_three_sentences_are_three_lines():
    error = NotFound("no document", why="the path is new", next_step="write it")
    assert str(error) == "no document\n  why:  the path is new\n  next: write it"
    assert error.details()["error"] == "NotFound"


def test_errors_survive_pickling():
    again = pickle.loads(pickle.dumps(NotFound("a", why="b", next_step="c")))
    assert (type(again), str(again)) == (NotFound, str(NotFound("a", why="b", next_step="c")))
    query = pickle.loads(pickle.dumps(InvalidQuery("a", column=3)))
    assert query.details()["column"] == 3
