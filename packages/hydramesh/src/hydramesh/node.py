"""A running node: trunk, membership and renewal, joined in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from hydramesh.config import Config
from hydramesh.errors import HydraMeshError, InvalidArgument, PortTaken
from hydramesh.identity import enrol
from hydramesh.identity import realm as realms
from hydramesh.identity.gate import GateServer
from hydramesh.identity.invites import Endpoint, parse_endpoint
from hydramesh.identity.realm import Realm
from hydramesh.identity.roster import MAX_ROSTER_BYTES
from hydramesh.identity.state import State
from hydramesh.membership.machine import Membership
from hydramesh.membership.model import (
    MAX_COUNTER,
    Action,
    Changed,
    Dial,
    Duplicate,
    HangUp,
    Heartbeat,
    Send,
)
from hydramesh.trunk.addresses import own_addresses
from hydramesh.trunk.envelope import Opener, decode_beat, encode_beat, seal
from hydramesh.trunk.session import Files, Session, TrunkLink, check_door, zenoh_settings
from hydramesh.trunk.switchboard import Switchboard

log = logging.getLogger("hydramesh")

TICK_S = 0.05
_LINKS_EVERY = 2
#: Every fourth heartbeat carries the certificate, so that a newcomer waits a second at most.
_CERTIFICATE_EVERY = 4
_RETRY_S = 60.0
#: Zenoh ends a link itself after 4 s of silence: what is linked and says nothing for longer is not
#: routed any more. Its routing can stop for good when several links end at once (seen in 1.10.2).
_DEAF_S = 10.0


@dataclass(slots=True)
class Heard:
    """What the trunk adds to the membership's view of a peer."""

    skew_s: float = 0.0
    endpoints: tuple[str, ...] = ()
    roster_version: int = 0


def endpoints_of(config: Config) -> tuple[Endpoint, ...]:
    """Where others can reach this node."""
    if config.advertise:
        return config.advertise
    if config.host not in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return (Endpoint(config.host, config.port),)
    return tuple(Endpoint(each, config.port) for each in own_addresses())


