#!/usr/bin/env python3
"""What a write-ahead log could win at most: durable puts with its record in place of LMDB's syncs.

    .venv/bin/python packages/streamdb/bench/commit_log.py [--documents 20000] [--puts 200]
        [--rounds 9] [--beside apsw,rocksdb] [--json]

First the bare parts: a record of 1 KiB in a log file that was filled with zeros, with fdatasync;
an LMDB commit of two rows, synced as StreamDB does it, and not synced. Then durable puts, by one
thread and by 16: StreamDB as it is, StreamDB whose commits are not synced but followed by one such
record (`bound`), and the peers. `bound` is no log: nothing is ever replayed and no checkpoint is
paid for, so a real one is slower. All take turns; printed is the median of the single puts, with
the CPU time that a put takes in its own thread, and of 16 threads the median of the rounds.

Exit codes: 0 measured, 2 usage, 4 the peers could not be installed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from compare_material import Material, document
from compare_peers import NAMES, NotInstalled, default_folder, make_ready, openers
from compare_stores import OURS, Document, Store

BOUND = "bound"
THREADS = 16
_RECORD_BYTES, _LOG_BYTES = 1024, 8 << 20


class Log:
    """A log file as one would be kept: filled beforehand, so that a sync moves no metadata."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.pwrite(self._file, bytes(_LOG_BYTES), 0)
        os.fsync(self._file)
        self._at = 0
        self._record = os.urandom(_RECORD_BYTES)

    def append(self) -> None:
        """Write a record and sync it."""
        os.pwrite(self._file, self._record, self._at)
        os.fdatasync(self._file)
        self._at = (self._at + _RECORD_BYTES) % _LOG_BYTES


def bare_parts(room: Path, rounds: int) -> dict[str, float]:
    """Median seconds of a log record, and of a small LMDB commit with and without its syncs."""
    import lmdb

    log = Log(room / "bare.log")
    numbers = iter(range(1 << 62))

    def commit(env: lmdb.Environment) -> None:
        with env.begin(write=True) as txn:
            for _ in range(2):
                txn.put(b"%016x" % (next(numbers) * 0x9E3779B97F4A7C15 % (1 << 64)), bytes(300))

    def synced(env: lmdb.Environment) -> None:
        commit(env)
        env.sync(True)

    environments = [
        lmdb.open(str(room / name), map_size=1 << 30, metasync=False, sync=name == "synced")
        for name in ("synced", "unsynced")
    ]
    work: dict[str, Callable[[], None]] = {
        "log record, fdatasync": log.append,
        "LMDB commit, its two syncs": lambda: synced(environments[0]),
        "LMDB commit, no sync": lambda: commit(environments[1]),
    }
    spent: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for name, run in work.items():
            began = time.perf_counter()
            run()
            spent[name].append(time.perf_counter() - began)
    for env in environments:
        env.close()
    return {name: statistics.median(times) for name, times in spent.items()}


def opened(room: Path, peers: list[str]) -> dict[str, Store]:
    """The stores in the order of the report."""
    import lmdb

    found = openers([OURS, *peers])
    for name in (*found, BOUND):
        (room / name).mkdir()
    stores = {name: found[name].open(room / name) for name in found}
    real = lmdb.open

    def unsynced(*arguments: Any, **options: Any) -> lmdb.Environment:
        return real(*arguments, **{**options, "sync": False})

    with mock.patch("lmdb.open", unsynced):
        bound: Any = found[OURS].open(room / BOUND)
    return {OURS: stores.pop(OURS), BOUND: bound, **stores}


class Puts:
    """New documents for each store, and how long they took."""

    def __init__(self, stores: dict[str, Store], first: int, seed: int) -> None:
        self.stores = stores
        self.seed = seed
        self._next = dict.fromkeys(stores, first)
        self.single: dict[str, list[float]] = defaultdict(list)
        self.cpu: dict[str, list[float]] = defaultdict(list)
        self.together: dict[str, list[float]] = defaultdict(list)

    def _documents(self, name: str, count: int) -> list[Document]:
        first = self._next[name]
        self._next[name] += count
        return [document(index, self.seed) for index in range(first, first + count)]

    def one_thread(self, name: str, count: int) -> None:
        put = self.stores[name].put
        for each in self._documents(name, count):
            cpu, began = time.thread_time(), time.perf_counter()
            put(each)
            self.single[name].append(time.perf_counter() - began)
            self.cpu[name].append(time.thread_time() - cpu)

    def many_threads(self, name: str, count: int) -> None:
        put = self.stores[name].put
        documents = self._documents(name, count)

        def work(part: list[Document]) -> None:
            for each in part:
                put(each)

        threads = [
            threading.Thread(target=work, args=(documents[at::THREADS],)) for at in range(THREADS)
        ]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.together[name].append((time.perf_counter() - began) / count)


