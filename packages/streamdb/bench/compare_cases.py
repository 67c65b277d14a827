"""The cases: what is done to each store, and how long it takes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from compare_machine import disk_bytes, drop_from_memory
from compare_material import QUESTIONS, Material, data_for
from compare_sql import Sql
from compare_stores import Store

THREADS = 16
#: After so many seconds a turn ends; what was done until then counts.
TURN_S = 2.0
#: A cold read of files of which more than this stayed in memory is not one.
STAYED_LIMIT = 0.05


class WrongAnswer(Exception):
    """A store gave something else than the others did, or than it was given."""


@dataclass
class Bench:
    """What a turn works with: the material, and one store of each name."""

    material: Material
    work: Path
    openers: dict[str, Callable[[Path], Store]]
    puts: int
    expected: dict[Any, int] = field(default_factory=dict)
    _stores: dict[str, Store] = field(default_factory=dict)

    def folder(self, name: str) -> Path:
        """Where a store lies."""
        return self.work / name

    def store(self, name: str) -> Store:
        """The open store of a name."""
        if name not in self._stores:
            self.folder(name).mkdir(parents=True, exist_ok=True)
            self._stores[name] = self.openers[name](self.folder(name))
        return self._stores[name]

    def close(self, name: str) -> None:
        """Close a store if it is open."""
        store = self._stores.pop(name, None)
        if store is not None:
            store.close()

    def close_all(self) -> None:
        """Close every store."""
        for name in list(self._stores):
            self.close(name)

    def expect(self, question: Any, answer: int, name: str) -> None:
        """All stores give as many results to the same question."""
        if self.expected.setdefault(question, answer) != answer:
            raise WrongAnswer(
                f"{name} finds {answer} for {question}, another store {self.expected[question]}"
            )


Run = Callable[[Bench, str, int], float]


@dataclass(frozen=True)
class Case:
    """One row of the table. ``run`` gives seconds per ``unit``, or bytes where that is the unit.

    ``rounds``: at most so many; ``slow``: stores of which one round is enough.
    """

    name: str
    text: str
    unit: str
    run: Run
    rounds: int = 100
    slow: tuple[str, ...] = ()
    only: Callable[[str], bool] = lambda _: True


def spend(call: Callable[[Any], object], items: Sequence[Any], *, step: int) -> float:
    """Seconds per call, over all items or as many as a turn's time allows."""
    done = 0
    started = time.perf_counter()
    while done < len(items):
        part = items[done : done + step]
        deque(map(call, part), maxlen=0)
        done += len(part)
        if time.perf_counter() - started > TURN_S:
            break
    return (time.perf_counter() - started) / done


# -- the corpus ------------------------------------------------------------------------------------


def load(bench: Bench, name: str, _round: int) -> float:
    """Seconds per document of loading the corpus in the order of its paths."""
    import shutil

    bench.close(name)
    shutil.rmtree(bench.folder(name), ignore_errors=True)
    store = bench.store(name)
    spent = 0.0
    for documents in bench.material.slices():
        started = time.perf_counter()
        store.load_part(documents)
        spent += time.perf_counter() - started
    started = time.perf_counter()
    store.load_end()
    spent += time.perf_counter() - started
    return spent / bench.material.documents


def size(bench: Bench, name: str, _round: int) -> float:
    """Bytes on disk after the load, checkpointed and compacted."""
    bench.store(name).settle()
    return float(disk_bytes(bench.folder(name)))


def get(bench: Bench, name: str, round_number: int) -> float:
    """Data of random documents."""
    store = bench.store(name)
    paths = bench.material.sample(20_000, round_number)
    _same(store, paths[0])
    return spend(store.get, paths, step=500)


def _same(store: Store, path: str) -> None:
    if bytes(store.get(path)) != data_for(path):
        raise WrongAnswer(f"{store.name} gives other data for {path}")


