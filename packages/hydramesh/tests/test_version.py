"""The version that the package says is the one that was installed."""

from importlib.metadata import version

import hydramesh


def test_version_is_that_of_the_installed_distribution():
    assert hydramesh.__version__ == version("hydramesh")
