"""A running node: trunk, membership and renewal, joined in one event loop."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

from hydramesh import doors
from hydramesh.config import Config
from hydramesh.doors import endpoints_of
from hydramesh.errors import HydraMeshError, TooManyRequests, Unreachable
from hydramesh.failures import Failures
from hydramesh.identity import enrol
from hydramesh.identity import realm as realms
from hydramesh.identity.gate import GateServer
from hydramesh.identity.invites import Endpoint
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
from hydramesh.standing import Standing
from hydramesh.trunk import probes
from hydramesh.trunk.addresses import free_port
from hydramesh.trunk.envelope import Introduction, Opener, decode_beat, encode_beat, seal
from hydramesh.trunk.passage import PIECE, STEP_TIMEOUT_S, Forwarder, Passage
from hydramesh.trunk.session import Files, Session, TrunkLink, check_door, zenoh_settings
from hydramesh.trunk.silence import Silence
from hydramesh.trunk.switchboard import Switchboard

log = logging.getLogger("hydramesh")

TICK_S = 0.05
_LINKS_EVERY = 2
_RETRY_S = 60.0
_CALL_EVERY_S = 2.0
#: So long a renewed session waits for its links before the old one closes.
_MOVE_S = 3.0


@dataclass(slots=True)
class Heard:
    """What the trunk adds to the membership's view of a peer."""

    skew_s: float = 0.0
    endpoints: tuple[str, ...] = ()
    roster_version: int = 0


