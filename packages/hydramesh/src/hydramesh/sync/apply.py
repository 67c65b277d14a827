"""A collection in a StreamDB: what the user does to it, and what peers send, as one replica.

The documents are the user's store, untouched but for the changes; versions and tombstones lie in a
small store beside it. A change set is applied in one transaction of the documents, then noted.
After a crash in between, the documents say more than the notes: they are taken for edits made here,
which merge with the same contents from elsewhere without a copy. So nothing is lost either way.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from blake3 import blake3

from hydramesh.sync.contents import Content, Stored, opened
from hydramesh.sync.errors import BadMessage, BadName, StoreChanged
from hydramesh.sync.given import given_of, with_given
from hydramesh.sync.names import Names
from hydramesh.sync.replica import Replica
from hydramesh.sync.versions import Item, Key, conflict_copy, merge_all
from hydramesh.wire import pack_note, unpack_note
from streamdb import StreamDB
from streamdb.errors import FeedTrimmed, NotFound

ORIGIN = "hydramesh"
TOMBSTONE_LIFE_NS = 180 * 86400 * 1_000_000_000
"""How long a deletion is told of; a replica that was away for longer may bring a document back."""

_NOTES = "about"
_NEVER = -1


@dataclass(slots=True)
class Applied:
    """What became of a change set.

    ``missing`` are the contents to fetch first, by digest; ``waiting`` says which item waits for
    which of them.
    """

    changed: list[Item] = field(default_factory=list)
    missing: dict[bytes, int] = field(default_factory=dict)
    waiting: dict[Key, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Replaced:
    """One document that a change set makes, replaces or (b"" as ``after``) deletes."""

    path: str
    before: bytes
    after: bytes


class Outside(Protocol):
    """Files that are to follow the documents."""

    def intend(self, changes: list[Replaced]) -> None:
        """Called before a change set is committed."""

    def settle(self) -> None:
        """Called when it has been, or was not."""


class Collection:
    """One replica over real stores. One thread, and one such object for each collection.

    Args:
        node: the id of this node.
        documents: the user's store.
        notes: the store of the versions.
        base: only the documents whose paths begin so; it is cut off in the collection.
        sign: makes an edit of this node one that others can check.
        lazy: contents that are not here are not waited for.
    """

    def __init__(
        self,
        node: str,
        documents: StreamDB,
        notes: StreamDB,
        *,
        base: str = "",
        sign: Callable[[Item], Item] = lambda item: item,
        lazy: bool = False,
    ) -> None:
        self.documents = documents
        self.notes = notes
        self.base = base
        self.lazy = lazy
        self.writes = True
        self.outside: Outside | None = None
        #: Documents that were changed here by one who may not change them for others.
        self.local: set[str] = set()
        about = notes.metadata(_NOTES) if notes.exists(_NOTES) else {}
        noted = [unpack_note(notes.get(path)) for path in notes.search("items/")]
        self._seen = int(about.get("seen", _NEVER))
        self.absent = {item.path for item, here in noted if not here}
        # Numbers of a log last as long as the process; a new epoch tells the peers.
        epoch = secrets.randbits(52)
        self.replica = Replica(node, epoch, (item for item, _ in noted), sign=sign)
        self._names = Names.of(self.replica.documents())
        self._places: dict[bytes, dict[str, None]] = {}
        self.count = self.size = 0
        for item, _ in noted:
            self._index(None, item)

    # -- what the user did -------------------------------------------------------------------------

    def scan(self) -> list[Item]:
        """Take in what was changed here since the last time, by whatever program."""
        with self.documents.snapshot() as shown:
            last = shown.last_seq
            if last == self._seen:
                return []
            found: dict[str, Item | None] = {}
            for path in self._touched(shown, last):
                self._look(path, shown, found)
        self._seen = last
        news = [item for item in found.values() if item is not None]
        self._note(news)
        return news

    def _look(self, path: str, shown: Any, found: dict[str, Item | None]) -> None:
        """Take in what is at a path, once; a document with several paths changed at all of them."""
        if path in found:
            return
        try:
            stat = shown.stat(self.base + path)
        except NotFound:
            stat = None
        found[path] = self._observe(path, stat, shown)
        if stat is not None and stat.paths > 1:
            for twin in self._inside(shown.paths_of(self.base + path)):
                self._look(twin, shown, found)

    def look_anew(self) -> None:
        """Let the next scan look at every document."""
        self._seen = _NEVER

    def _touched(self, shown: Any, last: int) -> Iterable[str]:
        if 0 <= self._seen <= last:
            try:
                changes = shown.changes(self._seen)
            except FeedTrimmed:
                pass
            else:
                fresh = (one for one in changes if not self._is_known(one))
                return self._inside(
                    path for one in fresh for path in (one.path, one.old_path) if path
                )
        # Also when the store is an older one than before: it was put back from a backup.
        return [*self._inside(shown.search(self.base)), *self.replica.documents()]

    def _inside(self, paths: Iterable[str]) -> Iterable[str]:
        skip = len(self.base)
        return (path[skip:] for path in paths if path.startswith(self.base) and path[skip:])

    def _is_known(self, change: Any) -> bool:
        """Whether a change is one that was made here for a peer, and is noted."""
        if change.origin != ORIGIN or change.old_path or not change.digest:
            return False
        path = change.path[len(self.base) :]
        held = self.replica.items.get(path) if change.path.startswith(self.base) else None
        known = held is not None and held.digest.hex() == change.digest
        return known and path not in self.absent and path not in self.local

    def _observe(self, path: str, stat: Any, shown: Any) -> Item | None:
        held = self.replica.items.get(path)
        digest = bytes.fromhex(stat.digest) if stat is not None else b""
        given = self._given(path, stat, held, shown) if digest else b""
        known = (held.digest, held.given) if held is not None else (b"", b"")
        if known == (digest, given):
            self.local.discard(path)
            return held if held is not None and digest and self._arrived(held) else None
        if not digest and path in self.absent:
            return None
        if not self.writes:
            self.local.add(path)
            return None
        if not digest:
            made = self.replica.delete(path, time.time_ns())
        else:
            try:
                made = self.replica.edit(path, digest, stat.size, stat.mtime_ns, given)
            except BadName:
                # A name that peers would refuse stays here alone.
                self.local.add(path)
                return None
        self.local.discard(path)
        self.absent.discard(path)
        if made is not None:
            self._index(held, made)
        return made

    def _given(self, path: str, stat: Any, held: Item | None, shown: Any) -> bytes:
        """What was given by hand to a document that is here."""
        before = held.given if held is not None else b""
        if self.outside is not None:
            # Its metadata are those of the file, which has no others.
            return before if held is not None and held.digest.hex() == stat.digest else b""
        if not stat.metadata and not before:
            return b""
        with shown.get_stream(self.base + path) as source:
            return given_of(source, path, stat.metadata, before)

    def _arrived(self, item: Item) -> bool:
        """Whether a content is here now that was not."""
        if item.path not in self.absent:
            return False
        self.absent.discard(item.path)
        self._places.setdefault(item.digest, {})[item.path] = None
        return True

    # -- what peers sent ---------------------------------------------------------------------------

    def apply(self, items: Iterable[Item], fetched: Callable[[bytes], Content | None]) -> Applied:
        """Merge what a peer sent into the documents: all of what is at hand, or nothing.

        Args:
            items: as decoded, with checked names and authors.
            fetched: gives a content by its digest, None while it is not here.

        Raises:
            BadMessage: a content is not what its digest says; StoreChanged: the user was quicker.
            Nothing was changed then.
        """
        self.scan()
        with self.documents.snapshot() as shown:
            batch = _Batch(self.replica.items, shown, fetched)
            for item in items:
                self._prepare(item, batch)
            changed = list(batch.ready.values())
            if changed:
                self._commit(changed, batch)
        for item in changed:
            held = self.replica.items.get(item.path)
            self.replica.take([item])
            (self.absent.add if item.path in batch.absent else self.absent.discard)(item.path)
            self._index(held, item)
        if changed:
            # The feed now holds our own changes, and the user's since: the next scan tells them.
            self._note(changed)
        batch.outcome.changed = changed
        return batch.outcome

    def _prepare(self, item: Item, batch: _Batch) -> None:
        """Add what one item changes to the batch, if all its contents are at hand."""
        if self._is_past(item):
            return
        changes = merge_all(batch, [item])
        contents: dict[bytes, Content] = {}
        absent: set[str] = set()
        for change in changes.values():
            now = batch.get(change.path)
            same = now is not None and now.digest == change.digest
            if same and change.path in self.absent:
                absent.add(change.path)
            known = now is not None and same and now.given == change.given
            if change.deleted or known or change.path in absent:
                continue
            content = self._find(change.digest, batch)
            if content is not None:
                contents[change.digest] = content
            elif self.lazy:
                absent.add(change.path)
            else:
                batch.outcome.missing[change.digest] = change.size
                batch.outcome.waiting[item.key] = change.digest
                return
        batch.ready.update(changes)
        batch.wanted.update(contents)
        batch.absent.difference_update(changes)
        batch.absent.update(absent)

    def _is_past(self, item: Item) -> bool:
        """Whether an item is a deletion that everybody has forgotten."""
        if not item.deleted or item.path in self.replica.items:
            return False
        return bool(item.mtime_ns) and item.mtime_ns < time.time_ns() - TOMBSTONE_LIFE_NS

    def _find(self, digest: bytes, batch: _Batch) -> Content | None:
        """A content that is at hand; of a renamed or copied document it always is."""
        if digest in batch.wanted:
            return batch.wanted[digest]
        for path in self._places.get(digest, ()):
            if batch.shown.exists(self.base + path):
                return Stored(batch.shown, self.base + path)
        return batch.fetched(digest)

    def _commit(self, changed: list[Item], batch: _Batch) -> None:
        if self.outside is not None:
            self.outside.intend([e for item in changed for e in self._replaced(item, batch)])
        try:
            with self.documents.transaction(origin=ORIGIN) as together:
                for item in changed:
                    self._expect(together, item, batch)
                for item in changed:
                    self._write(together, item, batch)
        except NotFound as error:
            raise StoreChanged(
                "a document was taken away while a change from a peer was on its way",
                why=error.what,
            ) from None
        finally:
            if self.outside is not None:
                self.outside.settle()

    def _replaced(self, item: Item, batch: _Batch) -> Iterable[Replaced]:
        at = self.base + item.path
        before = bytes.fromhex(batch.shown.stat(at).digest) if batch.shown.exists(at) else b""
        yield Replaced(item.path, before, b"" if item.path in batch.absent else item.digest)
        if before and not self.writes and not self._fits(item, before):
            yield Replaced(_aside(item.path, before), b"", before)

    def _expect(self, together: Any, item: Item, batch: _Batch) -> None:
        """The document is still the one that was merged with; else somebody was quicker."""
        at = self.base + item.path
        stat = together.stat(at) if together.exists(at) else None
        digest = bytes.fromhex(stat.digest) if stat is not None else b""
        same = stat is None or not self.writes or not batch.shown.exists(at)
        same = same or (stat is not None and batch.shown.metadata(at) == stat.metadata)
        if same and self._fits(item, digest):
            return
        if not digest and (item.path in self.absent or not self.writes):
            return
        if self.writes:
            raise StoreChanged(
                f"{item.path[:60]!r} was changed while a change from a peer was on its way",
                next_step="nothing was lost: it is merged in the next round",
            )
        # A reader's own change makes way, and is kept beside.
        aside = _aside(item.path, digest)
        if not together.exists(self.base + aside):
            together.rename(at, self.base + aside)
        self.local.add(aside)

    def _fits(self, item: Item, digest: bytes) -> bool:
        """Whether what a document has is what was merged, or what is to be written."""
        held = self.replica.items.get(item.path)
        return digest in (item.digest, held.digest if held is not None else b"")

    def _write(self, together: Any, item: Item, batch: _Batch) -> None:
        at = self.base + item.path
        stat = together.stat(at) if together.exists(at) else None
        if item.deleted or item.path in batch.absent:
            if stat is not None:
                together.delete(at)
            return
        held = self.replica.items.get(item.path)
        given = held.given if held is not None else b""
        if stat is not None and (stat.digest, given) == (item.digest.hex(), item.given):
            return
        if stat is not None and stat.paths > 1:
            # Written through one path, a document changes at all of them.
            together.unbind(at)
        content = batch.wanted[item.digest]
        with opened(content) as source:
            metadata = with_given(source, item.path, item.given)
            source.seek(0)
            together.write_document(at, source, metadata=metadata, mtime_ns=item.mtime_ns)
        if together.stat(at).digest != item.digest.hex():
            raise BadMessage(
                f"the content sent for {item.path[:60]!r} is not what its digest says",
                next_step="it is fetched again from another peer",
            )

    def fill(self, path: str, content: Content) -> bool:
        """Write the content of a document of which only the name is here.

        Raises:
            BadMessage: it is not what the digest says.
        """
        self.scan()
        item = self.replica.items.get(path)
        if item is None or path not in self.absent:
            return False
        with self.documents.snapshot() as shown:
            batch = _Batch(self.replica.items, shown, lambda _: None)
            batch.wanted[item.digest] = content
            self._commit([item], batch)
        self._arrived(item)
        self._note([item])
        return True

    def endorse(self, stands: Callable[[Item], bool]) -> list[Item]:
        """Make edits of this node of those whose authors may not write any more."""
        made = [
            self.replica.endorse(path)
            for path, item in list(self.replica.items.items())
            if not stands(item)
        ]
        if made:
            self._note(made)
        return made

    # -- keeping -----------------------------------------------------------------------------------

    def place_of(self, digest: bytes) -> str | None:
        """The path in the store of a document with this content."""
        for path in list(self._places.get(digest, ())):
            return self.base + path
        return None

    def clashes(self) -> list[str]:
        """Paths that differ from another by case or Unicode form alone."""
        return self._names.clashes()

    def expire(self, now_ns: int) -> int:
        """Forget deletions that are older than their life; how many."""
        past = [
            item.path
            for item in self.replica.items.values()
            if item.deleted and item.mtime_ns and item.mtime_ns < now_ns - TOMBSTONE_LIFE_NS
        ]
        if past:
            with self.notes.transaction() as together:
                for path in past:
                    if together.exists(_place(path)):
                        together.delete(_place(path))
            for path in past:
                self.replica.forget(path)
        return len(past)

    def _index(self, before: Item | None, after: Item) -> None:
        if before is not None and not before.deleted:
            places = self._places.get(before.digest, {})
            places.pop(before.path, None)
            if not places:
                self._places.pop(before.digest, None)
            self.count -= 1
            self.size -= before.size
            if after.deleted:
                self._names.discard(before.path)
        if after.deleted:
            return
        if before is None or before.deleted:
            self._names.add(after.path)
        self.count += 1
        self.size += after.size
        if after.path not in self.absent:
            self._places.setdefault(after.digest, {})[after.path] = None

    def _note(self, items: Iterable[Item]) -> None:
        with self.notes.transaction() as together:
            for item in items:
                note = pack_note(item, here=item.path not in self.absent)
                together.write_document(_place(item.path), note)
            together.write_document(_NOTES, b"", metadata={"seen": self._seen})


class _Batch:
    """Items that are about to change, before those that are, and their contents."""

    def __init__(
        self,
        held: Any,
        shown: Any,
        fetched: Callable[[bytes], Content | None],
    ) -> None:
        self.held = held
        self.shown = shown
        self.fetched = fetched
        self.ready: dict[str, Item] = {}
        self.wanted: dict[bytes, Content] = {}
        self.absent: set[str] = set()
        self.outcome = Applied()

    def get(self, path: str) -> Item | None:
        """The item at a path."""
        held: Item | None = self.ready.get(path) or self.held.get(path)
        return held


def _aside(path: str, digest: bytes) -> str:
    """Where a reader's own version of a document is kept."""
    return conflict_copy(Item(path, (), digest)).path


def _place(path: str) -> str:
    return f"items/{blake3(path.encode()).hexdigest()}"
