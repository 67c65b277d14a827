"""Paths that peers send: hostile until proved otherwise.

A path is a StreamDB path and, beyond that, one that every file system of a follower can hold beside
its siblings: no two may differ by case or Unicode form alone, no part is longer than 255 bytes, and
there are at most 64 parts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

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


@dataclass(slots=True)
class Names:
    """The names of one collection, to find those that differ by case or Unicode form alone.

    Directories count as well: ``Drums/a`` and ``drums/b`` meet on such a file system.
    """

    _known: dict[str, str] = field(default_factory=dict)
    _uses: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, paths: Iterable[str]) -> Names:
        """Those that are there."""
        names = cls()
        for path in paths:
            for part in _stems(path):
                names._known.setdefault(folded(part), part)
                names._uses[part] = names._uses.get(part, 0) + 1
        return names

    def add(self, path: str, *, strict: bool = True) -> None:
        """Take one more name in; one of the user's own (not ``strict``) whatever it is like.

        Raises:
            BadName: it differs from a known one by case or Unicode form alone.
        """
        for part in _stems(path):
            held = self._known.get(folded(part), part)
            if strict and held != part:
                raise BadName(
                    f"the path {path[:60]!r} is too like {held[:60]!r}",
                    why="they differ by case or Unicode form alone",
                    next_step="rename one of them where it was made",
                )
        for part in _stems(path):
            self._known.setdefault(folded(part), part)
            self._uses[part] = self._uses.get(part, 0) + 1

    def discard(self, path: str) -> None:
        """A name went."""
        for part in _stems(path):
            left = self._uses.get(part, 0) - 1
            if left > 0:
                self._uses[part] = left
            elif self._uses.pop(part, None) is not None:
                self._known.pop(folded(part), None)


def _stems(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:at]) for at in range(1, len(parts) + 1)]
