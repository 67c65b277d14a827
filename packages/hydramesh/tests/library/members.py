"""Members of a realm in this process: real trunks, real stores, and one that may misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

from packages.hydramesh.tests.daemon.test_daemons import free_port

from hydramesh.config import check
from hydramesh.doors import endpoints_of
from hydramesh.identity import realm as realms
from hydramesh.identity.state import State
from hydramesh.library.service import Library
from hydramesh.library.verbs import Verbs
from hydramesh.node import Node
from hydramesh.v1 import library_pb2 as pb
from streamdb import StreamDB

PATIENCE_S = 40.0


class Member:
    """A node with its library."""

    def __init__(self, root: Path, name: str) -> None:
        self.root, self.name = root / name, name
        self.state = State(self.root)
        self.state.prepare()
        self.config = check({"host": "127.0.0.1", "port": free_port()})
        self.node: Node
        self.library: Library

    @property
    def nid(self) -> str:
        return self.node.realm.nid

    @property
    def verbs(self) -> Verbs:
        return Verbs(self.library)

    async def found(self) -> Member:
        realms.found(self.state, "band", self.name, 86400, time.time())
        return await self.start()

    async def join(self, authority: Member) -> Member:
        node = authority.node
        realm, code, _ = realms.invite(
            authority.state, node.realm, self.name, 3600, node.endpoints, time.time()
        )
        node.take(realm)
        endpoints = [str(each) for each in endpoints_of(self.config)]
        await realms.join(self.state, code, self.name, endpoints, time.time())
        return await self.start()

    async def start(self) -> Member:
        self.node = Node(self.state, realms.load(self.state), self.config)
        self.library = Library(self.node)
        self.node.on_open.append(self.library.attach)
        await self.node.start()
        await self.library.start()
        return self

    async def stop(self) -> None:
        await self.library.stop()
        await self.node.stop()

    async def share(self, name: str, everyone: str = "editor", **contents: bytes) -> StreamDB:
        path = self.root / f"{name}.sdb"
        with StreamDB.open(path) as db:
            for each, data in contents.items():
                db.write_document(each, data)
        await self.verbs.share(pb.ShareRequest(place=str(path), name=name, everyone=everyone))
        return self.documents(name)

    async def follow(self, name: str) -> StreamDB:
        await self.verbs.follow(pb.FollowRequest(name=name))
        return self.documents(name)

    def shelf(self, name: str):
        return next(s for s in self.library.shelves.values() if s.entry.name == name)

    def follower(self, name: str):
        return self.library.followers[self.shelf(name).entry.collection]

    def documents(self, name: str) -> StreamDB:
        return self.shelf(name).collection.documents


@contextlib.asynccontextmanager
async def band(root: Path, *names: str):
    """Members of one realm that see each other."""
    members = [Member(root, name) for name in names]
    started: list[Member] = []
    try:
        started.append(await members[0].found())
        for member in members[1:]:
            started.append(await member.join(members[0]))
        for member in members:
            await until(lambda member=member: len(member.library._alive) == len(members) - 1)
        yield members
    finally:
        for member in started:
            await member.stop()


async def until(test) -> None:
    """Wait for something to hold."""
    end = time.monotonic() + PATIENCE_S
    while not test():
        assert time.monotonic() < end, "it does not come true"
        await asyncio.sleep(0.05)
