"""The directory of a store: its marker, what may be opened, what is refused and why.

The marker ``STREAMDB`` is JSON that a person can read. It is written last when a store is made, so
a directory with a marker is a whole store.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamdb.checks import crc32c
from streamdb.errors import (
    CorruptData,
    NewerFormat,
    NotAStore,
    NotFound,
    OlderFormat,
    ReadOnlyStore,
    StorageFailure,
    StreamDBError,
    UnsuitableFileSystem,
)
from streamdb.segments import outside_error, sync_directory

MARKER = "STREAMDB"
INDEX, SEGMENTS, QUARANTINE = "index", "segments", "quarantine"
FORMAT_VERSION = 2

_MAGIC = "StreamDB store"
_NETWORK = {
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "ncpfs",
    "fuse.sshfs", "fuse.glusterfs", "fuse.rclone", "fuse.s3fs", "fuse.davfs2", "davfs", "beegfs",
    "orangefs", "gpfs", "virtiofs",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Marker:
    """What the marker says: the format, the store's identity (16 bytes), how its key is checked."""

    format: int
    store_id: bytes
    key: dict[str, Any] | None

    def to_bytes(self) -> bytes:
        """The marker's file."""
        content: dict[str, Any] = {
            "magic": _MAGIC,
            "format": self.format,
            "store": self.store_id.hex(),
            "key": self.key,
        }
        content["crc32c"] = _checksum(content)
        content["note"] = (
            "a StreamDB store; do not change files in here by hand: see `streamdb --help`"
        )
        return (json.dumps(content, indent=2) + "\n").encode()


def _checksum(content: dict[str, Any]) -> str:
    """Of what a marker says, however it is written: a flipped bit must not look like another
    program's file, or a newer format.
    """
    said = [content[name] for name in ("magic", "format", "store", "key")]
    return f"{crc32c(json.dumps(said, sort_keys=True).encode()):08x}"


