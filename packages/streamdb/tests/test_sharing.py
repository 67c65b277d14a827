"""Transactions, snapshots, threads and processes: who sees what, and when."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time

import pytest

from streamdb import errors
from streamdb.store import StreamDB

NOISE = random.Random(3).randbytes(300_000)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def db(root):
    with StreamDB.open(root) as db:
        yield db
        assert db.check().problems == ()


def child(code, *arguments, **options):
    """A Python process that runs ``code``; its standard streams are pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


# -- transactions ----------------------------------------------------------------------------------


def test_all_of_it_happens_or_nothing(db):
    db.write_document("old", b"1")
    with db.transaction() as together:
        together.write_document("a", NOISE)
        together.write_document("b", b"2")
        together.rename("old", "new")
        together.bind("b", "c")
        assert together.search("") == ["a", "b", "c", "new"]
        assert together.get("a") == NOISE
        assert together.count("") == 4
        assert db.search("") == ["old"]
    assert db.search("") == ["a", "b", "c", "new"]

    def fail():
        with db.transaction() as together:
            together.delete("a")
            together.write_document("b", b"3")
            together.unbind("c")
            together.restore("b", together.history("b")[1].version)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert db.get("a") == NOISE
    assert db.search("") == ["a", "b", "c", "new"]
    assert len(db.changes()) == 5


def test_an_error_before_a_change_does_not_spoil_a_transaction(db):
    with db.transaction() as together:
        with pytest.raises(errors.NotFound):
            together.delete("none")
        together.write_document("a", b"1")
    assert db.get("a") == b"1"


