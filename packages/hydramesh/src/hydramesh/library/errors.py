"""The errors of shared collections."""

from __future__ import annotations

from hydramesh.errors import HydraMeshError, StorageFailure
from streamdb.errors import StreamDBError


class NoCollection(HydraMeshError):
    """There is no collection of that name, here or with the peers that are reached."""

    exit_code = 1


class NameTaken(HydraMeshError):
    """The collection is there already, or its name stands for several."""


class NotOwner(HydraMeshError):
    """Only an owner of the collection can do this."""


class SyncPaused(HydraMeshError):
    """The collection is paused."""


class RelayHasNoLibrary(HydraMeshError):
    """A relay neither shares nor follows collections."""


class NoContent(HydraMeshError):
    """The content is not here."""

    exit_code = 1


class StoreUnusable(HydraMeshError):
    """The store of a collection cannot be used now."""


class StoreLocked(StoreUnusable):
    """Another process writes to the store, and goes on doing so."""


def of_store(error: StreamDBError) -> HydraMeshError:
    """A store's error as one of ours, for the control interface."""
    kind = StorageFailure if error.exit_code == 4 else StoreUnusable
    return kind(error.what, why=error.why, next_step=error.next_step)
