"""The values of membership: what nodes tell each other, and what the state machine asks for.

Times are seconds of a monotonic clock, as floats; a node's stamps are microseconds since it
started.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

NodeId: TypeAlias = str

MAX_REPORTS = 64
MAX_NEIGHBOURS = 64
MAX_NODE_ID = 64
MAX_COUNTER = (1 << 53) - 1


class Status(StrEnum):
    """What a node thinks of another one."""

    UNKNOWN = "unknown"
    """Named by somebody, never heard."""
    ALIVE = "alive"
    SUSPECT = "suspect"
    """Two heartbeats are missing; it still counts as a member."""
    DEAD = "dead"
    """Silent for too long, or it does not hear us."""
    LEFT = "left"
    """It said good-bye."""

    @property
    def reachable(self) -> bool:
        """Whether it counts as a member that messages reach."""
        return self in (Status.ALIVE, Status.SUSPECT)


@dataclass(frozen=True, slots=True)
class Settings:
    """The times and bounds of membership; the defaults are those of the documentation."""

    interval_s: float = 0.25
    suspect_misses: int = 2
    slack_s: float = 0.05
    dead_after_s: float = 1.0
    max_degree: int = 4
    max_members: int = 256
    better_by: float = 0.2
    dwell_s: float = 10.0
    settle_s: float = 1.0
    drop_dead_s: float = 0.5
    """So long after its node is dead a link is taken down, for the trunk to find another way."""
    new_link_s: float = 2.0
    """So long a link is left alone after it was made: the first heartbeats may take a moment."""
    dial_timeout_s: float = 3.0
    dial_backoff_s: float = 0.25
    dial_backoff_max_s: float = 2.0
    redial_every_s: float = 30.0
    probe_every_s: float = 10.0
    left_lately_s: float = 60.0
    """So long a member that said good-bye is dialled often: it may just have been restarted."""
    hold_off_s: float = 10.0
    forget_after_s: float = 3600.0
    relay_degree: int = 64
    """How many links a relay takes before it asks others to take theirs down."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One direct link of a heartbeat's sender.

    ``rtt_us`` is smoothed, -1 while unknown. ``wanted``: the sender chose this link. ``surplus``:
    the sender has too many links and asks the other side to take this one down.
    """

    node: NodeId
    rtt_us: int = -1
    wanted: bool = False
    surplus: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """What a heartbeat's sender hears of one other node, as in a reception report of RFC 3550.

    ``stamp_us`` is the stamp of the last heartbeat heard from ``node``, ``held_us`` how long ago
    that was (-1: none): with both, ``node`` computes the round trip without a clock in common.
    """

    node: NodeId
    instance: int
    incarnation: int
    status: Status
    stamp_us: int = -1
    held_us: int = -1
    rtt_us: int = -1


@dataclass(frozen=True, slots=True)
class Claim:
    """What a node says about the election of a master; see :mod:`hydramesh.roles`."""

    mode: str
    term: int = 0
    leader: NodeId = ""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What every node tells all others, four times a second.

    ``instance`` is a random number of the running process; ``incarnation`` grows when the node
    contradicts a suspicion; ``seq`` grows with every heartbeat of the instance. ``relay``: others
    may keep a link to this node so as to reach those that they cannot dial.
    """

    node: NodeId
    instance: int
    incarnation: int
    seq: int
    stamp_us: int
    leaving: bool = False
    neighbours: tuple[Neighbour, ...] = ()
    reports: tuple[Report, ...] = ()
    claim: Claim | None = None
    relay: bool = False

    def report_on(self, node: NodeId) -> Report | None:
        """What the sender hears of a node."""
        return next((report for report in self.reports if report.node == node), None)

    def neighbour(self, node: NodeId) -> Neighbour | None:
        """The sender's link to a node."""
        return next((link for link in self.neighbours if link.node == node), None)


# -- what the machine asks for ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Publish a heartbeat to all nodes."""

    beat: Heartbeat


@dataclass(frozen=True, slots=True)
class Dial:
    """Connect to a node; answer with ``link_up`` or ``dial_failed``."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class HangUp:
    """Take the link to a node down; answer with ``link_down``."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class Changed:
    """The view of a node changed; ``cause`` says why in words."""

    node: NodeId
    before: Status
    after: Status
    cause: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two processes use one node id.

    ``own``: the id is ours. Then the instance with the smaller number yields; ``yields`` says
    whether that is this one, which must stop.
    """

    node: NodeId
    instances: tuple[int, int]
    own: bool = False
    yields: bool = False


Action: TypeAlias = Send | Dial | HangUp | Changed | Duplicate
