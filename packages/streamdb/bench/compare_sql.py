"""SQLite, assembled for this work: through apsw in two layouts, and through sqlite3."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import corpus
import orjson
from compare_stores import Document, Opened, Question

_PRAGMAS = (
    "journal_mode = wal",
    "synchronous = full",
    "mmap_size = 17179869184",
    "cache_size = -262144",
    "wal_autocheckpoint = 4000",
    "temp_store = memory",
)
_SHARED = (
    "journal_mode=WAL, synchronous=FULL, mmap, 256 MiB page cache, checkpoint every 4000 pages",
    "prepared statements; rate, channels, bits, tempo, duration and key are columns of their own",
    "after a load the reversed paths are added sorted; blobs lie in a database of 16 KiB pages",
    "threads share one connection under a lock, which is faster than one each",
    "nothing stored carries a checksum; no change feed, no counters, no old versions",
)
_LAYOUT = ("documents by rowid, a unique index each on path and reversed path", *_SHARED)
_LAYOUT_CLUSTERED = (
    "documents WITHOUT ROWID, reversed paths in a table WITHOUT ROWID",
    *_SHARED,
)
_COLUMNS = ("rate", "channels", "bits", "tempo", "duration", "key")
_DECLARED = "rate integer, channels integer, bits integer, tempo real, duration real, key text"
_UPDATES = ", ".join(f"{name} = excluded.{name}" for name in (*_COLUMNS, "data", "metadata"))

# Rows with a number of their own; both indexes hold all that a search needs.
_BY_NUMBER = f"""
create table if not exists doc (id integer primary key, path text not null, rpath text not null,
  {_DECLARED}, data blob not null, metadata text not null);
create unique index if not exists doc_path on doc (path);
"""
_REVERSE_INDEX = "create unique index if not exists doc_rpath on doc (rpath)"
_PUT_BY_NUMBER = f"""
insert into doc (rpath, path, {", ".join(_COLUMNS)}, data, metadata)
values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (path) do update set {_UPDATES}
"""  # noqa: S608 - made of the constants above

# Rows in the order of their paths, in one tree with them.
_CLUSTERED = f"""
create table if not exists doc (path text primary key, {_DECLARED}, data blob not null,
  metadata text not null) without rowid;
