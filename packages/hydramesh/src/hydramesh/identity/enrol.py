"""Admission and renewal: the requests of a node and the answers of the authority, as bytes.

The secret of an invite proves that somebody was invited; the request is also signed by the joiner's
key, so that nobody can have another one's key certified. Renewal is proved by the key alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from google.protobuf.message import DecodeError

from hydramesh.errors import (
    CertificateInvalid,
    ClockSkew,
    HydraMeshError,
    InvalidArgument,
    MessageMalformed,
    NotFound,
    WrongRealm,
    from_wire,
)
from hydramesh.identity import ledger as books
from hydramesh.identity.certs import (
    SKEW_LIMIT_S,
    NodeCertificate,
    PrivateKey,
    check_times,
    load_public,
    pin,
    public_bytes,
    read_node,
    sign,
    sign_node,
    signature_holds,
    span_text,
    verify_node,
)
from hydramesh.identity.invites import parse_endpoint, secret_digest
from hydramesh.identity.names import node_id
from hydramesh.identity.roster import Roster, make_roster, read_roster
from hydramesh.v1 import enrol_pb2

MAX_REQUEST_BYTES = 16384
MAX_ENDPOINTS = 8


@dataclass(frozen=True)
class Authority:
    """What admits nodes: the CA's key, and the books. ``repr`` does not show the key."""

    key: PrivateKey
    ca_der: bytes
    realm: str
    nid: str
    ledger: books.Ledger

    def __repr__(self) -> str:
        return f"Authority({self.realm})"

    def roster(self, now: float) -> bytes:
        """The signed list of members."""
        return make_roster(self.ledger, self.realm, self.nid, self.key, now)

    def certify(self, member: books.Member, now: float) -> bytes:
        """A certificate for a member."""
        return sign_node(
            self.key,
            self.ca_der,
            member.public_key,
            member.name,
            now,
            self.ledger.life_s,
            authority=member.nid == self.nid,
        )


# -- proofs ----------------------------------------------------------------------------------------


def _admit_proof(secret: bytes, pinned: bytes, name: str) -> bytes:
    return b"hydramesh admit\0" + secret + pinned + name.encode()


def _timed_proof(kind: str, time: float, pinned: bytes) -> bytes:
    return f"hydramesh {kind}\0{time:.3f}\0".encode() + pinned


def admit_request(
    key: PrivateKey, secret: bytes, pinned: bytes, name: str, endpoints: Sequence[str], now: float
) -> bytes:
    """Ask for admission with an invite's secret."""
    admit = enrol_pb2.Admit(
        secret=secret,
        public_key=public_bytes(key),
        name=name,
        proof=sign(key, _admit_proof(secret, pinned, name)),
        endpoints=endpoints,
        time=now,
    )
    return enrol_pb2.EnrolRequest(admit=admit).SerializeToString()


def renew_request(key: PrivateKey, pinned: bytes, endpoints: Sequence[str], now: float) -> bytes:
    """Ask for the next certificate."""
    renew = enrol_pb2.Renew(
        public_key=public_bytes(key),
        time=now,
        proof=sign(key, _timed_proof("renew", now, pinned)),
        endpoints=endpoints,
    )
    return enrol_pb2.EnrolRequest(renew=renew).SerializeToString()


def leave_request(key: PrivateKey, pinned: bytes, now: float) -> bytes:
    """Say that this node leaves the realm."""
    leave = enrol_pb2.Leave(
        public_key=public_bytes(key),
        time=now,
        proof=sign(key, _timed_proof("leave", now, pinned)),
    )
    return enrol_pb2.EnrolRequest(leave=leave).SerializeToString()


# -- the authority ---------------------------------------------------------------------------------


def hello(authority: Authority, now: float) -> bytes:
    """What the authority says first."""
    return enrol_pb2.Hello(ca_certificate=authority.ca_der, time=now).SerializeToString()


def answer(authority: Authority, request: bytes, now: float) -> tuple[bytes, books.Ledger]:
    """Answer a request; the ledger must be safe on the disk before the reply is sent."""
    try:
        asked = enrol_pb2.EnrolRequest.FromString(request)
        kind = asked.WhichOneof("kind")
        if kind == "admit":
            return _answer_admit(authority, asked.admit, now)
        if kind == "renew":
            return _answer_renew(authority, asked.renew, now)
        if kind == "leave":
            return _answer_leave(authority, asked.leave, now)
        raise MessageMalformed("the request is of an unknown kind")
    except DecodeError:
        return failure(MessageMalformed("the request cannot be read")), authority.ledger
    except HydraMeshError as error:
        return failure(error), authority.ledger


def renewal_only(request: bytes) -> bytes:
    """The request itself, if it asks for a renewal: the only kind that comes over the trunk."""
    try:
        kind = enrol_pb2.EnrolRequest.FromString(request).WhichOneof("kind")
    except DecodeError:
        kind = None
    if kind != "renew":
        raise MessageMalformed("a request over the trunk is not one for a renewal")
    return request


def failure(error: HydraMeshError) -> bytes:
    """An error as a reply."""
    told = enrol_pb2.Failure(
        error=error.name, what=error.what, why=error.why, next_step=error.next_step
    )
    return enrol_pb2.EnrolReply(failure=told).SerializeToString()


