"""How this node stands among the others: its role, whether it is a relay, and the groups it sees.

What the user sets lasts: it is kept in the file ``standing.json`` of the realm, and counts more
than the configuration.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from hydramesh.config import Config
from hydramesh.errors import InvalidArgument, StateUnsafe
from hydramesh.groups import Grouping, Groups, GroupSettings
from hydramesh.identity.invites import Endpoint, parse_endpoint
from hydramesh.identity.state import State
from hydramesh.membership.machine import Membership
from hydramesh.membership.model import Claim
from hydramesh.roles import Election, Mode

FILE = "standing.json"
CONFIGURED = "configured"
MAX_ADVERTISED = 8
#: So long a node listens before its first election, lest it unseats a sitting master.
LISTEN_S = 2.0
_CLAIM_EVERY_S = 0.25
_GROUPS_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user set with ``hydramesh role`` and ``hydramesh relay``; empty: as configured."""

    mode: str = ""
    relay: bool = False
    advertise: tuple[str, ...] = ()


def read_choice(text: bytes) -> Choice:
    """The choice in a file; raises ``StateUnsafe`` when it is damaged."""
    try:
        facts = json.loads(text)
        advertise = tuple(str(parse_endpoint(str(each))) for each in facts["advertise"])
        mode = str(facts["mode"])
        return Choice(str(Mode(mode)) if mode else "", facts["relay"] is True, advertise)
    except (ValueError, KeyError, TypeError, InvalidArgument):
        raise StateUnsafe(
            f"{FILE} is damaged", next_step="set the role anew: hydramesh role set p2p"
        ) from None


def configured_mode(config: Config) -> Mode:
    """The role that the configuration gives; ``server`` is the original's word for master."""
    text = config.text("mode")
    return Mode.MASTER if text == "server" else Mode(text)


class Standing:
    """The choice, the election and the groups of one node; ``update`` lets time pass."""

    def __init__(self, state: State, config: Config, nid: str, now: float) -> None:
        self._state, self._config = state, config
        exists = state.path(FILE).exists()
        self.choice = read_choice(state.read(FILE)) if exists else Choice()
        self.election = Election(nid, self.mode)
        threshold_ms = float(config.values["group-rtt-threshold"])
        self.grouping = Grouping(GroupSettings(threshold_ms=threshold_ms))
        self._listen_until = now + LISTEN_S
        #: Each is called before this node becomes a relay, and raises when it must not.
        self.before_relay: list[Callable[[], None]] = []
        self._claim_at = self._groups_at = now

    # -- what the user sets ------------------------------------------------------------------------

    @property
    def mode(self) -> Mode:
        """What this node may become."""
        return Mode(self.choice.mode) if self.choice.mode else configured_mode(self._config)

    @property
    def relay(self) -> bool:
        """Whether others may count on this node for reaching whom they cannot reach."""
        return self.choice.relay

    @property
    def advertised(self) -> tuple[Endpoint, ...]:
        """Where others reach us, if the user said so with ``hydramesh relay``."""
        return tuple(parse_endpoint(each) for each in self.choice.advertise)

    def set_mode(self, text: str) -> None:
        """Take a role for good; raises ``InvalidArgument``."""
        if text != CONFIGURED and text not in list(Mode):
            raise InvalidArgument(
                f"not a role: {text[:20]!a}",
                next_step=f"choose one of {', '.join(Mode)}, or {CONFIGURED}",
            )
        self._keep(replace(self.choice, mode="" if text == CONFIGURED else text))
        self.election.mode = self.mode

    def set_relay(self, on: bool, advertise: tuple[Endpoint, ...] = ()) -> None:
        """Become a relay, or be none any more; raises ``InvalidArgument``, or why it must not."""
        if len(advertise) > MAX_ADVERTISED:
            raise InvalidArgument(f"more than {MAX_ADVERTISED} endpoints")
        for check in self.before_relay if on and not self.relay else ():
            check()
        told = tuple(str(each) for each in advertise) if on else ()
        self._keep(replace(self.choice, relay=on, advertise=told))

    def _keep(self, choice: Choice) -> None:
        self._state.write(FILE, json.dumps(asdict(choice)).encode())
        self.choice = choice

    # -- what follows from the others --------------------------------------------------------------

    @property
    def leader(self) -> str:
        """The node that this one follows as the master; empty: none."""
        return self.election.leader

    def settled(self, now: float) -> bool:
        """Whether this node has listened for long enough to take part."""
        return now >= self._listen_until

    def update(self, membership: Membership, now: float) -> None:
        """Put our claim into the next heartbeats, and the groups in order."""
        membership.relay = self.relay
        if now >= self._claim_at:
            self._claim_at = now + _CLAIM_EVERY_S
            if self.settled(now):
                membership.claim = self.election.update(membership.claims())
            else:
                membership.claim = Claim(self.mode.value)
        if now >= self._groups_at:
            self._groups_at = now + _GROUPS_EVERY_S
            self.regroup(membership, now)

    def regroup(self, membership: Membership, now: float) -> Groups:
        """The groups now."""
        return self.grouping.update(membership.members(), membership.round_trips(), now)
