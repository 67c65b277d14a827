"""Walking over a folder in the order of the store's paths, so that the two can be merged.

Links are never followed, so there are no loops. One folder's names are held at a time for each
level, whatever the size of the tree.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streamdb.errors import InvalidArgument, InvalidPath, NotFound, StorageFailure
from streamdb.importing.selection import Selection
from streamdb.paths import validate
from streamdb.place import INDEX, MARKER, SEGMENTS


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A regular file: its path below the folder, its size in bytes, its time of change."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that is not imported, and why; ``failed`` when that is no decision but a trouble.

    ``path`` is below the folder, and may hold surrogates for bytes that are not UTF-8.
    """

    path: str
    reason: str
    failed: bool


def need_folder(folder: Path) -> Path:
    """The folder, with links resolved.

    Raises:
        NotFound: there is none; InvalidArgument: it is no folder; StorageFailure: it cannot be
            looked at.
    """
    try:
        resolved = folder.resolve(strict=True)
        mode = resolved.stat().st_mode
    except FileNotFoundError:
        raise NotFound(f"there is no folder {str(folder)!r}", next_step="name a folder") from None
    except OSError as error:
        raise StorageFailure(
            f"the folder {str(folder)!r} cannot be read",
            why=error.strerror or str(error),
            next_step="check its permissions",
        ) from None
    if not stat.S_ISDIR(mode):
        raise InvalidArgument(
            f"{str(folder)!r} is not a folder",
            next_step=f"name its folder, or store the one file: streamdb put PATH {folder}",
        )
    return resolved


def walk(
    root: Path, selection: Selection, below: str = "", prefix: str = ""
) -> Iterator[FoundFile | LeftOut]:
    """What is in a folder, in the order of the bytes of its paths.

    Args:
        root: the folder.
        selection: which files are meant; the others are passed over silently.
        below: only what is in this folder below ``root``.
        prefix: the folder of the store in which the files will be; their whole paths must be valid.
    """
    stack = [_entries(root, below)]
    while stack:
        step = next(stack[-1], None)
        if step is None:
            stack.pop()
        elif isinstance(step, LeftOut):
            yield step
        else:
            path, is_folder = step
            if not is_folder:
                if selection.takes_here(path):
                    yield _file(root, path, prefix)
            elif selection.enters(path):
                stack.append(_entries(root, path))


def _entries(root: Path, folder: str) -> Iterator[LeftOut | tuple[str, bool]]:
    """(path, is a folder) of what is in a folder, in the order in which paths in it sort."""
    where = os.path.join(root, folder) if folder else os.fspath(root)  # noqa: PTH118
    try:
        names = _sorted_names(where)
    except OSError as error:
        yield LeftOut(folder or ".", _words(error), failed=True)
        return
    if _is_store(names):
        yield LeftOut(folder or ".", "a StreamDB store", failed=False)
        return
    base = f"{folder}/" if folder else ""
    for name in names:
        is_folder = name.endswith(b"/")
        path = base + os.fsdecode(name[:-1] if is_folder else name)
        try:
            path.encode()
        except UnicodeEncodeError:
            yield LeftOut(path, "its name is not UTF-8", failed=True)
            continue
        yield path, is_folder


def _sorted_names(where: str) -> list[bytes]:
    # With its slash a folder's name sorts as the paths in it do.
    found = []
    with os.scandir(where) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            found.append(name + b"/" if entry.is_dir(follow_symlinks=False) else name)
    found.sort()
    return found


def is_store_folder(folder: str) -> bool:
    """Whether a folder is a store: its files are no one's samples."""
    return all(os.path.exists(f"{folder}/{name}") for name in (MARKER, INDEX, SEGMENTS))  # noqa: PTH110


def _is_store(names: list[bytes]) -> bool:
    held = set(names) if MARKER.encode() in names else set()
    return held.issuperset({f"{INDEX}/".encode(), f"{SEGMENTS}/".encode()})


def _file(root: Path, path: str, prefix: str) -> FoundFile | LeftOut:
    try:
        validate(f"{prefix}/{path}" if prefix else path)
        status = os.lstat(os.path.join(root, path))  # noqa: PTH118
    except InvalidPath as error:
        return LeftOut(path, error.what, failed=True)
    except OSError as error:
        return LeftOut(path, _words(error), failed=True)
    if not stat.S_ISREG(status.st_mode):
        return LeftOut(path, kind_of(status.st_mode), failed=False)
    return FoundFile(path, status.st_size, status.st_mtime_ns)


def kind_of(mode: int) -> str:
    """What something that is no regular file is, in words."""
    for test, words in (
        (stat.S_ISLNK, "a symbolic link"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
    ):
        if test(mode):
            return words
    return "a device"


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
