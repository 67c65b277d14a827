"""A joiner that reaches another member only: real TLS through it, which it cannot read or bend."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import ssl
import time
from pathlib import Path

import pytest
from packages.hydramesh.tests.daemon.test_daemons import _PORTS, free_port

from hydramesh import errors
from hydramesh.identity import certs, enrol, invites, realm
from hydramesh.identity.gate import GateServer
from hydramesh.identity.invites import Endpoint
from hydramesh.identity.state import State
from hydramesh.trunk import passage
from hydramesh.trunk.passage import Forwarder, Passage, Step
from hydramesh.trunk.switchboard import Switchboard

ID = bytes(16)


@pytest.fixture
def folder():
    made = Path("/tmp", f"hp{os.getpid()}-{next(_PORTS)}")  # sockets want short paths
    made.mkdir(mode=0o700)
    yield made
    shutil.rmtree(made)


class Studio:
    """The authority, and a member that hands on to it and keeps all that it sees."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = self.made("anna")
        self.realm = realm.found(self.state, "band", "anna", 3600, time.time())
        self.passage = Passage(folder / "gate.sock")
        self.seen: list[bytes] = []
        self.steps = 0
        self.spoil = self.cut = False
        self.endpoint = Endpoint("127.0.0.1", free_port())

    def made(self, name: str) -> State:
        state = State(self.folder / name)
        state.prepare()
        return state

    def greet(self) -> bytes:
        assert self.realm.authority is not None
        return enrol.hello(self.realm.authority, time.time())

    def handle(self, request: bytes) -> bytes:
        assert self.realm.authority is not None
        now = time.time()
        reply, ledger = enrol.answer(self.realm.authority, request, now)
        self.realm = realm.keep_books(self.state, self.realm, ledger, now)
        return reply

    async def ask(self, step: bytes) -> bytes:
        self.steps += 1
        if self.cut:
            raise errors.Unreachable("the realm's authority is not reached")
        if self.spoil and self.steps > 1:
            step = step[:-1] + bytes([step[-1] ^ 1])
        answer = await self.passage.answer("", step)
        self.seen += [step, answer]
        return answer

    @contextlib.asynccontextmanager
    async def open(self):
        assert self.realm.authority is not None
        gate = GateServer(
            self.state.path("node.crt"),
            self.state.path("node.key"),
            self.greet,
            self.handle,
        )
        forwarder, board = Forwarder(self.ask), Switchboard()
        await gate.start(self.folder / "gate.sock")
        await forwarder.start(self.folder / "member.sock")
        board.gate_path = str(self.folder / "member.sock")
        await board.take_port(self.endpoint.host, self.endpoint.port)
        await board.open_port()
        try:
            yield
        finally:
            await board.close()
            await forwarder.close()
            self.passage.close()
            await gate.close()

    def invite(self, *endpoints: Endpoint) -> str:
        given = endpoints or (self.endpoint,)
        self.realm, code, _ = realm.invite(self.state, self.realm, "", 600, given, time.time())
        return code

    async def join(self, name: str, code: str) -> realm.Realm:
        made, _ = await realm.join(self.made(name), code, name, ["10.0.0.7:5"], time.time())
        return made


def test_a_member_hands_on_what_it_cannot_read(folder):
    async def work():
        studio = Studio(folder)
        async with studio.open():
            code = studio.invite()
            joined = await studio.join("carl", code)
            assert joined.name == "band"
            assert joined.roster.member(joined.nid) is not None
            secret = invites.decode(code).secret
            carried = b"".join(studio.seen)
            public = certs.public_bytes(joined.key)
            for each in (secret, public, joined.certificate.der, b"carl", b"10.0.0.7"):
                assert each not in carried
            assert len(carried) > 1000
            assert studio.steps < 12
            # As at the gate itself: the code admits one.
            with pytest.raises(errors.InviteUsed):
                await studio.join("dora", code)
            # Renewal and leaving take the same way.
            state = State(folder / "carl")
            renewed, _ = await realm.renew(state, joined, [], time.time())
            assert renewed.certificate.der != joined.certificate.der
            assert await realm.leave(state, renewed, time.time(), dissolve=False)

    asyncio.run(work())


def test_a_member_that_changes_what_it_hands_on_is_noticed(folder):
    async def work():
        studio = Studio(folder)
        studio.spoil = True
        async with studio.open():
            code = studio.invite()
            with pytest.raises(errors.HydraMeshError):
                await studio.join("carl", code)
            assert studio.realm.authority is not None
            assert not any(e.used_by for e in studio.realm.authority.ledger.invites.values())
            studio.spoil = False
            assert (await studio.join("dora", code)).name == "band"

    asyncio.run(work())