def metadata(bench: Bench, name: str, round_number: int) -> float:
    """Metadata of random documents, as a dict."""
    return spend(
        bench.store(name).metadata, bench.material.sample(5_000, 100 + round_number), step=100
    )


def hot(bench: Bench, name: str, round_number: int) -> float:
    """Data of 200 documents, again and again."""
    store = bench.store(name)
    paths = bench.material.sample(200, 200 + round_number)
    spend(store.get, paths, step=200)
    return spend(store.get, paths * 100, step=2000)


def search(bench: Bench, name: str, _round: int, *, size: int, suffix: bool) -> float:
    """Seconds per search that finds about ``size`` paths, scaled to exactly that many."""
    store, material = bench.store(name), bench.material
    starts = (material.suffixes if suffix else material.prefixes)(size, 8)
    call = store.search_suffix if suffix else store.search
    found = spent = 0.0
    while spent < TURN_S / 4:
        for start in starts:
            before = time.perf_counter()
            paths = call(start)
            spent += time.perf_counter() - before
            found += len(paths)
            bench.expect((suffix, start), len(paths), name)
            if spent > TURN_S:
                break
    return spent / found * size


def count(bench: Bench, name: str, _round: int) -> float:
    """Seconds to count the paths below a folder at the top."""
    store, folders = bench.store(name), bench.material.folders()
    for folder in folders[:1]:
        bench.expect(("count", folder), store.count(folder), name)
    return spend(store.count, folders * 100, step=1 if name == "files" else len(folders))


def query(bench: Bench, name: str, _round: int, *, which: str, indexed: bool) -> float:
    """Seconds per metadata query over the whole corpus."""
    store, question = bench.store(name), QUESTIONS[which]
    if isinstance(store, Sql):
        if indexed:
            store.make_index(question)
        else:
            store.drop_indexes()
    bench.expect(question.text, len(store.find(question)), name)
    return spend(store.find, [question] * 5, step=1)


def takes_indexes(name: str) -> bool:
    """Whether a row in which the peers have an index for the query concerns a store."""
    return name == "streamdb" or "sql" in name or "apsw" in name


# -- writing ---------------------------------------------------------------------------------------


def put(bench: Bench, name: str, round_number: int) -> float:
    """Seconds per durable put of a new document."""
    store = bench.store(name)
    if isinstance(store, Sql):
        store.drop_indexes()
    documents = bench.material.fresh(round_number, 0, bench.puts)
    taken = spend(store.put, documents, step=10)
    _same(store, documents[0].path)
    return taken


