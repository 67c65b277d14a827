"""The questions that can be asked of a store, a snapshot and a transaction alike."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from streamdb.model import GUID, Change, Entry, Stat, Version
from streamdb.paths import validate, validate_prefix, validate_suffix
from streamdb.view import View

if TYPE_CHECKING:
    from streamdb.query import Query


class Readable(ABC):
    """What is asked of one state of the store; where that state comes from, ``_view`` says."""

    @abstractmethod
    def _view(self, path: str | None = None) -> AbstractContextManager[View]:
        """A view for one question, about ``path`` or (None) about anything."""

    def get(self, path: str) -> bytes:
        """The data of the document at ``path``.

        Raises:
            NotFound: there is none; CorruptData: it is damaged (never wrong bytes).

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("drums/kick.wav", b"boom")
        ...     db.get("drums/kick.wav")
        b'boom'
        """
        with self._view(path) as view:
            return view.get(path)

    def get_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """The data of several documents, all of one state; paths without one are left out.

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("a", b"1")
        ...     _ = db.write_document("b", b"2")
        ...     db.get_many(["a", "b", "c"])
        {'a': b'1', 'b': b'2'}
        """
        with self._view() as view:
            return view.get_many(names)

    def get_stream(self, path: str) -> io.BufferedReader:
        """The document as a file to read: seekable, checked chunk by chunk, in constant memory.

        It shows the version that was current when it was opened.

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("a", b"0123456789")
        ...     with db.get_stream("a") as file:
        ...         file.seek(7), file.read()
        (7, b'789')
        """
        with self._view(path) as view:
            return view.stream(path)

    def stat(self, path: str) -> Stat:
        """What is known of a document without reading its data.

        Raises:
            NotFound: there is none.

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("kick.wav", b"boom", metadata={"tempo": 120})
        ...     found = db.stat("kick.wav")
        ...     found.size, found.metadata, found.paths
        (4, {'tempo': 120}, 1)
        """
        with self._view(path) as view:
            return view.stat(path)

    def metadata(self, path: str) -> dict[str, Any]:
        """The metadata of a document alone, as a fresh dict; {} if it has none.

        A quarter of what :meth:`stat` costs.

        Raises:
            NotFound: there is none; CorruptData: it is damaged.

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("loop.wav", b"RIFF", metadata={"tempo": 120})
        ...     db.metadata("loop.wav")
        {'tempo': 120}
        """
        with self._view(path) as view:
            return view.metadata(path)

    def exists(self, path: str) -> bool:
        """Whether there is a document at ``path``.

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("drums/kick.wav", b"boom")
        ...     db.exists("drums/kick.wav"), db.exists("drums")
        (True, False)
        """
        with self._view(path) as view:
            return view.record(validate(path)) is not None

    def paths_of(self, name: str | GUID) -> list[str]:
        """All paths of the document at a path, sorted; also of a GUID, which may take a full scan.

        Raises:
            NotFound: there is no such document.

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     guid = db.write_document("drums/kick.wav", b"boom")
        ...     _ = db.bind("drums/kick.wav", "best/kick.wav")
        ...     db.paths_of(guid)
        ['best/kick.wav', 'drums/kick.wav']
        """
        with self._view() as view:
            return view.paths_of(name)

    def search(
        self, prefix: str = "", *, limit: int | None = None, after: str | None = None
    ) -> list[str]:
        """The paths that begin with ``prefix``, sorted; ``limit`` at most, after ``after``.

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     for name in ("drums/kick", "drums/snare", "bass/sub"):
        ...         _ = db.write_document(name, b"x")
        ...     db.search("drums/", limit=1), db.search("drums/", after="drums/kick")
        (['drums/kick'], ['drums/snare'])
        """
        with self._view() as view:
            return view.search(validate_prefix(prefix), limit, after)

    def search_suffix(
        self, suffix: str, *, limit: int | None = None, after: str | None = None
    ) -> list[str]:
        """The paths that end with ``suffix``, sorted from their last byte to their first.

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     for name in ("a/kick.wav", "b/kick.wav", "b/kick.mid"):
        ...         _ = db.write_document(name, b"x")
        ...     db.search_suffix("/kick.wav")
        ['a/kick.wav', 'b/kick.wav']
        """
        with self._view() as view:
            return view.search_suffix(validate_suffix(suffix), limit, after)

    def find(self, query: str | Query, *, limit: int | None = None) -> list[str]:
        """The paths of the documents that a query means, such as ``rate=96000 tempo=118..122``.

        Raises:
            InvalidQuery: with the column, and what is allowed there.

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("a.wav", b"x", metadata={"rate": 96000, "tempo": 119})
        ...     _ = db.write_document("b.wav", b"x", metadata={"rate": 44100, "tempo": 119})
        ...     db.find("rate=96000 tempo=118..122")
        ['a.wav']
        """
        asked = parsed(query)
        with self._view() as view:
            return list(view.find(asked, limit))

    def count(self, prefix: str = "") -> int:
        """How many paths begin with ``prefix``; one look-up for a directory (``"drums/"``).

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("drums/kick", b"x")
        ...     _ = db.write_document("drums/snare", b"x")
        ...     _ = db.write_document("bass/sub", b"x")
        ...     db.count("drums/"), db.count()
        (2, 3)
        """
        with self._view() as view:
            return view.count(validate_prefix(prefix))

    def children(
        self, directory: str = "", *, limit: int | None = None, after: str | None = None
    ) -> list[Entry]:
        """What lies right below a directory ("" for the top), in the order of the paths.

        ``after`` is the name of the entry to go on behind, with a slash if it was a directory.

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("drums/808/kick", b"x")
        ...     _ = db.write_document("drums/snare", b"x")
        ...     for entry in db.children("drums"):
        ...         print(entry.name, entry.is_dir, entry.documents)
        808 True 1
        snare False 1
        """
        with self._view() as view:
            inside = validate_prefix(directory).rstrip("/")
            return list(view.children(inside, limit, after))

    def history(self, path: str) -> list[Version]:
        """The current version of a path and the old ones that are kept, the newest first.

        Raises:
            NotFound: there is none.

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("notes.txt", b"first")
        ...     _ = db.write_document("notes.txt", b"second")
        ...     [(each.current, each.size) for each in db.history("notes.txt")]
        [(True, 6), (False, 5)]
        """
        with self._view(path) as view:
            return view.history(path)

    def get_version(self, path: str, version: int) -> bytes:
        """The data of a kept version.

        Raises:
            NotFound: that version is not kept.

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("notes.txt", b"first")
        ...     _ = db.write_document("notes.txt", b"second")
        ...     before = db.history("notes.txt")[-1]
        ...     db.get_version("notes.txt", before.version)
        b'first'
        """
        with self._view(path) as view:
            return view.get_version(path, version)

    def changes(self, since: int = 0, *, limit: int | None = None) -> list[Change]:
        """The changes after number ``since``, the oldest first.

        Raises:
            FeedTrimmed: the feed no longer reaches back that far.

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("a", b"1")
        ...     db.rename("a", "b")
        ...     seen = db.changes()
        ...     [(each.kind, each.path) for each in seen], db.changes(seen[-1].seq)
        ([('put', 'a'), ('rename', 'b')], [])
        """
        with self._view() as view:
            return list(view.changes(since, limit))


def parsed(query: str | Query) -> Query:
    """A query, parsed if it is text.

    Raises:
        InvalidQuery: it cannot be understood.
    """
    from streamdb.query import parse

    return parse(query) if isinstance(query, str) else query
