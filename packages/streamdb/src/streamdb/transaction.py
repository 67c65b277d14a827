"""Several operations as one: all of them happen, or none."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from streamdb import attributes, ingest, metapack
from streamdb.errors import InvalidArgument, StoreClosed, StreamDBError
from streamdb.model import GUID, Metadata
from streamdb.paths import validate
from streamdb.view import View
from streamdb.writing import Writable

if TYPE_CHECKING:
    from streamdb.changes import Changes
    from streamdb.engine import Engine

_T = TypeVar("_T")


class Transaction(Writable):
    """Reads and writes that commit together; made by ``StreamDB.transaction()``.

    It sees its own changes, nobody else does before the end. Other writers wait meanwhile, readers
    do not. It belongs to the thread that began it.

    >>> import tempfile
    >>> from streamdb import StreamDB
    >>> with StreamDB.open(tempfile.mkdtemp()) as db:
    ...     with db.transaction() as together:
    ...         _ = together.write_document("kit/kick.wav", b"boom")
    ...         _ = together.write_document("kit/snare.wav", b"tack")
    ...     db.count("kit/")
    2
    """

    def __init__(self, changes: Changes, *, keep: int, max_document: int, origin: str = "") -> None:
        self._changes = changes
        self._keep = keep
        self._limit = max_document
        self._origin = origin
        self._thread = threading.get_ident()
        self._spoiled: BaseException | None = None
        self._ended = False

    # -- the frame -------------------------------------------------------------------------------

    def _use(self) -> Changes:
        if self._ended:
            raise StoreClosed("the transaction has ended", next_step="begin another one")
        if self._thread != threading.get_ident():
            raise InvalidArgument(
                "the transaction belongs to another thread",
                next_step="use it where it was begun; other threads may have their own",
            )
        if self._spoiled is not None:
            raise InvalidArgument(
                "the transaction cannot go on after an error in the middle of an operation",
                why=str(self._spoiled),
                next_step="leave the block; nothing of it is kept; then begin again",
            )
        return self._changes

    @contextlib.contextmanager
    def _view(self, path: str | None = None) -> Iterator[View]:
        changes = self._use()
        if path is None:
            self._do(lambda changes: changes.flush_names())
        yield changes.view

    def end(self) -> None:
        """Called by the store at the end of the block; raises if it must not commit."""
        self._use()
        self._ended = True

    def _do(self, operation: Callable[[Changes], _T]) -> _T:
        changes = self._use()
        before = changes.writes
        try:
            return operation(changes)
        except BaseException as error:
            if changes.writes != before or not isinstance(error, StreamDBError):
                self._spoiled = error
            raise

    # -- writing ---------------------------------------------------------------------------------

    def write_document(
        self,
        path: str | bytes,
        data: ingest.Source,
        *,
        metadata: Metadata | None = None,
        mtime: float | None = None,
        mtime_ns: int | None = None,
        origin: str = "",
        guid: GUID | None = None,
    ) -> GUID:
        """As ``StreamDB.write_document``."""
        name = validate(path).encode()
        put = Put.of(name, metadata, mtime, mtime_ns, self._keep, origin or self._origin, guid)
        changes = self._use()
        engine = changes.engine
        put.pack(engine)
        with engine.writer.preparing():
            put.prepared = ingest.prepare(engine, changes.txn, data, self._limit)
        return self._do(put.run)

    def _apply(self, operation: Callable[[Changes, str], _T]) -> _T:
        return self._do(lambda changes: operation(changes, self._origin))


class Put:
    """One put on its way to a commit."""

    __slots__ = (
        "attributes",
        "encoded",
        "guid",
        "keep",
        "mtime_ns",
        "origin",
        "packed",
        "path",
        "prepared",
    )

    def __init__(self, path: bytes, encoded: bytes, attributes: bytes, mtime_ns: int) -> None:
        self.path = path
        self.encoded = encoded
        self.attributes = attributes
        self.mtime_ns = mtime_ns
        self.packed = b""
        self.prepared: ingest.Prepared | None = None
        self.keep = 0
        self.origin = ""
        self.guid: GUID | None = None

    @classmethod
    def of(
        cls,
        path: bytes,
        metadata: Metadata | None,
        mtime: float | None,
        mtime_ns: int | None,
        keep: int,
        origin: str,
        guid: GUID | None,
    ) -> Put:
        """Check everything but the data.

        Raises:
            InvalidMetadata, InvalidArgument.
        """
        encoded = metapack.to_json(metadata)
        when = _mtime(mtime, mtime_ns)
        if "\0" in origin or len(origin) > 200:
            raise InvalidArgument("an origin is a name of at most 200 characters without NUL")
        made = cls(path, encoded, attributes.pack(metadata or {}), when)
        made.keep, made.origin, made.guid = keep, origin, guid
        return made

    def pack(self, engine: Engine) -> None:
        """Compress the metadata."""
        if engine.packer.gathers:
            engine.packer.sample(self.encoded)
        self.packed = engine.packer.pack(self.encoded)

    def run(self, changes: Changes) -> GUID:
        """Make the change."""
        assert self.prepared is not None
        sealed = changes.engine.cipher is not None
        return changes.put(
            self.path,
            self.prepared,
            packed=self.packed,
            attributes=attributes.UNKNOWN if sealed and self.encoded else self.attributes,
            mtime_ns=self.mtime_ns,
            keep=self.keep,
            origin=self.origin,
            guid=self.guid,
        )


def _mtime(mtime: float | None, mtime_ns: int | None) -> int:
    if mtime_ns is None:
        mtime_ns = time.time_ns() if mtime is None else _nanoseconds(mtime)
    if not isinstance(mtime_ns, int) or not -(1 << 63) <= mtime_ns < 1 << 63:
        raise InvalidArgument(
            f"the modification time {mtime_ns!r} is out of range",
            next_step="give seconds (mtime) or whole nanoseconds (mtime_ns) since 1970",
        )
    return mtime_ns


def _nanoseconds(mtime: Any) -> int:
    try:
        return int(mtime * 1e9) if isinstance(mtime, float) else int(mtime) * 1_000_000_000
    except (TypeError, ValueError, OverflowError):
        raise InvalidArgument(
            f"the modification time {mtime!r} is no number", next_step="give seconds since 1970"
        ) from None
