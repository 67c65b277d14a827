"""What the tests of the lock share: rooms of apt, requests, and ways to keep a lock."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from archibald.lock.apt import AptRoom
from archibald.lock.keep import Kept, Policy, keep
from archibald.lock.model import Lock
from archibald.lock.resolve import Request
from archibald.lock.sources import Mirrors, Source
from archibald.lock.store import Store


def _request(*names: str) -> Request:
    wanted = ("python3", *names)
    return Request("forky", ("main",), {name: "module tests" for name in wanted}, ())


@pytest.fixture
def request_for() -> Callable[..., Request]:
    """Make a request for packages that the module ``tests`` wants."""
    return _request


@pytest.fixture
def room(archive, key, tmp_path) -> Callable[..., AptRoom]:
    """Make a room of apt for the archive."""

    def make(*, suite: str = "forky", keyring: Path | None = None) -> AptRoom:
        source = Source("debian", archive.address, suite, ("main",))
        return AptRoom(tmp_path / "room", [source], keyring or key.keyring)

    return make


@dataclass
class Keeper:
    """Keeps locks below one folder; what was noted and how far it came is collected."""

    folder: Path
    mirrors: Mirrors
    keyring: Path
    notes: list[str] = field(default_factory=list)
    done: list[tuple[int, int]] = field(default_factory=list)

    @property
    def store(self) -> Store:
        return Store(self.folder / "pool")

    def keep(
        self, given: Lock | None, request: Request, *, locked: bool = False, offline: bool = False
    ) -> Kept:
        policy = Policy(
            locked, None if offline else self.mirrors, None if offline else self.keyring
        )
        return keep(
            given, request, self.store, policy, folder=self.folder / "apt",
            progress=lambda done, total: self.done.append((done, total)), note=self.notes.append,
        )  # fmt: skip


@pytest.fixture
def keeper(archive, key, tmp_path) -> Keeper:
    """Keep locks of the published archive in a fresh cache."""
    archive.publish(key)
    return Keeper(tmp_path / "the cache", archive.mirrors, key.keyring)


@dataclass(frozen=True)
class First:
    """The first lock of a fresh cache: what was kept, noted and told, and where it is."""

    keeper: Keeper
    kept: Kept


@pytest.fixture(scope="session")
def first(make_archive, key, tmp_path_factory) -> First:
    """Keep the first lock of a request for the synth; nobody changes this cache."""
    folder = tmp_path_factory.mktemp("first")
    archive = make_archive(folder / "archive")
    archive.publish(key)
    keeper = Keeper(folder / "cache", archive.mirrors, key.keyring)
    return First(keeper, keeper.keep(None, _request("synth")))


@pytest.fixture
def kept(first, keeper) -> Kept:
    """The first lock, with everything that it names in the cache of the test's own keeper."""
    shutil.copytree(first.keeper.store.folder, keeper.store.folder)
    result: Kept = first.kept
    return result
