"""What runs in child processes on stores with damage; :mod:`tasks` offers it to the nursery."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from packages.streamdb.tests.crash import workload
from packages.streamdb.tests.crash.workload import Model, Planner, content

from streamdb.errors import NotFound, StreamDBError
from streamdb.model import Problem
from streamdb.store import StreamDB

MANY = 330
"""How many small documents there are beside the random ones, so that the trees have branches."""


def fill(db: StreamDB, seed: int, perform: Callable[[Any, int], None]) -> None:
    """A store with some of everything: long and short, shared, old, deleted, unused."""
    for number in range(MANY):
        tag = (seed * 1000 + number, 48 + number % 200, "text")
        # Blanks keep the top level of the path index from being one block.
        path = f"many/{number % 23:02d} kit {number * 7919 % 1000:03d}/{number:05d} kick.wav"
        db.write_document(
            path, content(tag), metadata={"tempo": workload.tempo(tag), "rate": 48000, "n": number}
        )
    planner = Planner(random.Random(seed), Model(), "w0", seed << 20)
    for number, step in enumerate(planner.plan(70, {"gc": 0, "hold": 0, "large": 3})):
        perform(step, number)
    db.gc()
    planner = Planner(random.Random(seed + 1), Model(), "w1", (seed + 1) << 20)
    for number, step in enumerate(planner.plan(25, {"gc": 0, "hold": 0, "bind": 9})):
        perform(step, number)


def answers(db: StreamDB) -> dict[str, Any]:
    """Every answer that the undamaged store gives."""
    names = db.search("")
    return {
        "names": names,
        "backwards": db.search_suffix(".wav"),
        "prefix": db.search("many/1"),
        "find": sorted(db.find("tempo=100..130")),
        "count": db.count("many/"),
        "children": [entry.path for entry in db.children("")],
        "digests": {name: workload.digest(db.get(name)) for name in names},
        "metadata": {name: db.stat(name).metadata for name in names},
        "bound": {name: db.paths_of(name) for name in names if db.stat(name).paths > 1},
        "histories": {name: _versions(db, name) for name in names},
        "changes": [[c.seq, c.kind, c.path] for c in db.changes(0)],
    }


def _versions(db: StreamDB, name: str) -> list[list[Any]]:
    return [
        [each.version, workload.digest(db.get_version(name, each.version))]
        for each in db.history(name)
    ]


def scrub(store: str, key: str | None) -> dict[str, list[str]]:
    """What check says of a store, opened or not."""
    from streamdb.check import check_store
    from streamdb.crypto import Key

    try:
        report = check_store(store, key=Key.from_file(key) if key else None)
    except StreamDBError as error:
        return {"problems": [str(error)], "notes": []}
    return {"problems": [str(problem) for problem in report.problems], "notes": list(report.notes)}


class Questions:
    """Asks a damaged store all that the undamaged one was asked.

    An error with a name is a right answer; so is, for damage that only check must name, one that
    leaves something out. Wrong bytes, a wrong path or an error without a name are not.
    """

    def __init__(self, db: StreamDB, expected: dict[str, Any]) -> None:
        self._db = db
        self._expected = expected
        self.wrong: list[str] = []
        self.omitted: set[str] = set()
        self.errors = 0

    def ask(self) -> None:
        """Everything."""
        for at, name in enumerate(self._expected["names"]):
            self._ask_data(name, stream=at % 3 == 0 or not name.startswith("many/"))
            if at % 3 == 1 or name in self._expected["bound"]:
                self._ask_more(name)
        for question, call in self._lists():
            self._ask_list(question, call)
        for name in list(self._expected["histories"])[::7]:
            self._ask_history(name)

    def _try(self, question: str, call: Callable[[], Any]) -> tuple[bool, Any]:
        try:
            return True, call()
        except NotFound:
            self.omitted.add(question)
        except StreamDBError:
            self.errors += 1
        except Exception as error:
            self.wrong.append(
                f"{question}: an error without a name: {type(error).__name__} {error}"
            )
        return False, None

    def _ask_data(self, name: str, *, stream: bool) -> None:
        wanted = self._expected["digests"][name]
        answered, data = self._try("get", lambda: self._db.get(name))
        if answered and workload.digest(data) != wanted:
            self.wrong.append(f"get({name!r}) gives wrong bytes")
        if stream:
            answered, data = self._try("get_stream", lambda: self._stream(name))
            if answered and workload.digest(data) != wanted:
                self.wrong.append(f"get_stream({name!r}) gives wrong bytes")

    def _ask_more(self, name: str) -> None:
        answered, known = self._try("stat", lambda: self._db.stat(name))
        if answered and known.metadata != self._expected["metadata"][name]:
            self.wrong.append(f"stat({name!r}) tells wrong metadata")
        if name in self._expected["bound"]:
            answered, bound = self._try("paths_of", lambda: self._db.paths_of(name))
            if answered and bound != self._expected["bound"][name]:
                self.wrong.append(f"paths_of({name!r}) gives wrong paths")

    def _stream(self, name: str) -> bytes:
        with self._db.get_stream(name) as file:
            return file.read()

    def _lists(self) -> Iterator[tuple[str, Callable[[], list[Any]]]]:
        db = self._db
        yield "names", lambda: db.search("")
        yield "backwards", lambda: db.search_suffix(".wav")
        yield "prefix", lambda: db.search("many/1")
        yield "find", lambda: sorted(db.find("tempo=100..130"))
        yield "children", lambda: [entry.path for entry in db.children("")]
        yield "changes", lambda: [[c.seq, c.kind, c.path] for c in db.changes(0)]

    def _ask_list(self, question: str, call: Callable[[], list[Any]]) -> None:
        answered, found = self._try(question, call)
        wanted = self._expected[question]
        if not answered or found == wanted:
            return
        if any(each not in wanted for each in found) or len(found) > len(wanted):
            self.wrong.append(f"{question} gives what is not there")
        else:
            self.omitted.add(question)

    def _ask_history(self, name: str) -> None:
        answered, found = self._try("history", lambda: _versions(self._db, name))
        wanted = self._expected["histories"][name]
        if answered and found != wanted:
            if any(each not in wanted for each in found):
                self.wrong.append(f"history({name!r}) gives what is not there")
            else:
                self.omitted.add("history")


def read_damaged(db: StreamDB, expected: dict[str, Any]) -> dict[str, Any]:
    """Ask everything; what was wrong, and which questions were answered with too little."""
    questions = Questions(db, expected)
    questions.ask()
    return {"wrong": questions.wrong, "omitted": sorted(questions.omitted), "refused": ""}


def judge_mended(
    db: StreamDB, expected: dict[str, Any], lost: tuple[Problem, ...]
) -> dict[str, Any]:
    """After a repair: scrubbed clean, and a document is either right or named as lost.

    One whose last change is lost is there, with the same bytes if that change was of something
    else. Where the very names are gone (an index that is cut off), saying so without a name must
    do; it says too that deleted documents may be back.
    """
    wrong = [f"check: {problem}" for problem in db.check().problems[:5]]
    named = {problem.path for problem in lost if problem.path and problem.kind != "version"}
    older = {problem.path for problem in lost if problem.path and problem.kind == "version"}
    nameless = any(problem.path is None for problem in lost)
    there = set(db.search(""))
    for name, wanted in expected["digests"].items():
        if name in there and name in named:
            wrong.append(f"{name!r} is called lost and is there")
        elif name in older and name not in there:
            wrong.append(f"{name!r} is said to be older and is not there")
        elif name in named | older or (name in there and workload.digest(db.get(name)) == wanted):
            continue
        elif not nameless:
            what = "has other bytes" if name in there else "is missing"
            wrong.append(f"{name!r} {what} and is not called lost")
    ever = {path for _, _, path in expected["changes"]} if nameless else set()
    wrong += [f"{name!r} was never there" for name in there - expected["digests"].keys() - ever]
    return {"wrong": wrong[:20], "lost": len(named)}


def load(path: str) -> dict[str, Any]:
    """The answers of the undamaged store."""
    found: dict[str, Any] = json.loads(Path(path).read_text())
    return found
