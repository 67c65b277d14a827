"""Who made an edit: each is signed, so that a relay can neither change nor invent one.

A signature covers the collection, the path, the version, the content's digest and the metadata that
were given by hand. The author's key comes along with the items; it is the right one if its hash is
the author's node id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgpack  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.asymmetric import ec

from hydramesh.errors import HydraMeshError
from hydramesh.identity.certs import (
    PrivateKey,
    load_public,
    public_bytes,
    sign,
    signature_holds,
)
from hydramesh.identity.names import node_id
from hydramesh.sync.errors import BadMessage, NotPermitted
from hydramesh.sync.replica import Role
from hydramesh.sync.versions import Item, Proof, claim, item_of

MAX_KEYS = 1024
MAX_KEY_BYTES = 200
_EDIT = b"hydramesh edit\0"


def _statement(collection: str, proof: Proof) -> bytes:
    said = collection, proof.path, proof.version, proof.digest, proof.size, proof.mtime_ns
    packed: bytes = msgpack.packb((*said, proof.given) if proof.given else said)
    return _EDIT + packed


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs the edits of this node in one collection."""

    collection: str
    node: str
    key: PrivateKey

    def __call__(self, item: Item) -> Item:
        """The item as an edit of this node alone."""
        said = item.path, item.version, item.digest, item.size, item.mtime_ns, item.given
        bare = Proof(self.node, b"", *said)
        signature = sign(self.key, _statement(self.collection, bare))
        return replace(item, proofs=(replace(bare, signature=signature),))

    @property
    def public(self) -> bytes:
        """The key that others check with."""
        return public_bytes(self.key)


@dataclass(slots=True)
class Verifier:
    """Checks items of one collection; ``role`` says what a node may do in it at this moment."""

    collection: str
    role: Callable[[str], Role | None]
    keys: dict[str, bytes] = field(default_factory=dict)
    _loaded: dict[str, ec.EllipticCurvePublicKey] = field(default_factory=dict)

    def learn(self, keys: Mapping[str, bytes]) -> bool:
        """Take in keys of authors; whether one was new.

        Raises:
            BadMessage: one does not belong to its node id, or there are too many.
        """
        fresh = {node: key for node, key in keys.items() if node not in self.keys}
        if len(self.keys) + len(fresh) > MAX_KEYS:
            raise BadMessage(f"a collection has more than {MAX_KEYS} authors")
        for node, key in fresh.items():
            try:
                public = load_public(key)
            except HydraMeshError:
                raise BadMessage("the key of an author is none") from None
            if node_id(public_bytes(public)) != node:
                raise BadMessage(f"the key of {node} is that of another node")
            self.keys[node], self._loaded[node] = key, public
        return bool(fresh)

    def known(self, authors: Iterable[str]) -> dict[str, bytes]:
        """The keys of authors, for a message to a peer."""
        return {node: self.keys[node] for node in authors if node in self.keys}

    def may_write(self, node: str) -> bool:
        """Whether a node's edits are taken."""
        role = self.role(node)
        return role is not None and role.may_write

    def stands(self, item: Item) -> bool:
        """Whether others can accept an item: all of its edits are by nodes that may write."""
        return bool(item.proofs) and all(
            self.may_write(proof.author) and claim(item.path, proof) is not None
            for proof in item.proofs
        )

    def check(self, item: Item) -> Item:
        """The item as far as those made it who may.

        Raises:
            BadMessage: a signature is wrong or missing: a peer lied. NotPermitted: nobody who may
            write had a part in it.
        """
        valid = []
        for proof in item.proofs:
            if claim(item.path, proof) is None:
                raise BadMessage(f"a proof of {item.path[:60]!r} speaks of another path")
            if not self.may_write(proof.author):
                continue
            self._check_signature(proof)
            valid.append(proof)
        if not valid:
            authors = ", ".join(sorted({proof.author for proof in item.proofs})) or "nobody"
            raise NotPermitted(
                f"{item.path[:60]!r} was changed by {authors}, who may not",
                next_step=f"an owner can make it an editor: hydramesh grant NODE editor --on"
                f" {self.collection.partition('.')[0]}",
            )
        return item_of(item.path, valid)

    def _check_signature(self, proof: Proof) -> None:
        public = self._loaded.get(proof.author)
        if public is None and proof.author in self.keys:
            public = self._loaded[proof.author] = load_public(self.keys[proof.author])
        if public is None:
            raise BadMessage(f"an edit of {proof.author} came without its key")
        if dict(proof.version).get(proof.author, 0) < 1:
            raise BadMessage(f"an edit of {proof.author} is none by its version")
        if not signature_holds(public, proof.signature, _statement(self.collection, proof)):
            raise BadMessage(f"an edit was not signed by {proof.author}, whose name it bears")
