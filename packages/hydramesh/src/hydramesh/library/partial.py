"""Contents on their way: files in the state directory, with a journal of what is there of them.

They are contents of several pieces, which come in any order; the journal says which are there, so
that a transfer goes on after a kill. What it says is checked again then. What is one piece waits in
memory (see ``bundles``).
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from blake3 import blake3

from hydramesh.identity.state import write_private
from hydramesh.sync.pulls import PIECE, Fetch

_STALE_S = 30 * 86400
_READ = 4 << 20


class Partials:
    """The folder of contents on their way; every method is for a thread that may wait."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Make the folder, and delete what nobody came back for."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self.folder.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > _STALE_S:
                    path.unlink()

    def whole(self, digest: bytes) -> Path:
        """Where a content is once it is whole."""
        return self.folder / digest.hex()

    def _part(self, digest: bytes) -> Path:
        return self.folder / f"{digest.hex()}.part"

    def _journal(self, digest: bytes) -> Path:
        return self.folder / f"{digest.hex()}.journal"

    def find(self, digest: bytes) -> Path | None:
        """A whole content that was left here; one that is damaged is deleted."""
        path = self.whole(digest)
        if not path.exists():
            return None
        if _hash(path) == digest:
            return path
        path.unlink()
        return None

    def resume(self, digest: bytes, size: int) -> Fetch | None:
        """What is here of a content, as far as it is what the pieces' digests say."""
        try:
            fetch = Fetch.resume(self._journal(digest).read_bytes())
            if fetch is None or fetch.digest != digest or fetch.size != size:
                return None
            with self._part(digest).open("rb") as file:
                for index in sorted(fetch.here):
                    file.seek(index * PIECE)
                    if blake3(file.read(fetch.length(index))).digest() != fetch.pieces[index]:
                        fetch.here.discard(index)
        except (OSError, ValueError, IndexError):
            return None
        return fetch

    def write(self, digest: bytes, index: int, data: bytes) -> None:
        """Put a piece in its place."""
        handle = os.open(self._part(digest), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            view, at = memoryview(data), index * PIECE
            while view:
                count = os.pwrite(handle, view, at)
                view, at = view[count:], at + count
        finally:
            os.close(handle)

    def note(self, fetch: Fetch) -> None:
        """Write down what is here, once it is on the disk."""
        try:
            handle = os.open(self._part(fetch.digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            # It is whole, or is not wanted any more.
            return
        try:
            journal = fetch.journal()
            os.fdatasync(handle)
        finally:
            os.close(handle)
        write_private(self._journal(fetch.digest), journal)

    def finish(self, digest: bytes) -> Path | None:
        """The whole content, all its pieces being here; None if it is not what its digest says."""
        part = self._part(digest)
        self._journal(digest).unlink(missing_ok=True)
        if _hash(part) != digest:
            part.unlink()
            return None
        part.rename(self.whole(digest))
        return self.whole(digest)

    def discard(self, digest: bytes) -> None:
        """Delete what is here of a content."""
        for path in (self.whole(digest), self._part(digest), self._journal(digest)):
            path.unlink(missing_ok=True)


def _hash(path: Path) -> bytes:
    told = blake3()
    with path.open("rb") as file:
        while piece := file.read(_READ):
            told.update(piece)
    return told.digest()
