"""What the realm's authority remembers: members and invites. Pure; ``state`` keeps the file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from hydramesh.errors import (
    DuplicateNode,
    InvalidArgument,
    InviteUnknown,
    InviteUsed,
    NotFound,
    Revoked,
    StateUnsafe,
)
from hydramesh.identity.certs import span_text
from hydramesh.identity.invites import MAX_LIFE_S, MIN_LIFE_S, check_not_expired
from hydramesh.identity.names import check_name, node_id

#: Used and expired invites are remembered this long, so that a replay is named as one.
_REMEMBER_S = 30 * 24 * 3600
MAX_OPEN_INVITES = 100
MAX_MEMBERS = 1000


@dataclass(frozen=True, slots=True)
class Member:
    """One node of the realm. ``revoked`` is 0 for a member; ``reason`` is "revoked" or "left"."""

    nid: str
    name: str
    public_key: bytes
    joined: float
    revoked: float = 0.0
    reason: str = ""
    endpoints: tuple[str, ...] = ()
    certificate_ends: float = 0.0


@dataclass(frozen=True, slots=True)
class OpenInvite:
    """An invite by the digest of its secret; ``used_by`` is the node id that it admitted."""

    digest: str
    name: str
    expires: float
    used_by: str = ""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Members by id and invites by digest; ``version`` grows with every change of the members."""

    version: int = 0
    life_s: float = 24 * 3600
    members: dict[str, Member] = field(default_factory=dict)
    invites: dict[str, OpenInvite] = field(default_factory=dict)


def _with_member(ledger: Ledger, member: Member) -> Ledger:
    return replace(
        ledger, version=ledger.version + 1, members=ledger.members | {member.nid: member}
    )


def with_invite(ledger: Ledger, digest: str, name: str, life_s: float, now: float) -> Ledger:
    """Note an invite, and forget those that ended long ago."""
    if not MIN_LIFE_S <= life_s <= MAX_LIFE_S:
        raise InvalidArgument(
            f"an invite cannot last {span_text(life_s)}",
            next_step=f"choose {span_text(MIN_LIFE_S)} to {span_text(MAX_LIFE_S)}",
        )
    if name:
        _check_free(ledger, check_name(name), "")
    kept = {key: each for key, each in ledger.invites.items() if each.expires > now - _REMEMBER_S}
    if sum(each.expires > now and not each.used_by for each in kept.values()) >= MAX_OPEN_INVITES:
        raise InvalidArgument(
            f"there are {MAX_OPEN_INVITES} open invites", next_step="wait until some have expired"
        )
    invite = OpenInvite(digest, name, now + life_s)
    return replace(ledger, invites=kept | {digest: invite})


def _check_free(ledger: Ledger, name: str, nid: str) -> None:
    for member in ledger.members.values():
        if member.name == name and member.nid != nid and not member.revoked:
            raise DuplicateNode(
                f"there is a node named {name} already",
                why=f"its id is {member.nid}",
                next_step="choose another name (--name), or revoke that node",
            )


def admit(
    ledger: Ledger,
    digest: str,
    public_key: bytes,
    name: str,
    now: float,
    endpoints: tuple[str, ...] = (),
) -> tuple[Ledger, Member]:
    """Redeem an invite for a key.

    The same key may come again with the same invite until it expires: the reply may have been lost.
    Any other key is refused, which is what a replay meets.
    """
    invite = ledger.invites.get(digest)
    if invite is None:
        raise InviteUnknown(
            "the realm does not know this invite", next_step="ask for a new one: hydramesh invite"
        )
    nid = node_id(public_key)
    if invite.used_by and invite.used_by != nid:
        raise InviteUsed(
            "the invite has been used",
            why="each admits one node",
            next_step="ask for a new one: hydramesh invite",
        )
    check_not_expired(invite.expires, now)
    known = ledger.members.get(nid)
    if known is not None and known.reason == "revoked":
        raise Revoked(
            "this node's key has been revoked", next_step="leave first, which makes a new key"
        )
    name = check_name(invite.name or name)
    _check_free(ledger, name, nid)
    if known is None and len(ledger.members) >= MAX_MEMBERS:
        raise InvalidArgument(f"the realm has {MAX_MEMBERS} members, which is the limit")
    member = Member(
        nid, name, public_key, now, endpoints=endpoints, certificate_ends=now + ledger.life_s
    )
    used = replace(invite, used_by=nid)
    ledger = replace(ledger, invites=ledger.invites | {digest: used})
    return _with_member(ledger, member), member


