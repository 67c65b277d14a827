"""A member that lies, stalls, floods, or sends what no honest one sends: nobody else is harmed."""

from __future__ import annotations

import asyncio
import functools
import os
import time
from dataclasses import replace

import msgpack  # type: ignore[import-untyped]
import pytest
from packages.hydramesh.tests.library.members import Member, band, until

from hydramesh.errors import PeerRefused
from hydramesh.identity import realm as realms
from hydramesh.library.serving import Server
from hydramesh.sync.pulls import PIECE
from hydramesh.sync.versions import Item
from hydramesh.v1 import library_pb2 as pb
from hydramesh.wire import pack_parts, pack_piece, pack_since, unpack_parts

pytestmark = pytest.mark.slow
LONG = functools.partial(pytest.param, marks=pytest.mark.torture)
HONEST = Server.answer


@pytest.fixture(autouse=True)
def _replaceable(monkeypatch):
    """Let what a member answers be chosen while its trunk is open."""

    async def answer(self, topic, data):
        return await getattr(self, "chosen", HONEST.__get__(self))(topic, data)

    monkeypatch.setattr(Server, "answer", answer)


def lie(member: Member, kind: str, reply) -> list[str]:
    """Answer one kind of question otherwise; returns what was asked."""
    asked: list[str] = []

    async def chosen(topic, data):
        parts = topic.split("/")
        if kind not in (parts[2], parts[-1]):
            return await HONEST(member.library.server, topic, data)
        asked.append(topic)
        return await reply(topic, data)

    vars(member.library.server)["chosen"] = chosen
    return asked


def wait_for(member: Member, kind: str, asked: list[str]) -> None:
    """Let an honest member answer only when the other one was asked, or all could come of it."""

    async def reply(topic, data):
        while not asked:
            await asyncio.sleep(0.01)
        return await HONEST(member.library.server, topic, data)

    lie(member, kind, reply)


def play(work, root, *names):
    async def run():
        async with band(root, *names) as members:
            await work(*members)

    asyncio.run(run())


@pytest.fixture
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("m")


def has(db, **wanted):
    return all(db.exists(name) and db.get(name) == data for name, data in wanted.items())


@pytest.mark.parametrize("what", ["piece", *map(LONG, ("pieces", "stall", "absent"))])
def test_contents_come_from_who_is_honest(root, what):
    data, short = os.urandom(3 * PIECE + 5), os.urandom(5000)

    async def work(anna, mallory, bert):
        await anna.share("drums", take=data, kick=short)
        copy = await mallory.follow("drums")
        await until(lambda: has(copy, take=data, kick=short))

        async def reply(topic, request):
            server = mallory.library.server
            if what == "stall":
                await asyncio.sleep(3600)
            raw = await HONEST(server, topic, request)
            if what == "absent":
                raise AssertionError
            if len(raw) > PIECE // 2 or len(raw) == 5 or len(raw) == len(short):
                return raw if what == "pieces" else bytes(len(raw))
            return server._door.reply(topic, request, pack_parts([os.urandom(32)] * 4))

        asked = lie(mallory, "blob", reply)
        if what == "absent":
            copy.delete("take")
            del vars(mallory.library.server)["chosen"]
            mallory.follower("drums").paused = True
        else:
            wait_for(anna, "blob", asked)
        follow = await bert.follow("drums")
        await until(
            lambda: has(follow, kick=short) and (what == "absent" or has(follow, take=data))
        )
        assert asked or what == "absent"
        assert follow.check().ok

    play(work, root, "anna", "mallory", "bert")


