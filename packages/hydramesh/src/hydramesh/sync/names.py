"""Paths that peers send: hostile until proved otherwise.

A path is a StreamDB path and, beyond that, one that every file system can hold: no part is longer
than 255 bytes, and there are at most 64 parts. Two that differ by case or Unicode form alone are
taken, and told of.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from hydramesh.sync.errors import BadName
from streamdb.errors import InvalidPath
from streamdb.paths import validate

MAX_PARTS = 64
MAX_PART_BYTES = 255


def check_name(path: object) -> str:
    """The path, if it is one that a peer may send.

    Raises:
        BadName: it is no text, longer than 4096 bytes, absolute, has ``..``, NUL or another
            control character, too many parts, or one that is too long.

    >>> check_name("drums/kick 01.wav")
    'drums/kick 01.wav'
    """
    if not isinstance(path, str):
        raise BadName(f"a path is text, not {type(path).__name__}")
    try:
        text = validate(path)
    except InvalidPath as error:
        raise BadName(error.what, why=error.why) from None
    parts = text.split("/")
    if len(parts) > MAX_PARTS:
        raise BadName(f"the path {text[:60]!r} has {len(parts)} parts, the limit is {MAX_PARTS}")
    for part in parts:
        if len(part.encode()) > MAX_PART_BYTES:
            raise BadName(f"the path {text[:60]!r} has a part of more than {MAX_PART_BYTES} bytes")
    if any(unicodedata.category(letter) == "Cc" for letter in text):
        raise BadName(f"the path {text[:60]!r} has a control character")
    return text


def folded(path: str) -> str:
    """What a path becomes where case and Unicode form do not count.

    >>> folded("Drums/CAFÉ.wav") == folded("drums/café.wav")
    True
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


class Names:
    """The names of one collection, to find those that differ by case or Unicode form alone.

    Directories count as well: ``Drums/a`` and ``drums/b`` meet on such a file system. A store can
    hold both, so both are taken; but who copies them to a memory stick should know.
    """

    def __init__(self) -> None:
        self._uses: dict[str, int] = {}
        self._alike: dict[str, set[str]] = {}
        self._clashing: set[str] = set()

    @classmethod
    def of(cls, paths: Iterable[str]) -> Names:
        """Those that are there."""
        names = cls()
        for path in paths:
            names.add(path)
        return names

    def add(self, path: str) -> None:
        """One more."""
        for part in _stems(path):
            held = self._uses.get(part, 0)
            self._uses[part] = held + 1
            if not held:
                like = self._alike.setdefault(folded(part), set())
                like.add(part)
                if len(like) > 1:
                    self._clashing.add(folded(part))

    def discard(self, path: str) -> None:
        """A name went."""
        for part in _stems(path):
            left = self._uses.get(part, 0) - 1
            if left > 0:
                self._uses[part] = left
            elif self._uses.pop(part, None) is not None:
                self._drop(part)

    def _drop(self, part: str) -> None:
        fold = folded(part)
        like = self._alike[fold]
        like.discard(part)
        if len(like) < 2:
            self._clashing.discard(fold)
        if not like:
            del self._alike[fold]

    def clashes(self) -> list[str]:
        """The names that another one is too like, sorted."""
        return sorted(part for fold in self._clashing for part in self._alike[fold])


def _stems(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:at]) for at in range(1, len(parts) + 1)]
