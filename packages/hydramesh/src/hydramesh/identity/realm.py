"""What a node does about its realm: found one, join, invite, renew, revoke, leave.

These functions join the pure parts with the state directory; the daemon and the command line share
them. Whoever calls them holds the lock of the state directory.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from hydramesh.errors import (
    HydraMeshError,
    InvalidArgument,
    NoRealm,
    NotAuthority,
    RealmExists,
    StateUnsafe,
)
from hydramesh.identity import certs, enrol, gate, invites
from hydramesh.identity import ledger as books
from hydramesh.identity.certs import NodeCertificate, PrivateKey
from hydramesh.identity.enrol import Authority
from hydramesh.identity.invites import Endpoint, Invite, parse_endpoint
from hydramesh.identity.names import check_name
from hydramesh.identity.roster import Roster, read_roster
from hydramesh.identity.state import State

#: So many endpoints are tried, one after the other.
MAX_GATES = 16
MIN_CERTIFICATE_LIFE_S = 10
MAX_CERTIFICATE_LIFE_S = 30 * 24 * 3600


@dataclass(frozen=True)
class Realm:
    """This node's membership. ``repr`` does not show keys."""

    name: str
    ca_der: bytes
    key: PrivateKey
    certificate: NodeCertificate
    roster: Roster
    gates: tuple[Endpoint, ...]
    authority: Authority | None

    def __repr__(self) -> str:
        return f"Realm({self.name}, {self.certificate.nid})"

    @property
    def realm_id(self) -> str:
        """The realm's id."""
        return certs.realm_id(self.ca_der)

    @property
    def nid(self) -> str:
        """This node's id."""
        return self.certificate.nid


def load(state: State) -> Realm:
    """The realm of the state directory."""
    if not state.has_realm():
        raise NoRealm(
            "this node is in no realm", next_step="hydramesh init, or: hydramesh join CODE"
        )
    ca_der = certs.der_of_pem(state.read("ca.crt"))
    try:
        facts = json.loads(state.read("realm.json"))
        name, gates = str(facts["realm"]), tuple(parse_endpoint(str(g)) for g in facts["gates"])
    except (ValueError, KeyError, TypeError, InvalidArgument):
        raise StateUnsafe(f"{state.path('realm.json')} is damaged") from None
    certificate = certs.read_node(certs.der_of_pem(state.read("node.crt")), ca_der)
    authority = None
    if state.path("ca.key").exists():
        ledger = books.from_json(json.loads(state.read("ledger.json")))
        key = certs.load_key(state.read("ca.key"))
        authority = Authority(key, ca_der, name, certificate.nid, ledger)
    return Realm(
        name=name,
        ca_der=ca_der,
        key=certs.load_key(state.read("node.key")),
        certificate=certificate,
        roster=read_roster(state.read("roster"), ca_der),
        gates=gates,
        authority=authority,
    )


def _refuse_second(state: State) -> None:
    if state.has_realm():
        raise RealmExists(
            f"this node is in realm {load(state).name} already", next_step="hydramesh leave, first"
        )


def _facts(realm: str, gates: Sequence[Endpoint]) -> bytes:
    return json.dumps({"realm": realm, "gates": [str(each) for each in gates]}).encode()


def found(state: State, realm: str, name: str, life_s: float, now: float) -> Realm:
    """Found a realm: its CA, and this node as the first member."""
    _refuse_second(state)
    if not MIN_CERTIFICATE_LIFE_S <= life_s <= MAX_CERTIFICATE_LIFE_S:
        raise InvalidArgument(
            f"a certificate cannot last {certs.span_text(life_s)}",
            next_step=f"choose {certs.span_text(MIN_CERTIFICATE_LIFE_S)} to"
            f" {certs.span_text(MAX_CERTIFICATE_LIFE_S)}",
        )
    ca_key, ca_der = certs.make_authority(realm, now)
    key = certs.new_key()
    ledger, member = books.found(books.Ledger(life_s=life_s), certs.public_bytes(key), name, now)
    authority = Authority(ca_key, ca_der, realm, member.nid, ledger)
    state.make_realm(
        {
            "ca.key": certs.key_pem(ca_key),
            "ledger.json": json.dumps(books.to_json(ledger)).encode(),
            "ca.crt": certs.pem(ca_der),
            "node.key": certs.key_pem(key),
            "node.crt": certs.pem(authority.certify(member, now)),
            "realm.json": _facts(realm, ()),
            "roster": authority.roster(now),
        }
    )
    return load(state)


def _authority(realm: Realm) -> Authority:
    if realm.authority is None:
        owner = next((each.name for each in realm.roster.entries.values() if each.authority), "?")
        raise NotAuthority(
            "only the realm's authority can do this", next_step=f"do it on node {owner}"
        )
    return realm.authority


def keep_books(state: State, realm: Realm, ledger: books.Ledger, now: float) -> Realm:
    """Make a changed ledger safe on the disk, and the roster that follows from it."""
    authority = replace(_authority(realm), ledger=ledger)
    state.write("ledger.json", json.dumps(books.to_json(ledger)).encode())
    if ledger.version != realm.roster.version:
        state.write("roster", authority.roster(now))
    roster = read_roster(state.read("roster"), realm.ca_der)
    return replace(realm, authority=authority, roster=roster)


