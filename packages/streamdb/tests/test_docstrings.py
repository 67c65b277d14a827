"""Every example in the docstrings of the pure modules runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = [
    "metadata",
    "metadata.draft",
    "metadata.kinds",
    "metadata.name",
    "checks",
    "chunking",
    "codec",
    "crypto",
    "music",
    "query",
    "query.values",
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(f"streamdb.{name}")
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed
