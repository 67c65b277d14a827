"""The lock as data and as text. Pure: no I/O.

A lock says *what* an image is made of, never where it comes from. Its text is TOML, sorted, one
package a line, so that a difference between two locks reads as a list of package changes.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from archibald.errors import UsageError

FORMAT = 1

HEADER = """\
# Made by `archibald lock`; change the profile and run it again instead of editing this file.
# It names what an image is made of, never where to get it.
"""

#: A lock may come from anywhere, and its names become paths, arguments and lines of other files.
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.~:-]*")
_WORD = re.compile(r"[a-z0-9][a-z0-9.-]*")
_PYTHON = re.compile(r"3\.[0-9]{1,3}")
_ARCHIVE = re.compile("debian|security")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_KEY = re.compile(r"[0-9A-F]{40}(?:[0-9A-F]{24})?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PATH = re.compile(r"(?!/)(?!.*(?:^|/)\.\.(?:/|$))[A-Za-z0-9][A-Za-z0-9+._~:/%-]*\.deb")
#: Name, version, optional build number, then the three tags (PEP 427).
_WHEEL = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._]*-[A-Za-z0-9][A-Za-z0-9._+!]*(?:-[0-9][A-Za-z0-9._]*)?"
    r"(?:-[A-Za-z0-9][A-Za-z0-9._]*){3}\.whl"
)
_ANY = re.compile(r".*", re.DOTALL)
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


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
    # TOML's basic strings are JSON's, but for the delete character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(text: str) -> str:
    return text if _BARE_KEY.fullmatch(text) else _quoted(text)


def _pairs_text(pairs: Mapping[str, str], key: Callable[[str], str]) -> list[str]:
    return [f"{key(name)} = {_quoted(value)}" for name, value in sorted(pairs.items())]


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
        lines += ["[tools]", *_pairs_text(lock.tools, _key), ""]
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
    lines += ["[wheels]", *_pairs_text(lock.wheels, _quoted)]
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


def _checked_list(pattern: re.Pattern[str], value: Any, what: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{what} is {value!r}, not a list")
    return tuple(_checked(pattern, item, f"an element of {what}") for item in value)


def _size(value: Any, what: str) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{what} is {value!r}")
    return value


def _snapshot(value: Any) -> datetime:
    # Without a zone it would mean another moment on every host; FAT knows no time before 1980.
    if not isinstance(value, datetime) or value.tzinfo is None or not 1980 < value.year < 2100:
        raise ValueError(f"snapshot is {value!r}")
    return value.astimezone(UTC).replace(microsecond=0)


def _package(name: str, row: Mapping[str, Any]) -> LockedPackage:
    return LockedPackage(
        name=_checked(_NAME, name, "the name of a package"),
        version=_checked(_VERSION, row["version"], f"the version of {name}"),
        architecture=_checked(_WORD, row["arch"], f"the architecture of {name}"),
        sha256=_checked(_SHA256, row["sha256"], f"the SHA-256 of {name}"),
        size=_size(row["size"], f"the size of {name}"),
        path=_checked(_PATH, row["path"], f"the path of {name}"),
        archive=_checked(_ARCHIVE, row.get("archive", "debian"), f"the archive of {name}"),
    )


def _release(row: Mapping[str, Any]) -> LockedRelease:
    return LockedRelease(
        archive=_checked(_ARCHIVE, row["archive"], "the archive of a release"),
        suite=_checked(_WORD, row["suite"], "the suite of a release"),
        date=_checked(_DATE, row["date"], "the date of a release"),
        sha256=_checked(_SHA256, row["sha256"], "the SHA-256 of a release"),
        signed_by=_checked_list(_KEY, row["signed_by"], "signed_by of a release"),
    )


def _wheel(name: str, sha256: Any) -> tuple[str, str]:
    return (
        _checked(_WHEEL, name, "the name of a wheel"),
        _checked(_SHA256, sha256, f"the SHA-256 of {name}"),
    )


def _lock(data: Mapping[str, Any]) -> Lock:
    tools = data.get("tools", {}).items()
    return Lock(
        suite=_checked(_WORD, data["suite"], "suite"),
        architecture=_checked(_WORD, data["architecture"], "architecture"),
        components=_checked_list(_WORD, data["components"], "components"),
        snapshot=_snapshot(data["snapshot"]),
        python=_checked(_PYTHON, data["python"], "python"),
        python_requirements=_checked_list(_ANY, data["python_requirements"], "python_requirements"),
        requested=_checked_list(_NAME, data["requested"], "requested"),
        tools={name: _checked(_ANY, value, f"the version of {name}") for name, value in tools},
        releases=tuple(_release(row) for row in data.get("release", [])),
        wheels=dict(_wheel(name, sha256) for name, sha256 in data["wheels"].items()),
        packages=tuple(_package(key, row) for key, row in data["packages"].items()),
    )


def load(text: str, *, name: str = "archibald.lock") -> Lock:
    """Return the lock that ``text`` describes; raise :class:`LockError` when it is none.

    ``name`` is the file's name in error messages.
    """
    try:
        data = tomllib.loads(text)
        if data.get("format") == FORMAT:
            return _lock(data)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise LockError(
            f"{name} is damaged",
            why=f"missing key {error}" if isinstance(error, KeyError) else str(error),
            next_step="restore it from version control, or make it anew: archibald lock --update",
        ) from error
    raise LockError(
        f"{name} has format {data.get('format')!r}, this version reads {FORMAT}",
        next_step="archibald lock --update",
    )


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
