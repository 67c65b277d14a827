"""From the kernel's notices about single folders to events in one tree.

Pure bookkeeping: which watch stands for which folder, which halves of a move belong together. Paths
are text below the watched folder ("" is that folder itself).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from streamdb.watching import inotify
from streamdb.watching.inotify import Notice

PAIR_SECONDS = 0.1
"""The second half of a move comes within this time, or never (it went out of the tree)."""


@dataclass(frozen=True, slots=True)
class Touched:
    """Something happened to a path: written, made, gone; ``complete`` when a writer closed it."""

    path: str
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Moved:
    """A file or folder has another path now, within the tree."""

    old: str
    new: str
    is_folder: bool


@dataclass(frozen=True, slots=True)
class Lost:
    """Events were lost (``overflow``: look at everything), or the tree itself is ``gone``."""

    why: Literal["overflow", "gone"]


Event: TypeAlias = Touched | Moved | Lost

_GONE = inotify.DELETE_SELF | inotify.MOVE_SELF | inotify.UNMOUNT


class Tracker:
    """Knows the watched folders.

    Args:
        watch: watches the folder at a path and returns its number, None when it cannot.
        forget: stops a watch.
        folders: the folders below a path, itself included, as a walk finds them.
    """

    def __init__(
        self,
        watch: Callable[[str], int | None],
        forget: Callable[[int], None],
        folders: Callable[[str], Iterable[str]],
    ) -> None:
        self._watch = watch
        self._forget = forget
        self._folders = folders
        self._paths: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._leaving: dict[int, tuple[float, str, bool]] = {}

    @property
    def watched(self) -> int:
        """How many folders are watched."""
        return len(self._paths)

    def add(self, path: str) -> None:
        """Watch a folder and all below it."""
        for folder in self._folders(path):
            number = self._watch(folder)
            if number is not None:
                self._numbers.pop(self._paths.get(number, ""), None)
                self._paths[number] = folder
                self._numbers[folder] = number

    def events(self, notices: Iterable[Notice], now: float) -> Iterator[Event]:
        """What the notices mean; ``now`` in seconds."""
        for notice in notices:
            if notice.mask & inotify.OVERFLOW:
                self._leaving.clear()
                yield Lost("overflow")
                continue
            folder = self._paths.get(notice.watch)
            if folder is None:
                continue
            if notice.mask & inotify.IGNORED:
                self._paths.pop(notice.watch)
                if self._numbers.get(folder) == notice.watch:
                    del self._numbers[folder]
            elif notice.mask & _GONE:
                if not folder:
                    yield Lost("gone")
            elif notice.name:
                name = os.fsdecode(notice.name)
                yield from self._in_folder(notice, f"{folder}/{name}" if folder else name, now)

    def _in_folder(self, notice: Notice, path: str, now: float) -> Iterator[Event]:
        is_folder = bool(notice.mask & inotify.IS_FOLDER)
        if notice.mask & inotify.MOVED_FROM:
            self._leaving[notice.cookie] = (now, path, is_folder)
            return
        if notice.mask & inotify.MOVED_TO:
            old = self._leaving.pop(notice.cookie, None)
            if old is not None:
                if is_folder:
                    self._rename(old[1], path)
                yield Moved(old[1], path, is_folder)
                return
        if is_folder and notice.mask & (inotify.CREATE | inotify.MOVED_TO):
            # What came into it before it was watched is found by looking into it.
            self.add(path)
        if not is_folder or not notice.mask & (inotify.ATTRIB | inotify.MODIFY):
            yield Touched(path, bool(notice.mask & inotify.CLOSE_WRITE))

    def left(self, now: float) -> Iterator[Event]:
        """Paths whose move had no second half by now: they are not in the tree any more."""
        late = [cookie for cookie, (at, _, _) in self._leaving.items() if now - at >= PAIR_SECONDS]
        for cookie in late:
            _, path, is_folder = self._leaving.pop(cookie)
            if is_folder:
                self._drop(path)
            yield Touched(path)

    def next_due(self) -> float | None:
        """When ``left`` may have something to tell."""
        return min((at + PAIR_SECONDS for at, _, _ in self._leaving.values()), default=None)

    def _below(self, path: str) -> list[str]:
        return [each for each in self._numbers if each == path or each.startswith(f"{path}/")]

    def _rename(self, old: str, new: str) -> None:
        for path in self._below(old):
            number = self._numbers.pop(path)
            moved = new + path[len(old) :]
            self._paths[number] = moved
            self._numbers[moved] = number

    def _drop(self, path: str) -> None:
        for each in self._below(path):
            number = self._numbers.pop(each)
            self._paths.pop(number, None)
            self._forget(number)