def invite(
    state: State, realm: Realm, name: str, life_s: float, endpoints: Sequence[Endpoint], now: float
) -> tuple[Realm, str, Invite]:
    """Make a one-time invite; the realm, the code, and what is in it."""
    authority = _authority(realm)
    if not endpoints:
        raise InvalidArgument(
            "this machine has no address that others could reach",
            next_step="name one: hydramesh invite --endpoint HOST:PORT",
        )
    secret = secrets.token_bytes(invites.SECRET_BYTES)
    digest = invites.secret_digest(secret)
    ledger = books.with_invite(authority.ledger, digest, name, life_s, now)
    realm = keep_books(state, realm, ledger, now)
    made = Invite(
        certs.pin(realm.ca_der),
        secret,
        int(now + life_s),
        tuple(endpoints)[: invites.MAX_ENDPOINTS],
    )
    return realm, invites.encode(made), made


async def join(
    state: State, code: str, name: str, endpoints: Sequence[str], now: float
) -> tuple[Realm, float]:
    """Redeem an invite; the realm, and the authority's clock minus ours in seconds."""
    _refuse_second(state)
    invited = invites.decode(code)
    invites.check_not_expired(invited.expires, now)
    check_name(name)
    key = certs.new_key()
    greeting, data = await gate.ask(
        invited.endpoints,
        invited.pin,
        lambda _: enrol.admit_request(key, invited.secret, invited.pin, name, endpoints, now),
    )
    certificate, roster = enrol.read_reply(data, greeting.ca_der, certs.public_bytes(key), now)
    state.make_realm(
        {
            "ca.crt": certs.pem(greeting.ca_der),
            "node.key": certs.key_pem(key),
            "node.crt": certs.pem(certificate.der),
            "realm.json": _facts(roster.realm, invited.endpoints),
            "roster": roster.signed,
        }
    )
    return load(state), greeting.skew_s


def with_roster(state: State, realm: Realm, signed: bytes) -> Realm:
    """Take a newer list of members from anywhere; an older one changes nothing."""
    roster = read_roster(signed, realm.ca_der)
    if realm.authority is not None or roster.version <= realm.roster.version:
        return realm
    state.write("roster", signed)
    return replace(realm, roster=roster)


def gates_of(realm: Realm) -> tuple[Endpoint, ...]:
    """Where the authority may be, as the roster and the invite said; then members on the way."""
    others = [each for each in realm.roster.entries.values() if each.nid != realm.nid]
    own, through = (
        [
            parse_endpoint(text)
            for each in others
            if each.authority is is_authority and not each.revoked
            for text in each.endpoints
        ]
        for is_authority in (True, False)
    )
    return tuple(dict.fromkeys([*own, *realm.gates, *through]))[:MAX_GATES]


async def renew(
    state: State,
    realm: Realm,
    endpoints: Sequence[str],
    now: float,
    *,
    through: Callable[[bytes], Awaitable[bytes | None]] | None = None,
) -> tuple[Realm, float | None]:
    """Get the next certificate; the realm, and the authority's clock minus ours in seconds.

    ``through`` asks the authority over the trunk, which works behind NAT as well, and returns its
    answer or None; clocks are not compared then. Without an answer the gate is tried.
    """
    if realm.authority is not None:
        ledger, member = books.renew(
            realm.authority.ledger, realm.certificate.public_key, now, tuple(endpoints)
        )
        certificate = certs.read_node(realm.authority.certify(member, now), realm.ca_der)
        realm = keep_books(state, realm, ledger, now)
        skew: float | None = 0.0
    else:
        pinned = certs.pin(realm.ca_der)
        request = enrol.renew_request(realm.key, pinned, endpoints, now)
        # The proofs are in the request and in the answer: who hands them on can change neither.
        handed_on = await through(request) if through is not None else None
        if handed_on is not None:
            data, skew = handed_on, None
        else:
            greeting, data = await gate.ask(gates_of(realm), pinned, lambda _: request)
            skew = greeting.skew_s
        certificate, roster = enrol.read_reply(
            data, realm.ca_der, realm.certificate.public_key, now
        )
        realm = with_roster(state, realm, roster.signed)
    state.write("node.crt", certs.pem(certificate.der))
    return replace(realm, certificate=certificate), skew


def revoke(state: State, realm: Realm, node: str, now: float) -> tuple[Realm, books.Member]:
    """Expel a node."""
    authority = _authority(realm)
    member = books.find(authority.ledger, node)
    if member.nid == realm.nid:
        raise InvalidArgument(
            "the authority cannot expel itself", next_step="hydramesh leave --dissolve"
        )
    ledger, member = books.expel(authority.ledger, member.nid, now, "revoked")
    return keep_books(state, realm, ledger, now), member


async def leave(state: State, realm: Realm, now: float, *, dissolve: bool) -> bool:
    """Leave the realm and delete its keys; whether the authority heard of it."""
    told = False
    if realm.authority is not None:
        others = [e for e in realm.roster.entries.values() if not e.revoked and e.nid != realm.nid]
        if others and not dissolve:
            raise InvalidArgument(
                f"this node is the authority of realm {realm.name}",
                why=f"without it the certificates of {len(others)} others end",
                next_step="to end the realm for all: hydramesh leave --dissolve",
            )
    else:
        pinned = certs.pin(realm.ca_der)
        try:
            async with asyncio.timeout(gate.TIMEOUT_S):
                _, data = await gate.ask(
                    gates_of(realm), pinned, lambda _: enrol.leave_request(realm.key, pinned, now)
                )
            enrol.read_farewell(data, realm.ca_der)
            told = True
        except (HydraMeshError, TimeoutError):
            told = False
    state.forget_realm()
    return told