@pytest.mark.parametrize("what", ["false", *map(LONG, ("none", "cut", "garbage", "too long"))])
def test_short_contents_come_from_who_is_honest(root, what):
    """They are asked for many at once; what one answer lacks or says wrong harms no other."""
    wanted = {f"s{number}": os.urandom(3000 + number) for number in range(150)}

    async def work(anna, mallory, bert):
        await anna.share("drums", **wanted)
        copy = await mallory.follow("drums")
        await until(lambda: has(copy, **wanted))

        async def reply(topic, request):
            raw = await HONEST(mallory.library.server, topic, request)
            parts = unpack_parts(raw, 64)
            return {
                "false": pack_parts([os.urandom(len(part)) for part in parts]),
                "none": pack_parts([b""] * len(parts)),
                "cut": pack_parts(parts[:1]),
                "garbage": os.urandom(len(raw)),
                "too long": pack_parts([*parts, *([b"x"] * 100)]),
            }[what]

        asked = lie(mallory, "contents", reply)
        wait_for(anna, "contents", asked)
        follow = await bert.follow("drums")
        await until(lambda: has(follow, **wanted))
        assert asked
        assert follow.check().ok

    play(work, root, "anna", "mallory", "bert")


def test_what_a_reader_made_goes_nowhere_whoever_relays_it(root):
    async def work(anna, mallory, bert):
        first = await anna.share("drums", everyone="reader", kick=b"boom")
        await mallory.follow("drums")
        second = await bert.follow("drums")
        shelf = mallory.shelf("drums")
        await until(lambda: has(second, kick=b"boom") and shelf.head.count == 1)

        # An edit by a node that may not, as it would be if its daemon had been changed.
        collection = shelf.collection
        collection.writes = True
        collection.documents.write_document("kick", b"mallory's")
        collection.documents.write_document("virus", b"mallory's")
        await shelf.run(shelf.scan)
        mallory.library.changed(shelf.entry.collection)
        await until(lambda: anna.follower("drums").refused and bert.follower("drums").refused)
        for db in (first, second):
            assert db.search() == ["kick"]
            assert db.get("kick") == b"boom"

        # In anna's name it is no better.
        signed = collection.replica.items["kick"]
        forged = tuple(replace(each, author=anna.nid) for each in signed.proofs)
        version = tuple(sorted({**dict(signed.version), anna.nid: 9}.items()))
        forged = tuple(replace(each, version=version) for each in forged)
        collection.replica._put(replace(signed, version=version, proofs=forged))
        await shelf.run(shelf._take_stock)
        mallory.library.changed(shelf.entry.collection)
        follower = bert.follower("drums")
        await until(lambda: follower.ways[mallory.nid].failures)
        assert second.get("kick") == b"boom"
        # A role that it gives itself is none.
        await shelf.run(shelf.take_grants, [shelf.charter.make(mallory.nid, None, shelf._key)])
        assert bert.shelf("drums").role(mallory.nid).value == "reader"

    play(work, root, "anna", "mallory", "bert")


BAD_PATHS = ("../x", "/etc/passwd", "a//b", "nul\0", "x" * 5000, "a/" * 100 + "b", "\n")


def _put_off(follower, member):
    way = follower.ways.get(member.nid)
    return way is None or way.not_before > 0


def test_hostile_paths_and_broken_messages_change_nothing(root):
    async def work(anna, mallory):
        first = await anna.share("drums", kick=b"boom")
        copy = await mallory.follow("drums")
        await until(lambda: has(copy, kick=b"boom"))
        server, shelf = mallory.library.server, mallory.shelf("drums")
        answers = [
            *(_delta_with(shelf, path) for path in BAD_PATHS),
            b"",
            b"x",
            msgpack.packb(("told", b"", [], 0)),
            msgpack.packb(("told", b"\xdd\xff\xff\xff\xff", [], 0)),
            bytes(4 << 20),
        ]
        given: list[bytes] = []

        async def reply(topic, request):
            body = answers[len(given) % len(answers)]
            given.append(body)
            return server._door.reply(topic, request, body)

        lie(mallory, "delta", reply)
        follower = anna.follower("drums")
        for number in range(len(answers)):
            copy.write_document("again", bytes([number]))
            # Who is not heard for a moment has no way until it is.
            await until(lambda: mallory.nid in follower.ways)
            follower.ways[mallory.nid].not_before = 0.0
            await until(lambda n=number: len(given) > n)
            await until(lambda n=number: not n or _put_off(follower, mallory))
        assert first.search() == ["kick"]
        assert not list(root.rglob("passwd"))
        del vars(server)["chosen"]
        await until(lambda: mallory.nid in follower.ways)
        follower.ways[mallory.nid].not_before = 0.0
        await until(lambda: first.exists("again"))
        assert first.check().ok

    play(work, root, "anna", "mallory")