class Node:
    """One member of a realm, from ``start`` to ``stop``."""

    def __init__(self, state: State, realm: Realm, config: Config) -> None:
        self.state, self.realm, self.config = state, realm, config
        self.endpoints = endpoints_of(config)
        self.listening: list[str] = []
        self.problems: dict[str, str] = {}
        self.heard: dict[str, Heard] = {}
        self.refused: dict[str, int] = {}
        self.skew_s = 0.0
        self.links: dict[str, TrunkLink] = {}
        self.membership = Membership(realm.nid, secrets.randbelow(MAX_COUNTER), time.monotonic())
        self._board = Switchboard()
        self._session: Session | None = None
        self._gate: GateServer | None = None
        self._opener = Opener(realm.ca_der)
        self._tasks: set[asyncio.Task[None]] = set()
        self._fetching = False
        self._silent: dict[str, float] = {}
        self._opening = asyncio.Lock()
        self.duplicate = asyncio.Event()
        #: Called with each session of the trunk that opens: after a renewal it is another one.
        self.on_open: list[Callable[[Session], None]] = []

    # -- start and stop ----------------------------------------------------------------------------

    @property
    def files(self) -> Files:
        """What Zenoh reads."""
        path = self.state.path
        return Files(path("ca.crt"), path("node.crt"), path("node.key"))

    @property
    def session(self) -> Session | None:
        """The trunk's session, while it is open."""
        return self._session

    def _topic(self, rest: str) -> str:
        return f"hm/{self.realm.realm_id}/{rest}"

    async def start(self) -> None:
        """Open the trunk; the port outside opens last, after the check of our own door."""
        try:
            await self._renew_if_due()
            lines = await self._board.open_lines()
            await self._open_session(lines)
            if self.realm.authority is not None:
                await self._open_gate()
            self.listening = await self._board.open_port(self.config.host, self.config.port)
        except BaseException:
            await self.stop()
            raise
        self._know_members()
        self._start(self._tick_forever())
        self._start(self._renew_forever())

    async def _open_session(self, lines: list[int]) -> None:
        port = _free_port()
        self._session = await Session.open(zenoh_settings(self.files, port, lines))
        await check_door("127.0.0.1", port, self.files)
        self._board.trunk_port = port
        self._session.subscribe(self._topic("hb/*"), self._on_beat)
        self._session.serve(
            self._topic(f"node/{self.realm.nid}/roster"), lambda: self.realm.roster.signed
        )
        for opened in self.on_open:
            opened(self._session)

    async def _open_gate(self) -> None:
        path = self.state.root / "gate.sock"
        self._gate = GateServer(
            self.files.certificate, self.files.key, self._greet, self._handle_request
        )
        await self._gate.start(path)
        self._board.gate_path = str(path)

    async def stop(self) -> None:
        """Say good-bye and close everything."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            self._act(self.membership.leave(time.monotonic()))
            await asyncio.sleep(0.05)
        await self._board.close()
        if self._gate is not None:
            await self._gate.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a task failed", exc_info=task.exception())

    # -- the gate ----------------------------------------------------------------------------------

    def _greet(self) -> bytes:
        assert self.realm.authority is not None
        return enrol.hello(self.realm.authority, time.time())

    def _handle_request(self, request: bytes) -> bytes:
        assert self.realm.authority is not None
        now = time.time()
        reply, ledger = enrol.answer(self.realm.authority, request, now)
        if ledger is not self.realm.authority.ledger:
            self.take(realms.keep_books(self.state, self.realm, ledger, now))
        return reply

    # -- membership --------------------------------------------------------------------------------

    def take(self, realm: Realm) -> None:
        """Go on with a changed realm: new members, fewer, a new certificate."""
        self.realm = realm
        self._know_members()
        for nid in list(self.links):
            entry = realm.roster.entries.get(nid)
            if entry is not None and entry.revoked:
                self._hang_up(nid)

    def _know_members(self) -> None:
        known = [e.nid for e in self.realm.roster.entries.values() if not e.revoked]
        self._act(self.membership.know(known, time.monotonic()))

    def _on_beat(self, topic: str, data: bytes) -> None:
        nid = topic.rpartition("/")[2]
        if nid == self.realm.nid and self._session is None:
            return
        try:
            body = self._opener.open(topic, nid, data, time.time())
            if body is None:
                return
            said = decode_beat(body, nid)
        except HydraMeshError as error:
            self.refused[error.name] = self.refused.get(error.name, 0) + 1
            return
        entry = self.realm.roster.entries.get(nid)
        if entry is not None and entry.revoked:
            self.refused["Revoked"] = self.refused.get("Revoked", 0) + 1
            return
        if nid != self.realm.nid:
            self.heard[nid] = Heard(said.time - time.time(), said.endpoints, said.roster_version)
            if said.roster_version > self.realm.roster.version and not self._fetching:
                self._fetching = True
                self._start(self._fetch_roster(nid))
        self._act(self.membership.heard(said.beat, time.monotonic()))

    async def _fetch_roster(self, nid: str) -> None:
        try:
            if self._session is not None:
                topic = self._topic(f"node/{nid}/roster")
                signed = await self._session.ask(topic, MAX_ROSTER_BYTES)
                if signed is not None:
                    self.take(realms.with_roster(self.state, self.realm, signed))
        except HydraMeshError as error:
            log.warning("the list of members of %s was refused: %s", nid, error.what)
        finally:
            self._fetching = False

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                self._send(action.beat)
            elif isinstance(action, Dial):
                self._start(self._dial(action.node))
            elif isinstance(action, HangUp):
                self._hang_up(action.node)
            elif isinstance(action, Changed):
                log.info("%s: %s, %s", self.name_of(action.node), action.after, action.cause)
            elif isinstance(action, Duplicate):
                self._duplicate(action)

    def _duplicate(self, action: Duplicate) -> None:
        self.problems["duplicate"] = (
            f"two processes use the node id {action.node}: a state directory was copied"
        )
        log.error("%s", self.problems["duplicate"])
        if action.own and action.yields:
            self.duplicate.set()

    def _send(self, beat: Heartbeat) -> None:
        if self._session is None:
            return
        topic = self._topic(f"hb/{self.realm.nid}")
        body = encode_beat(
            beat, time.time(), self.realm.roster.version, [str(each) for each in self.endpoints]
        )
        with_certificate = beat.seq % _CERTIFICATE_EVERY == 1 or beat.leaving
        certificate = self.realm.certificate.der if with_certificate else b""
        self._session.publish(topic, seal(self.realm.key, topic, body, certificate))

    def reach(self, nid: str) -> list[tuple[str, int]]:
        """Endpoints of a node: what it says itself, what the roster says, what the user says."""
        entry = self.realm.roster.entries.get(nid)
        heard = self.heard.get(nid)
        texts = [*(heard.endpoints if heard else ()), *(entry.endpoints if entry else ())]
        found: list[Endpoint] = []
        for text in texts:
            with contextlib.suppress(InvalidArgument):
                found.append(parse_endpoint(text))
        if entry is not None and entry.authority:
            found += self.realm.gates
        return [(e.host, e.port) for e in dict.fromkeys(found) if e not in self.endpoints][:8]

    async def _dial(self, nid: str) -> None:
        try:
            await self._board.dial(nid, self.reach(nid))
        except HydraMeshError as error:
            log.debug("dialling %s: %s", self.name_of(nid), error.why)
            self._act(self.membership.dial_failed(nid, time.monotonic()))

    def _hang_up(self, nid: str) -> None:
        link = self.links.get(nid)
        ports = {link.source_port, link.destination_port} if link else set()
        self._board.hang_up(ports, nid)

    def _watch_links(self) -> None:
        if self._session is None:
            return
        now = time.monotonic()
        lines = {line.port for line in self._board.lines}
        current = {link.nid: link for link in self._session.links() if link.nid}
        for nid in set(self.links) - set(current):
            self._act(self.membership.link_down(nid, now))
        for nid in set(current) - set(self.links):
            entry = self.realm.roster.entries.get(nid)
            if entry is not None and entry.revoked:
                link = current.pop(nid)
                self._board.hang_up({link.source_port, link.destination_port}, nid)
                continue
            outbound = current[nid].destination_port in lines
            self._act(self.membership.link_up(nid, now, outbound=outbound))
        self.links = current

    async def _tick_forever(self) -> None:
        count = 0
        while True:
            self._act(self.membership.tick(time.monotonic()))
            if count % _LINKS_EVERY == 0:
                self._watch_links()
                await self._watch_silence(time.monotonic())
            count += 1
            await asyncio.sleep(TICK_S)

    async def _watch_silence(self, now: float) -> None:
        """Open the trunk anew when a peer has been linked for long and is not heard."""
        peers = self.membership.peers
        silent = [n for n in self.links if n in peers and not peers[n].effective.reachable]
        self._silent = {nid: self._silent.get(nid, now) for nid in silent}
        if not silent or now - min(self._silent.values()) < _DEAF_S:
            return
        log.warning("%s is linked and not heard: the trunk begins anew", self.name_of(silent[0]))
        self._silent.clear()
        await self._close_session()
        await self._reopen()

    def direction(self, nid: str) -> str:
        """Whether we dialled a link ("out") or were dialled ("in")."""
        lines = {line.port for line in self._board.lines}
        return "out" if self.links[nid].destination_port in lines else "in"

    def name_of(self, nid: str) -> str:
        """The name of a node, or its id."""
        entry = self.realm.roster.entries.get(nid)
        return entry.name if entry is not None else nid

    # -- renewal -----------------------------------------------------------------------------------

    async def _renew_if_due(self) -> bool:
        if time.time() < self.realm.certificate.renew_at():
            return False
        try:
            endpoints = [str(each) for each in self.endpoints]
            realm, self.skew_s = await realms.renew(self.state, self.realm, endpoints, time.time())
        except HydraMeshError as error:
            self.problems["renewal"] = f"the certificate was not renewed: {error.what}"
            log.warning("%s (%s)", self.problems["renewal"], error.why)
            return False
        self.problems.pop("renewal", None)
        self.take(realm)
        return True

    async def _renew_forever(self) -> None:
        while True:
            life = self.realm.certificate.not_after - self.realm.certificate.renew_at()
            await asyncio.sleep(max(1.0, min(_RETRY_S, life / 10)))
            if await self._renew_if_due():
                log.info("the certificate was renewed")
                await self._close_session()
            if self._session is None:
                await self._reopen()

    async def _close_session(self) -> None:
        self._board.trunk_port = 0
        old, self._session = self._session, None
        if old is not None:
            await old.close()
        for nid in list(self.links):
            del self.links[nid]
            self._act(self.membership.link_down(nid, time.monotonic()))

    async def _reopen(self) -> None:
        """Take the new certificate into use: Zenoh reads it only when a session opens.

        The port outside stays open; links come back as soon as both sides have dialled again.
        """
        async with self._opening:
            if self._session is None:
                await self._open_again()

    async def _open_again(self) -> None:
        try:
            if self._gate is not None:
                self._gate.reload()
            await self._open_session([line.port for line in self._board.lines])
            self.problems.pop("trunk", None)
        except HydraMeshError as error:
            await self._close_session()
            self.problems["trunk"] = f"the trunk did not come back: {error.what}"
            log.error("%s (%s)", self.problems["trunk"], error.why)


def _free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", 0))
        except OSError as error:
            raise PortTaken("no loopback port is free", why=str(error)) from None
        return int(probe.getsockname()[1])
