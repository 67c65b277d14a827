"""What runs in the child processes: writers, readers, and those who look at what a crash left."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packages.streamdb.tests.crash import damage_tasks, workload
from packages.streamdb.tests.crash.contender import Contender
from packages.streamdb.tests.crash.workload import Step, Tag, content

from streamdb.errors import NotFound, StreamDBError
from streamdb.store import StreamDB


def preload() -> None:
    """Import what the tasks need, but open nothing."""
    import blake3  # noqa: F401
    import crc32c  # noqa: F401
    import lmdb  # noqa: F401

    import streamdb.blocks
    import streamdb.bulk
    import streamdb.changes
    import streamdb.check
    import streamdb.codec
    import streamdb.crypto
    import streamdb.gc
    import streamdb.query  # noqa: F401


def open_store(
    store: str, *, durability: str = "full", key: str | None = None, **more: Any
) -> StreamDB:
    """The store as all tasks open it; ``key`` is the path of a key file."""
    from streamdb.crypto import Key

    return StreamDB.open(
        store,
        durability=durability,  # type: ignore[arg-type]
        key=Key.from_file(key) if key else None,
        versions=workload.KEEP,
        segment_bytes=workload.SEGMENT_BYTES,
        **more,
    )


# -- the writer ------------------------------------------------------------------------------------


class Log:
    """Lines that outlive this process: each is with the kernel before the next step begins.

    ``O`` the store is open, ``I n`` step n begins, ``A n`` it returned, ``a n j`` the j-th part of
    it did, ``C`` all is done and closing begins, ``E`` it is closed.
    """

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def say(self, line: str) -> None:
        """Append a line."""
        os.write(self._file, line.encode() + b"\n")


def write(
    store: str,
    log: str,
    steps: list[Step],
    session: str,
    durability: str,
    key: str | None = None,
    pace_s: float = 0.0,
) -> int:
    """Open the store, perform the steps, close it."""
    said = Log(log)
    with open_store(store, durability=durability, key=key) as db:
        said.say("O")
        actor = Actor(db, said, session)
        for number, step in enumerate(steps):
            said.say(f"I {number}")
            actor.perform(number, step)
            said.say(f"A {number}")
            if pace_s:
                time.sleep(pace_s)
        actor.let_go()
        said.say("C")
    said.say("E")
    return len(steps)


class Actor:
    """Performs steps on a store."""

    def __init__(self, db: StreamDB, log: Log | None, session: str) -> None:
        self._db = db
        self._log = log
        self._session = session
        self._held: Any = None

    def perform(self, number: int, step: Step) -> None:
        """One step; raises whatever the store raises."""
        getattr(self, "_" + step["op"])(self._db, step, f"{self._session}-{number}")

    def let_go(self) -> None:
        """Close the snapshot that is held, if one is."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def _put(self, to: Any, step: Step, origin: str) -> None:
        tag: Tag = tuple(step["tag"])
        to.write_document(
            step["path"],
            source(content(tag), step["how"], tag[0]),
            metadata={"tempo": workload.tempo(tag), "tag": tag[0]},
            origin=origin,
        )

    def _delete(self, to: Any, step: Step, origin: str) -> None:
        to.delete(step["path"])

    def _rename(self, to: Any, step: Step, origin: str) -> None:
        to.rename(step["path"], step["new"], overwrite=step["overwrite"])

    def _bind(self, to: Any, step: Step, origin: str) -> None:
        to.bind(step["path"], step["new"])

    def _unbind(self, to: Any, step: Step, origin: str) -> None:
        to.unbind(step["path"])

    def _restore(self, to: Any, step: Step, origin: str) -> None:
        old = [each for each in to.history(step["path"]) if not each.current]
        to.restore(step["path"], old[0].version)

    def _txn(self, to: StreamDB, step: Step, origin: str) -> None:
        with contextlib.suppress(_Undo), to.transaction(origin=origin) as together:
            for each in step["steps"]:
                getattr(self, "_" + each["op"])(together, each, origin)
            if step["fail"]:
                raise _Undo

    def _threads(self, to: StreamDB, step: Step, origin: str) -> None:
        failed: list[BaseException] = []

        def one(at: int, each: Step) -> None:
            try:
                self._put(to, each, origin)
            except BaseException as error:
                failed.append(error)
            else:
                if self._log is not None:
                    self._log.say(f"a {origin.rpartition('-')[2]} {at}")

        running = [
            threading.Thread(target=one, args=(at, each)) for at, each in enumerate(step["steps"])
        ]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
        if failed:
            raise failed[0]

    def _flush(self, to: StreamDB, step: Step, origin: str) -> None:
        to.flush()

    def _gc(self, to: StreamDB, step: Step, origin: str) -> None:
        to.gc()

    def _hold(self, to: StreamDB, step: Step, origin: str) -> None:
        if self._held is None:
            self._held = to.snapshot()
        else:
            self.let_go()