def _delta_with(shelf, path):
    """A delta that an editor signed, with a path that no honest one has."""
    collection = shelf.collection
    item = collection.replica._sign(Item(path, ((shelf.nid, 1),), bytes(32), 1, 1))
    row = (path, item.version, item.digest, 1, 1, [(shelf.nid, item.proofs[0].signature)])
    delta = msgpack.packb(("delta", collection.replica.epoch, 0, 1, False, [row]))
    keys = sorted(shelf.verifier.keys.items())
    return msgpack.packb(("told", delta, keys, 0))


def test_a_flood_ends_at_the_door(root):
    async def work(anna, mallory, bert):
        first = await anna.share("drums", kick=b"boom")
        second = await bert.follow("drums")
        collection = anna.shelf("drums").entry.collection
        await until(lambda: has(second, kick=b"boom"))
        refused = []

        async def ask():
            with_error = mallory.library.ask(anna.nid, collection, "delta", pack_since(0, 0, ""))
            try:
                await with_error
            except PeerRefused as error:
                refused.append(error.why)

        async def flood():
            for _ in range(30):
                await asyncio.gather(*(ask() for _ in range(100)), return_exceptions=True)

        task = asyncio.create_task(flood())
        for number in range(5):
            first.write_document("kick", bytes([number]))
            await until(lambda n=number: has(second, kick=bytes([n])))
        await task
        assert set(refused) == {"TooManyRequests"}
        # What cannot be believed is not answered at all.
        topic = anna.library._topic(f"sync/{anna.nid}/{collection}/delta")
        for raw in (b"", b"x" * 100, anna.nid.encode() + b"\0" * 50, bytes(1 << 20)):
            with pytest.raises(PeerRefused):
                await mallory.library._query(topic, raw, 1000)
        request = mallory.library.door.request(topic + "x", pack_since(0, 0, ""))
        with pytest.raises(PeerRefused, match="refused"):
            await mallory.library._query(topic, request, 1000)
        with pytest.raises(PeerRefused):
            await mallory.library._query(
                anna.library._topic(f"blob/{anna.nid}/{'0' * 64}"),
                mallory.library.door.request("else", pack_piece(collection, 0)),
                1000,
            )

    play(work, root, "anna", "mallory", "bert")


def test_an_expelled_member_is_not_answered(root):
    async def work(anna, mallory, bert):
        first = await anna.share("drums", kick=b"boom")
        copy = await mallory.follow("drums")
        second = await bert.follow("drums")
        await until(lambda: has(copy, kick=b"boom") and has(second, kick=b"boom"))
        await anna.verbs.grant(pb.GrantRequest(node=mallory.name, role="owner", name="drums"))
        copy.write_document("late", b"before")
        await until(lambda: has(second, late=b"before") and has(first, late=b"before"))
        realm, _ = realms.revoke(anna.state, anna.node.realm, mallory.name, time.time())
        anna.node.take(realm)
        # What it did before is kept: whoever noticed first, and may write, answers for it now.
        shelf = anna.shelf("drums")
        heirs = {anna.nid, bert.nid}
        await until(lambda: shelf.collection.replica.items["late"].proofs[0].author in heirs)
        await until(lambda: anna.shelf("drums").role(mallory.nid) is None)
        assert second.get("late") == b"before"

    play(work, root, "anna", "mallory", "bert")
