"""Where joiners come in: the authority's own endpoints, and members that hand on to it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from hydramesh.config import Config
from hydramesh.errors import InvalidArgument
from hydramesh.identity.invites import MAX_ENDPOINTS, Endpoint, parse_endpoint
from hydramesh.trunk.addresses import own_addresses

if TYPE_CHECKING:
    from hydramesh.node import Node

#: So many endpoints of an invite are of relays, if there are any.
_OF_RELAYS = 2


def endpoints_of(config: Config) -> tuple[Endpoint, ...]:
    """Where others can reach a node with this configuration."""
    if config.advertise:
        return config.advertise
    if config.host not in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return (Endpoint(config.host, config.port),)
    return tuple(Endpoint(each, config.port) for each in own_addresses())


def told(node: Node, nid: str) -> Iterator[Endpoint]:
    """The endpoints of a member, as it says itself and as the roster says."""
    heard, entry = node.heard.get(nid), node.realm.roster.entries.get(nid)
    for text in (*(heard.endpoints if heard else ()), *(entry.endpoints if entry else ())):
        with contextlib.suppress(InvalidArgument):
            yield parse_endpoint(text)


def for_invite(node: Node) -> list[Endpoint]:
    """The endpoints that go into an invite: our own, then one of each relay that is reached.

    Whoever cannot reach us, because we are behind NAT, is let in through a relay.
    """
    relays = [
        next(told(node, nid), None)
        for nid, peer in sorted(node.membership.peers.items())
        if peer.effective.reachable and peer.beat is not None and peer.beat.relay
    ]
    through = [each for each in relays if each is not None and each not in node.endpoints]
    chosen = through[:_OF_RELAYS]
    return [*node.endpoints[: MAX_ENDPOINTS - len(chosen)], *chosen]


def not_of_others(node: Node, endpoints: Iterable[Endpoint], nid: str) -> list[Endpoint]:
    """The endpoints at which, as far as is known, no other member than the named one is."""
    others = [other for other in node.realm.roster.entries if other != nid]
    theirs = {each for other in others for each in told(node, other)}
    return [each for each in endpoints if each not in theirs]
