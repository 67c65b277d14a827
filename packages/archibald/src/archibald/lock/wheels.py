"""Python wheels of the image: chosen by pip for the image's Python, locked by SHA-256.

Our own command runs inside the image, so what it imports is installed there from wheels; pip and
its configuration on the host say where they come from.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from archibald.errors import PreconditionError, ToolFailedError
from archibald.lock.fetch import NotCachedError, Note, refuse_tampered
from archibald.lock.store import Store, Wanted
from archibald.run import Runner, run

#: glibc levels that Debian trixie and forky satisfy.
_PLATFORMS = ("manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux2014_x86_64")


class WheelsError(PreconditionError):
    """The package index has no wheel for the image's Python, or cannot be reached."""


def image_requirements(distributions: Sequence[str] = ("archibald",)) -> tuple[str, ...]:
    """Return what our packages need at run time inside the image (no extras)."""
    ours = {"archibald", "hydramesh", "streamdb"}
    found = {
        requirement
        for name in distributions
        for requirement in metadata.requires(name) or ()
        if "extra ==" not in requirement and re.split(r"[^a-z0-9-]", requirement)[0] not in ours
    }
    return tuple(sorted(found))


def _target_options(python: str) -> list[str]:
    tag = python.replace(".", "")
    options = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    for abi in (f"cp{tag}", "abi3", "none"):
        options += ["--abi", abi]
    for platform in _PLATFORMS:
        options += ["--platform", platform]
    return options


def _pip(arguments: Sequence[str], runner: Runner) -> str:
    try:
        return runner(
            [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check", "--no-input"],
            timeout_s=900,
        ).stdout
    except ToolFailedError as error:
        raise WheelsError(
            "pip could not get the image's Python packages",
            why=error.why,
            next_step="check pip's index configuration (pip config list) and the network, or build "
            "with --offline",
        ) from error


def resolve_wheels(
    requirements: Sequence[str], python: str, *, runner: Runner = run
) -> dict[str, str]:
    """Return file name → SHA-256 of the wheels that satisfy ``requirements`` for ``python``.

    ``python`` is the image's version such as "3.14".
    """
    if not requirements:
        return {}
    with TemporaryDirectory(prefix="archibald-wheels-") as folder:
        report = Path(folder) / "report.json"
        _pip(
            ["install", "--dry-run", "--ignore-installed", "--quiet", "--report", str(report),
             "--target", folder, *_target_options(python), *requirements],
            runner,
        )  # fmt: skip
        return parse_report(json.loads(report.read_text("utf-8")))


def parse_report(report: Mapping[str, Any]) -> dict[str, str]:
    """Return file name → SHA-256 of a ``pip install --report`` document."""
    wheels = {}
    for row in report["install"]:
        info = row["download_info"]
        name = info["url"].partition("#")[0].rpartition("/")[2].replace("%2B", "+")
        hashes = info.get("archive_info", {}).get("hashes", {})
        if "sha256" not in hashes:
            raise WheelsError(f"the package index gives no SHA-256 for {name}")
        wheels[name] = hashes["sha256"]
    return dict(sorted(wheels.items()))


def _requirement(wheel: str) -> str:
    name, version = wheel.split("-")[:2]
    return f"{name}=={version}"


def fetch_wheels(
    wheels: Mapping[str, str],
    python: str,
    store: Store,
    *,
    offline: bool,
    note: Note,
    runner: Runner = run,
) -> None:
    """Bring the locked wheels into the store; pip checks their hashes, and so does the store."""
    rows = {sha256: Wanted(sha256, 0, name) for name, sha256 in wheels.items()}
    checked = store.check(rows.values())
    refuse_tampered(store, checked.tampered, offline=offline, note=note)
    needed = (*checked.missing, *checked.tampered)
    if not needed:
        return
    if offline:
        raise NotCachedError(
            f"{len(needed)} Python wheels are not in the cache",
            why=", ".join(row.name for row in needed),
            next_step="build once without --offline",
        )
    store.folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="wheels-", dir=store.folder) as folder:
        lines = [f"{_requirement(row.name)} --hash=sha256:{row.sha256}" for row in needed]
        listing = Path(folder) / "requirements.txt"
        listing.write_text("\n".join(lines) + "\n", "utf-8")
        _pip(
            ["download", "--quiet", "--no-deps", "--require-hashes", "--dest", folder,
             *_target_options(python), "--requirement", str(listing)],
            runner,
        )  # fmt: skip
        missing = [row.name for row in needed if not store.adopt(row, Path(folder) / row.name)]
    if missing:
        raise WheelsError(
            f"the package index no longer has {', '.join(missing)} with the locked hash",
            next_step="archibald lock --update",
        )
