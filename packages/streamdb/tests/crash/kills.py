"""Writers are killed with SIGKILL at random moments; what they were promised must be there.

One store lives through all rounds. In each, one to three writers and up to two readers work on it;
one writer is killed in the middle of what the round is about, the others must go on, and are killed
after it. Then a fresh process opens the store, scrubs it and lists it.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packages.streamdb.tests.crash import verdict, workload
from packages.streamdb.tests.crash.nursery import Child, Nursery
from packages.streamdb.tests.crash.verdict import Feed, Said, Writer
from packages.streamdb.tests.crash.workload import Model, Planner, Step

AIMS = ("open", "close", "make", *(kind for kind in workload.KINDS if kind != "hold"))
"""What a round kills a writer in the middle of."""

DURABILITIES = ("full", "full", "full", "normal", "bulk")
_PATIENCE_S = 120.0


@dataclass
class Tally:
    """What the rounds came to."""

    kills: Counter[str] = field(default_factory=Counter)
    durabilities: Counter[str] = field(default_factory=Counter)
    readers_killed: int = 0
    rounds: int = 0
    steps: int = 0
    reads: int = 0
    findings: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """How many writers were killed."""
        return sum(self.kills.values())


@dataclass
class _Running:
    child: Child
    log: Path
    steps: list[Step]
    space: str
    session: str
    durability: str

    def said(self) -> Said:
        lines = self.log.read_text().split("\n")[:-1] if self.log.exists() else []
        return Said.of(lines)


class Rounds:
    """The store under fire, and what must be in it."""

    def __init__(self, nursery: Nursery, room: Path, seed: int, key: str | None = None) -> None:
        self._nursery = nursery
        self._room = room
        self._rng = random.Random(seed)
        self._key = key
        self._store = room / "store"
        self._models: dict[str, Model] = {}
        self._spoiled: Counter[int] = Counter()
        self._feed = Feed()
        self._tag = 0
        self._made = False
        self.seed = seed
        self.tally = Tally()

    def play(self, number: int) -> list[str]:
        """One round; what is wrong after it."""
        aim = AIMS[number % len(AIMS)]
        self.tally.rounds += 1
        if not self._made:
            self._nursery.run("make", store=str(self._store), log=self._log("first"), key=self._key)
            self._made = True
        wrong = self._play_making(number) if aim == "make" else self._play_writing(number, aim)
        where = f"round {number} of seed {self.seed} ({aim})"
        self.tally.findings += [f"{where}: {each}" for each in wrong]
        return wrong

    def _log(self, name: str) -> str:
        return str(self._room / f"{name}.log")

    # -- making a store --------------------------------------------------------------------------

    def _play_making(self, number: int) -> list[str]:
        store = str(self._room / f"new-{number}")
        log = self._room / f"make-{number}.log"
        child = self._nursery.start("make", store=store, log=str(log), key=self._key)
        time.sleep(self._rng.uniform(0, 0.02))
        child.kill()
        ended = child.wait()
        if ended.signal:
            self.tally.kills["make"] += 1
        again = self._nursery.run("made_anew", store=store, key=self._key)
        return list(again.value) if again.ok else [str(again)]

    # -- writing to one --------------------------------------------------------------------------

    def _play_writing(self, number: int, aim: str) -> list[str]:
        rng = self._rng
        count = rng.choice([1, 1, 2, 3])
        running = [self._start_writer(number, 0, aim)]
        # Opening is over in a moment: not to be late for it, kill before anything else begins.
        wrong = self._aim(running[0], aim) if aim == "open" else []
        running += [self._start_writer(number, at, aim) for at in range(1, count)]
        stop = self._room / f"stop-{number}"
        readers = [
            self._nursery.start(
                "read",
                store=str(self._store),
                stop=str(stop),
                spaces=sorted(self._models),
                seed=rng.randrange(1 << 30),
                key=self._key,
            )
            for _ in range(rng.choice([0, 1, 2]))
        ]
        if aim != "open":
            wrong += self._aim(running[0], aim)
        if readers and rng.random() < 0.4:
            readers[0].kill()
            self.tally.readers_killed += 1
        wrong += self._let_others_go_on(running[1:])
        stop.touch()
        for writer in running:
            wrong += self._bury(writer)
        for at, reader in enumerate(readers):
            ended = reader.wait(_PATIENCE_S)
            if not ended.ok and not (ended.signal == 9 and at == 0):
                wrong.append(f"a reader: {ended}")
            wrong += ended.value or []
            self.tally.reads += ended.ok
        return wrong + self._look(number, running)

    def _start_writer(self, number: int, at: int, aim: str) -> _Running:
        space, session = f"w{at}.{self._spoiled[at]}", f"{number}.{at}"
        model = self._models.setdefault(space, Model())
        planner = Planner(self._rng, model, space, self._tag)
        weights = {aim: 25} if not at and aim in workload.KINDS else {}
        steps = planner.plan(4 if aim == "close" and not at else 150, weights)
        self._tag += 2000
        durability = self._rng.choice(DURABILITIES)
        log = self._room / f"{session}.log"
        child = self._nursery.start(
            "write",
            store=str(self._store),
            log=str(log),
            steps=steps,
            session=session,
            durability=durability,
            key=self._key,
        )
        return _Running(child, log, steps, space, session, durability)

    def _aim(self, writer: _Running, aim: str) -> list[str]:
        """Kill the writer in the middle of what the round is about, or near it."""
        rng = self._rng
        if aim != "open":
            # Not always the first of its kind.
            skipped = rng.randrange(3)
            if not self._await(writer, aim, skipped):
                return [f"a writer hung in {writer.said().doing(writer.steps)!r}"]
        if aim == "open":
            # Opening takes milliseconds, on a busy machine some tens of them.
            time.sleep(10 ** rng.uniform(-4, -1.5))
        elif rng.random() < 0.8:
            time.sleep(rng.choice([0, 10 ** rng.uniform(-4, -1.5)]))
        writer.child.kill()
        return []

    def _await(self, writer: _Running, aim: str, skipped: int) -> bool:
        wanted = [n for n, step in enumerate(writer.steps) if step["label"] == aim]
        wanted = wanted[skipped:] or wanted
        end = time.monotonic() + _PATIENCE_S
        while time.monotonic() < end:
            said = writer.said()
            if said.closed or writer.child.ended:
                return True
            if aim == "close" and said.closing:
                return True
            if wanted and said.begun > wanted[0]:
                return True
            time.sleep(0.0005)
        return False

    def _let_others_go_on(self, others: list[_Running]) -> list[str]:
        """Whoever was not killed must not wait for ever for the one that was."""
        wrong = []
        for writer in others:
            before = writer.said().done
            end = time.monotonic() + _PATIENCE_S
            while writer.said().done <= before and not writer.child.ended:
                if time.monotonic() > end:
                    doing = writer.said().doing(writer.steps)
                    wrong.append(f"a writer hangs in {doing!r} after another one was killed")
                    writer.child.tell_where()
                    break
                time.sleep(0.001)
        return wrong

    def _bury(self, writer: _Running) -> list[str]:
        writer.child.kill()
        ended = writer.child.wait()
        self.tally.steps += writer.said().done
        if ended.signal == 9:
            self.tally.kills[writer.said().doing(writer.steps)] += 1
            self.tally.durabilities[writer.durability] += 1
        elif not ended.ok:
            return [f"a writer: {ended}"]
        return []

    # -- looking at it ---------------------------------------------------------------------------

    def _look(self, number: int, running: list[_Running]) -> list[str]:
        looked = self._nursery.run(
            "inspect",
            store=str(self._store),
            since=self._feed.last,
            histories=sorted(self._histories(running)),
            key=self._key,
        )
        if not looked.ok:
            return [f"looking at the store: {looked}"]
        found: dict[str, Any] = looked.value
        wrong = verdict.judge_whole(found)
        if found["readers"] > 1:
            wrong.append(f"{found['readers']} readers hold the store, all but one were killed")
        for at, writer in enumerate(running):
            said = writer.said()
            judged = Writer(
                writer.space,
                self._models[writer.space],
                writer.steps,
                said,
                verdict.least(writer.steps, said, writer.durability),
                writer.session,
                said.parts if writer.durability != "bulk" else set(),
            )
            model, differs = verdict.judge(judged, found)
            wrong += [f"{writer.space} ({writer.durability}): {each}" for each in differs]
            if model is not None:
                self._models[writer.space] = model
            else:
                self._spoiled[at] += 1  # one finding must not bring others: go on elsewhere
            writer.log.unlink(missing_ok=True)
        return wrong + self._feed.follow(found)

    def _histories(self, running: list[_Running]) -> set[str]:
        names = {name for model in self._models.values() for name in model.old}
        for writer in running:
            for step in writer.steps[: writer.said().begun]:
                names |= workload.touched(step)
        return names
