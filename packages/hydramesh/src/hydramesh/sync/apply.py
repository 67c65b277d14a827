"""A collection in a StreamDB: what the user does to it, and what peers send, as one replica.

The documents are the user's store, untouched but for the changes; versions and tombstones lie in a
small store beside it. A change set is applied in one transaction of the documents, then noted.
After a crash in between, the documents say more than the notes: they are taken for edits made here,
which merge with the same contents from elsewhere without a copy. So nothing is lost either way.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import IO, Any, TypeAlias

from hydramesh.sync.errors import BadMessage, BadName, StoreChanged
from hydramesh.sync.names import Names
from hydramesh.sync.replica import Replica
from hydramesh.sync.versions import Item, merge_all
from hydramesh.wire import pack_item, unpack_item
from streamdb import StreamDB
from streamdb.errors import FeedTrimmed

ORIGIN = "hydramesh"
_NOTES = "about"
Content: TypeAlias = "bytes | IO[bytes]"


@dataclass(slots=True)
class Applied:
    """What became of a change set.

    ``missing`` are the contents to fetch first; their items wait for the next time. ``refused``
    names the paths that cannot stand beside others, with the reason.
    """

    changed: list[Item] = field(default_factory=list)
    missing: list[bytes] = field(default_factory=list)
    refused: dict[str, BadName] = field(default_factory=dict)


class Collection:
    """One replica over real stores. One thread, and one such object, for each collection."""

    def __init__(self, node: str, documents: StreamDB, notes: StreamDB) -> None:
        self.documents = documents
        self.notes = notes
        about = notes.metadata(_NOTES) if notes.exists(_NOTES) else {}
        items = [unpack_item(notes.get(path)) for path in notes.search("items/")]
        self._seen = int(about.get("seen", 0))
        # Numbers of a log last as long as the process; a new epoch tells the peers.
        self.replica = Replica(node, secrets.randbits(52), items)
        self._names = Names.of(self.replica.documents())
        self._places: dict[bytes, set[str]] = {}
        for item in items:
            self._index(None, item)

    # -- what the user did -------------------------------------------------------------------------

    def scan(self) -> list[Item]:
        """Take in what was changed here since the last time, by whatever program."""
        with self.documents.snapshot() as shown:
            last = shown.last_seq
            try:
                paths = self._touched(shown.changes(self._seen))
            except FeedTrimmed:
                paths = [*shown.search(), *self.replica.documents()]
            found = []
            for path in dict.fromkeys(paths):
                stat = shown.stat(path) if shown.exists(path) else None
                item = self._observe(path, stat)
                if item is not None:
                    found.append(item)
        self._seen = last
        self._note(found)
        return found

    @staticmethod
    def _touched(changes: Iterable[Any]) -> list[str]:
        return [path for one in changes for path in (one.path, one.old_path) if path]

    def _observe(self, path: str, stat: Any) -> Item | None:
        held = self.replica.items.get(path)
        digest = bytes.fromhex(stat.digest) if stat is not None else b""
        if (held.digest if held is not None else b"") == digest:
            return None
        if not digest:
            made = self.replica.delete(path)
        else:
            try:
                made = self.replica.edit(path, digest, stat.size, stat.mtime_ns)
            except BadName:
                # A name that peers would refuse stays here alone.
                return None
        if made is not None:
            if not made.deleted and (held is None or held.deleted):
                self._names.add(path, strict=False)
            self._index(held, made)
        return made

    # -- what peers sent ---------------------------------------------------------------------------

    def apply(self, items: Iterable[Item], fetched: Callable[[bytes], Content | None]) -> Applied:
        """Merge what a peer sent into the documents: all of what is at hand, or nothing.

        Args:
            items: as decoded, with checked names.
            fetched: gives a content by its digest, None while it is not here.

        Raises:
            BadMessage: a content is not what its digest says; StoreChanged: the user was quicker.
            Nothing was changed then.
        """
        self.scan()
        outcome = Applied()
        ready: dict[str, Item] = {}
        wanted: dict[bytes, Content] = {}
        for item in items:
            self._prepare(item, ready, wanted, fetched, outcome)
        if not ready:
            return outcome
        changed = list(ready.values())
        try:
            self._commit(changed, wanted)
        except BaseException:
            for item in changed:
                if self._is_new(item):
                    self._names.discard(item.path)
            raise
        for item in changed:
            held = self.replica.items.get(item.path)
            self.replica.take([item])
            self._index(held, item)
        # The feed now holds our own changes, and the user's since: the next scan tells them apart.
        self._note(changed)
        outcome.changed = changed
        return outcome

    def _commit(self, changed: list[Item], wanted: dict[bytes, Content]) -> None:
        with self.documents.transaction(origin=ORIGIN) as together:
            for item in changed:
                self._expect(together, item.path)
            for item in changed:
                self._write(together, item, wanted)

    def _is_new(self, item: Item) -> bool:
        """Whether an item brings a name that there was not."""
        held = self.replica.items.get(item.path)
        return not item.deleted and (held is None or held.deleted)

    def _prepare(
        self,
        item: Item,
        ready: dict[str, Item],
        wanted: dict[bytes, Content],
        fetched: Callable[[bytes], Content | None],
        outcome: Applied,
    ) -> None:
        """Add what one item changes to ``ready``, if all its contents are at hand."""
        view = _Layers(ready, self.replica.items)
        changes = merge_all(view, [item])
        contents: dict[bytes, Content] = {}
        for change in changes.values():
            now = view.get(change.path)
            if change.deleted or (now is not None and now.digest == change.digest):
                continue
            content = wanted.get(change.digest) or self._local(change.digest)
            content = content if content is not None else fetched(change.digest)
            if content is None:
                outcome.missing.append(change.digest)
                return
            contents[change.digest] = content
        fresh = [c.path for c in changes.values() if self._is_new(c) and c.path not in ready]
        for at, path in enumerate(fresh):
            try:
                self._names.add(path)
            except BadName as error:
                for added in fresh[:at]:
                    self._names.discard(added)
                outcome.refused[item.path] = error
                return
        ready.update(changes)
        wanted.update(contents)

    def _local(self, digest: bytes) -> bytes | None:
        """A content that a document here has already: a rename costs no transfer."""
        for path in self._places.get(digest, ()):
            if self.documents.exists(path):
                return self.documents.get(path)
        return None

    def _expect(self, together: Any, path: str) -> None:
        """The document is still the one that was merged with; else somebody was quicker."""
        held = self.replica.items.get(path)
        digest = bytes.fromhex(together.stat(path).digest) if together.exists(path) else b""
        if digest != (held.digest if held is not None else b""):
            raise StoreChanged(
                f"{path[:60]!r} was changed while a change from a peer was on its way",
                next_step="nothing was lost: it is merged in the next round",
            )

    def _write(self, together: Any, item: Item, wanted: dict[bytes, Content]) -> None:
        held = self.replica.items.get(item.path)
        if item.digest == (held.digest if held is not None else b""):
            return
        if item.deleted:
            together.delete(item.path)
            return
        together.write_document(item.path, wanted[item.digest], mtime_ns=item.mtime_ns)
        if together.stat(item.path).digest != item.digest.hex():
            raise BadMessage(
                f"the content sent for {item.path[:60]!r} is not what its digest says",
                next_step="it is fetched again from another peer",
            )

    # -- keeping -----------------------------------------------------------------------------------

    def _index(self, before: Item | None, after: Item) -> None:
        if before is not None and not before.deleted:
            self._places.get(before.digest, set()).discard(before.path)
            if after.deleted:
                self._names.discard(before.path)
        if not after.deleted:
            self._places.setdefault(after.digest, set()).add(after.path)

    def _note(self, items: Iterable[Item]) -> None:
        with self.notes.transaction() as together:
            for item in items:
                together.write_document(_place(item.path), pack_item(item))
            together.write_document(_NOTES, b"", metadata={"seen": self._seen})


@dataclass(slots=True)
class _Layers:
    """Items that are about to change, before those that are."""

    first: dict[str, Item]
    second: Any

    def get(self, path: str) -> Item | None:
        """The item at a path."""
        held: Item | None = self.first.get(path) or self.second.get(path)
        return held


def _place(path: str) -> str:
    from blake3 import blake3

    return f"items/{blake3(path.encode()).hexdigest()}"