def put_threads(bench: Bench, name: str, round_number: int) -> float:
    """Seconds per durable put when 16 threads put at the same time."""
    store = bench.store(name)
    each = max(1, bench.puts // 8)
    documents = bench.material.fresh(round_number, 1000, THREADS * each)
    gate = threading.Barrier(THREADS + 1)
    failures: list[BaseException] = []

    def work(part: Iterable[Any]) -> None:
        gate.wait()
        try:
            for document in part:
                store.put(document)
        except BaseException as error:
            failures.append(error)

    threads = [
        threading.Thread(target=work, args=(documents[at::THREADS],)) for at in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    gate.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - started
    if failures:
        raise failures[0]
    _same(store, documents[-1].path)
    return spent / len(documents)


def put_batch(bench: Bench, name: str, round_number: int) -> float:
    """Seconds per durable batch of 1000 new documents, all or nothing."""
    documents = bench.material.fresh(round_number, 2000, 3000)
    store = bench.store(name)
    taken = spend(store.put_batch, [documents[at : at + 1000] for at in (0, 1000, 2000)], step=1)
    _same(store, documents[0].path)
    return taken


# -- blobs -----------------------------------------------------------------------------------------


def put_blobs(bench: Bench, name: str, round_number: int, *, kind: str) -> float:
    """Seconds per blob, all of a batch made durable together."""
    blobs = bench.material.blobs(kind, round_number)
    return spend(bench.store(name).put_blobs, [blobs], step=1) / len(blobs)


def put_each_blob(bench: Bench, name: str, round_number: int, *, kind: str) -> float:
    """Seconds per blob, each made durable by itself."""
    store = bench.store(name)
    # Beginning with other bytes than the batch does, so that none is stored already.
    blobs = [
        (f"each/{path}", data[::-1]) for path, data in bench.material.blobs(kind, round_number)[:32]
    ]
    return spend(lambda blob: store.put_blob(*blob), blobs, step=4)


def read_blobs(bench: Bench, name: str, round_number: int, *, kind: str) -> float:
    """Seconds per blob whose file lies in memory."""
    store = bench.store(name)
    names = _written(bench, kind, round_number)
    spend(store.get_blob, names, step=16)
    return spend(store.get_blob, names, step=16)


def read_cold_blobs(bench: Bench, name: str, round_number: int, *, kind: str) -> float:
    """Seconds per blob, from the disk, in random order."""
    from random import Random

    bench.close(name)
    blobs = bench.folder(name) / "blobs"
    stayed = drop_from_memory(blobs if blobs.is_dir() else bench.folder(name))
    if stayed > STAYED_LIMIT:
        raise WrongAnswer(f"{stayed:.0%} of the files of {name} stayed in memory")
    store = bench.store(name)
    names = _written(bench, kind, round_number)
    Random(round_number).shuffle(names)  # noqa: S311 - the same for every store
    return spend(store.get_blob, names[:64], step=8)


def _written(bench: Bench, kind: str, round_number: int) -> list[str]:
    return [
        name
        for earlier in range(round_number + 1)
        for name in bench.material.blob_names(kind, earlier)
    ]


# -- all of them -----------------------------------------------------------------------------------


def cases_for(documents: int) -> list[Case]:
    """The cases of a corpus of that size, in the order in which they are run."""
    walkers = ("files",)
    found = [
        Case("load", "sorted load of the corpus", "document", load, rounds=3, slow=walkers),
        Case("size", "size on disk", "B", size, rounds=1),
        Case("get", "get, random", "get", get),
        Case("metadata", "metadata, random, as a dict", "get", metadata),
        Case("hot", "get, the same 200 documents", "get", hot),
    ]
    sizes = [size for size in (10, 1_000, 10_000, 100_000) if size * 10 <= documents]
    for kind, suffix in (("prefix", False), ("suffix", True)):
        found += [
            Case(
                f"{kind}-{size}",
                f"{kind} search, {size:,} results",
                "search",
                partial(search, size=size, suffix=suffix),
                slow=walkers if suffix else (),
            )
            for size in sizes
            if not (suffix and size > 10_000)
        ]
    found.append(Case("count", "count of a top folder", "count", count))
    scans = ("files", "rocksdb", "leveldb")
    for which in QUESTIONS:
        text = f"find {QUESTIONS[which].text}"
        run = partial(query, which=which, indexed=False)
        found.append(Case(f"find-{which}", text, "query", run, rounds=3, slow=scans))
    found += [
        Case(
            "find-indexed",
            "the first find; peers with an index made for it",
            "query",
            partial(query, which="loops", indexed=True),
            rounds=3,
            only=takes_indexes,
        ),
        Case("put", "durable put", "put", put),
        Case("threads", f"durable put, {THREADS} threads", "put", put_threads),
        Case("batch", "durable batch of 1,000 puts", "batch", put_batch),
    ]
    for kind, text in (("noise", "noise"), ("music", "24-bit music")):
        rows: tuple[tuple[str, str, Any], ...] = (
            ("blobs", f"256 KiB of {text}, written, one sync per batch", put_blobs),
            ("each", f"256 KiB of {text}, written, each durable", put_each_blob),
            ("warm", f"256 KiB of {text}, read, warm", read_blobs),
            ("cold", f"256 KiB of {text}, read, cold", read_cold_blobs),
        )
        for name, row, call in rows:
            run = partial(call, kind=kind)
            found.append(Case(f"{name}-{kind}", row, "blob", run))
    return found
