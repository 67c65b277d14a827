"""The examples in the store's own docstrings run; importing the package costs next to nothing."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys

import pytest

MODULES = [
    "", ".aio", ".blocks", ".errors", ".model", ".paths", ".reading", ".rows", ".segments",
    ".snapshot", ".store", ".transaction",
]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    result = doctest.testmod(importlib.import_module(f"streamdb{name}"))
    assert result.attempted
    assert not result.failed


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, streamdb; print(' '.join(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"lmdb", "zstandard", "cryptography", "soundfile", "mutagen", "numpy", "asyncio"}
    assert "streamdb" in loaded
    assert not heavy & set(loaded)


def test_every_name_of_the_package_is_there():
    import streamdb

    for name in streamdb.__all__:
        assert getattr(streamdb, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = streamdb.nothing
