"""Rates: bytes a second of all transfers together, and requests a second of each peer. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

REQUESTS_PER_S = 400.0
REQUEST_BURST = 800.0
_BURST_S = 0.25


@dataclass(slots=True)
class Bucket:
    """A budget that fills at ``rate`` a second; it may be overdrawn once, then has to recover."""

    rate: float
    left: float = 0.0
    at: float = 0.0

    def delay(self, now: float) -> float:
        """How long to wait until something may be spent, in seconds."""
        if self.rate <= 0:
            return 0.0
        self.left = min(self.rate * _BURST_S, self.left + (now - self.at) * self.rate)
        self.at = now
        return max(0.0, -self.left / self.rate)

    def spend(self, amount: float, now: float) -> None:
        """Take some."""
        self.delay(now)
        self.left -= amount


@dataclass(slots=True)
class Turnstile:
    """Lets each peer make some requests a second; the rest is refused."""

    rate: float = REQUESTS_PER_S
    burst: float = REQUEST_BURST
    _known: dict[str, tuple[float, float]] = field(default_factory=dict)

    def admits(self, peer: str, now: float) -> bool:
        """Whether one more request of a peer is answered."""
        left, at = self._known.get(peer, (self.burst, now))
        left = min(self.burst, left + (now - at) * self.rate)
        if left < 1:
            self._known[peer] = left, now
            return False
        self._known[peer] = left - 1, now
        return True
