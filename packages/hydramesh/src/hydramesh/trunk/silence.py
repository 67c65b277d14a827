"""A trunk that is linked and carries nothing: how long that lasts before it begins anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hydramesh.membership.detector import Peer

#: Zenoh ends a link itself after 4 s of silence: what is linked and says nothing for longer is not
#: routed any more. Its routing can stop for good when several links end at once (seen in 1.10.2).
DEAF_S = 10.0
#: Links that carry nothing are taken down and dialled again all the time, every 2 s at least: so
#: long a link may be away without that the peer counts as one that is not linked.
GAP_S = 5.0


@dataclass(slots=True)
class _Silent:
    """Since when a peer is silent, and when it was linked last."""

    since: float
    linked: float


class Silence:
    """Since when peers have been linked, again and again, and not heard."""

    def __init__(self) -> None:
        self._silent: dict[str, _Silent] = {}

    def watch(self, links: Iterable[str], peers: Mapping[str, Peer], now: float) -> str:
        """The peer that has been silent for too long on its links; "" if there is none.

        Who is heard, but does not hear us, may be the one to begin anew: it gets twice the time.
        """
        for nid in links:
            if nid in peers and not peers[nid].effective.reachable:
                self._silent.setdefault(nid, _Silent(now, now)).linked = now
        for nid, held in list(self._silent.items()):
            gone = nid not in peers or peers[nid].effective.reachable
            if gone or now - held.linked > GAP_S:
                del self._silent[nid]
        return next((nid for nid in self._silent if self._is_over(peers[nid], now)), "")

    def _is_over(self, peer: Peer, now: float) -> bool:
        held = self._silent[peer.node]
        limit = 2 * DEAF_S if peer.status.reachable else DEAF_S
        return now - held.since >= limit and held.linked == now

    def forget(self) -> None:
        """Begin to count anew."""
        self._silent.clear()
