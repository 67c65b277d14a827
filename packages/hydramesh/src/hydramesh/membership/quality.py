"""Round trip, jitter and loss of the way to one node, from heartbeats alone."""

from __future__ import annotations

_MOST_GAP = 64
_LONGEST_RTT_S = 60.0


class Quality:
    """Estimates of one direction's heartbeats.

    ``rtt_s`` and ``rtt_var_s`` are SRTT and RTTVAR of RFC 6298, section 2 (alpha 1/8, beta 1/4);
    ``jitter_s`` is the interarrival jitter of RFC 3550, section 6.4.1 (gain 1/16); ``loss`` is the
    moving average of missing heartbeats with the same gain. A heartbeat that comes after a later
    one counts as lost: it was of no use.

    >>> way = Quality()
    >>> way.on_rtt(0.100)
    >>> way.on_rtt(0.180)
    >>> round(way.rtt_s, 3), round(way.rtt_var_s, 4)
    (0.11, 0.0575)
    """

    __slots__ = ("_arrived", "_seq", "_stamp_us", "jitter_s", "loss", "rtt_s", "rtt_var_s")

    def __init__(self) -> None:
        self.rtt_s = -1.0
        self.rtt_var_s = 0.0
        self.jitter_s = 0.0
        self.loss = 0.0
        self._seq = 0
        self._stamp_us = -1
        self._arrived = 0.0

    def on_rtt(self, sample_s: float) -> None:
        """Take one round trip in; impossible ones are left out."""
        if not 0.0 <= sample_s <= _LONGEST_RTT_S:
            return
        if self.rtt_s < 0:
            self.rtt_s, self.rtt_var_s = sample_s, sample_s / 2
            return
        self.rtt_var_s += (abs(self.rtt_s - sample_s) - self.rtt_var_s) / 4
        self.rtt_s += (sample_s - self.rtt_s) / 8

    def on_arrival(self, seq: int, stamp_us: int, now: float) -> None:
        """Take one heartbeat in; its number is greater than that of the one before."""
        if self._stamp_us >= 0:
            for _ in range(min(seq - self._seq - 1, _MOST_GAP)):
                self.loss += (1.0 - self.loss) / 16
            self.loss -= self.loss / 16
            spacing = (now - self._arrived) - (stamp_us - self._stamp_us) / 1e6
            self.jitter_s += (abs(spacing) - self.jitter_s) / 16
        self._seq, self._stamp_us, self._arrived = seq, stamp_us, now

    def interrupted(self) -> None:
        """The node was away: what is missing meanwhile says nothing about the way."""
        self._stamp_us = -1

    @property
    def rtt_us(self) -> int:
        """The smoothed round trip in microseconds, -1 while unknown."""
        return -1 if self.rtt_s < 0 else round(self.rtt_s * 1e6)