def turns(names: list[str], rounds: int) -> Iterator[list[str]]:
    """The names of each round; another one begins each."""
    for number in range(rounds):
        at = number % len(names)
        yield names[at:] + names[:at]


def measure(
    room: Path, peers: list[str], *, documents: int, puts: int, rounds: int
) -> dict[str, Any]:
    """All figures, in seconds."""
    material = Material(documents)
    stores = opened(room, peers)
    for store in stores.values():
        for part in material.slices():
            store.load_part(part)
        store.load_end()
        store.settle()
    bound: Any = stores[BOUND]
    # From here on its commits are followed by a log record, and not synced.
    bound.db._engine.committer.sync = Log(room / "bound.log").append
    taken = Puts(stores, documents, material.seed)
    for order in turns(list(stores), rounds):
        for name in order:
            taken.one_thread(name, puts)
        for name in order:
            taken.many_threads(name, puts * 4)
    del bound.db._engine.committer.sync
    for store in stores.values():
        store.close()
    return {
        "bare": bare_parts(room, max(200, puts)),
        "put": {name: statistics.median(times) for name, times in taken.single.items()},
        "cpu": {name: statistics.median(times) for name, times in taken.cpu.items()},
        "threads": {name: statistics.median(times) for name, times in taken.together.items()},
    }


def table(found: dict[str, Any]) -> str:
    """The report."""
    lines = [f"{name:28} {seconds * 1e6:7.0f} us" for name, seconds in found["bare"].items()]
    lines.append("")
    lines.append(f"{'durable put':12} {'1 thread':>10} {'ratio':>6} {'CPU':>8}  "
                 f"{THREADS:>2} threads  ratio")  # fmt: skip
    for name, seconds in found["put"].items():
        together = found["threads"][name]
        lines.append(
            f"{name:12} {seconds * 1e6:7.0f} us {seconds / found['put'][OURS]:6.2f} "
            f"{found['cpu'][name] * 1e6:5.0f} us {together * 1e6:7.0f} us "
            f"{together / found['threads'][OURS]:6.2f}"
        )
    lines.append("")
    lines.append("ratio: time / that of streamdb as it is; below 1 is faster")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--documents", type=int, default=20_000, help="loaded beforehand")
    parser.add_argument("--puts", type=int, default=200, help="per store and round")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--beside", default="apsw,rocksdb", metavar="NAMES",
                        help=f"peers, separated by commas, of {','.join(NAMES[1:])}")  # fmt: skip
    parser.add_argument("--room", type=Path, default=Path("/var/tmp"), help="on a disk")  # noqa: S108
    parser.add_argument("--json", action="store_true", help="print seconds as JSON")
    chosen = parser.parse_args()
    if min(chosen.documents, chosen.puts, chosen.rounds) < 1:
        parser.error("--documents, --puts and --rounds must be 1 or more")
    peers = [name for name in chosen.beside.split(",") if name]
    if not set(peers) <= set(NAMES[1:]):
        parser.error(f"--beside knows {', '.join(NAMES[1:])}")
    try:
        make_ready(peers, (), default_folder(), lambda text: print(text, file=sys.stderr))
    except NotInstalled as error:
        print(f"commit_log.py: {error}", file=sys.stderr)
        return 4
    room = Path(tempfile.mkdtemp(prefix="streamdb-log-", dir=chosen.room))
    try:
        found = measure(
            room, peers, documents=chosen.documents, puts=chosen.puts, rounds=chosen.rounds
        )
    finally:
        shutil.rmtree(room)
    print(json.dumps(found, indent=2) if chosen.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
