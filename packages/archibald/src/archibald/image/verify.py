"""Is this ISO what its profile and lock give? Rebuild it from them and compare."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from archibald import __version__
from archibald.errors import UsageError
from archibald.image import targets
from archibald.image.build import BuildRequest, Ui, start
from archibald.image.compare import Difference, compare_isos, require_iso
from archibald.lock import model
from archibald.lock.keep import tool_differences
from archibald.lock.store import sha256_of
from archibald.profile.load import load_resolved
from archibald.run import Runner, require_tools, run

_SYSTEM_LAYER = "live/20-system.squashfs"

#: Where an image keeps the packages of this tree.
_OWN_PROGRAM = re.compile(r"/usr/lib/archibald/python/(archibald|hydramesh|streamdb)(-[^/]*)?/")


@dataclass(frozen=True)
class Verdict:
    """The outcome: the two hashes, the first difference, and what might explain it."""

    first_sha256: str
    second_sha256: str
    difference: Difference | None
    hints: tuple[str, ...]

    @property
    def same(self) -> bool:
        """True when both are the same, bit for bit."""
        return self.first_sha256 == self.second_sha256


@dataclass(frozen=True)
class Inside:
    """What an ISO says of itself: profile, lock, mirror, and the version that made it."""

    profile_json: bytes
    lock_text: str
    mirror: str
    version: str


def read_inside(iso: Path, folder: Path, *, runner: Runner = run) -> Inside:
    """Read an ISO's own profile and lock; raise when it is not one of ours."""
    require_iso(iso)
    require_tools(["xorriso", "unsquashfs"], purpose="reading an ISO")
    layer, lock = folder / "system.squashfs", folder / "lock"
    result = runner(
        ["xorriso", "-osirrox", "on", "-indev", iso, "-extract", f"/{_SYSTEM_LAYER}", layer,
         "-extract", "/.disk/lock", lock],
        check=False,
    )  # fmt: skip
    if result.returncode != 0 or not lock.is_file():
        raise UsageError(
            f"{iso} is an ISO, but not one of ArchibaldOS",
            why="it has no /.disk/lock",
            next_step="compare it with another ISO: archibald verify ISO --against ISO2",
        )

    def cat(path: str) -> str:
        return runner(["unsquashfs", "-cat", layer, path]).stdout

    profile = cat("usr/lib/archibald/profile.json")
    sources = cat("etc/apt/sources.list.d/debian.sources")
    match = re.search(r"^URIs: (\S+)$", sources, re.MULTILINE)
    names = runner(["unsquashfs", "-l", layer, "usr/lib/archibald/python"]).stdout
    version = re.search(r"/archibald-([^/]+)\.dist-info", names)
    return Inside(
        profile.encode(), lock.read_text("utf-8"), match[1] if match else "",
        version[1] if version else "",
    )  # fmt: skip


def compare(first: Path, second: Path, *, hints: tuple[str, ...] = ()) -> Verdict:
    """Compare two ISOs."""
    for path in (first, second):
        require_iso(path)
    sums = sha256_of(first), sha256_of(second)
    difference = None
    if sums[0] != sums[1]:
        with TemporaryDirectory(prefix="archibald-verify-") as scratch:
            difference = compare_isos(first, second, Path(scratch))
    return Verdict(*sums, difference, hints if difference else ())


@contextmanager
def _rebuilt(iso: Path, request: BuildRequest, ui: Ui) -> Iterator[tuple[Path, tuple[str, ...]]]:
    with TemporaryDirectory(prefix="verify-", dir=request.cache) as name:
        folder = Path(name)
        inside = read_inside(iso, folder)
        json.loads(inside.profile_json)
        lock_path = folder / "image.lock"
        lock_path.write_text(inside.lock_text, "utf-8")
        lock = model.load(inside.lock_text, name=f"the lock inside {iso.name}")
        hints = [f"tool versions: {line}" for line in tool_differences(lock)]
        if inside.version != __version__:
            hints.append(f"made by archibald {inside.version}, rebuilt by {__version__}")
        own = replace(
            request, lock_path=lock_path, locked=True, output=folder / "out",
            stages_path=folder / "stages", image_mirror=inside.mirror,
        )  # fmt: skip
        build = start(own, ui, profile=load_resolved(inside.profile_json))
        made = targets.make_iso(build, targets.build_layers(build))
        yield made[0], tuple(hints)


def rebuild_and_compare(iso: Path, request: BuildRequest, ui: Ui) -> Verdict:
    """Rebuild ``iso`` from the profile and the lock inside it, without any cached stage.

    Downloaded packages are reused after their hashes have been checked.
    """
    request.cache.mkdir(parents=True, exist_ok=True)
    with _rebuilt(iso, request, ui) as (second, hints), ui.stage("compare", "both images", None):
        verdict = compare(iso, second, hints=hints)
    return replace(verdict, hints=(*verdict.hints, *own_program_hints(verdict.difference)))


def own_program_hints(difference: Difference | None) -> tuple[str, ...]:
    """Explain a difference in the image's own command: another revision of it builds here."""
    if difference is None or not _OWN_PROGRAM.search(difference.path):
        return ()
    return ("the image holds another revision of archibald than this one: "
            "repeat with the revision that built it",)  # fmt: skip
