"""Whether what was found in a store is what its writers were promised: pure.

A writer's part of the store must be what its model says after the first k of its steps, for some k
between those that were acknowledged and those that had begun. So nothing acknowledged is missing,
nothing is half there, and no transaction is in pieces.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from packages.streamdb.tests.crash import workload
from packages.streamdb.tests.crash.workload import Model, Step, expected_digest, tempo


@dataclass
class Said:
    """What a writer's log says: how far it came."""

    opened: bool = False
    begun: int = 0
    done: int = 0
    parts: set[int] = field(default_factory=set)
    closing: bool = False
    closed: bool = False

    @classmethod
    def of(cls, lines: Iterable[str]) -> Said:
        """From the lines of :class:`tasks.Log`."""
        said = cls()
        for line in lines:
            letter, *numbers = line.split()
            if letter == "O":
                said.opened = True
            elif letter == "I":
                said.begun = int(numbers[0]) + 1
                said.parts = set()
            elif letter == "A":
                said.done = int(numbers[0]) + 1
            elif letter == "a":
                said.parts.add(int(numbers[1]))
            elif letter == "C":
                said.closing = True
            elif letter == "E":
                said.closed = True
        return said

    def doing(self, steps: list[Step]) -> str:
        """The label of what was being done at the end of the log."""
        if self.closed:
            return "closed"
        if self.closing:
            return "close"
        if not self.opened:
            return "open"
        return str(steps[self.begun - 1]["label"]) if self.begun > self.done else "between"


def least(steps: list[Step], said: Said, durability: str, *, power: bool = False) -> int:
    """How many steps must be there. ``power``: after a power cut, not only the process's end."""
    if said.closed:
        return len(steps)
    if durability == "full" or (durability == "normal" and not power):
        return said.done
    settling = {"flush"} if power else workload.SETTLING
    for at in range(said.done, 0, -1):
        if steps[at - 1]["op"] in settling:
            return at
    return 0


@dataclass
class Writer:
    """One writer's part of the store: what was there before, what it was to do, what it said.

    ``parts`` are those of the step under way, side by side in threads, that must be there.
    """

    space: str
    before: Model
    steps: list[Step]
    said: Said
    least: int
    session: str
    parts: set[int] = field(default_factory=set)


def judge(writer: Writer, found: dict[str, Any]) -> tuple[Model | None, list[str]]:
    """The state that the writer's part of the store is in, and what is wrong with it."""
    model = writer.before.copy()
    for step in writer.steps[: writer.least]:
        model.apply(step)
    nearest: list[str] = []
    for reached in range(writer.least, max(writer.said.begun, writer.least) + 1):
        if reached > writer.least:
            model.apply(writer.steps[reached - 1])
        after, wrong = _compare(writer, model, reached, found)
        # The feed tells states apart that look the same: a put, then a delete of it.
        wrong += _compare_feed(writer, reached, found)
        if not wrong:
            return after, []
        if not nearest or len(wrong) < len(nearest):
            nearest = [f"after {reached} of {writer.least}..{writer.said.begun} steps:", *wrong[:8]]
    return None, nearest


def _compare(
    writer: Writer, model: Model, reached: int, found: dict[str, Any]
) -> tuple[Model, list[str]]:
    documents = {
        name: held
        for name, held in found["documents"].items()
        if name.startswith(writer.space + "/")
    }
    after = model
    if reached < writer.said.begun and writer.steps[reached]["op"] == "threads":
        parts = writer.parts if reached == writer.said.done else set()
        origin = f"{writer.session}-{reached}"
        told = {change[2] for change in found["changes"] if change[6] == origin}
        after = _some_of(model, writer.steps[reached], parts, told)
    wrong = _compare_documents(after, documents)
    wrong += _compare_histories(after, found["histories"])
    return after, wrong


def _some_of(model: Model, step: Step, parts: set[int], told: set[str]) -> Model:
    """Threads write side by side: any of them may be done, and whoever said so must be.

    The feed tells which are; that the documents agree with it is looked at afterwards.
    """
    after = model.copy()
    for at, each in enumerate(step["steps"]):
        if at in parts or each["path"] in told:
            after.apply(each)
    return after


