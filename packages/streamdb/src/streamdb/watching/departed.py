"""Documents whose file is gone, until it is clear whether it was deleted or only went elsewhere.

A file that moves into a folder which is too new to be watched looks like a deletion and a new
file. Its size, time of change and content tell that it is the same one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streamdb.importing.plan import Lookup, digest_of

if TYPE_CHECKING:
    from streamdb.importing.plan import Known


class Departed:
    """The paths of such documents, found by size (bytes) and time of change (ns)."""

    def __init__(self) -> None:
        self._names: dict[tuple[int, int], set[str]] = {}
        self._keys: dict[str, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, name: str, known: Known) -> None:
        """The file of a document is gone."""
        self.discard(name)
        key = known.size, known.mtime_ns
        self._keys[name] = key
        self._names.setdefault(key, set()).add(name)

    def discard(self, name: str) -> None:
        """The document is deleted, renamed, or has its file again."""
        key = self._keys.pop(name, None)
        if key is not None:
            self._names[key].discard(name)
            if not self._names[key]:
                del self._names[key]

    def may_be(self, size: int, mtime_ns: int) -> bool:
        """Whether a file of that size and time may be one of them."""
        return (size, mtime_ns) in self._names

    def twin(self, file: Path, size: int, mtime_ns: int, lookup: Lookup) -> str | None:
        """The document whose file this was; its content is compared."""
        names = sorted(self._names.get((size, mtime_ns), ()))
        digest = digest_of(file) if names else None
        for name, known in zip(names, lookup.known(names, digests=True), strict=True):
            if known is not None and known.digest == digest:
                return name
        return None
