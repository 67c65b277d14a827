"""What the tests of the NixOS base share: the source tree, and random profiles."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from packages.archibald.tests.profiles import table_values, values_for

from archibald.nixos.evaluate import available
from archibald.profile.options import VARIANT_TABLES

_TREE = Path(__file__).resolve().parents[4]
_TABLES = ("system", "desktop", "apps", "mesh", "storage", "users", "branding", "image")

Values = Callable[[dict[str, Any]], "st.SearchStrategy[Any]"]


@pytest.fixture(scope="session")
def tree() -> Path:
    """The source tree, where nix-instantiate is there to read it."""
    if not available():
        pytest.skip("evaluating Nix needs nix-instantiate: scripts/host-tools check")
    return _TREE


@pytest.fixture
def copy(tree, tmp_path) -> Path:
    """A copy of what `archibald nixos check` looks at, to be damaged."""
    shutil.copytree(tree / "nix", tmp_path / "nix")
    for name in ("flake.nix", "flake.lock", "archibald.toml"):
        if (tree / name).exists():
            shutil.copy(tree / name, tmp_path / name)
    shutil.copytree(tree / "profiles", tmp_path / "profiles")
    # Both bases have the same scripts, so Nix reads those of the Python package.
    scripts = "packages/archibald/src/archibald/system/files"
    shutil.copytree(tree / scripts, tmp_path / scripts)
    for folder in (tree / "packages").iterdir():
        (tmp_path / "packages" / folder.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / "pyproject.toml", tmp_path / "packages" / folder.name)
    return tmp_path


@pytest.fixture(scope="session")
def values() -> Values:
    """From an option's schema to a strategy of values that it accepts."""
    return values_for


def _fit(data: dict[str, Any]) -> None:
    """Make options agree with each other where chance would rarely do."""
    audio, realtime = data.setdefault("audio", {}), data.setdefault("realtime", {})
    cpu = data.setdefault("cpu", {})
    audio["min_quantum"] = min(audio.get("min_quantum", 16), audio.get("quantum", 32))
    audio["max_quantum"] = max(audio.get("max_quantum", 64), audio.get("quantum", 32))
    realtime["priority_limit"] = 98
    cpu["minimum"] = 1024
    cpu["tickless"] = sorted({*cpu.get("audio", [1]), *cpu.get("isolated", [])})[:2]


@st.composite
def _documents(draw: st.DrawFn) -> dict[str, Any]:
    chosen = draw(st.sets(st.sampled_from(_TABLES)))
    data: dict[str, Any] = {name: draw(table_values(name)) for name in chosen}
    for name in draw(st.sets(st.sampled_from(VARIANT_TABLES))):
        data[name] = draw(table_values(name))
    if draw(st.integers(0, 3)):
        _fit(data)
    data["variant"] = [
        {
            "name": name,
            "title": name.upper(),
            "audio": draw(st.sampled_from([{}, {"quantum": 32}, {"jack": False}])),
            "cpu": draw(st.sampled_from([{}, {"isolated": [0]}, {"kernel_args": ["a=1", "b"]}])),
        }
        for name in draw(st.lists(st.sampled_from(["a", "low-latency", "v2"]), unique=True))
    ]
    return data


@pytest.fixture(scope="session")
def documents() -> st.SearchStrategy[dict[str, Any]]:
    """Data with the shape of a profile; single values fit, together they may not."""
    return _documents()