def _compare_documents(model: Model, documents: dict[str, Any]) -> list[str]:
    tags = model.tags()
    wrong = [f"{name!r} is missing" for name in tags.keys() - documents.keys()]
    wrong += [f"{name!r} should not be there" for name in documents.keys() - tags.keys()]
    groups = model.groups()
    for name in tags.keys() & documents.keys():
        found, size, beat, _, bound, _ = documents[name]
        if (found, size, beat) != (expected_digest(tags[name]), tags[name][1], tempo(tags[name])):
            wrong.append(f"{name!r} has other content than it was given")
        if bound and frozenset(bound) not in groups:
            wrong.append(f"{name!r} is bound to {bound}")
    for names in groups:
        if any(set(documents[name][4]) != names for name in names & documents.keys()):
            wrong.append(f"{sorted(names)} are not bound to one document")
    return wrong


def _compare_histories(model: Model, histories: dict[str, list[str]]) -> list[str]:
    wrong = []
    for name, found in histories.items():
        kept = model.old.get(name)
        if kept is None:
            continue
        wanted = [expected_digest(tag) for tag in reversed(kept)]
        if found[: len(wanted)] != wanted:
            wrong.append(f"the old versions of {name!r} are not those that were put aside")
    return wrong


def _compare_feed(writer: Writer, reached: int, found: dict[str, Any]) -> list[str]:
    """The feed names the steps that were made, in their order, and no other."""
    mine = [
        int(origin.rpartition("-")[2])
        for _, kind, _, _, _, _, origin, _, _ in found["changes"]
        if kind == "put" and origin.rpartition("-")[0] == writer.session
    ]
    wanted: list[int] = []
    for number, step in enumerate(writer.steps[:reached]):
        if step["op"] == "put":
            wanted.append(number)
        elif step["op"] in ("txn", "threads") and not step.get("fail"):
            wanted += [number] * sum(each["op"] == "put" for each in step["steps"])
    beyond = [number for number in mine if number >= reached]
    allowed = reached < len(writer.steps) and writer.steps[reached]["op"] == "threads"
    if beyond and not (allowed and set(beyond) == {reached}):
        return [f"the feed names steps {sorted(set(beyond))}, {reached} were made"]
    if sorted(n for n in mine if n < reached) != wanted:
        return ["the feed does not name each step once"]
    return []


class Feed:
    """The feed replayed, over the whole life of a store: it must give the paths that are there."""

    def __init__(self) -> None:
        self.last = 0
        self._clock = 0
        self._held: dict[str, str] = {}

    def copy(self) -> Feed:
        """Another one, that goes on by itself."""
        return copy.deepcopy(self)

    def follow(self, found: dict[str, Any]) -> list[str]:
        """Take the changes since the last time; what is wrong."""
        changes = found["changes"]
        wrong = []
        numbers = [self.last, *[change[0] for change in changes]]
        clocks = [self._clock, *[change[5] for change in changes]]
        if any(b != a + 1 for a, b in pairwise(numbers)):
            wrong.append(f"the feed's numbers have gaps after {self.last}")
        if any(b <= a for a, b in pairwise(clocks)):
            wrong.append("the feed's clock runs backwards")
        for change in changes:
            self._replay(*change[1:5])
        self.last, self._clock = numbers[-1], clocks[-1]
        wrong += self._compare(found)
        return wrong

    def _replay(self, kind: str, path: str, old_path: str | None, guid: str) -> None:
        if kind in ("delete", "unbind"):
            self._held.pop(path, None)
            return
        if kind == "rename":
            self._held.pop(str(old_path), None)
        self._held[path] = guid

    def _compare(self, found: dict[str, Any]) -> list[str]:
        there = {name: held[3] for name, held in found["documents"].items()}
        wrong = []
        if there != self._held:
            differ = sorted(there.items() ^ self._held.items())[:4]
            wrong.append(f"the feed, replayed, gives other documents: {differ}")
        for _, _, path, _, _, _, _, told, size in found["changes"]:
            held = found["documents"].get(path)
            if told and (held is None or (held[5], held[1]) != (told, size)):
                wrong.append(f"the feed's last change to {path!r} tells another document")
        return wrong


def judge_whole(found: dict[str, Any]) -> list[str]:
    """What holds for any store, whoever wrote."""
    wrong = [f"check: {problem}" for problem in found["problems"][:8]]
    names = sorted(found["documents"])
    if sorted(found["backwards"]) != names:
        wrong.append("the suffix index lists other paths than the path index")
    if found["count"] != len(names):
        wrong.append(f"count says {found['count']}, there are {len(names)} paths")
    wrong += [f"written after the crash: {problem}" for problem in found.get("later", [])[:8]]
    return wrong
