"""The changes that can be asked of a store and of a transaction alike."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from streamdb.model import GUID
from streamdb.paths import validate
from streamdb.reading import Readable

if TYPE_CHECKING:
    from streamdb.changes import Changes

_T = TypeVar("_T")


class Writable(Readable):
    """What changes paths and versions; in which commit that is done, ``_apply`` says."""

    _keep: int

    @abstractmethod
    def _apply(self, operation: Callable[[Changes, str], _T]) -> _T:
        """Run an operation on the changes of a commit, with the origin that the feed names."""

    def delete(self, path: str | bytes) -> None:
        """Take a path away. A document without another path is kept as an old version.

        Raises:
            NotFound: there is none.

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("old.wav", b"boom")
        ...     db.delete("old.wav")
        ...     db.exists("old.wav"), [version.reason for version in db.history("old.wav")]
        (False, ['deleted'])
        """
        name = validate(path).encode()
        self._apply(lambda changes, origin: changes.delete(name, self._keep, origin))

    def rename(self, old: str | bytes, new: str | bytes, *, overwrite: bool = False) -> None:
        """Give a document another path; its identity and old versions go with it.

        Raises:
            NotFound: no document at ``old``; AlreadyExists: one at ``new``, and not ``overwrite``.

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("new/kick.wav", b"boom")
        ...     db.rename("new/kick.wav", "drums/kick.wav")
        ...     db.search()
        ['drums/kick.wav']
        """
        names = validate(old).encode(), validate(new).encode()
        self._apply(
            lambda changes, origin: changes.rename(
                *names, self._keep, overwrite=overwrite, origin=origin
            )
        )

    def bind(self, path: str | bytes, new: str | bytes) -> GUID:
        """Give a document one more path. Writing through one of them changes what all show.

        Returns:
            The identity of the document.

        Raises:
            NotFound: no document at ``path``; AlreadyExists: another document at ``new``.

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("drums/kick.wav", b"boom")
        ...     _ = db.bind("drums/kick.wav", "best/kick.wav")
        ...     db.paths_of("drums/kick.wav"), db.get("best/kick.wav")
        (['best/kick.wav', 'drums/kick.wav'], b'boom')
        """
        names = validate(path).encode(), validate(new).encode()
        return self._apply(lambda changes, origin: changes.bind(*names, origin))

    def unbind(self, path: str | bytes) -> None:
        """Take one of a document's several paths away.

        Raises:
            NotFound: no document there; InvalidArgument: it is its only path.

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     _ = db.write_document("drums/kick.wav", b"boom")
        ...     _ = db.bind("drums/kick.wav", "best/kick.wav")
        ...     db.unbind("drums/kick.wav")
        ...     db.paths_of("best/kick.wav")
        ['best/kick.wav']
        """
        name = validate(path).encode()
        self._apply(lambda changes, origin: changes.unbind(name, origin))

    def restore(self, path: str | bytes, version: int) -> GUID:
        """Make an old version the current one again, also of a deleted path.

        ``version`` is a number that ``history`` gives. What was current becomes an old version.

        Returns:
            The identity of the document; one that was deleted comes back with its own.

        Raises:
            NotFound: that version is not kept; ``history`` lists those that are.

        >>> import tempfile
        >>> from streamdb import StreamDB
        >>> with StreamDB.open(tempfile.mkdtemp()) as db:
        ...     for text in (b"first", b"second"):
        ...         _ = db.write_document("notes.txt", text)
        ...     current, before = db.history("notes.txt")
        ...     _ = db.restore("notes.txt", before.version)
        ...     db.get("notes.txt")
        b'first'
        """
        name = validate(path).encode()
        return self._apply(
            lambda changes, origin: changes.restore(name, version, self._keep, origin)
        )
