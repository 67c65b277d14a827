"""What the tests in network namespaces share."""

from __future__ import annotations

import pytest
from packages.hydramesh.tests.netns.lab import NotHere, laboratory


@pytest.fixture
def lab():
    try:
        with laboratory() as made:
            yield made
    except NotHere as error:
        pytest.skip(f"network namespaces cannot be made here: {error}")
