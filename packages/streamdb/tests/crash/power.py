"""The power is cut: a recorded writer, and the states in which its disk may be found afterwards.

A *session* records a writer on a new store, or on one that a cut has left. Each *state* is that
session cut at a random moment, with what was not synced lost, torn or kept at random. It is laid
out in a directory and opened in a fresh process, as after a restart.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packages.streamdb.tests.crash import verdict, workload
from packages.streamdb.tests.crash.disk import Disk, read_tree, write_tree
from packages.streamdb.tests.crash.nursery import MODULE, ROOT, Nursery
from packages.streamdb.tests.crash.strace import Call, record
from packages.streamdb.tests.crash.verdict import Feed, Said, Writer
from packages.streamdb.tests.crash.workload import Model, Planner, Step

DURABILITIES = ("full", "full", "normal", "full", "bulk")


@dataclass
class Tally:
    """What the states came to. ``cuts`` are by what was being done."""

    cuts: Counter[str] = field(default_factory=Counter)
    durabilities: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    states: int = 0
    uncertain: int = 0
    acknowledged: int = 0
    findings: list[str] = field(default_factory=list)


@dataclass
class Session:
    """A recorded writer: what was there before, what it was to do, every call that it made."""

    number: int
    durability: str
    root: Path
    before: dict[str, bytes | None]
    model: Model
    feed: Feed
    steps: list[Step]
    calls: list[Call]
    log: str

    @property
    def space(self) -> str:
        """The writer's part of the store."""
        return "w0"

    def said(self, cut: int) -> Said:
        """What the writer had said by then. A line that had begun to go out had been earned."""
        lines = [
            call.data.decode()
            for call in self.calls
            if call.name == "write" and call.paths[:1] == (self.log,) and call.start <= cut
        ]
        return Said.of("".join(lines).splitlines())


class Cuts:
    """Records sessions and judges the states that they may leave."""

    def __init__(self, nursery: Nursery, room: Path, seed: int, key: str | None = None) -> None:
        self._nursery = nursery
        self._room = room
        self._rng = random.Random(seed)
        self._key = key
        self._left: tuple[dict[str, bytes | None], Model, Feed] | None = None
        self.seed = seed
        self.tally = Tally()

    # -- recording -------------------------------------------------------------------------------

    def record(self, count: int = 40) -> Session:
        """Record a writer; every second one goes on with the store that a cut has left."""
        number = self.tally.sessions
        self.tally.sessions += 1
        root = (self._room / "recorded" / f"store-{number}").resolve()
        root.parent.mkdir(exist_ok=True)
        model, feed = Model(), Feed()
        if self._left is not None and number % 2:
            state, model, feed = self._left
            # Names in the state are relative to its own root.
            write_tree(state, Path("/"), root)
        before = read_tree(root)
        durability = DURABILITIES[number % len(DURABILITIES)]
        planner = Planner(self._rng, model, "w0", number << 16)
        steps = planner.plan(count, {"large": 3, "threads": 2, "gc": 4})
        log = root.parent / f"{number}.log"
        calls = self._run(number, root, log, steps, durability)
        return Session(number, durability, root, before, model, feed, steps, calls, str(log))

    def _run(
        self, number: int, root: Path, log: Path, steps: list[Step], durability: str
    ) -> list[Call]:
        request = root.parent / f"{number}.json"
        out = root.parent / f"{number}.out"
        arguments = {
            "store": str(root),
            "log": str(log),
            "steps": steps,
            "session": f"s{number}",
            "durability": durability,
            "key": self._key,
            # Time for the background sync of ``normal`` to fall between the steps.
            "pace_s": 0.004 if durability == "normal" else 0.0,
        }
        request.write_text(json.dumps({"task": "write", "arguments": arguments, "out": str(out)}))
        trace = root.parent / f"{number}.trace"
        calls = record(trace, [sys.executable, "-m", MODULE, "--run", str(request)], ROOT)
        trace.unlink()
        answer = json.loads(out.read_text())
        if "error" in answer:
            self.tally.findings.append(f"session {number}: the writer failed: {answer['error']}")
        shutil.rmtree(root)
        return calls

    # -- cutting ---------------------------------------------------------------------------------

    def cut(self, session: Session) -> list[str]:
        """One state of a session; what is wrong with it."""
        rng = random.Random(self._rng.randrange(1 << 60))
        cut = self._moment(session, rng)
        disk = Disk(session.root, session.before)
        disk.follow(session.calls, cut)
        state = disk.lose(rng)
        said = session.said(cut)
        number = self.tally.states
        self.tally.states += 1
        self.tally.uncertain += disk.uncertain() > 0
        self.tally.acknowledged += said.done
        self.tally.cuts[said.doing(session.steps)] += 1
        self.tally.durabilities[session.durability] += 1
        place = self._room / f"state-{number}"
        write_tree(state, session.root, place)
        wrong = self._judge(session, said, place, number)
        where = f"state {number} of seed {self.seed} ({session.durability}, {said.done} steps done)"
        self.tally.findings += [f"{where}: {each}" for each in wrong]
        if not wrong:
            shutil.rmtree(place, ignore_errors=True)
        return wrong

    def _moment(self, session: Session, rng: random.Random) -> int:
        """A moment at which something of the store was going on, often right after a sync."""
        root = str(session.root)
        touching = [
            call
            for call in session.calls
            if any(path.startswith(root) for path in call.paths) or call.paths[:1] == (session.log,)
        ]
        if rng.random() < 0.3:
            touching = [call for call in touching if call.paths[:1] == (session.log,)]
        chosen = rng.choice(touching)
        return rng.choice([chosen.start, min(chosen.end, chosen.start + 1)])

    def _judge(self, session: Session, said: Said, place: Path, number: int) -> list[str]:
        fewest = verdict.least(session.steps, said, session.durability, power=True)
        begun = session.steps[: said.begun]
        looked = self._nursery.run(
            "inspect",
            store=str(place),
            since=session.feed.last,
            histories=sorted(
                {*session.model.old, *(name for step in begun for name in workload.touched(step))}
            ),
            key=self._key,
            # A store of which nothing was promised yet may have to be made anew.
            create=not fewest and not session.before,
            go_on=number + 1 if number % 4 == 0 else 0,
        )
        if not looked.ok:
            return [f"opening it: {looked}"]
        found: dict[str, Any] = looked.value
        judged = Writer(
            session.space,
            session.model,
            session.steps,
            said,
            fewest,
            f"s{session.number}",
            said.parts if session.durability == "full" else set(),
        )
        model, wrong = verdict.judge(judged, found)
        feed = session.feed.copy()
        wrong = verdict.judge_whole(found) + wrong + feed.follow(found)
        if not wrong and model is not None and not found.get("later"):
            state = read_tree(place)
            relative = {"/" + str(Path(path).relative_to(place)): state[path] for path in state}
            if number % 4:
                self._left = (relative, model, feed)
        return wrong