def test_an_error_amid_a_change_spoils_the_transaction(db, monkeypatch):
    db.write_document("a", b"1")

    def spoil():
        with db.transaction() as together:
            with monkeypatch.context() as patch:
                patch.setattr(together._changes, "_name", lambda *_: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    together.delete("a")
            together.write_document("b", b"2")

    with pytest.raises(errors.InvalidArgument, match="cannot go on"):
        spoil()
    assert db.search("") == ["a"]


def test_a_transaction_belongs_to_its_thread_and_time(db):
    caught = []
    with db.transaction() as together:

        def other():
            try:
                together.get("a")
            except errors.InvalidArgument as error:
                caught.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        with pytest.raises(errors.StoreBusy, match="transaction of its own"):
            db.write_document("a", b"1")
        with pytest.raises(errors.StoreBusy):
            db.transaction().__enter__()
    assert len(caught) == 1
    with pytest.raises(errors.StoreClosed):
        together.get("a")


# -- snapshots -------------------------------------------------------------------------------------


def test_a_snapshot_shows_its_moment(db):
    db.write_document("a", NOISE, metadata={"tempo": 90})
    db.write_document("b", b"1")
    with db.snapshot() as before:
        db.write_document("a", b"2")
        db.delete("b")
        db.write_document("c", b"3")
        db.gc()
        assert before.get("a") == NOISE
        assert before.get_many(["a", "b", "c"]) == {"a": NOISE, "b": b"1"}
        assert before.search("") == ["a", "b"]
        assert before.search_suffix("b") == ["b"]
        assert before.find("tempo=90") == ["a"]
        assert before.count("") == 2
        assert before.last_seq == 2
        assert before.exists("b")
        assert [entry.path for entry in before.children()] == ["a", "b"]
        with before.get_stream("a") as file:
            file.seek(200_000)
            assert file.read() == NOISE[200_000:]
        stream = before.get_stream("a")
    assert stream.read() == NOISE
    with pytest.raises(errors.StoreClosed, match="snapshot"):
        before.get("a")
    before.close()
    assert db.search("") == ["a", "c"]


def test_what_a_snapshot_shows_is_collected_after_it(root):
    with StreamDB.open(root, versions=0, segment_bytes=1 << 16) as db:
        for n in range(6):
            db.write_document(str(n), NOISE[n * 50_000 : n * 50_000 + 50_000])
        before = db.snapshot()
        for n in range(6):
            db.delete(str(n))
        assert db.gc().waiting > 0
        db.gc()
        assert [before.get(str(n)) for n in range(6)] == [
            NOISE[n * 50_000 : n * 50_000 + 50_000] for n in range(6)
        ]
        before.close()
        first, second = db.gc(), db.gc()
        assert first.chunks_removed + second.chunks_removed > 0
        assert first.segments_removed + second.segments_removed > 0
        assert db.check().ok


# -- threads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["full", "normal", "bulk"])
def test_threads_write_and_read_at_once(root, durability):
    with StreamDB.open(root, durability=durability, segment_bytes=1 << 18) as db:
        failed: list[Exception] = []

        def work(number):
            try:
                for n in range(12):
                    content = NOISE[number * 100 : number * 100 + 100 + n * 3000]
                    db.write_document(f"{number}/{n}", content)
                    assert db.get(f"{number}/{n}") == content
                    if n % 4 == 3:
                        db.rename(f"{number}/{n}", f"{number}/moved-{n}")
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert db.count("") == 72
        assert len(db.search("", limit=None)) == 72
        assert db.check().ok


def test_threads_share_commits(db):
    transactions = db.engine.env.info()["last_txnid"]
    barrier = threading.Barrier(16)

    def work(number):
        barrier.wait()
        for n in range(10):
            db.write_document(f"{number}/{n}", b"x")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    # A commit that is under way gathers the others behind it.
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.count("") == 160
    assert db.engine.env.info()["last_txnid"] - transactions < 160


def test_one_bad_operation_does_not_harm_those_it_shares_a_commit_with(db):
    db.write_document("there", b"1")
    results: dict[int, Exception | None] = {}
    barrier = threading.Barrier(8)

    def work(number):
        barrier.wait()
        try:
            if number % 2:
                db.delete(f"none-{number}")
            else:
                db.write_document(f"{number}", b"x")
            results[number] = None
        except errors.NotFound as error:
            results[number] = error

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [number for number, error in sorted(results.items()) if error] == [1, 3, 5, 7]
    assert db.count("") == 5


# -- processes -------------------------------------------------------------------------------------

WRITER = """
import sys
from streamdb import StreamDB
with StreamDB.open(sys.argv[1], segment_bytes=1 << 18) as db:
    for n in range(25):
        data = (sys.argv[2] + str(n)).encode() * 3000
        db.write_document(f"{sys.argv[2]}/{n}", data)
        assert db.get(f"{sys.argv[2]}/{n}") == data
        if n % 5 == 4:
            db.delete(f"{sys.argv[2]}/{n}")
        if n % 10 == 9:
            db.gc()
"""


def test_processes_write_read_and_collect_at_once(db, root):
    writers = [child(WRITER, root, name) for name in ("p", "q", "r")]
    seen = 0
    while any(writer.poll() is None for writer in writers):
        with db.snapshot() as now:
            names = now.search("")
            assert len(names) >= min(seen, 60)
            for name in names[:5]:
                who, number = name.split("/")
                assert now.get(name) == (who + number).encode() * 3000
            seen = max(seen, len(names) - 6)
    for writer in writers:
        _, said = writer.communicate(timeout=60)
        assert writer.returncode == 0, said
    assert db.count("") == 60
    assert db.gc().chunks_removed >= 0


ECHO = """
import sys
from streamdb import StreamDB
with StreamDB.open(sys.argv[1]) as db:
    print("ready", flush=True)
    for line in sys.stdin:
        path, value = line.split()
        if value == "?":
            print(db.get(path).decode(), flush=True)
        else:
            db.write_document(path, value.encode())
            print("written", flush=True)
"""


def test_what_returned_is_seen_by_every_process_at_once(db, root):
    other = child(ECHO, root)
    assert other.stdout.readline() == "ready\n"

    def ask(text):
        other.stdin.write(text + "\n")
        other.stdin.flush()
        return other.stdout.readline().strip()

    for n in range(60):
        db.write_document("a", f"mine{n}".encode())
        assert ask("a ?") == f"mine{n}"
        assert ask(f"a theirs{n}") == "written"
        assert db.get("a") == f"theirs{n}".encode()
        assert db.get("a") == f"theirs{n}".encode()
    other.stdin.close()
    assert other.wait(timeout=60) == 0


READER = """
import sys, time
from streamdb import StreamDB
db = StreamDB.open(sys.argv[1])
snapshot = db.snapshot()
print("holding", flush=True)
time.sleep(600)
"""


def test_a_reader_that_was_killed_does_no_lasting_harm(root):
    with StreamDB.open(root, versions=0) as db:
        db.write_document("a", NOISE)
        reader = child(READER, root)
        assert reader.stdout.readline() == "holding\n"
        db.delete("a")
        assert db.gc().waiting > 0
        reader.send_signal(signal.SIGKILL)
        reader.wait(timeout=60)
        assert db.gc().waiting == 0
        assert db.statistics().chunks == 0
        assert db.check().ok


WAITING_WRITER = """
import sys, time
from streamdb import StreamDB
db = StreamDB.open(sys.argv[1])
with db.transaction() as together:
    together.write_document("half", b"x" * 100_000)
    print("inside", flush=True)
    time.sleep(600)
"""


def test_a_writer_that_was_killed_leaves_nothing_half(db, root):
    db.write_document("a", b"1")
    writer = child(WAITING_WRITER, root)
    assert writer.stdout.readline() == "inside\n"
    assert db.get("a") == b"1"
    with StreamDB.open(root, readonly=False):
        pass
    writer.send_signal(signal.SIGKILL)
    writer.wait(timeout=60)
    db.write_document("b", b"2")
    assert db.search("") == ["a", "b"]


def test_a_forked_child_is_refused_clearly_and_harms_nothing(db):
    db.write_document("a", b"1")
    db.get("a")
    receive, send = os.pipe()
    pid = os.fork()
    if not pid:
        said = []
        for call in (
            lambda: db.get("a"), lambda: db.write_document("b", b""), lambda: db.search(""),
            db.snapshot,
        ):  # fmt: skip
            try:
                call()
                said.append("nothing")
            except errors.StoreClosed as error:
                said.append("forked" if "forked" in error.what else error.what)
            except BaseException as error:
                said.append(repr(error))
        db.close()
        os.write(send, "|".join(said).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(receive, 10_000) == b"forked|forked|forked|forked"
    os.close(receive)
    os.close(send)
    db.write_document("b", b"2")
    assert db.get("b") == b"2"


OPEN_IN_CHILD = """
import os, sys
from streamdb import StreamDB
db = StreamDB.open(sys.argv[1])
db.write_document("parent", b"1")
pid = os.fork()
if not pid:
    with StreamDB.open(sys.argv[1]) as own:
        own.write_document("child", own.get("parent"))
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
assert db.get("child") == b"1"
assert db.check().ok
db.close()
print("good")
"""


def test_a_forked_child_may_open_the_store_anew(root):
    process = child(OPEN_IN_CHILD, root)
    said, error = process.communicate(timeout=60)
    assert said == "good\n", error


def test_normal_commits_are_put_on_the_disk_soon(root, monkeypatch):
    with StreamDB.open(root, durability="normal") as db:
        synced = threading.Event()
        env = db.engine.env

        class Watched:
            def __getattr__(self, name):
                return getattr(env, name)

            def sync(self, force=False):
                synced.set()
                return env.sync(force)

        monkeypatch.setattr(db.engine, "env", Watched())
        db.write_document("a", b"1")
        assert synced.wait(30)
        monkeypatch.undo()


def test_ctrl_c_leaves_a_consistent_store(db, root):
    code = (
        "import sys\nfrom streamdb import StreamDB\n"
        "with StreamDB.open(sys.argv[1]) as db:\n"
        "    print('go', flush=True)\n"
        "    for n in range(100000): db.write_document(f'c/{n}', b'x' * 20000)\n"
    )
    process = child(code, root)
    assert process.stdout.readline() == "go\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in said
    for name in db.search("c/"):
        assert db.get(name) == b"x" * 20000


LIMITED = """
import resource, signal, sys
from streamdb import StreamDB, errors
with StreamDB.open(sys.argv[1]) as db:
    db.write_document("before", b"x" * 50_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    import os
    failed = []
    for n in range(60):
        try:
            db.write_document(f"n/{n}", os.urandom(int(sys.argv[3])))
        except errors.StoreFull as error:
            assert error.next_step
            failed.append(n)
    assert failed, "nothing failed"
    held = db.search("n/")
    assert len(held) == 60 - len(failed), (held, failed)
    for name in held:
        assert len(db.get(name)) == int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    db.write_document("after", b"y" * 50_000)
    assert db.check().ok, db.check().problems
    print("good")
"""


@pytest.mark.parametrize(("limit", "size"), [(600_000, 40_000), (300_000, 9_000)])
def test_a_full_disk_amid_writes_is_named_and_nothing_is_half_written(root, limit, size):
    """RLIMIT_FSIZE stands in for the disk's end: first in a segment, then in the index."""
    process = child(LIMITED, root, limit, size)
    said, error = process.communicate(timeout=120)
    assert said == "good\n", error
    with StreamDB.open(root) as db:
        assert db.get("after") == b"y" * 50_000
        assert db.check().ok
