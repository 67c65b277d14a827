"""What the whole-system tests share: the command line as a user runs it, and one built image."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from archibald.lock.store import cache_root

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "profiles/core.toml"


@dataclass(frozen=True)
class Finished:
    """What a run of the command line left."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)


def archibald(
    *words: str | Path,
    cache: Path | None = None,
    env: dict[str, str] | None = None,
    prefix: Sequence[str | Path] = (),
    timeout_s: float = 1800,
) -> Finished:
    """Run ``archibald`` in a process of its own; its standard error is shown if the test fails."""
    full = {**os.environ, **(env or {})}
    if cache is not None:
        full["ARCHIBALD_CACHE"] = str(cache)
    done = subprocess.run(
        [*map(str, prefix), sys.executable, "-m", "archibald", *map(str, words)],
        env=full, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=ROOT,
    )  # fmt: skip
    sys.stderr.write(done.stderr)
    return Finished(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class BuiltImage:
    """An image and what ``build --json`` said of it."""

    path: Path
    report: dict[str, Any]


@pytest.fixture(scope="session")
def vm_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for images, removed at the end: they are large."""
    folder = tmp_path_factory.mktemp("images")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def core_image(vm_folder: Path) -> BuiltImage:
    """The core image, built once for all tests with the user's own cache."""
    done = archibald("build", "iso", "--profile", CORE, "--output", vm_folder / "core", "--json")
    assert done.code == 0, done.err
    return BuiltImage(Path(done.document["image"]), done.document)


@pytest.fixture(scope="session")
def pool_only_cache(vm_folder: Path, core_image: BuiltImage) -> Callable[[str], Path]:
    """Make caches that hold the downloaded files and nothing else."""

    def make(name: str) -> Path:
        folder = vm_folder / "caches" / name
        shutil.copytree(cache_root() / "pool", folder / "pool", copy_function=_link_or_copy)
        shutil.rmtree(folder / "pool" / "partial", ignore_errors=True)
        return folder

    return make


def _link_or_copy(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
    return target
