"""From TOML files to a :class:`Profile`, with every problem of every file at once.

:func:`read_profile` reads a file and those that it extends; :func:`parse_profile` is its pure core.
Inside an image the profile is the JSON of :func:`canonical_json`, read by :func:`load_resolved`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from archibald.errors import UsageError
from archibald.profile.layers import Layer, Merged, check_layer, merge, parse_layer, place
from archibald.profile.model import Profile
from archibald.profile.options import VARIANT_TABLES, literal, nearest
from archibald.profile.positions import KeyPath
from archibald.profile.problems import (
    Finding,
    ProfileError,
    ProfileProblem,
    printable,
    validate,
)

#: No profile is longer (bytes); what is, was not meant to be one.
MAX_BYTES = 256 * 1024


@dataclass(frozen=True)
class Origin:
    """Where a value comes from: the file, and the line of its key (from 1; 0 if unknown)."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{printable(self.file)}:{self.line}" if self.line else printable(self.file)


@dataclass(frozen=True)
class LoadedProfile:
    """A profile, where its values come from, and the files that were read, its own first.

    What is not in ``origins`` is a default. Paths of variants are by index:
    ``("variant", 0, "audio", "quantum")``.
    """

    profile: Profile
    origins: Mapping[KeyPath, Origin]
    files: tuple[str, ...]
    merged: Merged = field(repr=False)

    def origin(self, key: str, *, variant: str = "default") -> Origin | None:
        """Return where the value of a dotted key comes from in a boot entry; None: a default."""
        parts = key.split(".")
        if parts[0] == "variant" and len(parts) > 2:
            variant, parts = parts[1], parts[2:]
        for index, entry in enumerate(self.profile.variant):
            inside: KeyPath = ("variant", index, *parts)
            if entry.name == variant and inside in self.origins:
                return self.origins[inside]
        return self.origins.get(tuple(parts))


def load_profile(path: Path) -> Profile:
    """Read a profile and what it extends.

    Raises :class:`ProfileError` with all problems of all files.
    """
    return read_profile(path).profile


def read_profile(path: Path) -> LoadedProfile:
    """Read a profile and what it extends, and keep where each value comes from.

    Raises :class:`ProfileError` with all problems of all files.
    """
    layers: list[Layer] = []
    problems: list[ProfileProblem] = []
    seen: dict[str, str] = {}
    current: Path | None = path
    asked_by: Layer | None = None
    while current is not None:
        problem = _before_reading(current, seen, asked_by)
        if problem is None:
            layer, found = _read_layer(current, asked_by)
            problems += found
        if problem is not None or layer is None:
            problems += [problem] if problem else []
            break
        layers.append(layer)
        asked_by = layer
        current = current.parent / layer.extends if layer.extends else None
    if not layers:
        raise ProfileError(problems, next_step=_if_unreadable(path))
    return _resolve(layers, problems)


def _if_unreadable(path: Path) -> str:
    try:
        missing = not path.exists()
    except OSError:
        missing = False
    name = printable(str(path))
    return f"archibald profile init {name} writes one, or name another file" if missing else ""


def _before_reading(
    path: Path, seen: dict[str, str], asked_by: Layer | None
) -> ProfileProblem | None:
    """Note that a file is read now; return the problem if that closes a circle."""
    identity = os.path.realpath(path) if "\0" not in str(path) else str(path)
    if identity in seen and asked_by is not None:
        message = f"closes a circle: {printable(seen[identity])} is read already"
        return place(Finding((("extends",),), "cycle", message), asked_by)
    seen[identity] = str(path)
    return None


