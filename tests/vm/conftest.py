"""What the whole-system tests share: one built image, and one PipeWire in a chroot of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from archibald.lock.store import cache_root

from .cli import CORE, ROOT, archibald
from .studio import core_tree, studio

__all__ = ["CORE", "ROOT", "BuiltImage", "archibald", "core_tree", "studio"]


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
