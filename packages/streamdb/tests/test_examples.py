"""The examples in the store's own docstrings run; importing the package costs next to nothing."""

from __future__ import annotations

import doctest
import importlib
import inspect
import subprocess
import sys

import pytest

from streamdb import AsyncStreamDB, Snapshot, StreamDB, Transaction
from streamdb.reading import Readable

MODULES = [
    "", ".aio", ".blocks", ".errors", ".model", ".paths", ".reading", ".rows", ".segments",
    ".snapshot", ".store", ".transaction", ".writing",
]  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    result = doctest.testmod(importlib.import_module(f"streamdb{name}"))
    assert result.attempted
    assert not result.failed


OPERATIONS = (
    "write_document", "get", "get_stream", "get_many", "stat", "metadata", "exists", "delete",
    "rename", "bind", "unbind", "paths_of", "search", "search_suffix", "find", "count", "children",
    "transaction", "snapshot", "flush", "statistics", "changes", "quick", "history", "get_version",
    "restore", "check", "gc", "repair", "backup",
)  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_has_an_example(name):
    # Some refer to where it stands.
    homes = {"get": Readable.get, "transaction": Transaction, "snapshot": Snapshot}
    assert ">>> " in (inspect.getdoc(homes.get(name, getattr(StreamDB, name))) or "")


@pytest.mark.parametrize("name", ["get", "get_many", "write_document", "search"])
def test_every_asynchronous_operation_has_an_example(name):
    assert ">>> " in (inspect.getdoc(getattr(AsyncStreamDB, name)) or "")


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, streamdb; print(' '.join(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
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
