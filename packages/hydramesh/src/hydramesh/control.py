"""The control interface of the daemon: gRPC on a Unix socket, for its own user only."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from hydramesh import __version__, doors, operations, views
from hydramesh.config import Config
from hydramesh.doors import endpoints_of
from hydramesh.errors import HydraMeshError, NoRealm, StateUnsafe
from hydramesh.identity import realm as realms
from hydramesh.identity.certs import DEFAULT_LIFE_S
from hydramesh.identity.invites import parse_endpoint
from hydramesh.identity.names import name_from_host
from hydramesh.identity.state import State
from hydramesh.library import views as library_views
from hydramesh.library.control import LibraryService
from hydramesh.library.service import Library
from hydramesh.library.verbs import Verbs
from hydramesh.node import Node
from hydramesh.v1 import control_pb2 as pb
from hydramesh.v1 import control_pb2_grpc, library_pb2_grpc

log = logging.getLogger("hydramesh")

MAX_SOCKET_PATH = 100


def socket_path(state: State, config: Config) -> Path:
    """Where the control socket is."""
    path = Path(config.text("control-socket") or state.root / "control.sock")
    if len(str(path)) > MAX_SOCKET_PATH:
        raise StateUnsafe(
            "the path of the control socket is too long for a socket",
            why=f"{len(str(path))} characters, {MAX_SOCKET_PATH} are allowed",
            next_step='set "control-socket" or "state-dir" in the configuration',
        )
    return path


def own_name(config: Config) -> str:
    """The name of this node unless the user gives one."""
    return config.text("node-id") or name_from_host(socket.gethostname())


class Daemon:
    """The daemon's work: a node while there is a realm, and the verbs that change that.

    Without ``runs`` the verbs change the state directory and nothing is started: that is how the
    command line works while there is no daemon.
    """

    def __init__(self, state: State, config: Config, *, runs: bool = True) -> None:
        self.state, self.config, self._runs = state, config, runs
        self.node: Node | None = None
        self.phase, self.failure = "no-realm", ""
        self.started = time.monotonic()
        self._turn = asyncio.Lock()
        self.library: Library | None = None

    async def start_node(self) -> None:
        """Start the node if there is a realm; a failure is kept for ``status``."""
        if not self._runs or not self.state.has_realm():
            self.phase = "no-realm"
            return
        self.phase, self.failure = "starting", ""
        try:
            node = Node(self.state, realms.load(self.state), self.config)
            library = Library(node)
            node.on_open.append(library.attach)
            await node.start()
            try:
                await library.start()
            except BaseException:
                await node.stop()
                raise
        except HydraMeshError as error:
            self.phase, self.failure = "failed", f"{error.what}: {error.why}".rstrip(": ")
            raise
        self.node, self.library, self.phase = node, library, "running"
        log.info("in realm %s, listening on %s", node.realm.name, ", ".join(node.listening))

    async def stop_node(self) -> None:
        """Stop it."""
        node, self.node = self.node, None
        library, self.library = self.library, None
        if library is not None:
            await library.stop()
        if node is not None:
            await node.stop()

    def running(self) -> Node:
        """The node, or an error that says why there is none."""
        if self.node is None:
            if self.phase == "no-realm":
                raise NoRealm(
                    "this node is in no realm", next_step="hydramesh init, or: hydramesh join CODE"
                )
            raise NoRealm("the node does not run", why=self.failure, next_step="hydramesh status")
        return self.node

    def verbs(self) -> Verbs:
        """What can be done with collections, or an error that says why nothing can."""
        self.running()
        assert self.library is not None
        return Verbs(self.library)

    async def init(self, asked: pb.InitRequest) -> pb.RealmInfo:
        """Found a realm and start."""
        async with self._turn:
            realm = realms.found(
                self.state,
                asked.realm or "home",
                asked.name or own_name(self.config),
                asked.certificate_life_s or DEFAULT_LIFE_S,
                time.time(),
            )
            await self.start_node()
            return views.realm_info(realm)

    async def join(self, asked: pb.JoinRequest) -> pb.RealmInfo:
        """Join a realm and start."""
        async with self._turn:
            endpoints = [str(each) for each in endpoints_of(self.config)]
            name = asked.name or own_name(self.config)
            realm, skew = await realms.join(self.state, asked.code, name, endpoints, time.time())
            await self.start_node()
            return views.realm_info(realm, skew)

    async def leave(self, asked: pb.LeaveRequest) -> pb.LeaveReply:
        """Leave the realm; the port closes."""
        async with self._turn:
            realm = self.node.realm if self.node is not None else realms.load(self.state)
            # While the authority still lets us: the node stops only when the leave is certain.
            told = await realms.leave(self.state, realm, time.time(), dissolve=asked.dissolve)
            await self.stop_node()
            self.phase = "no-realm"
            return pb.LeaveReply(realm=realm.name, told=told)

    async def invite(self, asked: pb.InviteRequest) -> pb.InviteReply:
        """Make an invite."""
        node = self.running()
        endpoints = [parse_endpoint(each, self.config.port) for each in asked.endpoints]
        realm, code, made = realms.invite(
            self.state,
            node.realm,
            asked.name,
            asked.expires_s or 3600,
            endpoints or doors.for_invite(node),
            time.time(),
        )
        node.take(realm)
        return pb.InviteReply(
            code=code,
            expires=made.expires,
            endpoints=[str(each) for each in made.endpoints],
            name=asked.name,
        )

    async def revoke(self, asked: pb.RevokeRequest) -> pb.RevokeReply:
        """Expel a node."""
        node = self.running()
        realm, member = realms.revoke(self.state, node.realm, asked.node, time.time())
        node.take(realm)
        return pb.RevokeReply(
            nid=member.nid, name=member.name, certificate_ends=member.certificate_ends
        )

    async def members(self, _: pb.MembersRequest) -> pb.Members:
        """The list of members as this node knows it."""
        return views.members(self.node.realm if self.node else realms.load(self.state))

    async def status(self, _: pb.StatusRequest) -> pb.Status:
        """How it is."""
        out = pb.Status(
            version=__version__, state=self.phase, uptime_s=time.monotonic() - self.started
        )
        if self.failure:
            out.problems.append(self.failure)
        node = self.node
        if node is not None:
            out.realm.CopyFrom(views.realm_info(node.realm, node.skew_s))
            peers = node.membership.peers.values()
            out.peers_known = len(peers)
            out.peers_alive = sum(each.effective.reachable for each in peers)
            out.links = len(node.links)
            out.listening.extend(node.listening)
            out.renewal_due = node.realm.certificate.renew_at()
            out.problems.extend(views.problems(node))
        if self.library is not None:
            out.problems.extend(library_views.problems(self.library))
        return out


_Handler = Callable[[Any], Awaitable[Any]]


class ControlService(control_pb2_grpc.ControlServicer):
    """The gRPC face of the daemon; errors travel as JSON in the status text."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def _run(self, handler: _Handler, request: Any, context: Any) -> Any:
        try:
            return await handler(request)
        except HydraMeshError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, json.dumps(error.details()))

    async def GetStatus(self, request: Any, context: Any) -> Any:
        return await self._run(self._daemon.status, request, context)

    async def Init(self, request: Any, context: Any) -> Any:
        return await self._run(self._daemon.init, request, context)

    async def Join(self, request: Any, context: Any) -> Any:
        return await self._run(self._daemon.join, request, context)

    async def Leave(self, request: Any, context: Any) -> Any:
        return await self._run(self._daemon.leave, request, context)

    async def Invite(self, request: Any, context: Any) -> Any:
        return await self._run(self._daemon.invite, request, context)

    async def Revoke(self, request: Any, context: Any) -> Any:
        return await self._run(self._daemon.revoke, request, context)

    async def ListMembers(self, request: Any, context: Any) -> Any:
        return await self._run(self._daemon.members, request, context)

    async def ListPeers(self, request: Any, context: Any) -> Any:
        return await self._view(views.peers, request, context)

    async def ListLinks(self, request: Any, context: Any) -> Any:
        return await self._view(views.links, request, context)

    async def Diagnose(self, request: Any, context: Any) -> Any:
        return await self._view(views.diagnose, request, context)

    async def GetTopology(self, request: Any, context: Any) -> Any:
        return await self._view(views.topology, request, context)

    async def _view(self, view: Callable[[Node], Any], request: Any, context: Any) -> Any:
        async def show(_: Any) -> Any:
            return view(self._daemon.running())

        return await self._run(show, request, context)


async def serve(daemon: Daemon, path: Path) -> grpc.aio.Server:
    """Listen on the control socket; the process's umask keeps others out."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    server = grpc.aio.server()
    add: Any = control_pb2_grpc.add_ControlServicer_to_server
    add(ControlService(daemon), server)
    operations.add_to(server, daemon)
    add_library: Any = library_pb2_grpc.add_LibraryServicer_to_server
    add_library(LibraryService(daemon.verbs), server)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    return server
