"""Relays have no library: what is not asked of them, and not taken from them.

A relay is often a rented host: it forwards what others say to each other, and neither keeps their
samples nor changes them. Who is one, its own heartbeats say; the last word of each holds until the
next, also over restarts of this node.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from hydramesh.identity.names import is_node_id
from hydramesh.identity.state import write_private
from hydramesh.library.errors import RelayHasNoLibrary
from hydramesh.membership.detector import Peer

ASIDE = "this node is a relay, which has no library: hydramesh relay off, or hydramesh unfollow"
"""What is said of collections that a node had before it became a relay."""

_MOST = 4096


class Relays:
    """The nodes that said last that they are relays, kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.nodes: set[str] = set()

    def load(self) -> None:
        """Read the file. What is wrong in it is left out: the next heartbeats tell it again."""
        try:
            told = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return
        if isinstance(told, list):
            self.nodes = {each for each in told[:_MOST] if isinstance(each, str)}
            self.nodes = {each for each in self.nodes if is_node_id(each)}

    def hear(self, peers: Mapping[str, Peer]) -> bool:
        """Take in what heartbeats say; whether anything is different now."""
        told = {nid: peer.beat.relay for nid, peer in peers.items() if peer.beat is not None}
        nodes = {nid for nid in self.nodes if told.get(nid, True)}
        nodes |= {nid for nid, is_one in told.items() if is_one}
        if nodes == self.nodes:
            return False
        self.nodes = nodes
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._path, json.dumps(sorted(nodes)[:_MOST]).encode())
        return True


def refuse_to_hold(verb: str) -> None:
    """Say that a relay does not do this.

    Raises:
        RelayHasNoLibrary: always.
    """
    raise RelayHasNoLibrary(
        f"this node is a relay, and relays {verb} nothing",
        why="a relay only forwards what others say to each other",
        next_step="do it on another node; or, on this one: hydramesh relay off",
    )


def refuse_to_relay(names: Iterable[str]) -> None:
    """Refuse to make a node a relay while it has collections.

    Raises:
        RelayHasNoLibrary: it has some.
    """
    found = sorted(names)
    if found:
        raise RelayHasNoLibrary(
            "a node that has collections cannot become a relay",
            why=f"this one has: {', '.join(found[:10])}",
            next_step="hydramesh unshare NAME or hydramesh unfollow NAME, for each; the documents"
            " stay where they are",
        )
