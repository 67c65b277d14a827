"""What is done with the mesh itself: the handlers of the service ``Mesh``, see ``mesh.proto``."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

import grpc

from hydramesh import views
from hydramesh.doors import endpoints_of
from hydramesh.errors import HydraMeshError, InvalidArgument, NotFound
from hydramesh.failures import DEFAULT_S
from hydramesh.identity.invites import Endpoint, parse_endpoint
from hydramesh.membership.model import Status
from hydramesh.node import Node
from hydramesh.trunk import probes
from hydramesh.v1 import mesh_pb2 as pb
from hydramesh.v1 import mesh_pb2_grpc

if TYPE_CHECKING:
    from hydramesh.control import Daemon

HEAL_S, LONGEST_HEAL_S = 5.0, 60.0
ROUND_TRIPS, MOST_ROUND_TRIPS = 200, 100_000
CHUNKS, MOST_CHUNKS = 64, 16_384
_REDIAL_S = 1.0
_LOOK_S = 0.05
_PROGRESS_S = 0.25


def find(node: Node, text: str) -> str:
    """The id of another member, by its name or id; raises ``NotFound``."""
    for entry in node.realm.roster.entries.values():
        if text in (entry.nid, entry.name) and not entry.revoked:
            if entry.nid == node.realm.nid:
                raise InvalidArgument(f"{entry.name} is this node", next_step="name another")
            return entry.nid
    raise NotFound(
        f"the realm has no node {text[:40]!a}", next_step="see who there is: hydramesh members"
    )


def groups(node: Node) -> pb.Groups:
    """The groups, and who is in them."""
    shown = views.topology(node)
    threshold_ms = node.standing.grouping.settings.threshold_ms
    return pb.Groups(threshold_ms=threshold_ms, groups=shown.groups, nodes=shown.nodes)


def role(node: Node, asked: pb.RoleRequest) -> pb.RoleInfo:
    """Set the role if one is given; the role and the master."""
    standing = node.standing
    if asked.set:
        standing.set_mode(asked.set)
        standing.update(node.membership, time.monotonic())
    leader = standing.leader
    return pb.RoleInfo(
        mode=standing.mode.value,
        source="role set" if standing.choice.mode else "configuration",
        master=leader,
        master_name=node.name_of(leader) if leader else "",
        term=standing.election.term,
        settled=standing.settled(time.monotonic()),
    )


def relay(node: Node, asked: pb.RelayRequest) -> pb.RelayInfo:
    """Become a relay, or be none; the relays that are known."""
    if asked.set not in ("", "on", "off"):
        raise InvalidArgument(f"not on or off: {asked.set[:20]!a}")
    if asked.set:
        told = tuple(parse_endpoint(each, node.config.port) for each in asked.advertise)
        node.standing.set_relay(asked.set == "on", told)
        # The next heartbeats tell the others.
        node.endpoints = node.standing.advertised or endpoints_of(node.config)
    found = pb.RelayInfo(
        relay=node.standing.relay,
        endpoints=[str(each) for each in node.endpoints],
        relays=[each for each in views.peers(node).peers if each.relay],
    )
    if node.standing.relay and not any(_is_public(each) for each in node.endpoints):
        found.warnings.append(
            "no endpoint of this node looks reachable from everywhere: name one with --advertise"
        )
    return found


def _is_public(endpoint: Endpoint) -> bool:
    try:
        return ipaddress.ip_address(endpoint.host).is_global
    except ValueError:
        return "." in endpoint.host and not endpoint.host.endswith((".local", ".lan"))


async def heal(node: Node, asked: pb.HealRequest) -> pb.HealReport:
    """Dial everybody who is away, wait for them, and say who came back."""
    wait_s = asked.wait_s or HEAL_S
    if not 0 < wait_s <= LONGEST_HEAL_S:
        raise InvalidArgument(f"healing waits up to {LONGEST_HEAL_S:.0f} s, not {wait_s:g}")
    began = now = time.monotonic()
    before = {n: state for n, state in _expected(node).items() if not state.reachable}
    next_call = began
    while not all(state.reachable for state in _expected(node).values()) and now < began + wait_s:
        if now >= next_call:
            node.redial()
            next_call = now + _REDIAL_S
        await asyncio.sleep(_LOOK_S)
        now = time.monotonic()
    after = _expected(node)
    report = pb.HealReport(
        alive=sum(state.reachable for state in after.values()),
        known=len(after),
        took_s=now - began,
    )
    for nid, state in sorted(before.items()):
        report.nodes.add(
            nid=nid,
            name=node.name_of(nid),
            before=state.value,
            after=after.get(nid, Status.LEFT).value,
            linked=nid in node.links,
            why=node.undialled.get(nid, ""),
        )
    return report


def _expected(node: Node) -> dict[str, Status]:
    """The members that should be there: all but those that said good-bye or were expelled."""
    entries = node.realm.roster.entries
    gone = {nid for nid, entry in entries.items() if entry.revoked}
    states = {nid: peer.effective for nid, peer in node.membership.peers.items()}
    return {n: state for n, state in states.items() if n not in gone and state is not Status.LEFT}


def simulate(node: Node, asked: pb.FailureRequest) -> pb.SimulatedFailures:
    """Begin or end a simulated failure; those that go on."""
    now = time.monotonic()
    if asked.node:
        nid = find(node, asked.node)
        if not asked.stop:
            span_s = asked.for_s or DEFAULT_S
            node.failures.begin(nid, link_only=asked.link_only, for_s=span_s, now=now)
        elif node.failures.end(nid):
            node.redial([nid])
    return pb.SimulatedFailures(
        failures=[
            pb.SimulatedFailure(
                nid=each.node,
                name=node.name_of(each.node),
                link_only=each.link_only,
                left_s=each.until - now,
            )
            for each in node.failures.active(now)
        ]
    )


# -- benchmark -------------------------------------------------------------------------------------


def distribution(samples: Iterable[float | None]) -> pb.Distribution:
    """Round trips of seconds as milliseconds; None is one that was lost."""
    told = list(samples)
    held = [each * 1000 for each in told if each is not None]
    return pb.Distribution(
        count=len(held),
        least=min(held, default=0.0),
        median=probes.percentile(held, 0.5),
        p99=probes.percentile(held, 0.99),
        most=max(held, default=0.0),
        lost=len(told) - len(held),
    )


async def benchmark(node: Node, asked: pb.BenchmarkRequest) -> AsyncIterator[pb.BenchmarkEvent]:
    """Measure the way to a node; the last event has the result."""
    nid = find(node, asked.node)
    count, chunks = asked.count or ROUND_TRIPS, asked.chunks or CHUNKS
    if not (1 <= count <= MOST_ROUND_TRIPS and 1 <= chunks <= MOST_CHUNKS):
        raise InvalidArgument(
            "a number is out of range",
            next_step=f"1 to {MOST_ROUND_TRIPS} round trips, 1 to {MOST_CHUNKS} chunks",
        )
    prober = node.prober(nid)
    idle: list[float | None] = []
    shown = 0.0
    async for took in prober.round_trips(count):
        idle.append(took)
        if time.monotonic() - shown >= _PROGRESS_S:
            shown = time.monotonic()
            yield pb.BenchmarkEvent(
                phase="round trips", done=len(idle) / count, value=(took or 0.0) * 1000
            )
    bulk, loaded = probes.Bulk(), list[float | None]()
    pulling = asyncio.create_task(prober.pull(chunks, bulk))
    watching = asyncio.create_task(_watch(prober, loaded))
    try:
        while not pulling.done():
            await asyncio.wait([pulling], timeout=_PROGRESS_S)
            yield pb.BenchmarkEvent(
                phase="bulk", done=len(bulk.at_s) / chunks, value=bulk.bytes_per_s / 1e6
            )
        await pulling
    finally:
        pulling.cancel()
        watching.cancel()
        await asyncio.gather(pulling, watching, return_exceptions=True)
    result = _result(node, nid, idle, loaded, bulk)
    yield pb.BenchmarkEvent(phase="bulk", done=1.0, value=result.mb_per_s, result=result)


async def _watch(prober: probes.Prober, loaded: list[float | None]) -> None:
    async for took in prober.round_trips(MOST_ROUND_TRIPS):
        loaded.append(took)


def _result(
    node: Node,
    nid: str,
    idle: list[float | None],
    loaded: list[float | None],
    bulk: probes.Bulk,
) -> pb.BenchmarkResult:
    rates = bulk.intervals()
    chunk_ms = [each * 1000 for each in bulk.took_s]
    return pb.BenchmarkResult(
        nid=nid,
        name=node.name_of(nid),
        linked=nid in node.links,
        idle=distribution(idle),
        loaded=distribution(loaded),
        chunks=len(bulk.at_s),
        mb_per_s=bulk.bytes_per_s / 1e6,
        median_mb_per_s=probes.percentile(rates, 0.5) / 1e6,
        least_mb_per_s=min(rates) / 1e6,
        chunk_median_ms=probes.percentile(chunk_ms, 0.5),
        chunk_p99_ms=probes.percentile(chunk_ms, 0.99),
    )


# -- the service -----------------------------------------------------------------------------------


class MeshService(mesh_pb2_grpc.MeshServicer):
    """The gRPC face of these; errors travel as JSON in the status text."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def _run(self, work: Callable[[Node], Awaitable[Any]], context: Any) -> Any:
        try:
            return await work(self._daemon.running())
        except HydraMeshError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, json.dumps(error.details()))

    async def _at_once(self, work: Callable[[Node], Any], context: Any) -> Any:
        async def later(node: Node) -> Any:
            return work(node)

        return await self._run(later, context)

    async def ListGroups(self, request: Any, context: Any) -> Any:
        del request
        return await self._at_once(groups, context)

    async def Role(self, request: Any, context: Any) -> Any:
        return await self._at_once(lambda node: role(node, request), context)

    async def Relay(self, request: Any, context: Any) -> Any:
        return await self._at_once(lambda node: relay(node, request), context)

    async def Heal(self, request: Any, context: Any) -> Any:
        return await self._run(lambda node: heal(node, request), context)

    async def SimulateFailure(self, request: Any, context: Any) -> Any:
        return await self._at_once(lambda node: simulate(node, request), context)

    async def Benchmark(self, request: Any, context: Any) -> Any:
        try:
            async for event in benchmark(self._daemon.running(), request):
                yield event
        except HydraMeshError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, json.dumps(error.details()))


def add_to(server: Any, daemon: Daemon) -> None:
    """Serve these beside the control interface."""
    add: Any = mesh_pb2_grpc.add_MeshServicer_to_server
    add(MeshService(daemon), server)
