"""RocksDB (rocksdict) and LevelDB (plyvel), assembled for this work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from compare_sql import successor
from compare_stores import (
    Document,
    Opened,
    Question,
    data_of,
    is_meant,
    metadata_of,
    pack_value,
)

_CACHE_BYTES = 1 << 30
_LOAD_BATCH = 1000


class Rocks:
    """RocksDB: documents and reversed paths in two column families, blobs in a BlobDB."""

    name = "rocksdb"
    about = (
        "writes with sync=true, one batch over two column families (documents, reversed paths)",
        "log files are used again, which makes a sync cheaper",
        "bloom filters of 10 bits, 16 KiB blocks, 1 GiB block cache, index and filters in memory",
        "LZ4, ZSTD at the bottom level, dynamic level sizes; block checksums verified (default)",
        "searches are iterators with an upper bound; blobs in blob files, not compressed",
        "sorted load: batches of 1000 without WAL, then a flush; compacted before it is measured",
        "one process at a time may have it open; no change feed, no counters, no old versions",
    )

    _db: Any
    _reversed: Any
    _handle: Any

    def __init__(self, folder: Path) -> None:
        import rocksdict

        self._lib = rocksdict
        self._path = str(folder / "documents")
        self._loading = False
        self._open(recycle=True)
        blobs = self._options(recycle=True)
        blobs.set_enable_blob_files(True)
        blobs.set_min_blob_size(4096)
        self._blobs = rocksdict.Rdict(str(folder / "blobs"), blobs)
        self._sync = rocksdict.WriteOptions()
        self._sync.sync = True
        self._unlogged = rocksdict.WriteOptions()
        self._unlogged.disable_wal = True

    def _open(self, *, recycle: bool) -> None:
        """Open the documents; while logs are recycled, RocksDB refuses to write without one."""
        families = {"reversed": self._options(recycle=recycle)}
        self._db = self._lib.Rdict(self._path, self._options(recycle=recycle), families)
        self._reversed = self._db.get_column_family("reversed")
        self._handle = self._db.get_column_family_handle("reversed")

    def _options(self, *, recycle: bool) -> Any:
        lib = self._lib
        table = lib.BlockBasedOptions()
        table.set_bloom_filter(10, False)
        table.set_block_size(16 << 10)
        table.set_block_cache(lib.Cache(_CACHE_BYTES))
        table.set_format_version(5)
        options = lib.Options(raw_mode=True)
        options.create_if_missing(True)
        options.create_missing_column_families(True)
        options.set_max_background_jobs(4)
        options.set_recycle_log_file_num(4 if recycle else 0)
        options.set_level_compaction_dynamic_level_bytes(True)
        options.set_compression_type(lib.DBCompressionType.lz4())
        options.set_bottommost_compression_type(lib.DBCompressionType.zstd())
        options.set_block_based_table_factory(table)
        return options

    # -- loading ---------------------------------------------------------------------------------

    def load_part(self, documents: Sequence[Document]) -> None:
        if not self._loading:
            self._close_documents()
            self._open(recycle=False)
            self._loading = True
        for at in range(0, len(documents), _LOAD_BATCH):
            self._db.write(self._batch(documents[at : at + _LOAD_BATCH]), self._unlogged)

    def load_end(self) -> None:
        self._db.flush(wait=True)
        self._reversed.flush(wait=True)
        self._close_documents()
        self._open(recycle=True)
        self._loading = False

    def _batch(self, documents: Sequence[Document]) -> Any:
        batch = self._lib.WriteBatch(raw_mode=True)
        handle = self._handle
        for document in documents:
            key = document.path.encode()
            batch.put(key, pack_value(document))
            batch.put(key[::-1], b"", handle)
        return batch

    # -- reading ---------------------------------------------------------------------------------

    def get(self, path: str) -> bytes:
        return data_of(self._db.get(path.encode()))

    def metadata(self, path: str) -> dict[str, Any]:
        return metadata_of(self._db.get(path.encode()))

    def _keys(self, db: Any, start: str) -> list[bytes]:
        # The iterator reads the bound out of the options, and does not keep them: what lets go of
        # them before the end sees keys left out.
        until = self._lib.ReadOptions()
        until.set_iterate_upper_bound(successor(start).encode())
        found = list(db.keys(from_key=start.encode(), read_opt=until))
        del until
        return found

    def search(self, prefix: str) -> list[str]:
        return [key.decode() for key in self._keys(self._db, prefix)]

    def search_suffix(self, suffix: str) -> list[str]:
        return [key.decode()[::-1] for key in self._keys(self._reversed, suffix[::-1])]

    def count(self, prefix: str) -> int:
        return len(self._keys(self._db, prefix))

    def find(self, question: Question) -> list[str]:
        needles = question.needles()
        return [
            key.decode() for key, value in self._db.items() if is_meant(question, needles, value)
        ]

    # -- writing ---------------------------------------------------------------------------------

    def put(self, document: Document) -> None:
        self._db.write(self._batch([document]), self._sync)

    def put_batch(self, documents: Sequence[Document]) -> None:
        self._db.write(self._batch(documents), self._sync)

    def put_blob(self, path: str, data: bytes) -> None:
        self._blobs.put(path.encode(), data, self._sync)

    def put_blobs(self, blobs: Sequence[tuple[str, bytes]]) -> None:
        batch = self._lib.WriteBatch(raw_mode=True)
        for path, data in blobs:
            batch.put(path.encode(), data)
        self._blobs.write(batch, self._sync)

    def get_blob(self, path: str) -> bytes:
        found: bytes = self._blobs.get(path.encode())
        return found

    # -- the end ---------------------------------------------------------------------------------

    def settle(self) -> None:
        for db in (self._db, self._reversed, self._blobs):
            db.flush(wait=True)
            db.compact_range(None, None)

    def close(self) -> None:
        self._close_documents()
        self._blobs.close()

    def _close_documents(self) -> None:
        self._reversed.close()
        self._db.close()
        # It is closed when the last handle is gone.
        self._reversed = self._handle = self._db = None


class Level:
    """LevelDB: documents and reversed paths under two prefixes."""

    name = "leveldb"
    about = (
        "writes with sync=True in one batch (document and reversed path, told apart by a prefix)",
        "bloom filters of 10 bits, 16 KiB blocks, 1 GiB block cache, Snappy, 64 MiB write buffer",
        "checksums verified on every read, as ours are; blobs in a database of their own",
        "sorted load: batches of 1000, the last one synced; compacted before it is measured",
        "one process at a time may have it open; no change feed, no counters, no old versions",
    )

    def __init__(self, folder: Path) -> None:
        import plyvel

        def opened(name: str) -> Any:
            return plyvel.DB(
                str(folder / name),
                create_if_missing=True,
                bloom_filter_bits=10,
                block_size=16 << 10,
                lru_cache_size=_CACHE_BYTES,
                write_buffer_size=64 << 20,
                max_open_files=2000,
                compression="snappy",
            )

        self._db = opened("documents")
        self._blobs = opened("blobs")
        self._forward = self._db.prefixed_db(b"d")
        self._reversed = self._db.prefixed_db(b"r")

    def load_part(self, documents: Sequence[Document]) -> None:
        for at in range(0, len(documents), _LOAD_BATCH):
            self._write(documents[at : at + _LOAD_BATCH], sync=False)

    def load_end(self) -> None:
        # A synced write puts everything before it on the disk as well.
        self._db.put(b"loaded", b"", sync=True)

    def _write(self, documents: Sequence[Document], *, sync: bool) -> None:
        with self._db.write_batch(sync=sync) as batch:
            for document in documents:
                key = document.path.encode()
                batch.put(b"d" + key, pack_value(document))
                batch.put(b"r" + key[::-1], b"")

    def get(self, path: str) -> bytes:
        return data_of(self._db.get(b"d" + path.encode(), verify_checksums=True))

    def metadata(self, path: str) -> dict[str, Any]:
        return metadata_of(self._db.get(b"d" + path.encode(), verify_checksums=True))

    def _keys(self, db: Any, start: str) -> Iterator[bytes]:
        found: Iterator[bytes] = db.iterator(
            prefix=start.encode(), include_value=False, verify_checksums=True
        )
        return found

    def search(self, prefix: str) -> list[str]:
        return [key.decode() for key in self._keys(self._forward, prefix)]

    def search_suffix(self, suffix: str) -> list[str]:
        return [key.decode()[::-1] for key in self._keys(self._reversed, suffix[::-1])]

    def count(self, prefix: str) -> int:
        return sum(1 for _ in self._keys(self._forward, prefix))

    def find(self, question: Question) -> list[str]:
        needles = question.needles()
        return [
            key.decode()
            for key, value in self._forward.iterator(verify_checksums=True)
            if is_meant(question, needles, value)
        ]

    def put(self, document: Document) -> None:
        self._write([document], sync=True)

    def put_batch(self, documents: Sequence[Document]) -> None:
        self._write(documents, sync=True)

    def put_blob(self, path: str, data: bytes) -> None:
        self._blobs.put(path.encode(), data, sync=True)

    def put_blobs(self, blobs: Sequence[tuple[str, bytes]]) -> None:
        with self._blobs.write_batch(sync=True) as batch:
            for path, data in blobs:
                batch.put(path.encode(), data)

    def get_blob(self, path: str) -> bytes:
        found: bytes = self._blobs.get(path.encode(), verify_checksums=True)
        return found

    def settle(self) -> None:
        for db in (self._db, self._blobs):
            db.compact_range()

    def close(self) -> None:
        self._db.close()
        self._blobs.close()


def rocksdb() -> dict[str, Opened]:
    """RocksDB through rocksdict."""
    return {"rocksdb": Opened(Rocks, {"rocksdict": version("rocksdict")}, Rocks.about)}


def leveldb() -> dict[str, Opened]:
    """LevelDB through plyvel."""
    import plyvel

    library = str(plyvel.__leveldb_version__)
    return {
        "leveldb": Opened(Level, {"plyvel": version("plyvel"), "LevelDB": library}, Level.about)
    }
