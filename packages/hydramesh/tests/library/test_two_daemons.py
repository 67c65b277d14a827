"""Two real daemons: share, follow, and all that can happen to documents then."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from packages.hydramesh.tests.daemon.test_daemons import _PORTS
from packages.hydramesh.tests.library.band import (
    Peer,
    content,
    documents,
    info,
    level,
    made,
    pair,
    store,
    wait_for,
    write,
)

pytestmark = pytest.mark.slow


@pytest.fixture
def folder():
    made_here = Path("/tmp", f"hl{os.getpid()}-{next(_PORTS)}")  # sockets want short paths
    made_here.mkdir(mode=0o700)
    yield made_here
    shutil.rmtree(made_here)


@pytest.fixture
def two(folder):
    """Two daemons of one realm; anna is the authority."""
    anna, bert = (Peer(folder, name).start() for name in ("anna", "bert"))
    pair(lambda: None, anna, bert)
    yield anna, bert
    for peer in (anna, bert):
        peer.stop(signal.SIGKILL)


def shared(anna, bert, folder, everyone="editor", **contents):
    """A collection that anna shares and bert follows, and both stores."""
    first = made(folder / "drums.sdb", **contents)
    anna.ok("share", str(first), "--as", "drums", "--everyone", everyone)
    bert.ok("follow", "drums")
    return first, documents(bert, "drums")


def test_share_follow_edit_rename_delete(two, folder):
    anna, bert = two
    first, second = shared(anna, bert, folder, kick=b"boom", loops__a=b"x" * 300_000)
    level(two, (first, second), {"kick": b"boom", "loops/a": b"x" * 300_000})
    assert info(bert, "drums")["role"] == "editor"

    # Edits go both ways.
    write(second, "snare", b"tack")
    write(first, "kick", b"boom!")
    level(two, (first, second))
    assert content(first) == {"kick": b"boom!", "loops/a": b"x" * 300_000, "snare": b"tack"}

    # A rename asks for no content.
    before = info(bert, "drums")["pending_bytes"]
    with store(first) as db:
        db.rename("loops/a", "loops/b")
    write(second, "kick", None)
    level(two, (first, second), {"loops/b": b"x" * 300_000, "snare": b"tack"})
    assert before == 0
    code, said = bert.run("sync", "now")
    assert (code, said["collections"][0]["state"]) == (0, "in-sync")
    for path in (first, second):
        with store(path) as db:
            assert db.check().ok


def test_edits_on_both_sides_of_a_gap_are_both_kept(two, folder):
    anna, bert = two
    first, second = shared(anna, bert, folder, kick=b"boom")
    level(two, (first, second), {"kick": b"boom"})
    bert.stop(signal.SIGKILL)
    write(first, "kick", b"anna's")
    write(second, "kick", b"bert's")
    write(second, "snare", b"tack")
    bert.start()
    level(two, (first, second))
    found = content(first)
    assert set(found.values()) == {b"anna's", b"bert's", b"tack"}
    assert sum("conflict" in name for name in found) == 1


def test_a_reader_changes_nothing_for_others_until_it_may(two, folder):
    anna, bert = two
    first, second = shared(anna, bert, folder, everyone="reader", kick=b"boom")
    level(two, (first, second), {"kick": b"boom"})
    write(second, "kick", b"mine")
    write(second, "snare", b"tack")
    wait_for(lambda: info(bert, "drums")["local"] == 2, bert.log)
    time.sleep(2)
    assert content(first) == {"kick": b"boom"}
    code, said = bert.run("grant", "bert", "editor", "--on", "drums")
    assert (code, said["error"]) == (3, "NotOwner")

    # What the owner writes arrives; the reader's own version makes way, and is kept.
    write(first, "kick", b"louder")
    wait_for(lambda: content(second).get("kick") == b"louder", bert.log)
    assert b"mine" in content(second).values()

    anna.ok("grant", "bert", "editor", "--on", "drums")
    level(two, (first, second))
    assert set(content(first).values()) == {b"louder", b"mine", b"tack"}

    # Taken away again: what bert did is kept, what it does now stays with it.
    anna.ok("grant", "bert", "reader", "--on", "drums")
    wait_for(lambda: info(bert, "drums")["role"] == "reader", bert.log)
    write(second, "hat", b"tss")
    wait_for(lambda: info(bert, "drums")["local"] == 1, bert.log)
    assert "hat" not in content(first)


def test_nobody_reads_what_is_private(two, folder):
    anna, bert = two
    first = made(folder / "drums.sdb", kick=b"boom")
    anna.ok("share", str(first), "--as", "drums", "--everyone", "none")
    bert.ok("follow", "drums")
    time.sleep(2)
    assert content(documents(bert, "drums")) == {}
    anna.ok("grant", "bert", "reader", "--on", "drums")
    level(two, (first, documents(bert, "drums")), {"kick": b"boom"})


def test_a_transfer_goes_on_after_a_kill(two, folder):
    anna, bert = two
    data = os.urandom(48 << 20)
    first = made(folder / "long.sdb", take=data)
    anna.ok("share", str(first), "--as", "long")
    bert.ok("limit", "--down", "8M")
    bert.ok("follow", "long")
    size = len(data)
    wait_for(lambda: 0 < info(bert, "long")["pending_bytes"] < size - (12 << 20), bert.log)
    assert info(bert, "long")["eta_s"] > 0
    bert.stop(signal.SIGKILL)
    bert.start()
    # What was here is not fetched again.
    wait_for(lambda: info(bert, "long").get("pending_bytes", 0) > 0, bert.log)
    wait_for(lambda: info(bert, "long")["pending_bytes"] < size - (8 << 20), bert.log)
    bert.ok("limit", "--down", "none")
    level(two, (first, documents(bert, "long")), {"take": data})
    assert not list((bert.folder / "s").glob("library/*/pulls/*"))
