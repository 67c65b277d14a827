"""Relays have no library: they neither share nor follow, and nothing is taken from them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from packages.hydramesh.tests.daemon.test_daemons import _PORTS
from packages.hydramesh.tests.library.band import Peer, documents, info, level, made, wait_for
from packages.hydramesh.tests.library.members import band, until

from hydramesh.library.relays import Relays

NODE = "a" * 16


@pytest.fixture
def folder():
    made_here = Path("/tmp", f"hl{os.getpid()}-{next(_PORTS)}")  # sockets want short paths
    made_here.mkdir(mode=0o700)
    yield made_here
    shutil.rmtree(made_here)


@pytest.fixture
def three(folder):
    """Three daemons of one realm; anna is the authority."""
    peers = [Peer(folder, name) for name in ("anna", "bert", "carl")]
    try:
        anna, *others = (peer.start() for peer in peers)
        anna.ok("init", "--realm", "band")
        for peer in others:
            peer.ok("join", "-", text=anna.ok("invite")["code"])
        for peer in peers:
            wait_for(lambda p=peer: list(p.states().values()) == ["alive"] * 2, peer.log)
        yield peers
    finally:
        for peer in peers:
            if peer.process is not None:
                peer.stop(signal.SIGKILL)


@pytest.mark.slow
def test_a_relay_neither_shares_nor_follows(three, folder):
    anna, bert, carl = three
    first = made(folder / "drums.sdb", kick=b"boom")
    own = made(folder / "own.sdb", kick=b"boom")
    anna.ok("share", str(first), "--as", "drums")
    bert.ok("follow", "drums")
    level(three, (first, documents(bert, "drums")))

    # Who has collections is not made a relay in passing.
    code, said = bert.run("relay", "on")
    assert (code, said["error"]) == (3, "RelayHasNoLibrary")
    assert "drums" in said["why"]
    bert.ok("unfollow", "drums")
    bert.ok("relay", "on")
    for verb in (("share", str(own), "--as", "own"), ("follow", "drums")):
        code, said = bert.run(*verb)
        assert (code, said["error"]) == (3, "RelayHasNoLibrary"), verb
        assert "relay off" in said["next_step"]
    assert [each["state"] for each in bert.ok("collections")["collections"]] == ["available"]

    # The others do without it, also after a restart of theirs.
    carl.ok("follow", "drums")
    level(three, (first, documents(carl, "drums")))
    wait_for(lambda: info(carl, "drums")["peers"] == ["anna"], carl.log)
    wait_for(lambda: info(anna, "drums")["peers"] == ["carl"], anna.log)

    # What was a relay may be an ordinary node again.
    bert.ok("relay", "off")
    bert.ok("follow", "drums")
    level(three, (first, documents(bert, "drums")), {"kick": b"boom"})
    wait_for(lambda: info(anna, "drums")["peers"] == ["bert", "carl"], anna.log)


@pytest.mark.slow
def test_nothing_is_taken_from_a_relay_that_shares_all_the_same(folder, monkeypatch):
    """A changed program on a relay goes on as if it were an ordinary node."""

    async def work():
        async with band(folder, "anna", "bert", "carl") as (anna, bert, carl):
            await anna.share("drums", kick=b"boom")
            theirs = await bert.follow("drums")
            await until(lambda: theirs.exists("kick"))
            theirs.write_document("before", b"when it was none")
            await until(lambda: anna.documents("drums").exists("before"))
            bert.node.standing.before_relay.clear()
            bert.node.standing.set_relay(True)
            await until(lambda: bert.nid in anna.library.relays.nodes)
            await until(lambda: bert.nid in carl.library.relays.nodes)

            ours = await carl.follow("drums")
            # What it did before is kept: anna signs it.
            await until(lambda: ours.exists("before"))
            assert list(carl.library.heads(carl.shelf("drums").entry.collection)) == [anna.nid]
            theirs.write_document("hat", b"tss")
            theirs.write_document("kick", b"changed by the relay")
            await until(lambda: bert.shelf("drums").item("hat") is not None)
            anna.documents("drums").write_document("snare", b"tack")
            await until(lambda: ours.exists("snare"))
            await asyncio.sleep(3)
            for each in (anna.documents("drums"), ours):
                assert sorted(each.search()) == ["before", "kick", "snare"]
                assert each.get("kick") == b"boom"
            # Nor does anybody answer it.
            assert not theirs.exists("snare")
            assert anna.library.server.refused.get("NotPermitted", 0) > 0

    asyncio.run(work())


def test_who_is_a_relay_is_known_over_restarts(tmp_path):
    path = tmp_path / "library" / "relays.json"
    relays = Relays(path)
    relays.load()
    assert relays.nodes == set()
    assert not relays.hear({})
    path.parent.mkdir()
    for told, nodes in (
        (json.dumps([NODE, "x", 7]), {NODE}),
        (json.dumps({NODE: 1}), set()),
        ("[", set()),
        ("\xff", set()),
    ):
        path.write_text(told, encoding="latin-1")
        again = Relays(path)
        again.load()
        assert again.nodes == nodes
