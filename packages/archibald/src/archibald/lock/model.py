"""The lock as data and as text. Pure: no I/O.

A lock says *what* an image is made of, never where it comes from. Its text is TOML, sorted, one
package a line, so that a difference between two locks reads as a list of package changes.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from archibald.errors import UsageError

FORMAT = 1

HEADER = """\
# Made by `archibald lock`; change the profile and run it again instead of editing this file.
# It names what an image is made of, never where to get it.
"""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PATH = re.compile(r"(?!/)(?!.*(?:^|/)\.\.(?:/|$))[A-Za-z0-9][A-Za-z0-9+._~:/%-]*\.deb")
_WHEEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*\.whl")


class LockError(UsageError):
    """The lock file cannot be used: damaged, of another format, or not for this profile."""


@dataclass(frozen=True, order=True)
class LockedPackage:
    """One Debian package: ``path`` is relative to the archive's root, ``size`` in bytes."""

    name: str
    version: str
    architecture: str
    sha256: str
    size: int
    path: str
    archive: str = "debian"

    @property
    def file_name(self) -> str:
        """The name that apt gives the file."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"


@dataclass(frozen=True, order=True)
class LockedRelease:
    """The signed index that the versions were taken from."""

    archive: str
    suite: str
    date: str
    sha256: str
    signed_by: tuple[str, ...]


@dataclass(frozen=True)
class Lock:
    """Everything that decides an image's content, besides the profile and our own code.

    ``requested`` are the packages that the profile asked for, ``packages`` is their closure;
    ``python_requirements`` and ``wheels`` are the same for Python.
    ``wheels`` maps file names to SHA-256; ``tools`` maps host packages that shape the output to
    versions. ``snapshot`` is the moment of the newest index, the image's SOURCE_DATE_EPOCH.
    """

    suite: str
    snapshot: datetime
    components: tuple[str, ...]
    requested: tuple[str, ...]
    releases: tuple[LockedRelease, ...]
    packages: tuple[LockedPackage, ...]
    python: str
    python_requirements: tuple[str, ...] = ()
    wheels: Mapping[str, str] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    architecture: str = "amd64"

    @property
    def epoch(self) -> int:
        """SOURCE_DATE_EPOCH of images built from this lock, seconds since 1970."""
        return int(self.snapshot.timestamp())

    @property
    def by_name(self) -> dict[str, LockedPackage]:
        """The packages by name."""
        return {package.name: package for package in self.packages}

    def digest(self) -> str:
        """SHA-256 of everything that decides the content (not of the tools that assemble it)."""
        return hashlib.sha256(dump(self, with_tools=False).encode()).hexdigest()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _list(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(_quoted(value) for value in values) + "]"


def dump(lock: Lock, *, with_tools: bool = True) -> str:
    """Return the lock's text: sorted, one package a line, the same for equal locks."""
    lines = [
        HEADER,
        f"format = {FORMAT}",
        f"suite = {_quoted(lock.suite)}",
        f"architecture = {_quoted(lock.architecture)}",
        f"components = {_list(lock.components)}",
        f"snapshot = {lock.snapshot.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}",
        f"python = {_quoted(lock.python)}",
        f"python_requirements = {_list(lock.python_requirements)}",
        "requested = [",
        *(f"  {_quoted(name)}," for name in sorted(lock.requested)),
        "]",
        "",
    ]
    if with_tools:
        lines += ["[tools]", *(f"{k} = {_quoted(v)}" for k, v in sorted(lock.tools.items())), ""]
    for release in sorted(lock.releases):
        lines += [
            "[[release]]",
            f"archive = {_quoted(release.archive)}",
            f"suite = {_quoted(release.suite)}",
            f"date = {_quoted(release.date)}",
            f"sha256 = {_quoted(release.sha256)}",
            f"signed_by = {_list(release.signed_by)}",
            "",
        ]
    lines += ["[wheels]", *(f"{_quoted(k)} = {_quoted(v)}" for k, v in sorted(lock.wheels.items()))]
    lines += ["", "[packages]", *(_package_line(package) for package in sorted(lock.packages)), ""]
    return "\n".join(lines)


