"""Stages: named steps whose outputs are kept under a key of everything that decides them.

A stage works in a scratch folder and is moved into place whole, so an interrupted stage leaves
nothing that could be mistaken for a result. Scratch folders of killed builds are removed by the
next build: each is held by a file lock for as long as its maker lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from archibald.image.privilege import remove_tree
from archibald.lock.store import sha256_of

MANIFEST = "stage.json"

#: What reading a file that is not what we wrote can raise, besides OSError.
_DAMAGE = (ValueError, KeyError, TypeError, AttributeError)

#: What a stage does: fills the folder that it is given with its outputs.
Work = Callable[[Path], None]


def key_of(inputs: Mapping[str, Any]) -> str:
    """Return the key of a stage: SHA-256 over its inputs as canonical JSON."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class StageResult:
    """A finished stage: where its outputs are, and the SHA-256 of each."""

    name: str
    key: str
    folder: Path
    outputs: Mapping[str, str]
    seconds: float
    reused: bool

    def path(self, output: str) -> Path:
        """Return the path of an output."""
        return self.folder / output


@dataclass
class StageStore:
    """Results of stages below ``folder``; ``rows`` collects what this run made or reused."""

    folder: Path
    rows: list[StageResult] = field(default_factory=list)

    def find(self, name: str, key: str) -> StageResult | None:
        """Return a stored result whose outputs still have their recorded hashes, else None."""
        place = self.folder / name / key
        try:
            record = json.loads((place / MANIFEST).read_text("utf-8"))
            outputs = {str(output): str(sha256) for output, sha256 in record["outputs"].items()}
            seconds = float(record["seconds"])
        except (OSError, *_DAMAGE):
            return None
        for output, sha256 in outputs.items():
            path = place / output
            if not path.is_file() or sha256_of(path) != sha256:
                remove_tree(place)
                return None
        os.utime(place)
        return StageResult(name, key, place, outputs, seconds, True)

    def run(
        self, name: str, inputs: Mapping[str, Any], work: Callable[[Path], None]
    ) -> StageResult:
        """Return the result for ``inputs``, made by ``work(folder)`` unless it is stored."""
        key = key_of(inputs)
        with self._only_one(name, key):
            result = self.find(name, key) or self._make(name, key, inputs, work)
        self.rows.append(result)
        return result

    def expected_seconds(self, name: str) -> float | None:
        """Return how long the stage took last time, if it ever ran here."""
        try:
            return float(json.loads((self.folder / "seconds.json").read_text("utf-8"))[name])
        except (OSError, *_DAMAGE):
            return None

    def _remember_seconds(self, name: str, seconds: float) -> None:
        path = self.folder / "seconds.json"
        known: dict[str, float] = {}
        with contextlib.suppress(OSError, *_DAMAGE):
            known = dict(json.loads(path.read_text("utf-8")))
        known[name] = round(seconds, 2)
        temporary = path.with_name(f"seconds.{os.getpid()}")
        temporary.write_text(json.dumps(known, sort_keys=True), "utf-8")
        temporary.replace(path)

    def _make(self, name: str, key: str, inputs: Mapping[str, Any], work: Work) -> StageResult:
        started = time.monotonic()
        with self.scratch(name) as scratch:
            made = scratch / "out"
            made.mkdir()
            work(made)
            outputs = {
                str(path.relative_to(made)): sha256_of(path)
                for path in sorted(made.rglob("*"))
                if path.is_file()
            }
            seconds = time.monotonic() - started
            record = {"outputs": outputs, "seconds": round(seconds, 3), "inputs": inputs}
            (made / MANIFEST).write_text(json.dumps(record, indent=1, sort_keys=True), "utf-8")
            place = self.folder / name / key
            place.parent.mkdir(parents=True, exist_ok=True)
            remove_tree(place)
            made.rename(place)
        self._remember_seconds(name, seconds)
        return StageResult(name, key, place, outputs, seconds, False)

    @contextlib.contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """Give a scratch folder; it goes at the end, or with the next build if we are killed."""
        area = self.folder / "scratch"
        area.mkdir(parents=True, exist_ok=True)
        folder = area / f"{name}-{os.getpid()}-{time.monotonic_ns()}"
        lock_path = folder.with_suffix(".lock")
        with _locked(lock_path):
            folder.mkdir()
            try:
                yield folder
            finally:
                remove_tree(folder)
                lock_path.unlink(missing_ok=True)

    def remove_leftovers(self) -> list[str]:
        """Delete scratch folders whose makers are gone; return their names."""
        removed = []
        for lock_path in sorted((self.folder / "scratch").glob("*.lock")):
            with contextlib.suppress(FileNotFoundError), lock_path.open("r+") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    continue
                remove_tree(lock_path.with_suffix(""))
                lock_path.unlink(missing_ok=True)
                removed.append(lock_path.stem)
        return removed

    @contextlib.contextmanager
    def _only_one(self, name: str, key: str) -> Iterator[None]:
        """Let two builds of the same stage wait for each other instead of doing it twice."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{key}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock on a file that nobody has deleted as a leftover before it was locked."""
    while True:
        with path.open("w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # See remove_leftovers: it deletes lock files that it could lock.
            if os.fstat(lock.fileno()).st_nlink == 0:
                continue
            yield
            return