class _Undo(Exception):
    """Leaves a transaction that must not commit."""


def source(data: bytes, how: str, seed: int) -> Any:
    """The same bytes as bytes, as a view, as a file, or in pieces of odd sizes."""
    if how == "view":
        return memoryview(data)
    if how == "file":
        return io.BytesIO(data)
    if how == "iter":
        return _pieces(data, random.Random(seed))
    return data


def _pieces(data: bytes, rng: random.Random) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        length = rng.choice([1, 999, 65536, 300_001])
        yield data[at : at + length]
        at += length


# -- the reader ------------------------------------------------------------------------------------


def read(store: str, stop: str, spaces: list[str], seed: int, key: str | None = None) -> list[str]:
    """Read at random until the file ``stop`` is there; everything that is wrong, as text."""
    rng = random.Random(seed)
    wrong: list[str] = []
    with open_store(store, key=key, readonly=bool(seed % 2)) as db:
        while not Path(stop).exists() and len(wrong) < 10:
            for question in (_ask_snapshot, _ask_streams, _ask_gets):
                wrong += question(db, rng, spaces)
    return wrong


def _ask_snapshot(db: StreamDB, rng: random.Random, spaces: list[str]) -> list[str]:
    wrong = []
    with db.snapshot() as state:
        names = state.search("")
        for name in rng.sample(names, min(5, len(names))):
            if not workload.is_whole(state.get(name)):
                wrong.append(f"a snapshot showed wrong bytes at {name!r}")
        backwards = set(state.search_suffix(""))
        if backwards != set(names) or state.count("") != len(names):
            wrong.append("a snapshot's two path indexes and its counter differ")
        for space in spaces:
            both = state.get_many([f"{space}/own/left", f"{space}/own/right"])
            if len(both) == 1 or len({workload.tag_of(data) for data in both.values()}) > 1:
                wrong.append(f"half of a transaction was visible in {space}")
    return wrong


def _ask_streams(db: StreamDB, rng: random.Random, spaces: list[str]) -> list[str]:
    names = db.search(rng.choice(spaces) + "/")
    wrong = []
    for name in rng.sample(names, min(2, len(names))):
        with contextlib.suppress(NotFound), db.get_stream(name) as file:
            if not workload.is_whole(file.read()):
                wrong.append(f"a stream gave wrong bytes at {name!r}")
    return wrong


def _ask_gets(db: StreamDB, rng: random.Random, spaces: list[str]) -> list[str]:
    names = db.search("", limit=200)
    wrong = []
    for name in rng.sample(names, min(5, len(names))):
        with contextlib.suppress(NotFound):
            if not workload.is_whole(db.get(name)):
                wrong.append(f"get gave wrong bytes at {name!r}")
    return wrong


# -- looking at what is left -----------------------------------------------------------------------


def inspect(
    store: str,
    since: int,
    histories: list[str],
    key: str | None = None,
    create: bool = False,
    go_on: int = 0,
) -> dict[str, Any]:
    """Open the store as anybody would after a crash: scrub it, and list all that is in it.

    ``histories`` are the paths whose old versions are asked for; ``go_on``, when not 0, the seed of
    further writing, after which the store is scrubbed again.
    """
    with open_store(store, key=key, create=create) as db:
        report = db.check()
        found = {
            "problems": [str(problem) for problem in report.problems],
            "documents": {name: _document(db, name) for name in db.search("")},
            "backwards": sorted(db.search_suffix("")),
            "count": db.count(""),
            "histories": {name: _old(db, name) for name in histories},
            "changes": [
                [c.seq, c.kind, c.path, c.old_path, str(c.guid), c.hlc, c.origin, c.digest, c.size]
                for c in db.changes(since)
            ],
            "readers": db.statistics().readers,
        }
        if go_on:
            found["later"] = _go_on(db, go_on)
    return found


def _document(db: StreamDB, name: str) -> list[Any]:
    data = db.get(name)
    with db.get_stream(name) as file:
        same = file.read() == data
    known = db.stat(name)
    return [
        workload.digest(data),
        known.size if same else -1,
        known.metadata.get("tempo"),
        str(known.guid),
        sorted(db.paths_of(name)) if known.paths > 1 else [],
        known.digest,
    ]


