"""Gathering what is left of a damaged store: from its trees, its loose pages, its segments.

Whatever is believed carries a checksum of its own. Where pages are missing from the trees, the file
is searched page by page, used and unused ones alike: rows are found there that no tree leads to any
more, and the change feed tells which of them are of yesterday.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from streamdb import manifest, naming, pages, place, rows, segments
from streamdb.blocks import Block
from streamdb.checks import crc32c
from streamdb.engine import DICTIONARY_PLACE, KV_DICTIONARY, KV_KEY, KV_STORE
from streamdb.errors import CorruptData
from streamdb.model import GUID, ProgressCallback

if TYPE_CHECKING:
    from streamdb.crypto import Cipher

_LETTERS = {
    b"kv": rows.KV, b"doc": rows.DOC, b"history": rows.HISTORY, b"feed": rows.FEED,
    b"forward": rows.FORWARD, b"reverse": rows.REVERSE,
    # Last: what it says holds against the indexes.
    b"pending": rows.PENDING,
}  # fmt: skip


@dataclass(slots=True)
class Salvage:
    """Everything that was found. Rows are kept as their bodies, without checksums.

    ``documents`` has for each path the newest row: the number of its change, its body, whether a
    tree led to it. ``named`` are the paths that the trees know of. ``removed`` has the number of
    the newest change that took a path away, ``changed`` that of the newest one that made it what it
    is, ``written`` that of the newest one that gave a document (by its GUID) its data. ``chunks``
    says where each whole chunk lies: segment, offset of the payload, header.
    ``intact`` is False when pages of the index could not be reached.
    """

    documents: dict[bytes, tuple[int, bytes, bool]] = field(default_factory=dict)
    named: set[bytes] = field(default_factory=set)
    history: dict[bytes, bytes] = field(default_factory=dict)
    feed: dict[int, rows.FeedRow] = field(default_factory=dict)
    removed: dict[bytes, int] = field(default_factory=dict)
    changed: dict[bytes, int] = field(default_factory=dict)
    written: dict[GUID, int] = field(default_factory=dict)
    dictionaries: dict[int, bytes] = field(default_factory=dict)
    store_id: bytes | None = None
    key: bytes | None = None
    chunks: dict[bytes, tuple[int, int, segments.RecordHeader]] = field(default_factory=dict)
    bad_headers: set[int] = field(default_factory=set)
    intact: bool = True
    damaged_rows: int = 0
    highest_seq: int = 0
    in_trees: bool = False
    unsure_names: bool = False

    def take(self, table: bytes, key: bytes, value: bytes) -> bool:
        """Take a row in, if its checksum is right."""
        try:
            body = rows.unseal(table, key, value)
            self._take_body(table, key, body)
        except (CorruptData, ValueError, IndexError):
            return False
        return True

    def _take_body(self, table: bytes, key: bytes, body: bytes) -> None:
        if table == rows.DOC:
            record = rows.unpack_record(body, key)
            self.offer(record.path, record.seq, body)
            if self.in_trees:
                self.named.add(record.path)
        elif table == rows.HISTORY:
            self.history[key] = body
        elif table == rows.FEED:
            self._take_feed(rows.unpack_feed(body, key))
        elif table == rows.KV:
            self._take_setting(key, body)
        elif table in (rows.FORWARD, rows.REVERSE) and self.in_trees:
            step = 1 if table == rows.FORWARD else -1
            self.named.update(path[::step] for path in Block(body, key, table).paths())
        elif table == rows.PENDING and self.in_trees:
            for path, added in naming.unpack(body, key)[1]:
                (self.named.add if added else self.named.discard)(path)

    def offer(self, path: bytes, seq: int, body: bytes) -> None:
        """A row for a path; the newest one is kept."""
        self.highest_seq = max(self.highest_seq, seq)
        if path not in self.documents or self.documents[path][0] < seq:
            self.documents[path] = (seq, body, self.in_trees)

    def _take_feed(self, row: rows.FeedRow) -> None:
        held = self.feed.get(row.first)
        if held is not None and held.txn >= row.txn:
            return
        self.feed[row.first] = row
        self.highest_seq = max(self.highest_seq, row.last)
        for at, item in enumerate(row.items):
            self.note(row.first + at, item.kind, item.guid, item.path, item.old_path)

    def note(self, seq: int, kind: str, guid: GUID, path: bytes, old_path: bytes) -> None:
        """A change of which something is known."""
        if kind in ("put", "restore"):
            self.written[guid] = max(self.written.get(guid, 0), seq)
        if kind in ("delete", "unbind"):
            self.removed[path] = max(self.removed.get(path, 0), seq)
            return
        self.changed[path] = max(self.changed.get(path, 0), seq)
        if kind == "rename":
            self.removed[old_path] = max(self.removed.get(old_path, 0), seq)

    def _take_setting(self, key: bytes, body: bytes) -> None:
        if key == KV_STORE and len(body) == 16:
            self.store_id = body
        elif key == KV_KEY:
            self.key = body
        elif key.startswith(KV_DICTIONARY):
            self.dictionaries[key[-1]] = body

    def is_current(self, path: bytes) -> bool:
        """Whether a row was found that the path had at the end, as far as is known."""
        held = self.documents.get(path)
        if held is None or self.removed.get(path, 0) > held[0]:
            return False
        return not self.intact or path in self.named

    def current(self) -> Iterator[tuple[bytes, int, bytes, bool]]:
        """(path, number of its change, row, whether a tree led to it) of the documents that were
        there at the end.
        """
        for path, held in self.documents.items():
            if self.is_current(path):
                yield path, *held

    def missing(self) -> Iterator[bytes]:
        """Paths that were there at the end, as far as is known, and have no row of that time."""
        for path in self.named if self.intact else self.named | self.changed.keys():
            there = self.removed.get(path, 0) <= self.changed.get(path, 0)
            listed = self.intact and not self.unsure_names and path in self.named
            if (there or listed) and not self.is_current(path):
                yield path


def read_index(found: Salvage, data: Path, *, loose: bool) -> None:
    """Take in the rows that the trees lead to; then, if any are damaged, what lies loose."""
    try:
        descriptor = os.open(data, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        found.intact = False
        return
    try:
        metas = pages.read_metas(descriptor)
        if not metas:
            found.intact = False
        else:
            found.in_trees = True
            _read_trees(found, pages.Walk(descriptor, metas[0]))
            found.in_trees = False
        if loose or not found.intact or found.damaged_rows:
            _read_loose(found, descriptor)
    finally:
        os.close(descriptor)


def _read_trees(found: Salvage, walk: pages.Walk) -> None:
    tables = walk.tables()
    for name, letter in _LETTERS.items():
        tree = tables.get(name)
        if tree is None:
            found.intact = False
            continue
        for node in walk.rows(tree):
            if found.take(letter, node.key, node.value):
                continue
            found.damaged_rows += 1
            # It may have said that a name in the indexes is gone: then the feed says so, too.
            found.unsure_names |= letter == rows.PENDING
    if walk.problems:
        found.intact = False


def _read_loose(found: Salvage, descriptor: int) -> None:
    for key, value in pages.carve(descriptor):
        if len(value) >= 8 and key:
            any(found.take(letter, key, value) for letter in _LETTERS.values())


def read_segments(
    found: Salvage,
    root: Path,
    cipher: Cipher | None,
    progress: ProgressCallback | None = None,
) -> None:
    """Take in the chunks, and what the manifests know of the documents."""
    from streamdb.model import Progress

    directory = root / place.SEGMENTS
    numbers = segments.segment_numbers(directory)
    for at, number in enumerate(numbers):
        path = directory / segments.segment_name(number)
        if progress is not None:
            progress(Progress("segments", at, len(numbers), "segments"))
        with path.open("rb") as file:
            head = file.read(segments.FILE_HEADER_BYTES)
        if segments.check_file_header(head, number, found.store_id or b""):
            found.bad_headers.add(number)
        for offset, header, payload in segments.scan(path):
            if len(payload) != header.stored or crc32c(payload) != header.crc:
                continue
            _take_record(found, number, offset, header, payload, cipher)


def _take_record(
    found: Salvage,
    number: int,
    offset: int,
    header: segments.RecordHeader,
    payload: bytes,
    cipher: Cipher | None,
) -> None:
    if header.kind == segments.CHUNK:
        found.chunks[header.address] = (number, offset, header)
    elif header.kind == segments.DICTIONARY:
        found.dictionaries.setdefault(header.address[0], payload)
    elif header.kind == segments.MANIFEST:
        try:
            entries = manifest.read(cipher, header, payload)
        except CorruptData:
            return
        for each in entries:
            record = each.record
            found.note(record.seq, each.kind, record.guid, record.path, each.old_path)
            if each.kind not in ("delete", "unbind"):
                found.offer(record.path, record.seq, rows.pack_record(record))


def store_id_of_segments(root: Path) -> bytes | None:
    """The identity that the segments' headers give, when the marker is lost."""
    directory = root / place.SEGMENTS
    for number in segments.segment_numbers(directory):
        with (directory / segments.segment_name(number)).open("rb") as file:
            head = file.read(segments.FILE_HEADER_BYTES)
        store_id = segments.store_id_of(head, number)
        if store_id is not None:
            return store_id
    return None


def open_dictionary(content: bytes, number: int, cipher: Cipher | None) -> bytes:
    """A dictionary as it was trained."""
    if cipher is None:
        return content
    return cipher.open(DICTIONARY_PLACE, bytes([number]), 1, content)
