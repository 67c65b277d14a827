"""The store for asyncio: hits answer at once, everything else runs in threads.

A document in the cache is returned without suspending. What misses is gathered while a look-up is
under way, and read together in one thread; writes of many tasks share commits.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from streamdb.errors import StreamDBError
from streamdb.model import GUID, Metadata, Stat
from streamdb.store import StreamDB

if TYPE_CHECKING:
    from streamdb.ingest import Source
    from streamdb.query import Query

_T = TypeVar("_T")
_THREADS = 16


class AsyncStreamDB:
    """A store for the tasks of one event loop.

    >>> import asyncio, tempfile
    >>> async def main():
    ...     async with await AsyncStreamDB.open(tempfile.mkdtemp()) as db:
    ...         await db.write_document("a.wav", b"boom")
    ...         return await db.get("a.wav")
    >>> asyncio.run(main())
    b'boom'
    """

    def __init__(self, db: StreamDB) -> None:
        self._db = db
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="streamdb-read")
        self._writers = ThreadPoolExecutor(_THREADS, thread_name_prefix="streamdb-write")
        self._wanted: dict[str, asyncio.Future[bytes]] = {}
        self._reading = False
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: str | os.PathLike[str], **options: Any) -> AsyncStreamDB:
        """Open a store; the options are those of ``StreamDB.open``."""
        loop = asyncio.get_running_loop()
        return cls(await loop.run_in_executor(None, lambda: StreamDB.open(path, **options)))

    @property
    def db(self) -> StreamDB:
        """The store itself, for what is not offered here."""
        return self._db

    async def close(self) -> None:
        """Wait for what is under way, then close the store."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._close)

    def _close(self) -> None:
        self._writers.shutdown()
        self._readers.shutdown()
        self._db.close()

    async def __aenter__(self) -> AsyncStreamDB:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def get(self, path: str) -> bytes:
        """The data of a document; without suspending when it is in the cache.

        Raises:
            NotFound: there is none; CorruptData: it is damaged.

        >>> import asyncio, tempfile
        >>> async def main():
        ...     async with await AsyncStreamDB.open(tempfile.mkdtemp()) as db:
        ...         await db.write_document("a", b"1")
        ...         return await db.get("a")
        >>> asyncio.run(main())
        b'1'
        """
        held = self._db.cached(path)
        if held is not None:
            return held
        waiting = self._wanted.get(path)
        if waiting is None:
            loop = asyncio.get_running_loop()
            waiting = self._wanted[path] = loop.create_future()
            if not self._reading:
                self._reading = True
                self._task = loop.create_task(self._read())
        # Shielded: the look-up serves others too, when this task is cancelled.
        return await asyncio.shield(waiting)

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._wanted:
                wanted, self._wanted = self._wanted, {}
                try:
                    found = await loop.run_in_executor(self._readers, self._look_up, list(wanted))
                except Exception as error:
                    found = dict.fromkeys(wanted, error)
                for path, future in wanted.items():
                    _settle(future, found[path])
        finally:
            self._reading = False

    def _look_up(self, names: list[str]) -> dict[str, bytes | Exception]:
        found: dict[str, bytes | Exception] = {}
        for name in names:
            try:
                found[name] = self._db.get(name)
            except StreamDBError as error:
                found[name] = error
        return found

    async def get_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """The data of several documents, all of one state; paths without one are left out.

        >>> import asyncio, tempfile
        >>> async def main():
        ...     async with await AsyncStreamDB.open(tempfile.mkdtemp()) as db:
        ...         await db.write_document("a", b"1")
        ...         return await db.get_many(["a", "b"])
        >>> asyncio.run(main())
        {'a': b'1'}
        """
        wanted = list(names)
        return await self._in_thread(self._readers, lambda: self._db.get_many(wanted))

    async def write_document(
        self,
        path: str | bytes,
        data: Source,
        *,
        metadata: Metadata | None = None,
        mtime: float | None = None,
    ) -> GUID:
        """As ``StreamDB.write_document``; a file or iterator is read in a thread.

        >>> import asyncio, tempfile
        >>> async def main():
        ...     async with await AsyncStreamDB.open(tempfile.mkdtemp()) as db:
        ...         await asyncio.gather(*(db.write_document(n, b"x") for n in "abc"))
        ...         return await db.search()
        >>> asyncio.run(main())
        ['a', 'b', 'c']
        """
        return await self._in_thread(
            self._writers,
            lambda: self._db.write_document(path, data, metadata=metadata, mtime=mtime),
        )

    async def delete(self, path: str | bytes) -> None:
        """As ``StreamDB.delete``."""
        await self._in_thread(self._writers, lambda: self._db.delete(path))

    async def stat(self, path: str) -> Stat:
        """As ``StreamDB.stat``."""
        return await self._in_thread(self._readers, lambda: self._db.stat(path))

    async def metadata(self, path: str) -> dict[str, Any]:
        """As ``StreamDB.metadata``."""
        return await self._in_thread(self._readers, lambda: self._db.metadata(path))

    async def search(
        self, prefix: str = "", *, limit: int | None = None, after: str | None = None
    ) -> list[str]:
        """As ``StreamDB.search``.

        >>> import asyncio, tempfile
        >>> async def main():
        ...     async with await AsyncStreamDB.open(tempfile.mkdtemp()) as db:
        ...         await db.write_document("drums/kick", b"x")
        ...         return await db.search("drums/")
        >>> asyncio.run(main())
        ['drums/kick']
        """
        return await self._in_thread(
            self._readers, lambda: self._db.search(prefix, limit=limit, after=after)
        )

    async def find(self, query: str | Query, *, limit: int | None = None) -> list[str]:
        """As ``StreamDB.find``."""
        return await self._in_thread(self._readers, lambda: self._db.find(query, limit=limit))

    async def flush(self) -> None:
        """As ``StreamDB.flush``."""
        await self._in_thread(self._writers, self._db.flush)

    async def _in_thread(self, pool: ThreadPoolExecutor, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(pool, work)


def _settle(future: asyncio.Future[bytes], found: bytes | Exception) -> None:
    if future.done():
        return
    if isinstance(found, Exception):
        future.set_exception(found)
    else:
        future.set_result(found)
