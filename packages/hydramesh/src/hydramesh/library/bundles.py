"""Short contents, many in one request: what a request costs is more than what they are. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hydramesh.sync.errors import BadMessage
from hydramesh.sync.pulls import PIECE, Pull

SHORT = 64 << 10
"""Contents of at most so many bytes go in bundles, and wait in memory until they are stored."""

MOST = 64
MOST_BYTES = 512 << 10


def is_short(size: int) -> bool:
    """Whether a content goes in bundles."""
    return size <= SHORT


def stays_in_memory(size: int) -> bool:
    """Whether a content waits in memory until it is stored, and not in a file.

    What came in one request was compared with its digest as a whole; to write it, read it and
    compare it again costs more than to ask for it once more after a kill.
    """
    return size <= PIECE


def bundled(pulls: Iterable[Pull]) -> Iterator[list[Pull]]:
    """Pulls from one peer, as many together as fit a request.

    >>> sizes = [SHORT] * 9 + [1]
    >>> [len(each) for each in bundled(Pull("a", b"", 0, 0, size) for size in sizes)]
    [8, 2]
    """
    bundle: list[Pull] = []
    size = 0
    for pull in pulls:
        if bundle and (len(bundle) >= MOST or size + pull.length > MOST_BYTES):
            yield bundle
            bundle, size = [], 0
        bundle.append(pull)
        size += pull.length
    if bundle:
        yield bundle


def checked(digests: Iterable[bytes]) -> list[bytes]:
    """The digests that a peer asks for.

    Raises:
        BadMessage: they are none, or too many.
    """
    found = list(digests)
    if not 0 < len(found) <= MOST or any(len(digest) != 32 for digest in found):
        raise BadMessage("contents are asked for by no digests, or by too many")
    return found
