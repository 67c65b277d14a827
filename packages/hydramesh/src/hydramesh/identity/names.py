"""Names of realms and nodes, and the id of a node."""

from __future__ import annotations

import hashlib
import re

from hydramesh.errors import InvalidName

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?")
_NID = re.compile(r"[0-9a-f]{16}")
NID_BYTES = 8
#: The authority's certificate has this name, and joiners ask for it; trunk links ask for none.
GATE_NAME = "gate.hydramesh"


def check_name(text: str, kind: str = "node") -> str:
    """The name itself, if it is one: 1 to 32 of a-z, 0-9 and inner hyphens.

    Names become parts of key expressions and certificates, so nothing else is let in.
    """
    if _LABEL.fullmatch(text) is None:
        raise InvalidName(
            f"not a {kind} name: {text[:40]!a}",
            why="a name has 1 to 32 of a-z, 0-9 and '-', not at its ends",
            next_step="choose another, for example studio-2",
        )
    return text


def name_from_host(host: str) -> str:
    """A node name made from a host name.

    >>> name_from_host("Anna's Laptop.local")
    'anna-s-laptop'
    """
    label = re.sub(r"[^a-z0-9]+", "-", host.partition(".")[0].lower())[:32].strip("-")
    return label or "node"


def node_id(public_key: bytes) -> str:
    """The id of the node that owns a public key (DER): 16 hex digits of its SHA-256."""
    return hashlib.sha256(public_key).digest()[:NID_BYTES].hex()


def is_node_id(text: str) -> bool:
    """Whether the text has the form of a node id."""
    return _NID.fullmatch(text) is not None
