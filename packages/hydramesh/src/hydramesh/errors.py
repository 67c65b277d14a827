"""The errors of HydraMesh: what happened, why, and what to do next.

Every error carries the exit code that the command line returns for it:

====  ============================================================
1     findings: a check failed, a name was not there
2     usage: an argument, the configuration or a code is wrong
3     a precondition is not met: realm, rights, clock, invite, port
4     something outside failed: the network, the disk, a peer
====  ============================================================

No error text ever holds a key, a secret or an invite's code.
"""

from __future__ import annotations

from typing import Any, ClassVar


class HydraMeshError(Exception):
    """An error with a cause and a next step.

    ``what`` is one sentence without a final full stop, ``why`` the evidence, ``next_step`` what the
    user can do now. ``str()`` gives all three, one line each.

    >>> error = NoRealm("this node is in no realm", next_step="hydramesh init")
    >>> error.name, error.exit_code
    ('NoRealm', 3)
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, what: str, *, why: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.next_step = next_step

    @property
    def name(self) -> str:
        """The error's name as ``--json`` and the wire give it."""
        return type(self).__name__

    def details(self) -> dict[str, Any]:
        """The error as plain data."""
        return {
            "error": self.name,
            "what": self.what,
            "why": self.why,
            "next_step": self.next_step,
            "exit_code": self.exit_code,
        }

    def __str__(self) -> str:
        parts = [self.what]
        if self.why:
            parts.append(f"  why:  {self.why}")
        if self.next_step:
            parts.append(f"  next: {self.next_step}")
        return "\n".join(parts)


class InvalidName(HydraMeshError):
    """A realm's or node's name is not one."""

    exit_code = 2


class InvalidConfig(HydraMeshError):
    """The configuration has a value that cannot be used; the error names the key."""

    exit_code = 2


class InvalidArgument(HydraMeshError):
    """An argument is out of its range."""

    exit_code = 2


class NoRealm(HydraMeshError):
    """The node belongs to no realm yet."""


class RealmExists(HydraMeshError):
    """The node belongs to a realm already."""


class NotAuthority(HydraMeshError):
    """Only the node that holds the realm's CA can do this."""


class NotFound(HydraMeshError):
    """There is no such node in the realm."""

    exit_code = 1


class InviteMalformed(HydraMeshError):
    """The code is cut off, mistyped, or not an invite."""

    exit_code = 2


class InviteExpired(HydraMeshError):
    """The invite's time is over."""


class InviteUsed(HydraMeshError):
    """The invite has admitted a node already: each admits one."""


class InviteUnknown(HydraMeshError):
    """The realm knows no such invite."""


class WrongRealm(HydraMeshError):
    """The certificate was signed by another realm's CA."""


class CertificateInvalid(HydraMeshError):
    """The certificate is broken, or is not one of a node."""


class CertificateExpired(HydraMeshError):
    """The certificate's time is over."""


class ClockSkew(HydraMeshError):
    """This machine's clock and the realm's differ too much."""


class Revoked(HydraMeshError):
    """The node has been expelled from the realm."""


class DuplicateNode(HydraMeshError):
    """The node's name or id is taken by another one."""


class MessageMalformed(HydraMeshError):
    """Received bytes are not a message."""

    exit_code = 4


class MessageTooLarge(HydraMeshError):
    """A received message is longer than any honest one."""

    exit_code = 4


class TooManyRequests(HydraMeshError):
    """The other side has answered too many requests lately."""

    exit_code = 4


class PeerStalled(HydraMeshError):
    """The other side stopped answering."""

    exit_code = 4


class PeerRefused(HydraMeshError):
    """The other side did not do what it was asked."""

    exit_code = 4


class Unreachable(HydraMeshError):
    """No connection could be made."""

    exit_code = 4


class PortTaken(HydraMeshError):
    """The port that we would listen on belongs to another program."""


class TrunkRefused(HydraMeshError):
    """The trunk did not start, or its own listener admitted a peer without a certificate."""


class StateUnsafe(HydraMeshError):
    """The state directory or a file in it can be read by others, or is damaged."""


class StateBusy(HydraMeshError):
    """Another process uses the state directory."""


class DaemonNotRunning(HydraMeshError):
    """Nobody answers on the control socket."""


class StorageFailure(HydraMeshError):
    """The operating system failed to read or write."""

    exit_code = 4


def from_wire(name: str, what: str, why: str, next_step: str) -> HydraMeshError:
    """The error that another process of ours reported; an unknown name gives the base class.

    The texts come from outside: they are cut to a length that a terminal can show.
    """
    kinds = {each.__name__: each for each in _kinds(HydraMeshError)}
    kind = kinds.get(name, HydraMeshError)
    return kind(what[:300], why=why[:1000], next_step=next_step[:300])


def _kinds(kind: type[HydraMeshError]) -> list[type[HydraMeshError]]:
    return [kind, *(each for below in kind.__subclasses__() for each in _kinds(below))]
