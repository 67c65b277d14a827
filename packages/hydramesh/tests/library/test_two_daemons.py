"""Two real daemons: share, follow, and all that can happen to documents then."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest
from packages.hydramesh.tests.cli.test_cli import completed
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
    peers = [Peer(folder, name) for name in ("anna", "bert")]
    try:
        anna, bert = (peer.start() for peer in peers)
        pair(lambda: None, anna, bert)
        yield anna, bert
    finally:
        for peer in peers:
            if peer.process is not None:
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


def test_folders_follow_each_other(two, folder):
    anna, bert = two
    one, other = folder / "one", folder / "other"
    (one / "loops").mkdir(parents=True)
    (one / "kick.wav").write_bytes(b"boom")
    (one / "loops/a.wav").write_bytes(b"x" * 100_000)
    anna.ok("share", str(one), "--as", "samples", "--everyone", "editor")
    bert.ok("follow", "samples", "--into", str(other))
    wait_for(lambda: files(other) == files(one), bert.log)

    (other / "snare.wav").write_bytes(b"tack")
    (other / "kick.wav").unlink()
    (one / "loops").rename(one / "takes")
    wanted = {"takes/a.wav": b"x" * 100_000, "snare.wav": b"tack"}
    wait_for(lambda: files(one) == files(other) == wanted, bert.log)

    # Changed on both sides while they do not see each other: both are kept, on both.
    bert.stop(signal.SIGKILL)
    (one / "snare.wav").write_bytes(b"anna's")
    (other / "snare.wav").write_bytes(b"bert's")
    (other / "new.wav").write_bytes(b"new")
    bert.start()
    wait_for(lambda: files(one) == files(other) and "new.wav" in files(one), bert.log)
    wait_for(lambda: {b"anna's", b"bert's"} <= set(files(other).values()), bert.log)
    wait_for(lambda: files(one) == files(other), bert.log)
    assert len(files(one)) == 4


@pytest.mark.torture
def test_what_a_reader_does_in_its_folder_stays_there_and_is_kept(two, folder):
    anna, bert = two
    one, other = folder / "one", folder / "other"
    one.mkdir()
    (one / "kick.wav").write_bytes(b"boom")
    anna.ok("share", str(one), "--as", "samples")
    bert.ok("follow", "samples", "--into", str(other))
    wait_for(lambda: files(other) == files(one), bert.log)
    assert bert.run("follow", "samples", "--into", str(other))[1]["error"] == "NameTaken"
    assert bert.run("share", str(other), "--as", "mine")[1]["error"] == "NameTaken"
    (other / "kick.wav").write_bytes(b"mine")
    (other / "own.wav").write_bytes(b"own")
    wait_for(lambda: info(bert, "samples")["local"] == 2, bert.log)
    (one / "kick.wav").write_bytes(b"louder")
    wait_for(lambda: files(other).get("kick.wav") == b"louder", bert.log)
    assert set(files(other).values()) == {b"louder", b"mine", b"own"}
    # Also when it is looked at anew.
    bert.stop()
    bert.start()
    (one / "snare.wav").write_bytes(b"tack")
    wait_for(lambda: "snare.wav" in files(other), bert.log)
    assert set(files(other).values()) == {b"louder", b"mine", b"own", b"tack"}
    assert set(files(one).values()) == {b"louder", b"tack"}


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.torture
def test_a_folder_that_is_gone_deletes_nothing(two, folder):
    anna, bert = two
    one = folder / "one"
    one.mkdir()
    (one / "kick.wav").write_bytes(b"boom")
    anna.ok("share", str(one), "--as", "samples")
    bert.ok("follow", "samples")
    second = documents(bert, "samples")
    wait_for(lambda: content(second) == {"kick.wav": b"boom"}, bert.log)
    one.rename(folder / "away")
    wait_for(lambda: info(anna, "samples")["problem"], anna.log)
    (folder / "away").rename(one)
    (one / "snare.wav").write_bytes(b"tack")
    wait_for(lambda: "snare.wav" in content(second), bert.log)
    assert content(second)["kick.wav"] == b"boom"


@pytest.mark.torture
def test_parts_names_only_pauses_and_twins(two, folder):
    anna, bert = two
    loop = os.urandom(300_000)
    first = made(folder / "all.sdb", drums__kick=b"boom", drums__loop=loop, keys__pad=b"ah")
    anna.ok("share", str(first), "--as", "all", "--everyone", "editor")
    anna.ok("share", str(first), "--as", "drums", "--prefix", "drums")

    # A part of the collection; and a collection that is a part of the store.
    bert.ok("follow", "all", "--prefix", "keys/")
    bert.ok("follow", "drums")
    part, drums = documents(bert, "all"), documents(bert, "drums")
    wait_for(lambda: content(part) == {"keys/pad": b"ah"}, bert.log)
    wait_for(lambda: content(drums) == {"kick": b"boom", "loop": loop}, bert.log)
    write(part, "keys/organ", b"oh")
    wait_for(lambda: content(first).get("keys/organ") == b"oh", anna.log)
    wait_for(lambda: info(bert, "all")["state"] == "in-sync", bert.log)

    # Names now, contents when they are asked for; what another collection has is not transferred.
    bert.ok("unfollow", "all")
    write(first, "keys/new", b"eh")
    anna.ok("pause")
    bert.ok("follow", "all", "--lazy")
    lazy = documents(bert, "all")
    time.sleep(1)
    assert bert.ok("files", "all")["documents"] == []
    anna.ok("resume")
    wait_for(lambda: len(bert.ok("files", "all")["documents"]) == 5, bert.log)
    here = {each["path"] for each in bert.ok("files", "all")["documents"] if each["here"]}
    assert here == {"drums/kick", "drums/loop", "keys/pad", "keys/organ"}
    assert set(content(lazy)) == here
    bert.ok("fetch", "all", "keys/new")
    assert content(lazy)["keys/new"] == b"eh"
    assert bert.run("fetch", "all", "nothing")[1]["error"] == "NotFound"

    # A shell completes what the daemon knows.
    assert completed(*bert.where, "fetch", "all", "dr") == ["drums/"]
    assert completed("fetch", *bert.where, "all", "keys/n") == ["keys/new"]
    assert completed("benchmark", *bert.where, "") == ["anna"]
    assert completed("pause", *bert.where, "a") == ["all"]

    # A document that is here by name only is not one that was deleted here.
    write(first, "keys/late", b"late")
    wait_for(lambda: len(bert.ok("files", "all")["documents"]) == 6, bert.log)
    bert.stop()
    bert.start()
    wait_for(lambda: info(bert, "all").get("state") == "in-sync", bert.log)
    assert set(content(first)) == here | {"keys/new", "keys/late"}

    # Paused, nothing moves.
    bert.ok("pause", "drums")
    write(first, "drums/snare", b"tack")
    time.sleep(2)
    assert "snare" not in content(drums)
    assert info(bert, "drums")["state"] == "paused"
    bert.ok("resume", "drums")
    wait_for(lambda: content(drums).get("snare") == b"tack", bert.log)
    assert bert.run("follow", "drums")[1]["error"] == "NameTaken"
    assert bert.run("unshare", "drums")[1]["error"] == "InvalidArgument"
    assert bert.run("follow", "nothing")[1]["error"] == "NoCollection"
    assert anna.run("share", str(folder / "no"), "--as", "no")[1]["error"] == "NotFound"


def test_metadata_given_by_hand_goes_along(two, folder):
    anna, bert = two
    first, second = shared(anna, bert, folder, kick=b"boom")
    level(two, (first, second), {"kick": b"boom"})
    with store(first) as db:
        db.write_document("kick", b"boom", metadata={"mood": "dark", "tags": ["mine"]})
        db.write_document("snare", b"tack", metadata={"mood": "light"})
    wait_for(lambda: moods(second) == {"kick": "dark", "snare": "light"}, bert.log)
    with store(second) as db:
        assert db.metadata("kick")["tags"] == ["mine"]
        db.write_document("kick", b"boom", metadata={"mood": "deep"})
    wait_for(lambda: moods(first) == {"kick": "deep", "snare": "light"}, anna.log)
    wait_for(lambda: info(bert, "drums")["state"] == "in-sync", bert.log)
    assert content(first) == content(second) == {"kick": b"boom", "snare": b"tack"}


def moods(path):
    with store(path) as db, db.snapshot() as shown:
        return {name: shown.metadata(name).get("mood") for name in shown.search()}
