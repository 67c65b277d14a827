"""Names that wait to be taken into the indexes are seen by everyone, and lost by nobody."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdb import blocks, errors, naming, rows
from streamdb.naming import Side
from streamdb.repair import repair_store
from streamdb.store import StreamDB

NAMES = st.sampled_from(
    [f"{d}/{n}" for d in "ab" for n in range(12)] + ["é", "é/k", "日本", "a", "a0", "b/1/2"]
)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


class Plain:
    """A path index that holds a few sorted lists."""

    def __init__(self, names, table, size):
        self.table = table
        self._names = sorted(names)
        self._size = size

    def scan(self, _txn, start, end, _verify):
        held = [name for name in self._names if start <= name and (end is None or name < end)]
        for at in range(0, len(held), self._size):
            yield held[at : at + self._size]

    def scan_text(self, txn, start, end, verify):
        step = -1 if self.table == rows.REVERSE else 1
        for part in self.scan(txn, start, end, verify):
            yield [name[::step].decode() for name in part]


@given(st.sets(NAMES), st.lists(st.sets(NAMES, max_size=8), max_size=4), NAMES, st.integers(1, 9))
def test_what_waits_is_merged_in_its_order(base, batches, prefix, size):
    forward, reverse = Side([], []), Side([], [])
    there = set(base)
    for batch in batches:
        for name in batch:
            added = name not in there
            raw = name.encode()
            forward.take(raw, added)
            reverse.take(raw[::-1], added)
        there ^= batch
    for table, side, step in ((rows.FORWARD, forward, 1), (rows.REVERSE, reverse, -1)):
        index: Any = Plain([name.encode()[::step] for name in base], table, size)
        start = prefix.encode()[::step]
        end = blocks.successor(start)
        wanted = sorted(raw for name in there if (raw := name.encode()[::step]).startswith(start))
        found = list(naming.scan(index, side, None, start, end, True))
        assert [name for part in found for name in part] == wanted
        assert all(found)
        texts = naming.scan_text(index, side, None, start, end, True)
        assert [name for part in texts for name in part] == [n[::step].decode() for n in wanted]
        held = sum(len(part) for part in index.scan(None, start, end, True))
        assert held + side.balance(start, end) == len(wanted)


@given(st.dictionaries(st.binary(min_size=1).filter(lambda n: b"\0" not in n), st.booleans()))
def test_rows_come_back(names):
    if names:
        assert naming.unpack(naming.pack(9, names), b"k") == (9, list(names.items()))


@pytest.mark.parametrize("body", [b"", b"\1\0\0\0", b"\1\0\0\0x", b"\1\0\0\0+a\0"])
def test_what_is_no_row_of_names_is_damage(body):
    with pytest.raises(errors.CorruptData, match="waiting name"):
        naming.unpack(body, bytes(8))


ASK = """
import sys
from streamdb import StreamDB
with StreamDB.open(sys.argv[1]) as db:
    print("ready", flush=True)
    for line in sys.stdin:
        found = db.search("d/"), db.search_suffix("7"), [e.name for e in db.children("d")]
        print(db.count("d/"), db.count("d/1"), *map(len, found), flush=True)
