"""Daemons under edits, kills and cuts: a short form among the slow tests, long ones as torture.

How long is an environment variable: HYDRAMESH_TORTURE_S (600). A seed that failed is run again with
``python -m packages.hydramesh.tests.library.torture --seed``.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest
from packages.hydramesh.tests.library.torture import Switch, torture

SECONDS = float(os.environ.get("HYDRAMESH_TORTURE_S", "600"))


@pytest.fixture
def folder(tmp_path_factory):
    made = Path("/tmp", f"ht{os.getpid()}")  # sockets want short paths
    made.mkdir(mode=0o700)
    yield made
    shutil.rmtree(made)


def run(folder, count, seconds):
    seed = random.randrange(1 << 30)
    try:
        with Switch(count) as switch:
            work = torture(folder, count, seconds, seed, switch)
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from None
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"network namespaces cannot be made here: {error}")
    assert work.done["edits"]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_daemons_become_equal_and_lose_nothing(folder):
    run(folder, 2, 10)


@pytest.mark.torture
@pytest.mark.timeout(SECONDS + 1200)
@pytest.mark.parametrize("count", [2, 5])
def test_daemons_become_equal_and_lose_nothing(folder, count):
    run(folder, count, SECONDS)
