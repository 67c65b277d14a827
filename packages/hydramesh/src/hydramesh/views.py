"""What a running node shows of itself, as messages of the control interface."""

from __future__ import annotations

import time
from itertools import combinations

from hydramesh.identity.certs import SKEW_LIMIT_S, span_text
from hydramesh.identity.realm import Realm
from hydramesh.node import Node
from hydramesh.v1 import control_pb2 as pb


def realm_info(realm: Realm, skew_s: float = 0.0) -> pb.RealmInfo:
    """The realm and this node's place in it."""
    return pb.RealmInfo(
        realm=realm.name,
        realm_id=realm.realm_id,
        nid=realm.nid,
        name=realm.certificate.name,
        authority=realm.authority is not None,
        certificate_ends=realm.certificate.not_after,
        clock_skew_s=skew_s,
    )


def members(realm: Realm) -> pb.Members:
    """Everybody that the realm has admitted."""
    out = pb.Members(version=realm.roster.version, time=realm.roster.time)
    for each in sorted(realm.roster.entries.values(), key=lambda entry: entry.name):
        out.members.add(
            nid=each.nid,
            name=each.name,
            joined=each.joined,
            state=each.state,
            authority=each.authority,
            self=each.nid == realm.nid,
        )
    return out


def _peer(node: Node, nid: str) -> pb.Peer:
    known = node.membership.peers[nid]
    heard = node.heard.get(nid)
    quality = known.quality
    return pb.Peer(
        nid=nid,
        name=node.name_of(nid),
        state=known.effective.value,
        incarnation=known.incarnation,
        rtt_ms=max(0.0, quality.rtt_s * 1000),
        jitter_ms=quality.jitter_s * 1000,
        loss=quality.loss,
        linked=nid in node.links,
        clock_skew_s=heard.skew_s if heard else 0.0,
        endpoints=heard.endpoints if heard else (),
        role=known.beat.claim.mode if known.beat and known.beat.claim else "",
        leads=nid == node.standing.leader,
        relay=known.beat is not None and known.beat.relay,
    )


def peers(node: Node) -> pb.Peers:
    """All other nodes that this one knows of."""
    return pb.Peers(peers=[_peer(node, nid) for nid in sorted(node.membership.peers)])


def links(node: Node) -> pb.Links:
    """The direct links."""
    out = pb.Links()
    for nid in sorted(node.links):
        peer = _peer(node, nid) if nid in node.membership.peers else pb.Peer()
        out.links.add(
            nid=nid,
            name=node.name_of(nid),
            rtt_ms=peer.rtt_ms,
            jitter_ms=peer.jitter_ms,
            loss=peer.loss,
            direction=node.direction(nid),
        )
    return out


def topology(node: Node) -> pb.Topology:
    """Nodes, and the links between them that both ends tell of."""
    out = pb.Topology(nodes=[_peer(node, nid) for nid in sorted(node.membership.peers)])
    own = node.realm
    out.nodes.add(
        nid=own.nid,
        name=own.certificate.name,
        state="alive",
        role=node.standing.mode.value,
        leads=own.nid == node.standing.leader,
        relay=node.standing.relay,
    )
    _add_groups(node, out)
    told: dict[tuple[str, str], float] = {}
    for nid in node.links:
        told[own.nid, nid] = max(0.0, node.membership.peers[nid].quality.rtt_s * 1000)
    for nid, peer in node.membership.peers.items():
        for link in peer.beat.neighbours if peer.beat and peer.effective.reachable else ():
            told[nid, link.node] = max(0.0, link.rtt_us / 1000)
    for (one, other), rtt_ms in sorted(told.items()):
        if one < other and (other, one) in told:
            out.edges.add(from_nid=one, to_nid=other, rtt_ms=max(rtt_ms, told[other, one]))
    return out


def _add_groups(node: Node, out: pb.Topology) -> None:
    round_trips = node.membership.round_trips()
    for group in node.standing.regroup(node.membership, time.monotonic()):
        pairs = [round_trips.get(pair, 0.0) for pair in combinations(sorted(group), 2)]
        out.groups.add(nids=group, worst_rtt_ms=max(pairs, default=0.0) * 1000)


def problems(node: Node) -> list[str]:
    """What the user should know."""
    found = [*node.problems.values(), *node.config.warnings]
    now = time.monotonic()
    for failure in node.failures.active(now):
        what = "the link to" if failure.link_only else "silence of"
        found.append(
            f"{what} {node.name_of(failure.node)} is a simulated failure, for"
            f" {failure.until - now:.0f} s more"
        )
    for nid, heard in node.heard.items():
        if abs(heard.skew_s) > SKEW_LIMIT_S / 2:
            word = "ahead" if heard.skew_s > 0 else "behind"
            found.append(
                f"the clock of {node.name_of(nid)} is {span_text(abs(heard.skew_s))} {word}"
            )
    return found


def diagnose(node: Node) -> pb.Diagnosis:
    """Checks with their evidence: ok, bad, not-applicable or unknown."""
    now = time.time()
    out = pb.Diagnosis()

    def say(name: str, answer: str, evidence: str, next_step: str = "") -> None:
        out.checks.add(name=name, answer=answer, evidence=evidence, next_step=next_step)

    left = node.realm.certificate.not_after - now
    renewal = node.problems.get("renewal", "")
    say(
        "certificate",
        "bad" if left <= 0 or renewal else "ok",
        renewal or f"valid for {span_text(max(0, left))}",
        "start hydrameshd on the realm's authority" if renewal else "",
    )
    say("own listener", "ok", "a peer without a certificate was refused at the last start")
    say("port", "ok" if node.listening else "bad", ", ".join(node.listening) or "none is open")
    skews = [abs(each.skew_s) for each in node.heard.values()]
    if not skews:
        say("clock", "unknown", "no other node was heard")
    else:
        bad = max(skews) > SKEW_LIMIT_S / 2
        say(
            "clock",
            "bad" if bad else "ok",
            f"at most {max(skews):.1f} s from the other nodes",
            "timedatectl set-ntp true" if bad else "",
        )
    _diagnose_peers(node, out)
    refused = ", ".join(f"{name} {count}" for name, count in sorted(node.refused.items()))
    say("refused messages", "bad" if refused else "ok", refused or "none")
    say(
        "duplicate id",
        "bad" if "duplicate" in node.problems else "ok",
        node.problems.get("duplicate", "nobody else uses this node's id"),
    )
    return out


def _diagnose_peers(node: Node, out: pb.Diagnosis) -> None:
    states = {nid: peer.effective for nid, peer in node.membership.peers.items()}
    away = [node.name_of(nid) for nid, state in states.items() if not state.reachable]
    if not states:
        out.checks.add(name="peers", answer="not-applicable", evidence="this node is alone so far")
        return
    out.checks.add(
        name="peers",
        answer="ok" if not away else "bad",
        evidence=f"{len(states) - len(away)} of {len(states)} are reached"
        + (f"; away: {', '.join(sorted(away))}" if away else ""),
    )
