"""A trunk that is linked and carries nothing: how long that lasts before it begins anew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hydramesh.membership.detector import Peer

#: Zenoh ends a link itself after 4 s of silence: what is linked and says nothing for longer is not
#: routed any more. Its routing can stop for good when several links end at once (seen in 1.10.2).
DEAF_S = 10.0


class Silence:
    """Since when peers have been linked and not heard."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def watch(self, links: Iterable[str], peers: Mapping[str, Peer], now: float) -> str:
        """The peer that has been silent for too long on its link; "" if there is none."""
        silent = [n for n in links if n in peers and not peers[n].effective.reachable]
        self._since = {nid: self._since.get(nid, now) for nid in silent}
        return next((nid for nid in silent if now - self._since[nid] >= DEAF_S), "")

    def forget(self) -> None:
        """Begin to count anew."""
        self._since.clear()
