"""A store that another process has locked: named, tried again, and nothing else disturbed."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

import pytest
from packages.hydramesh.tests.library.band import content, documents, info, level, made, wait_for
from packages.hydramesh.tests.library.test_two_daemons import folder, shared, two

from hydramesh.library.bundles import SHORT
from hydramesh.library.errors import StoreLocked
from hydramesh.library.locks import program, refuse_locked, wait_for_turn
from hydramesh.library.pulling import MOST_OF_ONE_PIECE
from streamdb import StreamDB

__all__ = ["folder", "two"]
HERE = ("alive", "suspect")

WRITER = """
import sys
from streamdb import StreamDB
with StreamDB.open(sys.argv[1], create=False) as db, db.transaction() as together:
    together.write_document("theirs", b"of another program")
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextlib.contextmanager
def locked(path):
    """Another process in a transaction of its own; it commits at the end, or when it is told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "held\n"
        yield process
        process.stdin.write("\n")
        process.stdin.close()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_who_writes_is_seen_without_taking_a_lock(tmp_path):
    path = made(tmp_path / "drums.sdb", kick=b"boom")
    with StreamDB.open(path) as db:
        assert db.engine.writer_elsewhere() == 0
        wait_for_turn(db)
        with locked(path) as process:
            assert db.engine.writer_elsewhere() == process.pid
            with pytest.raises(StoreLocked) as caught:
                wait_for_turn(db)
            assert str(process.pid) in caught.value.what
            with pytest.raises(StoreLocked, match=str(process.pid)):
                refuse_locked(path)
            assert program(process.pid).startswith(f"process {process.pid} (")
        assert db.engine.writer_elsewhere() == 0
        refuse_locked(path)
        # Our own transaction is no obstacle to ourselves.
        with db.transaction() as together:
            assert db.engine.writer_elsewhere() == 0
            refuse_locked(path)
            together.write_document("snare", b"tack")
        # And who is killed has no lock any more.
        with contextlib.suppress(OSError, AssertionError), locked(path) as process:
            process.kill()
            process.wait()
            wait_for_turn(db)
            db.write_document("hat", b"tss")
    assert sorted(content(path)) == ["hat", "kick", "snare", "theirs"]


def problems(peer):
    """What status tells; its exit code is 1 while there is anything."""
    return peer.run("status")[1].get("problems", [])


@pytest.mark.slow
def test_a_locked_store_waits_and_the_rest_goes_on(two, folder):
    anna, bert = two
    first, second = shared(anna, bert, folder, kick=b"boom")
    loops = made(folder / "loops.sdb", one=b"1")
    anna.ok("share", str(loops), "--as", "loops", "--everyone", "editor")
    bert.ok("follow", "loops")
    level(two, (first, second))
    level(two, (loops, documents(bert, "loops")))
    many = {f"hits/{each:03}": os.urandom(SHORT + 1) for each in range(MOST_OF_ONE_PIECE + 20)}
    # It is locked when all of them are known, and most have to come.
    bert.ok("limit", "--down", "20k")
    with StreamDB.open(first) as db, db.transaction() as together:
        for path, data in many.items():
            together.write_document(path, data)
    wait_for(lambda: int(info(bert, "drums").get("pending_bytes", 0)) > 50 * SHORT, bert.log)
    with locked(second) as process:
        bert.ok("limit", "--down", "none")
        wait_for(lambda: str(process.pid) in " ".join(problems(bert)), bert.log)
        [told] = problems(bert)
        assert told.startswith("collection drums: its store is locked by process")
        assert info(bert, "drums")["state"] == "failed"
        # Another collection, and the mesh, do not notice: what waits leaves room for others.
        added = {"two": b"2", "three": os.urandom(SHORT + 1)}
        with StreamDB.open(loops) as db:
            for path, data in added.items():
                db.write_document(path, data)
        level(two, (loops, documents(bert, "loops")), {"one": b"1", **added})
        assert info(bert, "loops")["state"] == "in-sync"
        end = time.monotonic() + 6
        while time.monotonic() < end:
            # A busy machine may make a heartbeat late; what waits for a lock, seconds.
            assert anna.states()["bert"] in HERE
            assert bert.states()["anna"] in HERE
            time.sleep(0.5)
        assert "its store is locked" in problems(bert)[0]
    level(two, (first, second), {"kick": b"boom", "theirs": b"of another program", **many})
    wait_for(lambda: problems(bert) == [], bert.log)


@pytest.mark.torture
def test_a_daemon_stops_beside_a_locked_store_and_waits_for_it_at_its_start(two, folder):
    anna, bert = two
    first, second = shared(anna, bert, folder, kick=b"boom")
    level(two, (first, second))
    with locked(second):
        with StreamDB.open(first) as db:
            db.write_document("snare", b"tack")
        wait_for(lambda: "is locked" in " ".join(problems(bert)), bert.log)
        assert bert.stop() == 0
        bert.start()
        wait_for(lambda: "is locked" in " ".join(problems(bert)), bert.log)
        wait_for(lambda: anna.states() == {"bert": "alive"}, anna.log)
    wanted = {"kick": b"boom", "snare": b"tack", "theirs": b"of another program"}
    level(two, (first, second), wanted)