def found(ledger: Ledger, public_key: bytes, name: str, now: float) -> tuple[Ledger, Member]:
    """The authority's own entry."""
    member = Member(
        node_id(public_key), check_name(name), public_key, now, certificate_ends=now + ledger.life_s
    )
    return _with_member(ledger, member), member


def renew(
    ledger: Ledger, public_key: bytes, now: float, endpoints: tuple[str, ...] = ()
) -> tuple[Ledger, Member]:
    """Whether this key gets a new certificate, and for which member."""
    member = ledger.members.get(node_id(public_key))
    if member is None or member.public_key != public_key:
        raise NotFound("the realm has no such node", next_step="join again with a new invite")
    if member.revoked:
        raise Revoked(
            f"node {member.name} is no longer a member of the realm",
            why=f"it was {'revoked' if member.reason == 'revoked' else 'left'}"
            f" {span_text(now - member.revoked)} ago",
            next_step="ask for a new invite, then: hydramesh leave; hydramesh join",
        )
    renewed = replace(
        member, certificate_ends=now + ledger.life_s, endpoints=endpoints or member.endpoints
    )
    if renewed.endpoints != member.endpoints:
        return _with_member(ledger, renewed), renewed
    return replace(ledger, members=ledger.members | {member.nid: renewed}), renewed


def find(ledger: Ledger, node: str) -> Member:
    """A member by id or name; members before those that have gone."""
    matches = [each for each in ledger.members.values() if node in (each.nid, each.name)]
    if not matches:
        raise NotFound(f"there is no node {node[:40]!a}", next_step="hydramesh members")
    return min(matches, key=lambda each: each.revoked)


def expel(ledger: Ledger, nid: str, now: float, reason: str) -> tuple[Ledger, Member]:
    """End a membership: no further certificate for this key."""
    member = ledger.members[nid]
    if member.revoked:
        return ledger, member
    member = replace(member, revoked=now, reason=reason)
    return _with_member(ledger, member), member


def to_json(ledger: Ledger) -> dict[str, Any]:
    """The ledger as plain data."""
    return {
        "version": ledger.version,
        "life_s": ledger.life_s,
        "members": [
            {
                "nid": each.nid,
                "name": each.name,
                "public_key": each.public_key.hex(),
                "joined": each.joined,
                "revoked": each.revoked,
                "reason": each.reason,
                "endpoints": list(each.endpoints),
                "certificate_ends": each.certificate_ends,
            }
            for each in ledger.members.values()
        ],
        "invites": [
            {
                "digest": each.digest,
                "name": each.name,
                "expires": each.expires,
                "used_by": each.used_by,
            }
            for each in ledger.invites.values()
        ],
    }


def from_json(data: Any) -> Ledger:
    """Read what ``to_json`` wrote."""
    try:
        members = [
            Member(
                **each
                | {
                    "public_key": bytes.fromhex(each["public_key"]),
                    "endpoints": tuple(each["endpoints"]),
                }
            )
            for each in data["members"]
        ]
        invites = [OpenInvite(**each) for each in data["invites"]]
        return Ledger(
            version=int(data["version"]),
            life_s=float(data["life_s"]),
            members={each.nid: each for each in members},
            invites={each.digest: each for each in invites},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StateUnsafe(
            "the authority's ledger is damaged",
            why=f"{type(error).__name__} while reading it",
            next_step="put back a copy of the state directory",
        ) from None
