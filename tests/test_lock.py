"""requirements.lock: exactly what the pyproject files ask for, by hash, without addresses."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCKS = ["requirements.lock", "requirements-tools.lock"]
WORKSPACE = {"archibald", "hydramesh", "streamdb"}


@dataclass(frozen=True)
class Pin:
    """One entry of a lock: the exact requirement and the SHA-256 of every file of the release."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        (clause,) = self.requirement.specifier
        assert clause.operator == "=="
        return clause.version

    @property
    def holds_here(self) -> bool:
        return self.requirement.marker is None or self.requirement.marker.evaluate()


def _pins(path: Path) -> list[Pin]:
    text = re.sub(r"^#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    pins = []
    for line in text.replace("\\\n", " ").splitlines():
        requirement, *hashes = line.split("--hash=sha256:")
        pins.append(Pin(Requirement(requirement), tuple(value.strip() for value in hashes)))
    return pins


def _asked_for(root: Path) -> list[Requirement]:
    """Return what the pyproject files name: the dev group, dependencies, extras, build tools."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    texts = list(project["dependency-groups"]["dev"])
    for path in sorted(root.glob("packages/*/pyproject.toml")):
        package = tomllib.loads(path.read_text(encoding="utf-8"))
        texts += package["build-system"]["requires"]
        texts += package["project"]["dependencies"]
        for extra in package["project"].get("optional-dependencies", {}).values():
            texts += extra
    return [Requirement(text) for text in texts]


def _needed_by(requirement: Requirement) -> Iterable[Requirement]:
    for text in metadata.requires(requirement.name) or []:
        needed = Requirement(text)
        extras = [*requirement.extras, ""]
        if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
            yield needed


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_address(root, name):
    text = (root / name).read_text(encoding="utf-8")
    assert not re.search(r"://|file:|^-|@|\bpackages/", text, re.MULTILINE)


@pytest.mark.parametrize("name", LOCKS)
def test_every_pin_has_hashes(root, name):
    pins = _pins(root / name)
    assert pins
    for pin in pins:
        assert pin.hashes, pin.name
        assert all(re.fullmatch("[0-9a-f]{64}", value) for value in pin.hashes), pin.name


def test_the_lock_satisfies_every_request(root):
    pins = _pins(root / "requirements.lock")
    for wanted in _asked_for(root):
        name = canonicalize_name(wanted.name)
        if name in WORKSPACE:
            continue
        versions = [pin.version for pin in pins if pin.name == name]
        assert versions, f"{wanted} is not in requirements.lock: make lock"
        for version in versions:
            assert wanted.specifier.contains(version), (
                f"{name} {version} is not {wanted}: make lock"
            )


def test_the_lock_is_complete_and_has_nothing_else(root):
    """Follow the metadata of what is installed: its closure is the lock, name for name."""
    locked = {pin.name: pin for pin in _pins(root / "requirements.lock") if pin.holds_here}
    todo, reached = _asked_for(root), set[str]()
    seen = set[str]()
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        if name in WORKSPACE or str(wanted) in seen:
            continue
        seen.add(str(wanted))
        reached.add(name)
        assert name in locked, f"{wanted} is needed but not locked: make lock"
        assert metadata.version(name) == locked[name].version, f"{name}: run scripts/bootstrap"
        todo += _needed_by(wanted)
    assert sorted(locked.keys() - reached) == []