class Node:
    """One member of a realm, from ``start`` to ``stop``."""

    def __init__(self, state: State, realm: Realm, config: Config) -> None:
        self.state, self.realm, self.config = state, realm, config
        self.standing = Standing(state, config, realm.nid, time.monotonic())
        self.endpoints = self.standing.advertised or endpoints_of(config)
        self.failures = Failures()
        self.undialled: dict[str, str] = {}
        self._call_at = time.monotonic() + _CALL_EVERY_S
        self.listening: list[str] = []
        self.problems: dict[str, str] = {}
        self.heard: dict[str, Heard] = {}
        self.refused: dict[str, int] = {}
        self.skew_s = 0.0
        self.links: dict[str, TrunkLink] = {}
        self.membership = Membership(realm.nid, secrets.randbelow(MAX_COUNTER), time.monotonic())
        self._board = Switchboard()
        self._session: Session | None = None
        self._before: Session | None = None
        self._gate: GateServer | None = None
        self._passage = Passage(state.root / "gate.sock")
        self._forwarder = Forwarder(self._ask_gate)
        self._opener = Opener(realm.ca_der)
        self._introduction = Introduction()
        self._tasks: set[asyncio.Task[object]] = set()
        self._fetching = False
        self._silence = Silence()
        self._moving = asyncio.Lock()
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
            await self._board.take_port(self.config.host, self.config.port)
            await self._renew_if_due()
            lines = await self._board.open_lines()
            await self._open_session(lines)
            await self._open_gate()
            self.listening = await self._board.open_port()
        except BaseException:
            await self.stop()
            raise
        self._know_members()
        self._start(self._tick_forever())
        self._start(self._renew_forever())

    async def _open_session(self, lines: list[int]) -> None:
        port = free_port()
        self._session = await Session.open(zenoh_settings(self.files, port, lines))
        await check_door("127.0.0.1", port, self.files)
        self._board.trunk_port = port
        self._session.subscribe(self._topic("hb/*"), self._on_beat)
        self._session.serve(
            self._topic(f"node/{self.realm.nid}/roster"), lambda: self.realm.roster.signed
        )
        own = self._topic(f"rpc/{self.realm.nid}")
        probes.serve(self._session, own)
        if self.realm.authority is not None:
            limit = enrol.MAX_REQUEST_BYTES
            self._session.answer(f"{own}/renew", limit, self._handle_renewal, where="loop")
            self._session.serve_bulk(f"{own}/gate", self._passage.answer)
        for opened in self.on_open:
            opened(self._session)

    async def _open_gate(self) -> None:
        """The authority's own gate; on other members a way to it for who reaches them only."""
        path = self.state.root / "gate.sock"
        if self.realm.authority is not None:
            self._gate = GateServer(
                self.files.certificate, self.files.key, self._greet, self._handle_request
            )
            await self._gate.start(path)
        else:
            await self._forwarder.start(path)
        self._board.gate_path = str(path)

    async def _ask_gate(self, step: bytes) -> bytes:
        """Hand on what a joiner says to the authority, which we cannot read."""
        session, owner = self._session, self._authority()
        if session is None or not self.membership.status(owner).reachable:
            raise Unreachable("the realm's authority is not reached")
        topic = self._topic(f"rpc/{owner}/gate")
        return await session.query(topic, step, limit=PIECE + 1, timeout_s=STEP_TIMEOUT_S)

    def _authority(self) -> str:
        return next((e.nid for e in self.realm.roster.entries.values() if e.authority), "")

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
        await self._forwarder.close()
        self._passage.close()
        for session in (self._before, self._session):
            if session is not None:
                await session.close()
        self._session = self._before = None

    def _start(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[object]) -> None:
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

    def _handle_renewal(self, request: bytes) -> bytes:
        if self._gate is None or not self._gate.admitted_by_rate():
            raise TooManyRequests("too many requests for renewals came over the trunk")
        return self._handle_request(enrol.renewal_only(request))

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
        if self.failures.mutes(nid, time.monotonic()):
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
        shown = self._introduction.due(beat, time.monotonic())
        certificate = self.realm.certificate.der if shown else b""
        sealed = seal(self.realm.key, topic, body, certificate)
        self._session.publish(topic, sealed)
        if self._before is not None:
            self._before.publish(topic, sealed)

    def reach(self, nid: str) -> list[tuple[str, int]]:
        """Endpoints of a node: what it says itself, what the roster says, what the user says."""
        entry = self.realm.roster.entries.get(nid)
        found = list(doors.told(self, nid))
        if entry is not None and entry.authority:
            found += doors.not_of_others(self, self.realm.gates, nid)
        return [(e.host, e.port) for e in dict.fromkeys(found) if e not in self.endpoints][:8]

    async def _dial(self, nid: str) -> None:
        try:
            if self.failures.cuts(nid, time.monotonic()):
                raise Unreachable("the link is cut", why="simulated")
            await self._board.dial(nid, self.reach(nid))
            self.undialled.pop(nid, None)
        except HydraMeshError as error:
            self.undialled[nid] = error.why
            log.debug("dialling %s: %s", self.name_of(nid), error.why)
            self._act(self.membership.dial_failed(nid, time.monotonic()))

    def _call_configured(self, now: float) -> None:
        """While nobody is linked, try the endpoints of the configuration as well."""
        if self.links or now < self._call_at:
            return
        self._call_at = now + _CALL_EVERY_S
        for each in self.config.peers:
            if each not in self.endpoints and self._board.line_of(str(each)) is None:
                self._start(self._call(each))

    async def _call(self, endpoint: Endpoint) -> None:
        try:
            await self._board.dial(str(endpoint), [(endpoint.host, endpoint.port)])
        except HydraMeshError as error:
            log.debug("dialling %s: %s", endpoint, error.why)

    def _hang_up(self, nid: str) -> None:
        link = self.links.get(nid)
        ports = {link.source_port, link.destination_port} if link else set()
        self._board.hang_up(ports, nid)

    def _watch_links(self) -> None:
        if self._session is None:
            return
        now = time.monotonic()
        lines = {line.port for line in self._board.lines}
        links = [*(self._before.links() if self._before else ()), *self._session.links()]
        current = {link.nid: link for link in links if link.nid}
        for nid in [nid for nid in current if self._unwelcome(nid, now)]:
            link = current.pop(nid)
            self._board.hang_up({link.source_port, link.destination_port}, nid)
        for nid in set(self.links) - set(current):
            self._act(self.membership.link_down(nid, now))
        for nid in set(current) - set(self.links):
            outbound = current[nid].destination_port in lines
            self._board.name_line(current[nid].destination_port, nid)
            self._introduction.linked(now)
            self._act(self.membership.link_up(nid, now, outbound=outbound))
        self.links = current

    def _unwelcome(self, nid: str, now: float) -> bool:
        entry = self.realm.roster.entries.get(nid)
        expelled = entry is not None and bool(entry.revoked)
        return expelled or self.failures.cuts(nid, now)

    async def _tick_forever(self) -> None:
        count = 0
        while True:
            now = time.monotonic()
            self.standing.update(self.membership, now)
            self._act(self.membership.tick(now))
            over = self.failures.over(now)
            if over:
                self._act(self.membership.retry(now, over))
            self._call_configured(now)
            if count % _LINKS_EVERY == 0:
                self._watch_links()
                self._watch_silence(now)
            count += 1
            await asyncio.sleep(TICK_S)

    def _watch_silence(self, now: float) -> None:
        """Open the trunk anew when a peer has been linked for long and is not heard."""
        links = [nid for nid in self.links if not self.failures.mutes(nid, now)]
        silent = self._silence.watch(links, self.membership.peers, now)
        if silent and not self._moving.locked():
            log.warning("%s is linked and not heard: the trunk begins anew", self.name_of(silent))
            self._silence.forget()
            self._start(self._reopen())

    # -- what the user asks for --------------------------------------------------------------------

    def redial(self, nodes: Iterable[str] | None = None) -> None:
        """Dial those who are away, now, whatever failed before; all, or only some."""
        self._act(self.membership.retry(time.monotonic(), nodes))

    def prober(self, nid: str) -> probes.Prober:
        """What measures the way to a node."""
        if self._session is None:
            raise Unreachable("the trunk is down", next_step="hydramesh status")
        return probes.Prober(self._session, self._topic(f"rpc/{nid}"))

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
            realm, skew_s = await realms.renew(
                self.state, self.realm, endpoints, time.time(), through=self._over_the_trunk()
            )
            self.skew_s = self.skew_s if skew_s is None else skew_s
        except HydraMeshError as error:
            self.problems["renewal"] = f"the certificate was not renewed: {error.what}"
            log.warning("%s (%s)", self.problems["renewal"], error.why)
            return False
        self.problems.pop("renewal", None)
        self.take(realm)
        return True

    def _over_the_trunk(self) -> Callable[[bytes], Awaitable[bytes | None]] | None:
        """How the authority is asked while it is heard, by whatever way."""
        session, owner = self._session, self._authority()
        if session is None or not self.membership.status(owner).reachable:
            return None
        topic = self._topic(f"rpc/{owner}/renew")
        return lambda request: session.fetch(topic, request, 2 * MAX_ROSTER_BYTES)

    async def _renew_forever(self) -> None:
        stale = False
        while True:
            life = self.realm.certificate.not_after - self.realm.certificate.renew_at()
            await asyncio.sleep(max(1.0, min(_RETRY_S, life / 10)))
            stale = await self._renew_if_due() or stale
            if stale:
                stale = not await self._reopen()
                if not stale:
                    log.info("the certificate was renewed")

    async def _reopen(self) -> bool:
        """Take a new certificate into use, or begin anew; whether that was possible.

        Zenoh reads it only when a session opens. So a second session is opened beside the first,
        with lines of its own; when the neighbours are linked with it, too, the first one closes.
        """
        async with self._moving:
            return await self._move()

    async def _move(self) -> bool:
        assert self._session is not None
        old, neighbours, port = self._session, list(self.links), self._board.trunk_port
        self._before = old
        try:
            if self._gate is not None:
                self._gate.reload()
            await self._open_session(await self._board.open_lines())
        except HydraMeshError as error:
            failed, self._session, self._before = self._session, old, None
            if failed is not old:
                await failed.close()
            self._board.trunk_port = port
            self._board.close_new()
            self.problems["trunk"] = f"the new certificate is not in use: {error.what}"
            log.error("%s (%s)", self.problems["trunk"], error.why)
            return False
        self.problems.pop("trunk", None)
        await self._link_anew(neighbours)
        self._before = None
        await old.close()
        self._board.close_retired()
        log.info("the trunk was opened anew")
        return True

    async def _link_anew(self, neighbours: list[str]) -> None:
        """Link the new session with those that the old one is linked with.

        Whom we cannot dial dials us as soon as the old session closes.
        """
        await asyncio.gather(*(self._dial(nid) for nid in neighbours))
        deadline = time.monotonic() + _MOVE_S
        dialled = {nid for nid in neighbours if nid not in self.undialled}
        while self._session is not None and time.monotonic() < deadline:
            if dialled <= {link.nid for link in self._session.links()}:
                break
            await asyncio.sleep(TICK_S)
        # What each side subscribes to has to spread: two heartbeats are time enough.
        await asyncio.sleep(2 * self.membership.settings.interval_s)