def _read_layer(path: Path, asked_by: Layer | None) -> tuple[Layer | None, list[ProfileProblem]]:
    """Read one file; a file that cannot be read is a problem of the line that asked for it."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        reason = (reason or "not a file name").lower()
        if asked_by is not None:
            message = f"cannot read {printable(str(path))}: {reason}"
            return None, [place(Finding((("extends",),), "read", message), asked_by)]
        return None, [ProfileProblem(str(path), 0, 0, "", f"cannot be read: {reason}")]
    if len(data) > MAX_BYTES:
        message = f"is longer than {MAX_BYTES // 1024} KiB, so it is no profile"
        return None, [ProfileProblem(str(path), 0, 0, "", message)]
    text, problem = _decode(data, str(path))
    return (None, [problem]) if problem else parse_layer(text, str(path))


def _decode(data: bytes, filename: str) -> tuple[str, ProfileProblem | None]:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "", ProfileProblem(filename, 1, 1, "", "is UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        message = f"is not UTF-8: byte 0x{data[error.start]:02x}; save it as UTF-8"
        return "", ProfileProblem(filename, line, column, "", message)


def parse_profile(text: str, *, filename: str, base: Profile | None = None) -> Profile:
    """Return the profile that a TOML text describes; reads no file.

    ``base`` stands in for what the text extends. Raises :class:`ProfileError`, also when the text
    extends something and there is no ``base``.
    """
    layer, problems = parse_layer(text, filename)
    if layer is None:
        raise ProfileError(problems)
    layers = [layer]
    if base is not None:
        layers.append(Layer("", base.model_dump(exclude={"extends"}, exclude_defaults=True)))
    elif layer.extends:
        message = f"there is no file from which {literal(layer.extends)} could be found"
        problems.append(place(Finding((("extends",),), "read", message), layer))
    return _resolve(layers, problems).profile


def _resolve(layers: list[Layer], problems: list[ProfileProblem]) -> LoadedProfile:
    """Check every layer alone and all together, the first on top.

    ``problems`` are those of reading. If there are any, a layer may lack what another one has, so
    the whole cannot be judged.
    """
    complete = not problems
    for layer in layers:
        problems += check_layer(layer)
    merged = merge(layers)
    # A layer of another format has keys that this version cannot judge either.
    if complete and all(layer.readable for layer in layers):
        problems += [merged.place(finding) for finding in _whole(merged)]
    if problems:
        raise ProfileError(problems)
    profile = Profile.model_validate({**merged.data, "extends": ""})
    origins = {
        path: Origin(origin.file, origin.located.key.line if origin.located else 0)
        for path, origin in merged.origins.items()
    }
    return LoadedProfile(profile, origins, tuple(layer.filename for layer in layers), merged)


def _whole(merged: Merged) -> list[Finding]:
    """Return what is wrong with the merged profile, as itself and as each of its variants."""
    findings = validate(Profile, merged.data)
    variants = merged.data.get("variant", [])
    for index, variant in enumerate(variants if isinstance(variants, list) else []):
        if not isinstance(variant, dict):
            continue
        overrides = {
            name: variant[name] for name in VARIANT_TABLES if isinstance(variant.get(name), dict)
        }
        data = {name: {**_table(merged, name), **table} for name, table in overrides.items()}
        found = validate(Profile, {**merged.data, "variant": [], **data})
        known = {(finding.paths, finding.message) for finding in findings}
        findings += [
            _in_variant(finding, index, overrides)
            for finding in found
            if (finding.paths, finding.message) not in known
        ]
    return findings


def _table(merged: Merged, name: str) -> Mapping[str, object]:
    value = merged.data.get(name)
    return value if isinstance(value, dict) else {}


def _in_variant(finding: Finding, index: int, overrides: Mapping[str, object]) -> Finding:
    """Point at the override first: without it the profile is right."""
    inside = tuple(
        ("variant", index, *path) for path in finding.paths if path and path[0] in overrides
    )
    return Finding(
        (*inside, *finding.paths),
        finding.kind,
        finding.message,
        finding.allowed,
        finding.suggestion,
        finding.at_key,
    )


def boot_entry(profile: Profile, name: str) -> Profile:
    """Return the profile as the boot entry ``name`` sees it ("default" is the profile itself).

    Raises :class:`UsageError` that lists the variants when there is none of that name.
    """
    names = ["default", *(variant.name for variant in profile.variant)]
    if name not in names:
        near = nearest(name, names)
        hint = f"; did you mean {literal(near)}?" if near else ""
        raise UsageError(
            f"the profile has no variant {literal(name)}{hint}",
            why=f"its boot entries are {', '.join(names)}",
            next_step="name one of them, or add a [[variant]] to the profile",
        )
    return profile.with_variant(name)


def canonical_json(profile: Profile) -> bytes:
    """Return a profile as JSON with sorted keys: one profile, one sequence of bytes.

    All values are present. ``extends`` and ``image.mirror`` are not: names and addresses of the
    author's machine do not belong into an image.
    """
    data = profile.model_dump(mode="json", exclude={"extends": True, "image": {"mirror"}})
    return (json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def profile_digest(profile: Profile) -> str:
    """Return the SHA-256 of :func:`canonical_json` in hexadecimal."""
    return hashlib.sha256(canonical_json(profile)).hexdigest()


def load_resolved(data: bytes, *, filename: str = "profile.json") -> Profile:
    """Return the profile that :func:`canonical_json` wrote.

    Raises :class:`ProfileError`.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        message = f"is no JSON: {error}"
        raise ProfileError([ProfileProblem(filename, 0, 0, "", message)]) from None
    if not isinstance(value, dict):
        found = validate(Profile, value)
        raise ProfileError([ProfileProblem(filename, 0, 0, "", found[0].message)])
    return _resolve([Layer(filename, value)], []).profile


def check_on(
    profile: Profile, cpus: int, loaded: LoadedProfile | None = None
) -> list[ProfileProblem]:
    """Return what does not fit a machine with ``cpus`` CPUs, in any boot entry.

    With ``loaded``, the profile as it was read, the problems say where the values stand.
    """
    merged = loaded.merged if loaded else Merged({}, {})
    problems: list[ProfileProblem] = []
    for index, name in enumerate(["default", *(variant.name for variant in profile.variant)]):
        entry = profile.with_variant(name)
        overrides = profile.variant[index - 1].cpu if index else entry.cpu.model_dump()
        for finding in _beyond(entry, cpus):
            if finding.paths[0][-1] not in overrides:
                continue
            paths = ((("variant", index - 1, *finding.paths[0]),) if index else ()) + finding.paths
            problems.append(merged.place(Finding(paths, "cpus", finding.message)))
    return problems


def _beyond(profile: Profile, cpus: int) -> list[Finding]:
    has = (
        f"this machine has {cpus} (0 to {cpus - 1})" if cpus > 1 else "this machine has only CPU 0"
    )
    findings = []
    if profile.cpu.minimum > cpus:
        message = f"asks for {profile.cpu.minimum} CPUs, but {has}"
        findings.append(Finding((("cpu", "minimum"),), "cpus", message))
    for key in ("audio", "isolated", "tickless"):
        missing = [cpu for cpu in getattr(profile.cpu, key) if cpu >= cpus]
        if missing:
            message = f"names CPU {', '.join(map(str, missing))}, but {has}"
            findings.append(Finding((("cpu", key),), "cpus", message))
    return findings
