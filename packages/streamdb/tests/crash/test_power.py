"""A power cut takes nothing that was acknowledged, and leaves nothing half written."""

from __future__ import annotations

import json
import os
import random
import re
import sys
from pathlib import Path

import pytest
from packages.streamdb.tests.crash.disk import Disk, read_tree, write_tree
from packages.streamdb.tests.crash.nursery import MODULE, ROOT, Nursery
from packages.streamdb.tests.crash.power import Cuts
from packages.streamdb.tests.crash.strace import parse, record


@pytest.fixture
def nursery(tmp_path):
    with Nursery(tmp_path) as running:
        yield running


def _key_file(tmp_path) -> str:
    path = tmp_path / "key"
    path.write_bytes(os.urandom(32))
    path.chmod(0o600)
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "sessions", "states", "sealed"), [(1, 5, 26, False), (2, 2, 25, True)]
)
def test_cuts_lose_nothing(nursery, tmp_path, seed, sessions, states, sealed):
    cuts = Cuts(nursery, tmp_path, seed, _key_file(tmp_path) if sealed else None)
    for _ in range(sessions):
        session = cuts.record()
        for _ in range(states):
            cuts.cut(session)
        assert cuts.tally.findings == []
    assert cuts.tally.states == sessions * states
    assert cuts.tally.uncertain > cuts.tally.states / 3
    assert cuts.tally.acknowledged > cuts.tally.states


@pytest.mark.slow
def test_nothing_of_a_closed_store_is_uncertain(tmp_path):
    """Every byte and every name is on the disk: also those of the directories that were made."""
    tmp_path = tmp_path.resolve()
    store = tmp_path / "made" / "with" / "parents"
    step = {"op": "put", "path": "a", "tag": [1, 60_000, "noise"], "how": "bytes", "label": "large"}
    arguments = {
        "store": str(store), "log": str(tmp_path / "log"), "steps": [step], "session": "s",
        "durability": "full",
    }  # fmt: skip
    request = tmp_path / "request.json"
    request.write_text(
        json.dumps({"task": "write", "arguments": arguments, "out": str(tmp_path / "out.json")})
    )
    calls = record(tmp_path / "trace", [sys.executable, "-m", MODULE, "--run", str(request)], ROOT)
    assert json.loads((tmp_path / "out.json").read_text()) == {"value": 1}
    disk = Disk(tmp_path / "made", {})
    disk.follow(calls, 1 << 59)
    names = [Path(name).relative_to(tmp_path).as_posix() for name in disk.uncertain_names()]
    assert [name for name in names if not name.endswith("lock.mdb")] == []
    # The lock file means nothing after a restart.
    assert [name for name in disk.uncertain_files() if not name.endswith("lock.mdb")] == []


# -- the disk itself -------------------------------------------------------------------------------

TRACE = """\
7 mkdir("/r", 0777) = 0
7 openat(AT_FDCWD</>, "/r/a", O_RDWR|O_CREAT, 0666) = 3</r/a>
7 pwrite64(3</r/a>, "{first}", 1024, 0) = 1024
7 fdatasync(3</r/a>) = 0
7 openat(AT_FDCWD</>, "/r", O_RDONLY|O_DIRECTORY) = 4</r>
7 fsync(4</r>) = 0
7 openat(AT_FDCWD</>, "/", O_RDONLY|O_DIRECTORY) = 5</>
7 fsync(5</>) = 0
7 pwrite64(3</r/a>, "{second}", 1024, 512 <unfinished ...>
8 lseek(3</r/a>, 4096, SEEK_SET) = 4096
7 <... pwrite64 resumed>) = 1024
8 writev(3</r/a>, [{{iov_base="{third}", iov_len=512}}, {{iov_base="{third}", iov_len=512}}], 2) = 1024
7 clone3({{flags=CLONE_VM|CLONE_THREAD}}, 88) = 8
7 openat(AT_FDCWD</>, "/r/b", O_RDWR|O_CREAT|O_EXCL, 0666) = 6</r/b>
7 rename("/r/b", "/r/c") = 0
"""  # noqa: E501 - as strace prints it


def _calls():
    hexed = {
        name: "".join(f"\\x{byte:02x}" for _ in range(count))
        for name, byte, count in (("first", 1, 1024), ("second", 2, 1024), ("third", 3, 512))
    }
    text = TRACE.format(**hexed)
    return list(parse(_in_hex(text).splitlines(keepends=True)))


def _in_hex(text: str) -> str:
    def turn(found: re.Match[str]) -> str:
        return '"' + "".join(f"\\x{byte:02x}" for byte in found[1].encode()) + '"'

    return re.sub(r'"(/[^"]*)"', turn, text)


def _states(cut: int, count: int = 120) -> list[dict]:
    found = []
    for seed in range(count):
        disk = Disk(Path("/r"), {})
        disk.follow(_calls(), cut)
        found.append(disk.lose(random.Random(seed)))
    return found


def test_what_was_synced_is_there():
    for state in _states(7):
        assert state == {"/r": None, "/r/a": b"\1" * 1024}


def test_what_was_not_synced_may_be_there_by_sectors():
    contents = {state["/r/a"] for state in _states(14)}
    assert all(content[:512] == b"\1" * 512 for content in contents)
    middles = {content[512:1536] for content in contents if len(content) == 5120}
    assert b"\1" * 512 + bytes(512) in middles
    assert b"\2" * 1024 in middles
    assert b"\1" * 512 + b"\2" * 512 in middles
    assert b"\2" * 512 + bytes(512) in middles
    assert b"\3" * 1024 in {content[4096:] for content in contents}
    assert {len(content) for content in contents} >= {1024, 1536, 5120}


def test_names_come_with_their_directory():
    assert {"/r" in state for state in _states(6)} == {True, False}
    assert {"/r/a" in state for state in _states(4)} == {True, False}
    assert {("/r/b" in state, "/r/c" in state) for state in _states(14)} == {
        (False, False), (True, False), (False, True),
    }  # fmt: skip


def test_a_write_under_way_counts_for_nothing_yet():
    contents = {state["/r/a"] for state in _states(8)}
    assert {b"\1" * 1024, b"\1" * 512 + b"\2" * 1024} <= contents


def test_a_state_is_laid_out_as_it_is(tmp_path):
    state = {"/r": None, "/r/d": None, "/r/d/a": b"x"}
    write_tree(state, Path("/r"), tmp_path / "s")
    assert read_tree(tmp_path / "s") == {
        str(tmp_path / "s"): None, str(tmp_path / "s/d"): None, str(tmp_path / "s/d/a"): b"x",
    }  # fmt: skip