def read_marker(root: Path) -> Marker | None:
    """The marker of a store, or None without one.

    Raises:
        NotAStore: the file is another program's; CorruptData: it is damaged; NewerFormat,
            OlderFormat: a newer or an early StreamDB wrote it.
    """
    path = root / MARKER
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageFailure(
            f"{path} cannot be read", why=error.strerror or "", next_step="check its permissions"
        ) from None
    try:
        content = json.loads(raw)
        if "crc32c" not in content and content["magic"] != _MAGIC:
            raise NotAStore(
                f"{root} is not a StreamDB store",
                why=f"its {MARKER} file is of another program",
                next_step="name the directory of a store, or an empty one to make a store in",
            )
        if int(content["crc32c"], 16) != int(_checksum(content), 16):
            raise ValueError("its checksum is wrong")
        version = int(content["format"])
        if version > FORMAT_VERSION:
            raise NewerFormat(
                f"{root} was written by a newer StreamDB (format {version})",
                why=f"this version reads formats up to {FORMAT_VERSION}",
                next_step="upgrade StreamDB on this machine",
            )
        if version == 1:
            raise OlderFormat(
                f"{root} was written by an early StreamDB (format 1)",
                why="its audio is packed in a way that this version does not read",
                next_step="export it with the version that wrote it, and import that here",
            )
        store_id = bytes.fromhex(content["store"])
        if version < 1 or len(store_id) != 16:
            raise ValueError("format or store identity out of range")
        return Marker(version, store_id, content["key"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptData(
            f"{path} is damaged",
            why=f"{type(error).__name__}: {error}",
            next_step="run `streamdb repair`, or copy the file from a backup of this store",
        ) from None


def check_index(data: Path, tables: frozenset[bytes], *, readonly: bool) -> None:
    """Refuse an index file that LMDB would crash on: cut off, or not there.

    Raises:
        CorruptData: it is, and what to do.
    """
    # A store without its marker is being made: its tables may not be there yet.
    whole = (data.parent.parent / MARKER).exists()
    if not data.exists():
        if readonly or whole:
            raise CorruptData(
                f"the index file {data} is missing",
                next_step="restore it from a backup, or run `streamdb repair`",
            )
        return
    from streamdb import pages

    pages.check_opening(data, tables if whole else frozenset())


def write_marker(root: Path, marker: Marker) -> None:
    """Put the marker in place, whole or not at all, and on the disk."""
    temporary = root / f".{MARKER}.new"
    try:
        with temporary.open("wb") as file:
            file.write(marker.to_bytes())
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(root / MARKER)
        sync_directory(root)
    except OSError as error:
        raise outside_error(error, f"writing {root / MARKER}") from error


def no_store(root: Path) -> StreamDBError:
    """Why a directory without a marker cannot be opened."""
    if not root.exists():
        return NotFound(f"there is no store at {root}", next_step=f"make one: streamdb init {root}")
    return NotAStore(
        f"{root} is not a StreamDB store",
        why=f"it has no {MARKER} file",
        next_step="name the directory of a store, or an empty one to make a store in",
    )


def check_vacant(root: Path) -> None:
    """See that a store may be made here.

    Raises:
        NotAStore: there are files of something else, or a store that lost its marker.
    """
    try:
        names = set(os.listdir(root))  # noqa: PTH208 - names alone
    except NotADirectoryError:
        raise NotAStore(
            f"{root} is a file, not a store",
            next_step="name a directory",
        ) from None
    except FileNotFoundError:
        return
    strangers = names - {INDEX, SEGMENTS, f".{MARKER}.new"}
    if strangers:
        raise NotAStore(
            f"{root} is not a StreamDB store, and not empty",
            why=f"it holds {', '.join(sorted(strangers)[:3])}",
            next_step="name the directory of a store, or an empty one to make a store in",
        )
    segments = root / SEGMENTS
    if segments.is_dir() and any(segments.iterdir()):
        raise NotAStore(
            f"{root} was a StreamDB store and has lost its {MARKER} file",
            next_step=f"run `streamdb repair {root}`, or copy {MARKER} from a backup of it",
        )


def missing_parents(root: Path) -> list[Path]:
    """The directories above ``root`` up to the first that is there, which holds the name made."""
    above = []
    for parent in root.absolute().parents:
        above.append(parent)
        if parent.is_dir():
            break
    return above


def prepare(root: Path) -> None:
    """Make the directories of a store."""
    try:
        for path in (root, root / INDEX, root / SEGMENTS):
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise ReadOnlyStore(
                f"no store can be made at {root}",
                why=error.strerror or "",
                next_step="choose a directory that you may write to",
            ) from None
        raise outside_error(error, f"making {root}") from error


@contextlib.contextmanager
def creation_lock(root: Path) -> Iterator[None]:
    """Held while a store is made, so that two processes make one store, not two halves."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def file_system_type(path: Path, mounts: str | None = None) -> str:
    """The type of the file system under a path, "" where the kernel does not say.

    ``mounts`` is the content of ``/proc/self/mountinfo`` (read when None).
    """
    if mounts is None:
        try:
            mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
        except OSError:
            return ""
    device = os.stat(path).st_dev  # noqa: PTH116 - one call
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        if fields.split()[2:3] == [wanted] and rest:
            return rest.split()[0]
    return ""


def refuse_network(root: Path, mounts: str | None = None) -> None:
    """See that the file system shares memory maps and locks with every process.

    Raises:
        UnsuitableFileSystem: it is a network mount: LMDB's maps and locks would not hold there.
    """
    kind = file_system_type(root, mounts)
    if kind in _NETWORK:
        raise UnsuitableFileSystem(
            f"{root} is on a {kind} file system",
            why="memory maps and locks do not hold across machines: the store would be damaged",
            next_step="keep the store on a local disk, and use `streamdb backup` or the mesh",
        )


def writable(root: Path) -> bool:
    """Whether this process may write to the store at all."""
    data = root / INDEX / "data.mdb"
    return all(os.access(path, os.W_OK | os.X_OK) for path in (root / INDEX, root / SEGMENTS)) and (
        os.access(data, os.W_OK) or not data.exists()
    )