def _old(db: StreamDB, name: str) -> list[str]:
    try:
        return [
            workload.digest(db.get_version(name, each.version))
            for each in db.history(name)
            if not each.current
        ]
    except NotFound:
        return []


def _go_on(db: StreamDB, seed: int) -> list[str]:
    """A recovered store must be as good as any: write, collect, scrub."""
    planner = workload.Planner(random.Random(seed), workload.Model(), f"later{seed}", seed << 20)
    actor = Actor(db, None, f"later{seed}")
    for number, step in enumerate(planner.plan(12, {"gc": 6})):
        actor.perform(number, step)
    actor.let_go()
    db.gc()
    wrong = [str(problem) for problem in db.check().problems]
    for path, tag in planner.model.tags().items():
        if db.get(path) != content(tag):
            wrong.append(f"{path!r}, written after the crash, has other bytes")
    return wrong


def make(store: str, log: str, key: str | None = None) -> bool:
    """Make a store."""
    said = Log(log)
    said.say("I 0")
    open_store(store, key=key).close()
    said.say("E")
    return True


def made_anew(store: str, key: str | None = None) -> list[str]:
    """Open a store whose making may have been cut short, as its user would: it must be there."""
    with open_store(store, key=key) as db:
        db.write_document("a", b"x" * 50_000)
        db.write_document("b", b"y")
        db.delete("b")
        found = [str(problem) for problem in db.check().problems]
    with open_store(store, key=key, create=False) as db:
        if db.get("a") != b"x" * 50_000 or db.search("") != ["a"]:
            found.append("what was written into the new store is not there")
    return found


# -- damaged stores --------------------------------------------------------------------------------


def build_for_damage(store: str, seed: int, key: str | None = None) -> dict[str, Any]:
    """Make a store with some of everything, and ask it everything."""
    with open_store(store, durability="normal", key=key) as db:
        actor = Actor(db, None, "built")
        damage_tasks.fill(db, seed, lambda step, number: actor.perform(number, step))
    with open_store(store, key=key) as db:
        assert db.check().problems == ()
        return damage_tasks.answers(db)


def scrub(store: str, key: str | None = None) -> dict[str, list[str]]:
    """What check says."""
    return damage_tasks.scrub(store, key)


def read_damaged(store: str, answers: str, key: str | None = None) -> dict[str, Any]:
    """Open a damaged store and ask it everything."""
    expected = damage_tasks.load(answers)
    try:
        db = open_store(store, key=key, create=False)
    except StreamDBError as error:
        return {"wrong": [], "omitted": [], "refused": error.name}
    with db:
        return damage_tasks.read_damaged(db, expected)


def mend(store: str, answers: str, key: str | None = None) -> dict[str, Any]:
    """Repair a damaged store, and judge what is left."""
    from streamdb.crypto import Key
    from streamdb.repair import repair_store

    report = repair_store(store, key=Key.from_file(key) if key else None)
    expected = damage_tasks.load(answers)
    with open_store(store, key=key, create=False) as db:
        return damage_tasks.judge_mended(db, expected, report.lost)


def back_up(store: str, target: str, key: str | None = None) -> list[str]:
    """Back a store up."""
    with open_store(store, key=key, create=False) as db:
        return [str(problem) for problem in db.backup(target).check.problems]


def same_as(store: str, answers: str, key: str | None = None) -> list[str]:
    """Whether a store gives the answers of another one, and is whole."""
    expected = damage_tasks.load(answers)
    with open_store(store, key=key, create=False) as db:
        wrong = [str(problem) for problem in db.check().problems]
        found = damage_tasks.answers(db)
    found = json.loads(json.dumps(found))
    return wrong + [f"{name} differ" for name in expected if found[name] != expected[name]]


# -- several processes on the same paths -----------------------------------------------------------


def contend(store: str, log: str, name: str, seed: int, calls: int) -> int:
    """Random calls on a few paths that others use, too; reopening in between. Logs each call."""
    rng = random.Random(seed)
    contender = Contender(Log(log).say, name, rng)
    done = 0
    while done < calls:
        durability = rng.choice(["full", "normal"])
        with open_store(store, durability=durability, cache=rng.choice([0, 1000])) as db:
            for _ in range(rng.randrange(3, 25)):
                contender.call(db)
                done += 1
    return done


def contended(store: str) -> dict[str, Any]:
    """After the contest: the scrub, the feed, the documents."""
    with open_store(store) as db:
        return {
            "problems": [str(problem) for problem in db.check().problems],
            "feed": [[c.seq, c.kind, c.path, c.origin] for c in db.changes(0)],
            "documents": {name: db.get(name).decode().partition(":")[0] for name in db.search("")},
        }
