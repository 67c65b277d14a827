"""Who may do what in a collection: grants, each signed by the owner who made it.

A collection is named ``NAME.NODE`` by the node that founded it, which is its first owner for ever;
so everybody can tell who may grant. The founder makes anyone an owner, editor or reader; an owner
makes others editors or readers, for as long as it is an owner. Of several grants of one owner for
one node the one with the greater number holds. Replicas that know the same grants agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgpack  # type: ignore[import-untyped]
from blake3 import blake3

from hydramesh.errors import HydraMeshError, InvalidName
from hydramesh.identity.certs import (
    PrivateKey,
    load_public,
    public_bytes,
    sign,
    signature_holds,
)
from hydramesh.identity.names import check_name, is_node_id, node_id
from hydramesh.sync.errors import BadMessage
from hydramesh.sync.replica import Role
from hydramesh.sync.unpacking import unpack

EVERYONE = "*"
MAX_GRANTS = 4096
MAX_CHARTER_BYTES = 2 << 20
MAX_NUMBER = (1 << 53) - 1
NO_ROLE = "none"
_GRANT = b"hydramesh grant\0"
_ROLES = (NO_ROLE, *(role.value for role in Role))


def collection_id(name: str, founder: str) -> str:
    """The name of a collection in the whole realm."""
    return f"{check_name(name, 'collection')}.{founder}"


def split_id(collection: str) -> tuple[str, str]:
    """(name, founder) of a collection.

    Raises:
        InvalidName: it is no collection's.
    """
    name, dot, founder = collection.partition(".")
    if not dot or not is_node_id(founder):
        raise InvalidName(f"not a collection: {collection[:60]!a}")
    return check_name(name, "collection"), founder


@dataclass(frozen=True, slots=True)
class Grant:
    """An owner gives a node (or EVERYONE) a role, or takes it away (None)."""

    by: str
    subject: str
    role: Role | None
    number: int
    key: bytes
    signature: bytes = b""

    def row(self) -> tuple[Any, ...]:
        """As plain data."""
        role = self.role.value if self.role is not None else NO_ROLE
        return self.by, self.subject, role, self.number, self.key, self.signature


def _statement(collection: str, grant: Grant) -> bytes:
    packed: bytes = msgpack.packb((collection, *grant.row()[:4]))
    return _GRANT + packed


class Charter:
    """The grants of one collection."""

    def __init__(self, collection: str, grants: Iterable[Grant] = ()) -> None:
        self.collection = collection
        self.founder = split_id(collection)[1]
        self._grants: dict[tuple[str, str], Grant] = {}
        self.merge(grants)

    def merge(self, grants: Iterable[Grant]) -> bool:
        """Take in checked grants; whether one of them was news. Those of strangers are left out."""
        by_founder: list[Grant] = []
        others: list[Grant] = []
        for grant in grants:
            (by_founder if grant.by == self.founder else others).append(grant)
        news = [self._add(grant) for grant in by_founder]
        news += [self._add(grant) for grant in others if self._is_owner(grant.by)]
        return any(news)

    def _add(self, grant: Grant) -> bool:
        place = grant.by, grant.subject
        held = self._grants.get(place)
        if held is not None and held.number >= grant.number:
            return False
        if held is None and len(self._grants) >= MAX_GRANTS:
            raise BadMessage(f"a collection has more than {MAX_GRANTS} grants")
        self._grants[place] = grant
        return True

    def make(self, subject: str, role: Role | None, key: PrivateKey) -> Grant:
        """A new grant by the owner of a key; ``merge`` it to make it hold here."""
        public = public_bytes(key)
        by = node_id(public)
        number = 1 + max(
            (each.number for each in self._grants.values() if each.subject == subject), default=0
        )
        bare = Grant(by, subject, role, number, public)
        return replace(bare, signature=sign(key, _statement(self.collection, bare)))

    def role(self, node: str) -> Role | None:
        """What a node may do."""
        if node == self.founder:
            return Role.OWNER
        for subject in (node, EVERYONE):
            held = self._newest(subject)
            if held is not None:
                return held.role
        return None

    def _newest(self, subject: str) -> Grant | None:
        by_founder = self._grants.get((self.founder, subject))
        if by_founder is not None and by_founder.role is Role.OWNER:
            return by_founder
        valid = [
            each
            for each in self._grants.values()
            if each.subject == subject
            and (each.by == self.founder or self._is_owner(each.by))
            and (each.by == self.founder or each.role is not Role.OWNER)
        ]
        return max(
            valid, key=lambda each: (each.number, each.by == self.founder, each.by), default=None
        )

    def _is_owner(self, node: str) -> bool:
        held = self._grants.get((self.founder, node))
        return held is not None and held.role is Role.OWNER

    def roles(self) -> dict[str, Role | None]:
        """The role of each node that is named."""
        named = {self.founder, *(subject for _, subject in self._grants)} - {EVERYONE}
        return {node: self.role(node) for node in sorted(named)}

    @property
    def default(self) -> Role | None:
        """The role of everyone who is not named."""
        held = self._newest(EVERYONE)
        return held.role if held is not None else None

    def mark(self) -> bytes:
        """8 bytes that two charters share if they are equal."""
        told = blake3()
        for place in sorted(self._grants):
            told.update(repr((place, self._grants[place].number)).encode())
        return told.digest(length=8)

    def pack(self) -> bytes:
        """As bytes."""
        packed: bytes = msgpack.packb([self._grants[place].row() for place in sorted(self._grants)])
        return packed


def read_grants(collection: str, raw: bytes) -> list[Grant]:
    """The grants of a charter that came from anywhere, each of them checked.

    Raises:
        BadMessage: it is no charter, or a grant was not signed by whom it names.
    """
    rows = unpack(raw, MAX_CHARTER_BYTES)
    if not isinstance(rows, tuple) or len(rows) > MAX_GRANTS:
        raise BadMessage("a charter is no list, or is too long")
    return [_checked(collection, row) for row in rows]


def _checked(collection: str, row: Any) -> Grant:
    if not isinstance(row, tuple) or len(row) != 6:
        raise BadMessage("a grant has not six parts")
    by, subject, role, number, key, signature = row
    texts = all(isinstance(each, str) for each in (by, subject, role))
    if not texts or not isinstance(key, bytes) or not isinstance(signature, bytes):
        raise BadMessage("a grant has parts of the wrong kind")
    if not is_node_id(subject) and subject != EVERYONE:
        raise BadMessage("a grant names a node that cannot be one")
    if role not in _ROLES or type(number) is not int or not 1 <= number <= MAX_NUMBER:
        raise BadMessage("a grant has an unknown role, or a number out of range")
    try:
        public = load_public(key)
    except HydraMeshError:
        raise BadMessage("a grant has a key that is none") from None
    if node_id(public_bytes(public)) != by:
        raise BadMessage(f"a grant of {by[:16]!a} has the key of another node")
    grant = Grant(by, subject, None if role == NO_ROLE else Role(role), number, key, signature)
    if not signature_holds(public, signature, _statement(collection, grant)):
        raise BadMessage(f"a grant was not signed by {by}, whose name it bears")
    return grant
