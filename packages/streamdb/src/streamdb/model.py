"""The values that StreamDB hands out: frozen, plain, without any reference to an open store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Metadata: TypeAlias = Mapping[str, Any]
Kind: TypeAlias = Literal["put", "delete", "rename", "bind", "unbind", "restore"]
Durability: TypeAlias = Literal["full", "normal", "bulk"]


class GUID(bytes):
    """The identity of a document: 16 bytes, UUID version 7 (milliseconds since 1970, then random).

    It stays the same when the document is renamed, bound to more paths or overwritten.

    >>> GUID.parse("01890a5d-ac96-774b-bcce-b302099a8057").created_ns
    1688096058518000000
    """

    __slots__ = ()

    @classmethod
    def new(cls) -> GUID:
        """A fresh identity; those of one machine sort by the millisecond of their creation."""
        now = time.time_ns() // 1_000_000
        tail = bytearray(os.urandom(10))
        tail[0] = (tail[0] & 0x0F) | 0x70
        tail[2] = (tail[2] & 0x3F) | 0x80
        return cls(now.to_bytes(6, "big") + bytes(tail))

    @classmethod
    def parse(cls, text: str) -> GUID:
        """From its hexadecimal form, with or without dashes; ValueError when it is none."""
        raw = bytes.fromhex(text.replace("-", ""))
        if len(raw) != 16:
            raise ValueError(f"a GUID has 16 bytes, not {len(raw)}")
        return cls(raw)

    @property
    def created_ns(self) -> int:
        """When it was made, in nanoseconds since 1970, to the millisecond."""
        return int.from_bytes(self[:6], "big") * 1_000_000

    def __str__(self) -> str:
        text = self.hex()
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))

    def __repr__(self) -> str:
        return f"GUID('{self}')"


@dataclass(frozen=True, slots=True)
class Stat:
    """What is known of a document without reading its data.

    ``size`` and ``stored_bytes`` are in bytes, the latter as compressed and before sharing;
    ``digest`` is the BLAKE3 of the data in hex; ``chunks`` is 0 when the data lies in the index.
    """

    path: str
    guid: GUID
    size: int
    mtime_ns: int
    created_ns: int
    metadata: dict[str, Any]
    digest: str
    chunks: int
    stored_bytes: int
    version: int
    paths: int = 1


@dataclass(frozen=True, slots=True)
class Version:
    """One kept version of a path; ``current`` for the one that ``get`` returns.

    ``reason`` says why an old version was put aside (it was replaced, deleted or renamed over),
    ``set_aside_ns`` when, in nanoseconds since 1970; 0 for the current one.
    """

    path: str
    version: int
    guid: GUID
    size: int
    mtime_ns: int
    set_aside_ns: int
    digest: str
    current: bool
    reason: Literal["current", "replaced", "deleted"]


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the change feed.

    ``seq`` grows by one per change. ``hlc`` is a hybrid logical clock: milliseconds since 1970 in
    the upper 48 bits, a counter in the lower 16; it never runs backwards in one store. ``origin``
    names the store (or the peer) where the change was made. ``digest`` and ``size`` describe the
    document as this change left it; they are "" and -1 once a later change to the same path has
    superseded it, because a follower will come to that one.
    """

    seq: int
    kind: Kind
    path: str
    old_path: str | None
    guid: GUID
    digest: str
    size: int
    hlc: int
    origin: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One child of a directory: a document, or a directory with all documents below it counted."""

    name: str
    path: str
    is_dir: bool
    documents: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Sizes in bytes; ``logical_bytes`` is what all documents hold, ``stored_bytes`` the chunks."""

    documents: int
    paths: int
    versions: int
    chunks: int
    segments: int
    logical_bytes: int
    stored_bytes: int
    unused_bytes: int
    index_bytes: int
    disk_bytes: int
    last_seq: int
    first_seq: int
    readers: int
    encrypted: bool
    format_version: int
    store_id: str
    cached_documents: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long piece of work is; ``total`` is 0 while it is not known."""

    stage: str
    done: int
    total: int
    unit: Literal["bytes", "documents", "pages", "chunks", "segments", "records"]


ProgressCallback: TypeAlias = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding of ``check``: where it is, what is wrong, and what depends on it."""

    kind: str
    where: str
    what: str
    path: str | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" (document {self.path!r})" if self.path else "")


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The result of a full scrub: ``ok`` when nothing is damaged; the rest counts what was read."""

    problems: tuple[Problem, ...]
    documents: int
    versions: int
    chunks: int
    segments: int
    pages: int
    bytes_read: int
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True when nothing is damaged."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class GcReport:
    """What garbage collection freed, in bytes and pieces; ``waiting``: what readers still need."""

    chunks_removed: int
    segments_rewritten: int
    segments_removed: int
    bytes_freed: int
    bytes_moved: int
    waiting: int
    feed_trimmed: int = 0


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What repair rebuilt and what it could not save: ``lost`` names every path and the reason."""

    index_rebuilt: bool
    documents_kept: int
    documents_recovered: int
    lost: tuple[Problem, ...]
    fixed: tuple[str, ...]
    quarantine: str | None


@dataclass(frozen=True, slots=True)
class BackupReport:
    """A finished, verified backup."""

    target: str
    documents: int
    bytes_copied: int
    bytes_reused: int
    last_seq: int
    check: CheckReport = field(repr=False)
