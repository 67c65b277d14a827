"""The journal: what it promises after a crash, on a full disk, in the hands of others."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archibald.errors import DiskFullError
from archibald.run import run
from archibald.tune.journal import Journal, JournalError

INTENT = {
    "run": "r", "n": 1, "check": "sysctl.vm.swappiness", "kind": "value",
    "target": "/proc/sys/vm/swappiness", "value": "10", "before": "60", "lasts": False,
}  # fmt: skip


@pytest.fixture
def journal(tmp_path) -> Journal:
    """A journal in a folder that does not exist yet."""
    return Journal(tmp_path / "lib/tune")


def _begun(journal: Journal) -> None:
    with journal.opened():
        journal.append("begin", run="r", boot="b", time="", kernel="", archibald="", profile="")
        journal.append("intent", **INTENT)


def test_records_add_up(journal):
    _begun(journal)
    (entry,) = journal.history().active
    assert (entry.status, entry.before, entry.change.value) == ("intended", "60", "10")
    assert journal.history().interrupted == ("r",)
    with journal.opened():
        journal.append("done", run="r", n=1, after="10")
        journal.append("end", run="r", ok=["cpu.governor"])
    history = journal.history()
    assert history.active[0].after == "10"
    assert history.interrupted == ()
    assert history.finished == {"r": ("cpu.governor",)}
    with journal.opened():
        journal.append("undone", run="r", n=1, how="restored")
    assert journal.history().active == ()


def test_nothing_was_journaled(journal):
    assert journal.history().entries == ()
    assert not journal.folder.exists()


@given(cut=st.integers(min_value=0))
def test_a_torn_end_is_a_change_that_was_not_begun(tmp_path_factory, cut):
    journal = Journal(tmp_path_factory.mktemp("j"))
    _begun(journal)
    data = journal.path.read_bytes()
    cut %= len(data) + 1
    journal.path.write_bytes(data[:cut])
    whole = data[:cut].count(b"\n")
    assert len(journal.history().entries) == max(0, whole - 1)
    # The next writer goes on after the last whole record.
    with journal.opened():
        journal.append("begin", run="r2", boot="b")
    assert journal.path.read_bytes().count(b"\n") == whole + 1
    assert journal.history().runs[-1]["run"] == "r2"


@pytest.mark.parametrize(
    "line",
    [
        "not JSON",
        "[]",
        '{"v": 2, "type": "begin", "run": "r", "boot": "b"}',
        '{"v": 1, "type": "done", "run": "r", "n": 7, "after": "1"}',
        '{"v": 1, "type": "begin"}',
        '{"v": 1, "type": "strange", "run": "r", "n": 1}',
        json.dumps({"v": 1, "type": "intent", **INTENT, "kind": "shell"}),
        json.dumps({"v": 1, "type": "intent", **INTENT, "run": "never begun"}),
    ],
)
def test_a_line_that_makes_no_sense_is_named(journal, line):
    _begun(journal)
    with journal.path.open("a") as stream:
        stream.write(f"{line}\n")
    with pytest.raises(JournalError, match="line 3"):
        journal.history()


def test_one_writer_at_a_time(journal):
    with (
        journal.opened(),
        pytest.raises(JournalError, match="right now"),
        Journal(journal.folder).opened(),
    ):
        pass


def test_a_journal_that_others_may_write_is_not_trusted(journal):
    _begun(journal)
    journal.path.chmod(0o666)
    with pytest.raises(JournalError, match="not trusted"), journal.opened():
        pass


def test_a_link_is_no_journal(journal, tmp_path):
    journal.folder.mkdir(parents=True)
    journal.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalError), journal.opened():
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_only_root_reads_it(journal):
    _begun(journal)
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert journal.folder.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def tiny_disk(tmp_path) -> Iterator[Path]:
    """A file system with room for one page."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    folder: Path = tmp_path / "tiny"
    folder.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", folder])
    try:
        yield folder
    finally:
        run(["umount", folder])


def _fill(journal: Journal) -> None:
    with journal.opened():
        for number in range(1000):
            journal.append("begin", run=str(number), boot="b")


@pytest.mark.slow
def test_a_full_disk_leaves_whole_records(tiny_disk):
    journal = Journal(tiny_disk)
    with pytest.raises(DiskFullError, match="disk is full"):
        _fill(journal)
    data = journal.path.read_bytes()
    assert data.endswith(b"\n")
    assert len(journal.history().runs) == data.count(b"\n") > 10
