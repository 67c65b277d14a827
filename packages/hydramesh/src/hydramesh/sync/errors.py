"""The errors of synchronisation: each names what a peer sent, and leaves the store as it was."""

from __future__ import annotations

from hydramesh.errors import HydraMeshError


class BadMessage(HydraMeshError):
    """A peer sent something that no honest peer of this version sends; nothing of it was used."""

    exit_code = 4


class BadName(BadMessage):
    """A peer sent a path that is not allowed, or that another path makes ambiguous."""


class NotPermitted(HydraMeshError):
    """A peer's role in the collection does not allow what it sent."""


class StoreChanged(HydraMeshError):
    """A document was changed by somebody else in the very moment; scan and apply again."""
