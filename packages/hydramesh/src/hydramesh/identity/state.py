"""The state directory: keys and books, for the eyes of one user only.

A realm lives in the folder ``realm``; it appears and goes in one rename, so that no crash leaves
half of one. Files are 0600 and replaced whole, after the new content is safe on the disk.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from hydramesh.errors import StateBusy, StateUnsafe, StorageFailure

REALM = "realm"


def default_state_dir() -> Path:
    """Where the state is kept: given by systemd, by the system for root, else of the user."""
    for variable in ("HYDRAMESH_STATE", "STATE_DIRECTORY"):
        if os.environ.get(variable):
            return Path(os.environ[variable].partition(":")[0])
    if os.geteuid() == 0:
        return Path("/var/lib/hydramesh")
    home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local/share")
    return Path(home) / "hydramesh"


def _check_private(path: Path) -> None:
    found = path.stat()
    if found.st_uid not in (os.geteuid(), 0):
        raise StateUnsafe(f"{path} belongs to another user")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise StateUnsafe(
            f"{path} can be read by others",
            why=f"its mode is {stat.S_IMODE(found.st_mode):04o}",
            next_step=f"chmod go= {path}",
        )


class State:
    """The files of one node."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def prepare(self) -> None:
        """Make the directory if need be, and refuse one that others can read."""
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_private(self.root)
            # What a crash while making a realm has left behind.
            shutil.rmtree(self.root / f"{REALM}.new", ignore_errors=True)
        except OSError as error:
            raise _failure(self.root, error) from None

    def path(self, name: str) -> Path:
        """A file of the realm."""
        return self.root / REALM / name

    def has_realm(self) -> bool:
        """Whether there is one."""
        return (self.root / REALM).is_dir()

    def read(self, name: str) -> bytes:
        """A file of the realm; refuses what others can read."""
        path = self.path(name)
        try:
            _check_private(path)
            return path.read_bytes()
        except FileNotFoundError:
            raise StateUnsafe(
                f"{path} is missing", next_step="put back a copy of the state directory"
            ) from None
        except OSError as error:
            raise _failure(path, error) from None

    def write(self, name: str, data: bytes) -> None:
        """Replace a file of the realm."""
        write_private(self.path(name), data)

    def make_realm(self, files: dict[str, bytes]) -> None:
        """Put all files of a new realm there at once."""
        fresh = self.root / f"{REALM}.new"
        try:
            fresh.mkdir(mode=0o700)
            for name, data in files.items():
                write_private(fresh / name, data)
            fresh.rename(self.root / REALM)
            _sync_folder(self.root)
        except OSError as error:
            raise _failure(fresh, error) from None

    def forget_realm(self) -> None:
        """Delete the realm with its keys."""
        old = self.root / f"{REALM}.old"
        try:
            shutil.rmtree(old, ignore_errors=True)
            (self.root / REALM).rename(old)
            shutil.rmtree(old)
        except OSError as error:
            raise _failure(old, error) from None

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes out."""
        self.prepare()
        handle = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StateBusy(
                    f"another process uses {self.root}", next_step="hydramesh status"
                ) from None
            yield
        finally:
            os.close(handle)


def write_private(path: Path, data: bytes) -> None:
    """Replace a file that only its owner may read, after the new content is on the disk."""
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _failure(path, error) from None


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _failure(path: Path, error: OSError) -> StorageFailure:
    return StorageFailure(
        f"{path}: {(error.strerror or str(error)).lower()}",
        next_step="see that you may write there, and that the disk is not full",
    )
