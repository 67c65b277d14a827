"""The journal: what was there before, on the disk before it is changed.

JSON lines, appended and fsynced one by one. A record of an intent, with the previous value, is
written before the change; a record of the outcome after it. So whatever happens, and whenever,
the journal knows at least as much as was done. A line that was torn by a crash stands for a change
that was not begun; it is dropped by the next writer.

======== ============================================================================
begin    a run starts: time, boot, kernel, profile
intent   number, check, kind, target, value; ``before`` is what was there
done     number, ``after`` is what was read back
failed   number, why it could not be written
undone   run and number, how: restored, already, gone, forced
end      the run is over; ``ok`` are the checks that were ok then
======== ============================================================================
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from archibald.errors import DiskFullError, PreconditionError
from archibald.tune.model import Change
from archibald.tune.targets import KINDS, State

#: Version of the records.
VERSION = 1

#: Below the machine's root.
FOLDER = "var/lib/archibald/tune"

_MAX_BYTES = 64 * 1024 * 1024


class JournalError(PreconditionError):
    """The journal cannot be read or written, or somebody else writes it."""


@dataclass(frozen=True)
class Entry:
    """One change as the journal knows it."""

    run: str
    number: int
    boot: str
    change: Change
    before: State
    after: State
    status: Literal["intended", "done", "failed", "undone"]
    how: str = ""

    @property
    def active(self) -> bool:
        """Say whether the change may still be there."""
        return self.status in ("intended", "done")


@dataclass(frozen=True)
class History:
    """Everything in a journal: changes in the order in which they were made, and runs."""

    entries: tuple[Entry, ...]
    runs: tuple[Mapping[str, Any], ...]
    finished: Mapping[str, tuple[str, ...]]

    @property
    def active(self) -> tuple[Entry, ...]:
        """The changes that were not taken back."""
        return tuple(entry for entry in self.entries if entry.active)

    @property
    def interrupted(self) -> tuple[str, ...]:
        """Runs that did not come to their end, and of which something is still there."""
        alive = {entry.run for entry in self.active}
        return tuple(run["run"] for run in self.runs
                     if run["run"] not in self.finished and run["run"] in alive)  # fmt: skip


@dataclass
class Journal:
    """The journal in a folder. Writing needs :meth:`opened`; reading does not."""

    folder: Path
    _descriptor: int | None = None

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / "journal.jsonl"

    @contextlib.contextmanager
    def opened(self) -> Iterator[Journal]:
        """Hold the journal for writing; one process at a time.

        Raises :class:`JournalError`, also when another process holds it.
        """
        try:
            new = not self.path.exists()
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self.path, flags, 0o600)
        except OSError as error:
            raise _refused(self.path, error) from None
        try:
            self._begin(descriptor, new)
            self._descriptor = descriptor
            yield self
        finally:
            self._descriptor = None
            os.close(descriptor)

    def _begin(self, descriptor: int, new: bool) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise JournalError(
                "another archibald changes this machine right now",
                why=f"{self.path} is locked",
                next_step="wait until it has ended, then try again",
            ) from None
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or found.st_mode & 0o022:
            raise JournalError(
                "the journal could have been changed by others, so it is not trusted",
                why=f"{self.path} belongs to user {found.st_uid}, mode {found.st_mode & 0o7777:o}",
                next_step=f"look at it, then: sudo chown root {self.path}; "
                f"sudo chmod 600 {self.path}",
            )
        whole = _whole_lines(self.path.read_bytes())
        if whole != found.st_size:
            os.ftruncate(descriptor, whole)
            os.fsync(descriptor)
        if new:
            for folder in (self.folder, *list(self.folder.parents)[:3]):
                _sync(folder)

    def append(self, record: str, /, **data: object) -> None:
        """Write a record; when this returns it is on the disk.

        Raises :class:`DiskFullError` or :class:`JournalError`; then nothing of it is there.
        """
        assert self._descriptor is not None, "the journal is not open"
        line = json.dumps({"v": VERSION, "type": record, **data}, sort_keys=True).encode() + b"\n"
        size = os.fstat(self._descriptor).st_size
        try:
            written = os.write(self._descriptor, line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._descriptor)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, size)
            raise _refused(self.path, error) from None

    def history(self) -> History:
        """Return everything that is known. Raises :class:`JournalError` when it makes no sense."""
        try:
            if self.path.stat().st_size > _MAX_BYTES:
                raise JournalError(f"{self.path} is too long to be a journal")
            data = self.path.read_bytes()
        except FileNotFoundError:
            return History((), (), {})
        except OSError as error:
            raise _refused(self.path, error) from None
        lines = data[: _whole_lines(data)].decode("utf-8", "replace").splitlines()
        return fold([_record(line, self.path, number) for number, line in enumerate(lines, 1)],
                    self.path)  # fmt: skip


def _whole_lines(data: bytes) -> int:
    """Return the length of the lines that are complete and, but for a torn end, readable."""
    return data.rfind(b"\n") + 1


def _sync(folder: Path) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _refused(path: Path, error: OSError) -> PreconditionError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return DiskFullError(
            f"the disk is full: {path} cannot be written",
            why=error.strerror or "",
            next_step="free some space; nothing is changed without being journaled first",
        )
    next_step = "sudo archibald ..." if error.errno == errno.EACCES else "is the disk read-only?"
    return JournalError(
        f"the journal {path} cannot be used", why=error.strerror or str(error), next_step=next_step
    )


def _record(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        record = json.loads(line)
        if record["v"] != VERSION:
            raise ValueError(f"version {record['v']}")
        if not isinstance(record["type"], str):
            raise TypeError("no type")
    except (ValueError, KeyError, TypeError) as error:
        raise JournalError(
            f"{path}, line {number} is no record of the journal",
            why=str(error),
            next_step="nothing was changed; keep the file, its other lines say what was there",
        ) from None
    return dict(record)


def fold(records: list[dict[str, Any]], path: Path) -> History:
    """Return what the records add up to. Pure. Raises :class:`JournalError`."""
    entries: dict[tuple[str, int], Entry] = {}
    runs: list[Mapping[str, Any]] = []
    finished: dict[str, tuple[str, ...]] = {}
    boots: dict[str, str] = {}
    for number, record in enumerate(records, 1):
        try:
            kind, run = record["type"], str(record["run"])
            if kind == "begin":
                runs.append(record)
                boots[run] = str(record["boot"])
            elif kind == "intent":
                entries[run, int(record["n"])] = _entry(record, boots[run])
            elif kind == "end":
                finished[run] = tuple(map(str, record["ok"]))
            else:
                key = (run, int(record["n"]))
                entries[key] = _moved(entries[key], record)
        except (KeyError, ValueError, TypeError) as error:
            raise JournalError(
                f"{path}, line {number} does not fit what comes before it", why=repr(error)
            ) from None
    return History(tuple(entries.values()), tuple(runs), finished)


def _entry(record: Mapping[str, Any], boot: str) -> Entry:
    if record["kind"] not in KINDS:
        raise ValueError(f"unknown kind {record['kind']!r}")
    change = Change(
        str(record["check"]), record["kind"], str(record["target"]), record["value"],
        bool(record["lasts"]),
    )  # fmt: skip
    return Entry(str(record["run"]), int(record["n"]), boot, change, record["before"], None,
                 "intended")  # fmt: skip


def _moved(entry: Entry, record: Mapping[str, Any]) -> Entry:
    match record["type"]:
        case "done":
            return replace(entry, status="done", after=record["after"])
        case "failed":
            return replace(entry, status="failed", how=str(record["why"]))
        case "undone":
            return replace(entry, status="undone", how=str(record["how"]))
        case other:
            raise ValueError(f"unknown record {other!r}")
