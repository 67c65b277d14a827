"""Signed messages: members forward each other's, so each proves by itself who wrote it. Pure."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from hydramesh.errors import CertificateInvalid, MessageMalformed, MessageTooLarge
from hydramesh.identity.certs import (
    NodeCertificate,
    PrivateKey,
    check_times,
    load_public,
    sign,
    signature_holds,
    verify_node,
)
from hydramesh.identity.names import is_node_id
from hydramesh.membership.model import (
    MAX_COUNTER,
    MAX_NEIGHBOURS,
    MAX_REPORTS,
    Claim,
    Heartbeat,
    Neighbour,
    Report,
    Status,
)
from hydramesh.v1 import trunk_pb2

MAX_MESSAGE_BYTES = 32768
_MAX_KNOWN = 1024
_MAX_MODE = 16


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat with what the trunk adds to it."""

    beat: Heartbeat
    time: float
    roster_version: int
    endpoints: tuple[str, ...]


def seal(key: PrivateKey, topic: str, body: bytes, certificate: bytes = b"") -> bytes:
    """A signed message for a key expression; with a certificate now and then."""
    return trunk_pb2.Signed(
        body=body, signature=sign(key, _context(topic) + body), certificate=certificate
    ).SerializeToString()


class Introduction:
    """Which of a node's heartbeats carry its certificate, without which they cannot be verified.

    Every fourth, so that whoever is far away waits a second at most; all of the first second of a
    link, because the new neighbour takes down a link on which it hears nothing; and the last one.
    """

    EVERY = 4
    FIRST_S = 1.0

    def __init__(self) -> None:
        self._until = 0.0

    def linked(self, now: float) -> None:
        """A link came up."""
        self._until = now + self.FIRST_S

    def due(self, beat: Heartbeat, now: float) -> bool:
        """Whether this one carries it."""
        return now < self._until or beat.leaving or beat.seq % self.EVERY == 1


def _context(topic: str) -> bytes:
    return b"hydramesh " + topic.encode() + b"\0"


#: Each message is checked with one of few keys.
_public = functools.lru_cache(maxsize=256)(load_public)


class Opener:
    """Verifies sealed messages, and remembers the certificates that came with them."""

    def __init__(self, ca_der: bytes) -> None:
        self._ca_der = ca_der
        self._known: dict[str, NodeCertificate] = {}

    def open(
        self, topic: str, nid: str, data: bytes, now: float, limit: int = MAX_MESSAGE_BYTES
    ) -> bytes | None:
        """The body that node ``nid`` signed for a topic.

        None while its certificate has not come yet; raises a named error for what nobody honest
        sends.
        """
        if len(data) > limit:
            raise MessageTooLarge("a message is too long", why=f"{len(data)} bytes")
        try:
            outer = trunk_pb2.Signed.FromString(data)
        except DecodeError:
            raise MessageMalformed("a message cannot be read") from None
        certificate = self._certificate(nid, outer.certificate, now)
        if certificate is None:
            return None
        check_times(certificate, now)
        public = _public(certificate.public_key)
        if not signature_holds(public, outer.signature, _context(topic) + outer.body):
            raise CertificateInvalid(f"a message was not signed by {nid}, whose name it bears")
        return outer.body

    def _certificate(self, nid: str, der: bytes, now: float) -> NodeCertificate | None:
        held = self._known.get(nid)
        if not der or (held is not None and held.der == der):
            return held
        fresh = verify_node(der, self._ca_der, now)
        if fresh.nid != nid:
            raise CertificateInvalid(f"a message of {nid} came with the certificate of another")
        if len(self._known) >= _MAX_KNOWN and nid not in self._known:
            self._known.pop(next(iter(self._known)))
        self._known[nid] = fresh
        return fresh

    def certificate_of(self, nid: str) -> NodeCertificate | None:
        """The newest certificate that has come of a node."""
        return self._known.get(nid)


def encode_beat(beat: Heartbeat, time: float, version: int, endpoints: Iterable[str]) -> bytes:
    """A heartbeat as bytes."""
    out = trunk_pb2.Heartbeat(
        nid=beat.node,
        instance=beat.instance,
        incarnation=beat.incarnation,
        seq=beat.seq,
        stamp_us=beat.stamp_us,
        leaving=beat.leaving,
        time=time,
        roster_version=version,
        endpoints=endpoints,
        relay=beat.relay,
    )
    if beat.claim is not None:
        claim = beat.claim
        out.claim.CopyFrom(trunk_pb2.Claim(mode=claim.mode, term=claim.term, leader=claim.leader))
    for link in beat.neighbours:
        out.neighbours.add(
            nid=link.node, rtt_us=link.rtt_us, wanted=link.wanted, surplus=link.surplus
        )
    for each in beat.reports:
        out.reports.add(
            nid=each.node,
            instance=each.instance,
            incarnation=each.incarnation,
            status=each.status.value,
            stamp_us=each.stamp_us,
            held_us=each.held_us,
            rtt_us=each.rtt_us,
        )
    return out.SerializeToString()


def decode_beat(body: bytes, nid: str) -> Beat:
    """Read a verified heartbeat; its writer may still be hostile."""
    try:
        said = trunk_pb2.Heartbeat.FromString(body)
    except DecodeError:
        raise MessageMalformed("a heartbeat cannot be read") from None
    if said.nid != nid:
        raise MessageMalformed(f"a heartbeat of {nid} names another node")
    if len(said.neighbours) > MAX_NEIGHBOURS or len(said.reports) > MAX_REPORTS:
        raise MessageTooLarge(f"a heartbeat of {nid} is too long")
    if not math.isfinite(said.time):
        raise MessageMalformed(f"a heartbeat of {nid} tells a time that is none")
    beat = Heartbeat(
        node=nid,
        instance=_count(said.instance),
        incarnation=_count(said.incarnation),
        seq=_count(said.seq),
        stamp_us=_count(said.stamp_us),
        leaving=said.leaving,
        neighbours=tuple(
            Neighbour(_nid(each.nid), _signed(each.rtt_us), each.wanted, each.surplus)
            for each in said.neighbours
        ),
        reports=tuple(_report(each) for each in said.reports),
        claim=_claim(said.claim) if said.HasField("claim") else None,
        relay=said.relay,
    )
    return Beat(beat, said.time, said.roster_version, tuple(said.endpoints)[:8])


def _report(each: trunk_pb2.Report) -> Report:
    try:
        status = Status(each.status)
    except ValueError:
        raise MessageMalformed("a heartbeat names an unknown state") from None
    return Report(
        _nid(each.nid),
        _count(each.instance),
        _count(each.incarnation),
        status,
        _signed(each.stamp_us),
        _signed(each.held_us),
        _signed(each.rtt_us),
    )


def _claim(said: trunk_pb2.Claim) -> Claim:
    if len(said.mode) > _MAX_MODE or not (said.mode.isascii() and said.mode.isalnum()):
        raise MessageMalformed("a heartbeat names a role that cannot be one")
    return Claim(said.mode, _count(said.term), _nid(said.leader) if said.leader else "")


def _count(value: int) -> int:
    if not 0 <= value <= MAX_COUNTER:
        raise MessageMalformed("a heartbeat has a number out of range")
    return value


def _signed(value: int) -> int:
    if not -1 <= value <= MAX_COUNTER:
        raise MessageMalformed("a heartbeat has a number out of range")
    return value


def _nid(text: str) -> str:
    if not is_node_id(text):
        raise MessageMalformed("a heartbeat names a node that cannot be one")
    return text
