"""What a scrub gathers on its way, and how it names what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

from streamdb import rows
from streamdb.errors import CorruptData
from streamdb.model import Problem
from streamdb.rows import ChunkRow

if TYPE_CHECKING:
    from streamdb.engine import Engine

_MOST_PROBLEMS = 10_000


@dataclass(slots=True)
class PathSet:
    """What a set of paths adds up to, whatever their order: two equal sums are equal sets."""

    count: int = 0
    total: int = 0

    def add(self, path: bytes) -> None:
        """Take a path in."""
        self.count += 1
        self.total += _weight(path)

    def remove(self, path: bytes) -> None:
        """Take a path out."""
        self.count -= 1
        self.total -= _weight(path)


def _weight(path: bytes) -> int:
    return int.from_bytes(blake2b(path, digest_size=16).digest(), "little")


@dataclass(slots=True)
class Findings:
    """What a scrub gathers on its way."""

    engine: Engine
    txn: int
    tick: Callable[[str, int, int], None]
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    documents: PathSet = field(default_factory=PathSet)
    forward: PathSet = field(default_factory=PathSet)
    reverse: PathSet = field(default_factory=PathSet)
    waiting: int = 0
    directories: dict[bytes, int] = field(default_factory=dict)
    shared: dict[bytes, dict[bytes, bytes]] = field(default_factory=dict)
    bindings: dict[bytes, list[bytes]] = field(default_factory=dict)
    references: dict[bytes, int] = field(default_factory=dict)
    sizes: dict[bytes, int] = field(default_factory=dict)
    chunks: dict[bytes, ChunkRow] = field(default_factory=dict)
    guids: int = 0
    versions: int = 0
    logical_bytes: int = 0
    last_txn: int = 0
    last_feed: rows.FeedRow | None = None
    bytes_read: int = 0
    damaged_chunks: set[bytes] = field(default_factory=set)

    def report(self, kind: str, where: str, what: str, path: bytes | None = None) -> None:
        """Note a problem."""
        if len(self.problems) < _MOST_PROBLEMS:
            text = None if path is None else path.decode(errors="replace")
            self.problems.append(Problem(kind, where, what, text))

    def lose_chunk(self, address: bytes, what: str) -> None:
        """Note a chunk that cannot be read."""
        self.damaged_chunks.add(address)
        idle = not self.chunks[address].references
        self.report("idle chunk" if idle else "chunk", f"chunk {address.hex()[:16]}", what)

    def take(self, table: bytes, key: bytes, error: CorruptData) -> None:
        """Note a row that cannot be read."""
        path = key if table == rows.DOC else None
        self.report("row", rows.describe_key(table, key), error.why or error.what, path)
