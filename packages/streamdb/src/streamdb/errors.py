"""The errors of StreamDB: what happened, why, and what to do next.

Every error carries the exit code that the command line returns for it:

====  ==========================================================
1     findings: damage was found, a path was not there
2     usage: a path, a query or an argument is wrong
3     a precondition is not met: key, rights, space, format
4     something outside failed: the disk, the kernel
====  ==========================================================
"""

from __future__ import annotations

from typing import Any, ClassVar


class StreamDBError(Exception):
    """An error with a cause and a next step.

    ``what`` is one sentence without a final full stop, ``why`` the evidence, ``next_step`` what the
    user can do now. ``str()`` gives all three, one line each.

    >>> error = NotFound("no document at 'drums/kick.wav'", next_step="streamdb search drums/")
    >>> error.name, error.exit_code
    ('NotFound', 1)
    """

    exit_code: ClassVar[int] = 3

    def __init__(self, what: str, *, why: str = "", next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.next_step = next_step

    @property
    def name(self) -> str:
        """The error's name as ``--json`` prints it."""
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

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross process borders (worker pools) with their three sentences.
        return (_rebuild, (type(self), self.what, self.why, self.next_step))


def _rebuild(kind: type[StreamDBError], what: str, why: str, next_step: str) -> StreamDBError:
    return kind(what, why=why, next_step=next_step)


class InvalidPath(StreamDBError):
    """The path is empty, too long, not UTF-8, or has a part that no path may have."""

    exit_code = 2


class InvalidMetadata(StreamDBError):
    """The metadata is not a JSON-like mapping, or is larger than the limit."""

    exit_code = 2


class InvalidQuery(StreamDBError):
    """A ``find`` query cannot be understood; ``column`` is where, counted from 1."""

    exit_code = 2

    def __init__(self, what: str, *, why: str = "", next_step: str = "", column: int = 0) -> None:
        super().__init__(what, why=why, next_step=next_step)
        self.column = column

    def details(self) -> dict[str, Any]:
        """The error as plain data, with its column."""
        return super().details() | {"column": self.column}

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild_query, (self.what, self.why, self.next_step, self.column))


def _rebuild_query(what: str, why: str, next_step: str, column: int) -> InvalidQuery:
    return InvalidQuery(what, why=why, next_step=next_step, column=column)


class InvalidArgument(StreamDBError):
    """An argument other than a path, query or metadata is out of its range."""

    exit_code = 2


class DocumentTooLarge(StreamDBError):
    """The document is larger than the store's limit; nothing of it was kept."""

    exit_code = 2


class NotFound(StreamDBError):
    """There is no document, version or file of that name."""

    exit_code = 1


class AlreadyExists(StreamDBError):
    """The name is taken, and the operation does not overwrite."""

    exit_code = 3


class CorruptData(StreamDBError):
    """Stored bytes do not match their checksum; what is damaged is named, never returned."""

    exit_code = 1


class FeedTrimmed(StreamDBError):
    """The change feed no longer reaches back that far; list the store anew."""

    exit_code = 1


class WrongKey(StreamDBError):
    """The store is encrypted with another key."""


class KeyRequired(StreamDBError):
    """The store is encrypted and no key was given."""


class NotAStore(StreamDBError):
    """The directory is not a StreamDB store."""


class NewerFormat(StreamDBError):
    """The store was written by a newer version of StreamDB."""


class OlderFormat(StreamDBError):
    """The store was written by an early version of StreamDB, in a format that is no longer read."""


class ReadOnlyStore(StreamDBError):
    """A write was asked of a store that is open for reading only, or that may not be written."""


class StoreFull(StreamDBError):
    """The disk, a quota or the index map is full; nothing was half-written."""


class StoreBusy(StreamDBError):
    """Another user of the store is in the way for now."""


class StoreClosed(StreamDBError):
    """The handle was closed, or is used in a forked child."""


class UnsuitableFileSystem(StreamDBError):
    """The directory is on a file system that cannot hold a store safely (a network mount)."""


class StorageFailure(StreamDBError):
    """The operating system failed to read or write (an I/O error, a permission)."""

    exit_code = 4