def _package_line(package: LockedPackage) -> str:
    archive = "" if package.archive == "debian" else f", archive = {_quoted(package.archive)}"
    return (
        f"{_quoted(package.name)} = {{ version = {_quoted(package.version)}, "
        f"arch = {_quoted(package.architecture)}, size = {package.size}, "
        f"sha256 = {_quoted(package.sha256)}, path = {_quoted(package.path)}{archive} }}"
    )


def _checked(pattern: re.Pattern[str], value: Any, what: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{what} is {value!r}")
    return value


def _package(name: str, row: Mapping[str, Any]) -> LockedPackage:
    return LockedPackage(
        name=name,
        version=str(row["version"]),
        architecture=str(row["arch"]),
        sha256=_checked(_SHA256, row["sha256"], f"the SHA-256 of {name}"),
        size=int(row["size"]),
        path=_checked(_PATH, row["path"], f"the path of {name}"),
        archive=str(row.get("archive", "debian")),
    )


def load(text: str, *, name: str = "archibald.lock") -> Lock:
    """Return the lock that ``text`` describes; raise :class:`LockError` when it is none.

    ``name`` is the file's name in error messages.
    """
    try:
        data = tomllib.loads(text)
        if data.get("format") != FORMAT:
            raise LockError(
                f"{name} has format {data.get('format')!r}, this version reads {FORMAT}",
                next_step="archibald lock --update",
            )
        snapshot = data["snapshot"]
        if not isinstance(snapshot, datetime):
            raise ValueError(f"snapshot is {snapshot!r}")
        return Lock(
            suite=data["suite"],
            architecture=data["architecture"],
            components=tuple(data["components"]),
            snapshot=snapshot,
            python=data["python"],
            python_requirements=tuple(data["python_requirements"]),
            requested=tuple(data["requested"]),
            tools=data.get("tools", {}),
            releases=tuple(
                LockedRelease(**{**row, "signed_by": tuple(row["signed_by"])})
                for row in data.get("release", [])
            ),
            wheels={
                _checked(_WHEEL, wheel, "a wheel"): _checked(
                    _SHA256, sha, f"the SHA-256 of {wheel}"
                )
                for wheel, sha in data["wheels"].items()
            },
            packages=tuple(_package(key, row) for key, row in data["packages"].items()),
        )
    except LockError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LockError(
            f"{name} is damaged",
            why=f"missing key {error}" if isinstance(error, KeyError) else str(error),
            next_step="restore it from version control, or make it anew: archibald lock --update",
        ) from error


@dataclass(frozen=True)
class LockDiff:
    """What changes from one lock to another; versions as (old, new)."""

    added: dict[str, str]
    removed: dict[str, str]
    changed: dict[str, tuple[str, str]]
    rehashed: tuple[str, ...]
    wheels: dict[str, tuple[str, str]]
    tools: dict[str, tuple[str, str]]

    @property
    def is_empty(self) -> bool:
        """True when an image built from either lock would be the same."""
        return not (self.added or self.removed or self.changed or self.rehashed or self.wheels)


def _pairs(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    return {
        key: (old.get(key, ""), new.get(key, ""))
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    }


def diff(old: Lock, new: Lock) -> LockDiff:
    """Return what changes from ``old`` to ``new``."""
    a, b = old.by_name, new.by_name
    both = sorted(a.keys() & b.keys())
    return LockDiff(
        added={name: b[name].version for name in sorted(b.keys() - a.keys())},
        removed={name: a[name].version for name in sorted(a.keys() - b.keys())},
        changed={n: (a[n].version, b[n].version) for n in both if a[n].version != b[n].version},
        rehashed=tuple(
            n for n in both if a[n].version == b[n].version and a[n].sha256 != b[n].sha256
        ),
        wheels=_pairs(old.wheels, new.wheels),
        tools=_pairs(old.tools, new.tools),
    )
