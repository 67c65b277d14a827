"""What a difference between an ISO and its rebuilt twin may come from."""

from __future__ import annotations

import pytest

from archibald.image.compare import Difference
from archibald.image.verify import own_program_hints

_LAYER = "/live/20-system.squashfs:"


@pytest.mark.parametrize(
    "path",
    [
        "/usr/lib/archibald/python/archibald/cli/__pycache__/nixos.cpython-314.pyc",
        "/usr/lib/archibald/python/streamdb-0.1.0.dist-info/RECORD",
    ],
)
def test_a_difference_in_our_own_program_is_explained(path):
    (hint,) = own_program_hints(Difference(_LAYER + path, "content", "a", "b"))
    assert "another revision of archibald" in hint


@pytest.mark.parametrize("path", ["/etc/hostname", "/usr/lib/archibald/python/click/core.py"])
def test_other_differences_are_not(path):
    assert own_program_hints(Difference(_LAYER + path, "content", "a", "b")) == ()
    assert own_program_hints(None) == ()
