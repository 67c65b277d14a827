"""Which files of a folder are meant: patterns of names to take and to leave."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate

from streamdb.errors import InvalidArgument


@dataclass(frozen=True, slots=True)
class Pattern:
    """One pattern: on names (``*.wav``), or with a slash on paths below the folder (``old/*``)."""

    text: str
    test: re.Pattern[str]
    on_paths: bool
    folders_only: bool

    @classmethod
    def of(cls, text: str) -> Pattern:
        """Read a pattern of the shell's kind: ``*`` (also over slashes), ``?``, ``[abc]``.

        Raises:
            InvalidArgument: it is empty.
        """
        body = text.strip("/")
        if not body:
            raise InvalidArgument(
                f"the pattern {text!r} matches nothing", next_step="give one such as '*.wav'"
            )
        on_paths = "/" in text.rstrip("/")
        test = re.compile(translate(body), re.IGNORECASE)
        return cls(text, test, on_paths, text.endswith("/"))

    def fits(self, path: str, name: str, is_folder: bool) -> bool:
        """Whether a file or folder is meant."""
        if self.folders_only and not is_folder:
            return False
        return self.test.match(path if self.on_paths else name) is not None


@dataclass(frozen=True, slots=True)
class Selection:
    """Files to take: those that fit ``include`` (none: all) and not ``exclude``, which goes first.

    Upper and lower case are alike, because sample packs write ``.wav`` and ``.WAV``. A folder that
    fits ``exclude`` is left with all that is in it.

    >>> chosen = Selection.of(include=["*.wav"], exclude=["old/"])
    >>> chosen.takes("kicks/808.WAV"), chosen.takes("kicks/old/1.wav"), chosen.takes("readme.txt")
    (True, False, False)
    """

    include: tuple[Pattern, ...] = ()
    exclude: tuple[Pattern, ...] = ()

    @classmethod
    def of(cls, include: Iterable[str] = (), exclude: Iterable[str] = ()) -> Selection:
        """From patterns as text.

        Raises:
            InvalidArgument: one of them is empty.
        """
        return cls(tuple(map(Pattern.of, include)), tuple(map(Pattern.of, exclude)))

    def enters(self, path: str) -> bool:
        """Whether a folder is looked into; its parents were."""
        name = path.rpartition("/")[2]
        return not any(pattern.fits(path, name, True) for pattern in self.exclude)

    def takes_here(self, path: str) -> bool:
        """Whether a file is taken; its folders were entered."""
        name = path.rpartition("/")[2]
        if any(pattern.fits(path, name, False) for pattern in self.exclude):
            return False
        return not self.include or any(pattern.fits(path, name, False) for pattern in self.include)

    def takes(self, path: str) -> bool:
        """Whether a file is taken, wherever it is."""
        if not self.exclude and not self.include:
            return True
        at = path.find("/")
        while at >= 0:
            if not self.enters(path[:at]):
                return False
            at = path.find("/", at + 1)
        return self.takes_here(path)


EVERYTHING = Selection()
