"""The version that the package says is the one that was installed."""

from importlib.metadata import version

import streamdb


def test_version_is_that_of_the_installed_distribution():
    assert streamdb.__version__ == version("streamdb")
