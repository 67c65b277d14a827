"""The realm's list of members, signed by its CA: what every node knows of the others."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.message import DecodeError

from hydramesh.errors import MessageMalformed, MessageTooLarge, WrongRealm
from hydramesh.identity.certs import PrivateKey, load_certificate, sign, signature_holds
from hydramesh.identity.ledger import MAX_MEMBERS, Ledger
from hydramesh.identity.names import check_name, is_node_id
from hydramesh.v1 import trunk_pb2

MAX_ROSTER_BYTES = 1 << 20
_CONTEXT = b"hydramesh roster\0"


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """One node as the roster lists it; ``revoked`` is 0 for a member."""

    nid: str
    name: str
    joined: float
    revoked: float
    reason: str
    endpoints: tuple[str, ...]
    authority: bool

    @property
    def state(self) -> str:
        """member, revoked or left."""
        return self.reason or "revoked" if self.revoked else "member"


@dataclass(frozen=True, slots=True)
class Roster:
    """All nodes that the realm has ever admitted; the greater ``version`` is the newer one."""

    version: int
    time: float
    realm: str
    entries: dict[str, RosterEntry]
    signed: bytes

    def member(self, nid: str) -> RosterEntry | None:
        """The entry of a node that is a member."""
        entry = self.entries.get(nid)
        return entry if entry is not None and not entry.revoked else None


def make_roster(ledger: Ledger, realm: str, authority: str, key: PrivateKey, now: float) -> bytes:
    """The signed roster of a ledger."""
    roster = trunk_pb2.Roster(version=ledger.version, time=now, realm=realm)
    for each in ledger.members.values():
        roster.members.add(
            nid=each.nid,
            name=each.name,
            joined=each.joined,
            revoked=each.revoked,
            reason=each.reason,
            endpoints=each.endpoints,
            authority=each.nid == authority,
        )
    body = roster.SerializeToString()
    return trunk_pb2.SignedRoster(
        body=body, signature=sign(key, _CONTEXT + body)
    ).SerializeToString()


def read_roster(signed: bytes, ca_der: bytes) -> Roster:
    """Verify and read a roster from anywhere."""
    if len(signed) > MAX_ROSTER_BYTES:
        raise MessageTooLarge("a list of members is too long", why=f"{len(signed)} bytes")
    try:
        outer = trunk_pb2.SignedRoster.FromString(signed)
        key = load_certificate(ca_der).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        if not signature_holds(key, outer.signature, _CONTEXT + outer.body):
            raise WrongRealm("a list of members was not signed by the realm's CA")
        roster = trunk_pb2.Roster.FromString(outer.body)
    except DecodeError:
        raise MessageMalformed("a list of members cannot be read") from None
    if len(roster.members) > MAX_MEMBERS:
        raise MessageTooLarge("a list of members is too long", why=f"{len(roster.members)} nodes")
    return Roster(
        version=roster.version,
        time=roster.time,
        realm=check_name(roster.realm, "realm"),
        entries={each.nid: _entry(each) for each in roster.members if is_node_id(each.nid)},
        signed=signed,
    )


def _entry(each: trunk_pb2.Member) -> RosterEntry:
    return RosterEntry(
        nid=each.nid,
        name=check_name(each.name),
        joined=each.joined,
        revoked=each.revoked,
        reason="left" if each.reason == "left" else "revoked" if each.revoked else "",
        endpoints=tuple(each.endpoints)[:8],
        authority=each.authority,
    )