@pytest.mark.parametrize("stranger", [False, True])
def test_a_member_that_answers_in_the_authoritys_place_is_told_nothing(folder, stranger):
    """With its own certificate, or that of a realm of its own."""

    async def work():
        studio = Studio(folder)
        heard = []
        async with studio.open():
            joined = await studio.join("eve", studio.invite())
            files = State(folder / "eve")
            hello = studio.greet()
            if stranger:
                files = studio.made("mallory")
                other = realm.found(files, "band", "anna", 3600, time.time())
                assert other.authority is not None
                hello = enrol.hello(other.authority, time.time())

        async def serve(reader, writer):
            writer.write(len(hello).to_bytes(4, "big") + hello)
            await writer.drain()
            heard.append(await reader.read())
            writer.close()

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.path("node.crt"), files.path("node.key"))
        false = Endpoint("127.0.0.1", free_port())
        server = await asyncio.start_server(serve, false.host, false.port, ssl=context)
        async with studio.open():
            code = studio.invite(false)
            with pytest.raises(errors.WrongRealm):
                await studio.join("carl", code)
            await asyncio.sleep(0.1)
            assert heard == [b""]
            # The next endpoint of an invite is tried all the same.
            shutil.rmtree(folder / "carl")
            joined = await studio.join("carl", studio.invite(false, studio.endpoint))
            assert joined.name == "band"
        server.close()

    asyncio.run(work())


def test_who_does_not_reach_the_authority_says_so(folder):
    async def work():
        studio = Studio(folder)
        studio.cut = True
        async with studio.open():
            with pytest.raises(errors.Unreachable) as caught:
                await studio.join("carl", studio.invite())
        assert str(studio.endpoint) in caught.value.why

    asyncio.run(work())


def test_the_passage_is_narrow(folder):
    """Too many at once, steps out of order, too much at once and steps of nobody: all are named."""

    async def work():
        studio = Studio(folder)
        gone = studio.passage
        with pytest.raises(errors.Unreachable):
            await gone.answer("", passage.pack_step(Step(ID, 0, False, b"")))
        async with studio.open():
            made = [bytes([n]) * 16 for n in range(passage.MAX_AT_ONCE + 1)]
            *first, late = [passage.pack_step(Step(each, 0, False, b"")) for each in made]
            told = await asyncio.gather(*(gone.answer("", each) for each in first))
            assert [passage.unpack_back(each) for each in told] == [(b"", False)] * len(first)
            with pytest.raises(errors.TooManyRequests):
                await gone.answer("", late)
            for wrong in (0, 2, 7):
                with pytest.raises(errors.MessageMalformed):
                    await gone.answer("", passage.pack_step(Step(made[0], wrong, False, b"")))
            # One at a time.
            step = passage.pack_step(Step(made[0], 1, False, b""))
            other = passage.pack_step(Step(made[0], 2, False, b""))
            found = await asyncio.gather(
                gone.answer("", step), gone.answer("", other), return_exceptions=True
            )
            assert [type(each) for each in found] == [bytes, errors.MessageMalformed]
            ended = await gone.answer("", passage.pack_step(Step(made[1], 1, True, b"")))
            assert passage.unpack_back(ended) == (b"", True)
            # There is room again; and what is no TLS is hung up on.
            last = await gone.answer("", passage.pack_step(Step(made[-1], 0, False, b"\0" * 999)))
            assert passage.unpack_back(last)[1]

    asyncio.run(work())


@pytest.mark.parametrize("raw", [b"", bytes(18), bytes(18) + b"\2", bytes(19 + passage.PIECE + 1)])
def test_what_is_no_step(raw):
    with pytest.raises(errors.MessageMalformed):
        passage.unpack_step(raw)


@pytest.mark.parametrize("raw", [b"", b"\2", bytes(passage.PIECE + 2)])
def test_what_is_no_answer(raw):
    with pytest.raises(errors.MessageMalformed):
        passage.unpack_back(raw)


def test_a_step_comes_back_as_it_was():
    step = Step(ID, 499, True, b"hello")
    assert passage.unpack_step(passage.pack_step(step)) == step
    assert passage.unpack_back(passage.pack_back(b"x", ends=False)) == (b"x", False)
