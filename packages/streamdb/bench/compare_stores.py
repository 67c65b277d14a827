"""What every measured store must be able to do, ours, and plain files.

The peers' own assemblies stand in compare_sql.py and compare_kv.py. Each store is a class with the
methods of :class:`Store`; how it is set up is said in words beside it, for the report.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import corpus
import orjson

from streamdb import StreamDB
from streamdb import __version__ as streamdb_version

OURS = "streamdb"


class Document(NamedTuple):
    """What a user hands to a store."""

    path: str
    data: bytes
    metadata: dict[str, Any]


@dataclass(frozen=True)
class Question:
    """A metadata query, once in our words and once as conditions for the peers.

    ``equal`` are values that a field must have, ``between`` closed ranges of numbers.
    """

    text: str
    equal: dict[str, Any]
    between: dict[str, tuple[float, float]]

    def holds(self, metadata: dict[str, Any]) -> bool:
        """Whether a document is meant."""
        return all(metadata.get(name) == value for name, value in self.equal.items()) and all(
            name in metadata and low <= metadata[name] <= high
            for name, (low, high) in self.between.items()
        )

    def needles(self) -> list[bytes]:
        """What the JSON of every document that is meant contains; cheaper than parsing it."""
        return [corpus.encoded({name: value})[1:-1] for name, value in self.equal.items()]


class Store(Protocol):
    """One store on disk. What returned from a ``put`` method is durable."""

    name: str

    def load_part(self, documents: Sequence[Document]) -> None: ...
    def load_end(self) -> None: ...
    def get(self, path: str) -> bytes: ...
    def metadata(self, path: str) -> dict[str, Any]: ...
    def search(self, prefix: str) -> list[str]: ...
    def search_suffix(self, suffix: str) -> list[str]: ...
    def count(self, prefix: str) -> int: ...
    def find(self, question: Question) -> list[str]: ...
    def put(self, document: Document) -> None: ...
    def put_batch(self, documents: Sequence[Document]) -> None: ...
    def put_blob(self, path: str, data: bytes) -> None: ...
    def put_blobs(self, blobs: Sequence[tuple[str, bytes]]) -> None: ...
    def get_blob(self, path: str) -> bytes: ...
    def settle(self) -> None: ...
    def close(self) -> None: ...


class Opened(NamedTuple):
    """How a store is opened in a folder, what versions it consists of, and how it is set up."""

    open: Callable[[Path], Store]
    versions: dict[str, str]
    about: tuple[str, ...]


class Ours:
    """StreamDB as a user runs it."""

    name = OURS
    about = (
        "durability full, checksums verified, metadata compressed, 2 old versions kept",
        "cache of 1000 documents and 64 MiB; sorted load in durability bulk",
        "writes prefix and suffix index, directory counters and change feed with every put",
    )

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loading: StreamDB | None = None
        self.db = StreamDB.open(folder)
        # No wrapper: this is what a user calls.
        self.get = self.db.get
        self.get_blob = self.db.get
        self.search = self.db.search
        self.search_suffix = self.db.search_suffix
        self.count = self.db.count
        self.metadata = self.db.metadata

    def load_part(self, documents: Sequence[Document]) -> None:
        if self._loading is None:
            self._loading = StreamDB.open(self._folder, durability="bulk")
        write = self._loading.write_document
        for path, data, metadata in documents:
            write(path, data, metadata=metadata)

    def load_end(self) -> None:
        assert self._loading is not None
        self._loading.close()
        self._loading = None

    def find(self, question: Question) -> list[str]:
        return self.db.find(question.text)

    def put(self, document: Document) -> None:
        self.db.write_document(document.path, document.data, metadata=document.metadata)

    def put_batch(self, documents: Sequence[Document]) -> None:
        with self.db.transaction() as together:
            for path, data, metadata in documents:
                together.write_document(path, data, metadata=metadata)

    def put_blob(self, path: str, data: bytes) -> None:
        self.db.write_document(path, data)

    def put_blobs(self, blobs: Sequence[tuple[str, bytes]]) -> None:
        with self.db.transaction() as together:
            for path, data in blobs:
                together.write_document(path, data)

    def settle(self) -> None:
        self.db.flush()

    def close(self) -> None:
        self.db.close()


_LENGTH = struct.Struct("<I")


def pack_value(document: Document) -> bytes:
    """Data and metadata in one value, for stores that know keys and values only."""
    return _LENGTH.pack(len(document.data)) + document.data + corpus.encoded(document.metadata)


def data_of(value: bytes) -> bytes:
    """The data in such a value."""
    return value[4 : 4 + _LENGTH.unpack_from(value)[0]]


def metadata_of(value: bytes) -> dict[str, Any]:
    """The metadata in such a value."""
    found: dict[str, Any] = orjson.loads(value[4 + _LENGTH.unpack_from(value)[0] :])
    return found


def is_meant(question: Question, needles: Sequence[bytes], value: bytes) -> bool:
    """Whether such a value is meant; most are told by their bytes."""
    return all(needle in value for needle in needles) and question.holds(metadata_of(value))


class Files:
    """A folder: one file per document, its data and its metadata (JSON) in it."""

    name = "files"
    about = (
        "one file per document; searches walk the folders with scandir",
        "a durable put writes a new file, fsync, rename, fsync of its folder (and of new ones)",
        "several at once: all files written, then syncfs, renamed, syncfs; not all or nothing",
    )

    def __init__(self, folder: Path) -> None:
        self._root = str(folder / "documents")
        self._blobs = str(folder / "blobs")
        self._made = {""}
        self._libc = ctypes.CDLL(None, use_errno=True)
        for directory in (self._root, self._blobs):
            os.makedirs(directory, exist_ok=True)  # noqa: PTH103 - as fast as can be, here and below

    def load_part(self, documents: Sequence[Document]) -> None:
        for document in documents:
            self._make_parents(self._root, document.path)
            _write(f"{self._root}/{document.path}", pack_value(document))

    def load_end(self) -> None:
        self._sync_all()

    def get(self, path: str) -> bytes:
        return data_of(_read(f"{self._root}/{path}"))

    def metadata(self, path: str) -> dict[str, Any]:
        return metadata_of(_read(f"{self._root}/{path}"))

    def search(self, prefix: str) -> list[str]:
        return sorted(path for path in self._walk(prefix) if path.startswith(prefix))

    def search_suffix(self, suffix: str) -> list[str]:
        return [path for path in self._walk("") if path.endswith(suffix)]

    def count(self, prefix: str) -> int:
        return sum(1 for path in self._walk(prefix) if path.startswith(prefix))

    def find(self, question: Question) -> list[str]:
        needles = question.needles()
        return [
            path
            for path in self._walk("")
            if is_meant(question, needles, _read(f"{self._root}/{path}"))
        ]

    def put(self, document: Document) -> None:
        self._put(self._root, document.path, pack_value(document))

    def put_batch(self, documents: Sequence[Document]) -> None:
        self._put_all(self._root, [(d.path, pack_value(d)) for d in documents])

    def put_blob(self, path: str, data: bytes) -> None:
        self._put(self._blobs, path, data)

    def put_blobs(self, blobs: Sequence[tuple[str, bytes]]) -> None:
        self._put_all(self._blobs, blobs)

    def get_blob(self, path: str) -> bytes:
        return _read(f"{self._blobs}/{path}")

    def settle(self) -> None:
        self._sync_all()

    def close(self) -> None:
        pass

    # -- inside ----------------------------------------------------------------------------------

    def _walk(self, prefix: str) -> list[str]:
        """The paths of all files in the folder that a prefix begins in, and below."""
        found: list[str] = []
        base = prefix.rpartition("/")[0]
        waiting = [f"{base}/" if base else ""]
        while waiting:
            inside = waiting.pop()
            with os.scandir(f"{self._root}/{inside}") as entries:
                for entry in entries:
                    path = inside + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        # A folder that leaves the prefix, or does not reach it, is not entered.
                        if f"{path}/".startswith(prefix) or prefix.startswith(f"{path}/"):
                            waiting.append(f"{path}/")
                    else:
                        found.append(path)
        return found

    def _make_parents(self, root: str, path: str) -> list[str]:
        """Make the folders that are missing; returns those whose entries are new."""
        parent = path.rpartition("/")[0]
        changed: list[str] = []
        while f"{root}/{parent}" not in self._made and parent:
            folder = f"{root}/{parent}"
            if os.path.isdir(folder):  # noqa: PTH112
                self._made.add(folder)
                break
            changed.append(parent)
            parent = parent.rpartition("/")[0]
        for parent in reversed(changed):
            os.makedirs(f"{root}/{parent}", exist_ok=True)  # noqa: PTH103
            self._made.add(f"{root}/{parent}")
        return [f"{root}/{parent.rpartition('/')[0]}" for parent in changed]

    def _put(self, root: str, path: str, data: bytes) -> None:
        changed = self._make_parents(root, path)
        target = f"{root}/{path}"
        _write(f"{target}.new", data, sync=True)
        os.rename(f"{target}.new", target)  # noqa: PTH104
        for folder in (target.rpartition("/")[0], *changed):
            _sync_folder(folder)

    def _put_all(self, root: str, items: Sequence[tuple[str, bytes]]) -> None:
        for path, data in items:
            self._make_parents(root, path)
            _write(f"{root}/{path}.new", data)
        self._sync_all()
        for path, _ in items:
            os.rename(f"{root}/{path}.new", f"{root}/{path}")  # noqa: PTH104
        self._sync_all()

    def _sync_all(self) -> None:
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if self._libc.syncfs(descriptor) != 0:
                raise OSError(ctypes.get_errno(), "syncfs failed", self._root)
        finally:
            os.close(descriptor)


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123
        return file.read()


def _write(path: str, data: bytes, *, sync: bool = False) -> None:
    with open(path, "wb", buffering=0) as file:  # noqa: PTH123
        rest = memoryview(data)
        while rest:
            rest = rest[file.write(rest) :]
        if sync:
            os.fdatasync(file.fileno())


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stdlib_stores() -> dict[str, Opened]:
    """The stores that need nothing but this package and the standard library."""
    from compare_sql import standard_library

    return {
        OURS: Opened(Ours, {"streamdb": streamdb_version}, Ours.about),
        **standard_library(),
        "files": Opened(Files, {"kernel": os.uname().release}, Files.about),
    }