create table if not exists rev (rpath text primary key) without rowid;
"""
_PUT_CLUSTERED = f"""
insert into doc (path, {", ".join(_COLUMNS)}, data, metadata)
values (?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (path) do update set {_UPDATES}
"""  # noqa: S608
_PUT_REVERSED = "insert into rev values (?) on conflict do nothing"
_PUT_BLOB = "insert into blob values (?, ?) on conflict (path) do update set data = excluded.data"


def successor(text: str) -> str:
    """The first text behind everything that begins with an ASCII prefix.

    >>> successor("drums/")
    'drums0'
    """
    return text[:-1] + chr(ord(text[-1]) + 1)


class Sql:
    """One SQLite database for documents and one for blobs."""

    def __init__(
        self, name: str, connect: Callable[[str], Any], folder: Path, *, clustered: bool
    ) -> None:
        self.name = name
        self._clustered = clustered
        self._lock = threading.Lock()
        self._reversed: list[str] = []
        self._open = False
        self._db = connect(str(folder / "documents.db"))
        self._blobs = connect(str(folder / "blobs.db"))
        self._blobs.execute("pragma page_size = 16384")
        for db in (self._db, self._blobs):
            for pragma in _PRAGMAS:
                db.execute(f"pragma {pragma}").fetchall()
        for statement in (_CLUSTERED if clustered else _BY_NUMBER).split(";"):
            self._db.execute(statement)
        self._blobs.execute(
            "create table if not exists blob (path text primary key, data blob not null)"
        )
        self._run = self._db.execute
        self._suffix_sql = (
            "select rpath from rev where rpath >= ? and rpath < ? order by rpath"
            if clustered
            else "select rpath from doc where rpath >= ? and rpath < ? order by rpath"
        )

    # -- loading ---------------------------------------------------------------------------------

    def load_part(self, documents: Sequence[Document]) -> None:
        if not self._open:
            self._run("begin immediate")
            self._open = True
        if self._clustered:
            self._db.executemany(_PUT_CLUSTERED, [_row(each) for each in documents])
            self._reversed += [each.path[::-1] for each in documents]
        else:
            self._db.executemany(
                _PUT_BY_NUMBER, [(each.path[::-1], *_row(each)) for each in documents]
            )

    def load_end(self) -> None:
        if self._clustered:
            self._reversed.sort()
            self._db.executemany(_PUT_REVERSED, [(path,) for path in self._reversed])
            self._reversed = []
        self._run("commit")
        self._open = False
        if not self._clustered:
            self._run(_REVERSE_INDEX)

    # -- reading ---------------------------------------------------------------------------------

    def get(self, path: str) -> bytes:
        found: bytes = self._run("select data from doc where path = ?", (path,)).fetchone()[0]
        return found

    def metadata(self, path: str) -> dict[str, Any]:
        row = self._run("select metadata from doc where path = ?", (path,)).fetchone()
        found: dict[str, Any] = orjson.loads(row[0])
        return found

    def search(self, prefix: str) -> list[str]:
        rows = self._run(
            "select path from doc where path >= ? and path < ? order by path",
            (prefix, successor(prefix)),
        )
        return [path for (path,) in rows]

    def search_suffix(self, suffix: str) -> list[str]:
        start = suffix[::-1]
        return [path[::-1] for (path,) in self._run(self._suffix_sql, (start, successor(start)))]

    def count(self, prefix: str) -> int:
        found: int = self._run(
            "select count(*) from doc where path >= ? and path < ?", (prefix, successor(prefix))
        ).fetchone()[0]
        return found

    def find(self, question: Question) -> list[str]:
        terms = [f'"{name}" = ?' for name in question.equal]
        terms += [f'"{name}" between ? and ?' for name in question.between]
        values = [*question.equal.values()]
        for bounds in question.between.values():
            values += bounds
        sql = f"select path from doc where {' and '.join(terms)}"  # noqa: S608 - names of columns
        return [path for (path,) in self._run(sql, tuple(values))]

    def make_index(self, question: Question) -> None:
        """An index made for one query."""
        names = [*question.equal, *question.between]
        columns = ", ".join(f'"{name}"' for name in names)
        self._run(f"create index if not exists made_{'_'.join(names)} on doc ({columns})")
        self._run("analyze").fetchall()

    def drop_indexes(self) -> None:
        """Take those indexes away again."""
        rows = self._run("select name from sqlite_master where name like 'made%'").fetchall()
        for (name,) in rows:
            self._run(f'drop index "{name}"')

    # -- writing ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _transaction(self, db: Any) -> Iterator[None]:
        with self._lock:
            db.execute("begin immediate")
            try:
                yield
            except BaseException:
                db.execute("rollback")
                raise
            db.execute("commit")

    def put(self, document: Document) -> None:
        row = _row(document)
        if self._clustered:
            with self._transaction(self._db):
                self._run(_PUT_CLUSTERED, row)
                self._run(_PUT_REVERSED, (document.path[::-1],))
        else:
            with self._lock:
                self._run(_PUT_BY_NUMBER, (document.path[::-1], *row))

    def put_batch(self, documents: Sequence[Document]) -> None:
        with self._transaction(self._db):
            if self._clustered:
                self._db.executemany(_PUT_CLUSTERED, [_row(each) for each in documents])
                self._db.executemany(_PUT_REVERSED, [(each.path[::-1],) for each in documents])
            else:
                self._db.executemany(
                    _PUT_BY_NUMBER, [(each.path[::-1], *_row(each)) for each in documents]
                )

    def put_blob(self, path: str, data: bytes) -> None:
        with self._lock:
            self._blobs.execute(_PUT_BLOB, (path, data))

    def put_blobs(self, blobs: Sequence[tuple[str, bytes]]) -> None:
        with self._transaction(self._blobs):
            self._blobs.executemany(_PUT_BLOB, blobs)

    def get_blob(self, path: str) -> bytes:
        found: bytes = self._blobs.execute(
            "select data from blob where path = ?", (path,)
        ).fetchone()[0]
        return found

    # -- the end ---------------------------------------------------------------------------------

    def settle(self) -> None:
        for db in (self._db, self._blobs):
            db.execute("pragma wal_checkpoint(truncate)").fetchall()

    def close(self) -> None:
        self._db.close()
        self._blobs.close()


def _row(document: Document) -> tuple[Any, ...]:
    path, data, metadata = document
    get = metadata.get
    return (
        path,
        get("rate"),
        get("channels"),
        get("bits"),
        get("tempo"),
        get("duration"),
        get("key"),
        data,
        corpus.encoded(metadata).decode(),
    )


def standard_library() -> dict[str, Opened]:
    """SQLite through Python's own module."""

    def connect(path: str) -> sqlite3.Connection:
        return sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, cached_statements=128
        )

    versions = {"SQLite": sqlite3.sqlite_version}
    return {
        "sqlite3": Opened(
            lambda at: Sql("sqlite3", connect, at, clustered=False), versions, _LAYOUT
        )
    }


def through_apsw() -> dict[str, Opened]:
    """SQLite through apsw, in both layouts."""
    import apsw

    versions = {"apsw": apsw.apsw_version(), "SQLite": apsw.sqlite_lib_version()}
    connect = apsw.Connection
    return {
        "apsw": Opened(lambda at: Sql("apsw", connect, at, clustered=False), versions, _LAYOUT),
        "apsw-clustered": Opened(
            lambda at: Sql("apsw-clustered", connect, at, clustered=True),
            versions,
            _LAYOUT_CLUSTERED,
        ),
    }