"""


def test_another_process_sees_what_waits_at_once(root, monkeypatch):
    monkeypatch.setattr(naming, "MOST", 10)
    with StreamDB.open(root) as db:
        other = subprocess.Popen(
            [sys.executable, "-c", ASK, str(root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert other.stdin
        assert other.stdout
        assert other.stdout.readline() == "ready\n"
        there = set()
        for n in range(60):
            if n % 3 == 2:
                db.delete(f"d/{n // 2}")
                there.discard(f"{n // 2}")
            db.write_document(f"d/{n}", b"")
            there.add(f"{n}")
            other.stdin.write("?\n")
            other.stdin.flush()
            sevens = sum(name.endswith("7") for name in there)
            ones = sum(name.startswith("1") for name in there)
            wanted = [len(there), ones, len(there), sevens, len(there)]
            assert list(map(int, other.stdout.readline().split())) == wanted
            assert db.count("d/") == len(there)
        other.stdin.close()
        assert other.wait(timeout=60) == 0
        assert db.check().ok


def test_a_snapshot_shows_what_waited_at_its_time(root, monkeypatch):
    monkeypatch.setattr(naming, "MOST", 4)
    with StreamDB.open(root) as db:
        held = []
        for n in range(20):
            held.append((db.snapshot(), n))
            db.write_document(f"d/{n:02}", b"")
        for snapshot, n in reversed(held):
            assert snapshot.search("d/") == [f"d/{each:02}" for each in range(n)]
            assert snapshot.count("d/") == n
            snapshot.close()


def test_few_names_wait_and_many_are_taken_in_at_once(root):
    def waiting(db):
        with db.engine.env.begin() as txn:
            return txn.stat(db.engine.tables.pending)["entries"]

    with StreamDB.open(root) as db:
        for n in range(3):
            db.write_document(f"{n}", b"")
        assert waiting(db) == 3
        with db.transaction() as together:
            for n in range(naming.MOST_OF_ONE + 1):
                together.write_document(f"m/{n}", b"")
        assert waiting(db) == 0
        for n in range(naming.MOST + 2):
            db.write_document(f"n/{n}", b"")
            assert waiting(db) <= naming.MOST
        assert waiting(db) == 1
        assert db.count("") == 3 + naming.MOST_OF_ONE + 1 + naming.MOST + 2
        assert db.check().ok


def _damage(db, table, index):
    """Flip a bit in the first row of a table, without telling anyone."""
    with db.engine.env.begin(write=True) as txn:
        cursor = txn.cursor(index)
        assert cursor.first()
        key, value = cursor.item()
        txn.put(key, value[:-1] + bytes([value[-1] ^ 1]), db=index)
    return rows.describe_key(table, key)


def test_a_damaged_block_fails_one_write_and_is_named(root, monkeypatch):
    monkeypatch.setattr(naming, "MOST", 6)
    with StreamDB.open(root) as db:
        with db.transaction() as together:
            for n in range(70):
                together.write_document(f"a/{n}", b"")
        _damage(db, rows.FORWARD, db.engine.tables.forward.db)
        for n in range(6):
            db.write_document(f"z/{n}", b"")
        with pytest.raises(errors.CorruptData, match="path block"):
            db.write_document("z/6", b"")
        for n in range(7, 13):
            db.write_document(f"z/{n}", b"")
        assert [db.exists(f"z/{n}") for n in range(13)].count(True) == 12
        assert not db.check().ok
    assert repair_store(root).lost == ()
    with StreamDB.open(root) as db:
        assert db.count("z/") == 12
        assert db.check().ok


def test_a_transaction_does_not_commit_half_of_the_names(root):
    with StreamDB.open(root) as db:
        with db.transaction() as together:
            for n in range(70):
                together.write_document(f"a/{n}", b"")
        _damage(db, rows.REVERSE, db.engine.tables.reverse.db)

        def ask_and_go_on():
            with db.transaction() as again:
                again.write_document("b", b"")
                with pytest.raises(errors.CorruptData):
                    again.search("")
                again.write_document("c", b"")

        with pytest.raises(errors.InvalidArgument, match="cannot go on"):
            ask_and_go_on()
        assert db.search("b") == []


@pytest.mark.parametrize("flip", [False, True])
def test_repair_knows_the_names_that_wait(root, tmp_path, flip):
    with StreamDB.open(root) as db:
        with db.transaction() as together:
            for n in range(70):
                together.write_document(f"a/{n}", b"")
        db.delete("a/7")
        db.write_document("b", b"1")
        if flip:
            named = _damage(db, rows.PENDING, db.engine.tables.pending)
            assert named in {problem.where for problem in db.check().problems}
            with pytest.raises(errors.CorruptData, match="waiting name"):
                db.search("")
            assert db.get("b") == b"1"
        else:
            assert db.check().ok
    shutil.copytree(root, tmp_path / "copy")
    assert repair_store(root).lost == ()
    with StreamDB.open(root) as db:
        assert db.search("b") == ["b"]
        assert db.count("a/") == 69
        assert db.check().ok


def test_check_knows_a_name_that_waits_wrongly(root):
    with StreamDB.open(root) as db:
        for n in range(3):
            db.write_document(f"{n}", b"")
        with db.engine.env.begin(write=True) as txn:
            key = (99).to_bytes(8, "big")
            body = naming.pack(4, {b"never": True})
            txn.put(key, rows.seal(rows.PENDING, key, body), db=db.engine.tables.pending)
        assert {"the path index", "the suffix index"} <= {p.where for p in db.check().problems}