def _endpoints(given: Sequence[str]) -> tuple[str, ...]:
    if len(given) > MAX_ENDPOINTS:
        raise InvalidArgument("a node named too many endpoints", why=f"{len(given)}")
    return tuple(str(parse_endpoint(each)) for each in given)


def _check_proof(public_key: bytes, proof: bytes, message: bytes) -> None:
    if not signature_holds(load_public(public_key), proof, message):
        raise CertificateInvalid("the request was not signed by the key that it names")


def check_skew(theirs: float, ours: float, whose: str) -> None:
    """Refuse when two clocks differ by more than certificates allow for."""
    skew = theirs - ours
    if not math.isfinite(skew):
        raise MessageMalformed(f"the time that {whose} tells is none")
    if abs(skew) <= SKEW_LIMIT_S:
        return
    raise ClockSkew(
        f"the clocks of this machine and of {whose} differ too much",
        why=f"{whose} is {span_text(abs(skew))} {'ahead' if skew > 0 else 'behind'};"
        f" {span_text(SKEW_LIMIT_S)} are allowed",
        next_step="set the clock that is wrong: timedatectl set-ntp true",
    )


def _reply(authority: Authority, certificate: bytes, now: float) -> bytes:
    admitted = enrol_pb2.Admitted(certificate=certificate, roster=authority.roster(now))
    return enrol_pb2.EnrolReply(admitted=admitted).SerializeToString()


def _answer_admit(
    authority: Authority, asked: enrol_pb2.Admit, now: float
) -> tuple[bytes, books.Ledger]:
    pinned = pin(authority.ca_der)
    _check_proof(asked.public_key, asked.proof, _admit_proof(asked.secret, pinned, asked.name))
    ledger, member = books.admit(
        authority.ledger,
        secret_digest(asked.secret),
        asked.public_key,
        asked.name,
        now,
        _endpoints(asked.endpoints),
    )
    authority = replace(authority, ledger=ledger)
    return _reply(authority, authority.certify(member, now), now), ledger


def _answer_renew(
    authority: Authority, asked: enrol_pb2.Renew, now: float
) -> tuple[bytes, books.Ledger]:
    message = _timed_proof("renew", asked.time, pin(authority.ca_der))
    _check_proof(asked.public_key, asked.proof, message)
    check_skew(now, asked.time, "the authority")
    ledger, member = books.renew(
        authority.ledger, asked.public_key, now, _endpoints(asked.endpoints)
    )
    authority = replace(authority, ledger=ledger)
    return _reply(authority, authority.certify(member, now), now), ledger


def _answer_leave(
    authority: Authority, asked: enrol_pb2.Leave, now: float
) -> tuple[bytes, books.Ledger]:
    message = _timed_proof("leave", asked.time, pin(authority.ca_der))
    _check_proof(asked.public_key, asked.proof, message)
    check_skew(now, asked.time, "the authority")
    nid = node_id(asked.public_key)
    if nid not in authority.ledger.members or nid == authority.nid:
        raise NotFound("the realm has no such node")
    ledger, _ = books.expel(authority.ledger, nid, now, "left")
    return _reply(replace(authority, ledger=ledger), b"", now), ledger


# -- the node --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Greeting:
    """A verified hello: the realm's CA, and the authority's clock minus ours in seconds."""

    ca_der: bytes
    skew_s: float


def read_hello(data: bytes, leaf_der: bytes, pinned: bytes, now: float) -> Greeting:
    """Verify who answered: the CA is the one pinned, and the TLS key is the authority's."""
    try:
        said = enrol_pb2.Hello.FromString(data)
    except DecodeError:
        raise MessageMalformed("the authority's greeting cannot be read") from None
    if pin(said.ca_certificate) != pinned:
        raise WrongRealm(
            "another realm answers at the invite's endpoint",
            why="its CA is not the one that the invite pins",
            next_step="ask for a new invite; if it happens again, somebody may be in between",
        )
    leaf = read_node(leaf_der, said.ca_certificate)
    if not leaf.authority:
        raise WrongRealm(
            "a node that may not admit others answers at the invite's endpoint",
            why=f"it is {leaf.name}, a member but not the authority",
        )
    check_skew(said.time, now, "the authority")
    check_times(leaf, now)
    return Greeting(said.ca_certificate, said.time - now)


def read_reply(
    data: bytes, ca_der: bytes, public_key: bytes, now: float
) -> tuple[NodeCertificate, Roster]:
    """Verify an answer; raises the error that the authority reported."""
    admitted = _admitted(data)
    certificate = verify_node(admitted.certificate, ca_der, now)
    if certificate.public_key != public_key:
        raise CertificateInvalid("the authority certified another key than ours")
    return certificate, read_roster(admitted.roster, ca_der)


def read_farewell(data: bytes, ca_der: bytes) -> Roster:
    """Verify the answer to a leave."""
    return read_roster(_admitted(data).roster, ca_der)


def _admitted(data: bytes) -> enrol_pb2.Admitted:
    try:
        reply = enrol_pb2.EnrolReply.FromString(data)
    except DecodeError:
        raise MessageMalformed("the authority's answer cannot be read") from None
    if reply.WhichOneof("kind") == "failure":
        told = reply.failure
        raise from_wire(told.error, told.what, told.why, told.next_step)
    if reply.WhichOneof("kind") != "admitted":
        raise MessageMalformed("the authority's answer is empty")
    return reply.admitted
