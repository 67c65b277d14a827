"""What the tests of tuning share: recorded machines as trees, and ways to look at them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from archibald.profile.model import Profile
from archibald.tune.audit import make_scene
from archibald.tune.model import Scene
from archibald.tune.observe import recorded_sight
from archibald.tune.recording import parse_recording

MACHINES = Path(__file__).parents[4] / "tests/machines"

NAMES = sorted(path.stem for path in MACHINES.glob("*.machine"))


@pytest.fixture
def machine(tmp_path) -> Callable[[str], Path]:
    """Make the tree of a recorded machine and return its root."""

    def make(name: str) -> Path:
        root: Path = tmp_path / name
        if not root.exists():
            path = MACHINES / f"{name}.machine"
            parse_recording(path.read_text("utf-8"), filename=path.name).write(root)
        return root

    return make


@pytest.fixture
def scene(machine) -> Callable[..., Scene]:
    """Return the scene of a recorded machine."""

    def make(name: str, profile: Profile | None = None, *, card: str = "") -> Scene:
        return make_scene(recorded_sight(machine(name)), profile or Profile(), card=card)

    return make
