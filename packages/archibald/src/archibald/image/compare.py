"""Two images side by side: the first path that differs, and in what."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from archibald.errors import UsageError
from archibald.lock.store import sha256_of
from archibald.run import Runner, require_tools, run

_ISO_MAGIC_OFFSET = 0x8001
_LBA_LINE = re.compile(r"File data lba:\s*\d+\s*,\s*(\d+)\s*,.*,\s*'(.*)'$")


class NotAnIsoError(UsageError):
    """The file is not an ISO 9660 image."""


@dataclass(frozen=True)
class Entry:
    """A path of an image: kind letter and mode as ls prints them, owner, size, time, content."""

    mode: str
    owner: str
    size: str
    time: str
    content: str


@dataclass(frozen=True)
class Difference:
    """The first difference: ``kind`` is presence, content, mode, owner, time, order or layout."""

    path: str
    kind: str
    first: str
    second: str

    def text(self) -> str:
        """Return it as a sentence."""
        one, other = self.first or "absent", self.second or "absent"
        return f"{self.path}: {self.kind} differs: {one} / {other}"


def require_iso(path: Path) -> None:
    """Raise :class:`NotAnIsoError` unless ``path`` is an ISO 9660 image."""
    if not path.is_file():
        raise NotAnIsoError(
            f"{path} is {'a folder' if path.is_dir() else 'not there'}",
            next_step="give the path of an ISO: archibald build iso makes one",
        )
    try:
        with path.open("rb") as stream:
            stream.seek(_ISO_MAGIC_OFFSET)
            signature = stream.read(5)
    except OSError as error:
        raise NotAnIsoError(f"{path} cannot be read", why=str(error)) from error
    if signature != b"CD001":
        raise NotAnIsoError(
            f"{path} is not an ISO image",
            why="it lacks the ISO 9660 signature at byte 32769",
            next_step="give the path of an ISO: archibald build iso makes one",
        )


def _weight(path: str) -> tuple[int, str]:
    consequences = ("/boot/", "/.disk")
    return next((i for i, p in enumerate(consequences, 1) if path.startswith(p)), 0), path


def first_difference(first: Mapping[str, Entry], second: Mapping[str, Entry]) -> Difference | None:
    """Return the first differing path, None when all are the same.

    Layers and kernels come before what follows from them: boot images, then the papers in /.disk.
    """
    for path in sorted({*first, *second}, key=_weight):
        a, b = first.get(path), second.get(path)
        if a is None or b is None:
            return Difference(path, "presence", a.mode if a else "", b.mode if b else "")
        for kind in ("content", "mode", "owner", "size", "time"):
            one, other = getattr(a, kind), getattr(b, kind)
            if one != other:
                return Difference(path, "content" if kind == "size" else kind, one, other)
    return None


def iso_entries(iso: Path, folder: Path, *, runner: Runner = run) -> dict[str, Entry]:
    """Extract an ISO into ``folder`` and return its entries."""
    require_tools(["xorriso"], purpose="reading an ISO")
    folder.mkdir(parents=True, exist_ok=True)
    runner(["xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/", folder])
    return dict(_walk(folder))


def _walk(folder: Path) -> Iterator[tuple[str, Entry]]:
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = sha256_of(path) if path.is_file() and not path.is_symlink() else ""
        yield (
            "/" + str(path.relative_to(folder)),
            Entry(
                stat.filemode(status.st_mode), "", str(status.st_size) if content else "",
                str(int(status.st_mtime)), str(path.readlink()) if path.is_symlink() else content,
            ),
        )  # fmt: skip


def iso_order(iso: Path, *, runner: Runner = run) -> list[str]:
    """Return the files of an ISO in the order in which their data lie."""
    result = runner(
        ["xorriso", "-indev", iso, "-find", "/", "-type", "f", "-exec", "report_lba", "--"]
    )
    rows = [
        match.groups() for line in result.stdout.splitlines() if (match := _LBA_LINE.match(line))
    ]
    return [path for _lba, path in sorted((int(lba), path) for lba, path in rows)]


def squashfs_entries(layer: Path, folder: Path, *, runner: Runner = run) -> dict[str, Entry]:
    """Unpack a squashfs into ``folder`` and return its entries, with owners as numbers."""
    require_tools(["unsquashfs"], purpose="reading a layer")
    listing = runner(["unsquashfs", "-lln", "-UTC", layer]).stdout
    runner(
        [
            "unsquashfs",
            "-no-progress",
            "-no-xattrs",
            "-ignore-errors",
            "-quiet",
            "-dest",
            folder,
            layer,
        ],
        check=False,
    )
    return parse_squashfs_listing(listing, folder)


_LISTING = re.compile(
    r"^(?P<mode>[-dlcbps][-rwxsStT]{9}) (?P<owner>\d+/\d+)\s+(?P<size>\d+(?:,\s*\d+)?) "
    r"(?P<time>\S+ \S+) squashfs-root(?P<path>/.*)?$"
)


def parse_squashfs_listing(text: str, folder: Path | None) -> dict[str, Entry]:
    """Return the entries of ``unsquashfs -lln``.

    Contents and times to the second are those of the unpacked ``folder`` if it is given.
    """
    entries = {}
    for line in text.splitlines():
        match = _LISTING.match(line)
        if match is None:
            continue
        path, content, time = match["path"] or "/", "", match["time"]
        if match["mode"].startswith("l"):
            path, _, content = path.partition(" -> ")
        elif match["mode"][0] in "bc":
            content = match["size"]
        place = folder / path.lstrip("/") if folder else None
        if place is not None and (place.is_symlink() or place.exists()):
            time = str(int(place.lstat().st_mtime))
            if match["mode"].startswith("-"):
                content = sha256_of(place)
        size = match["size"] if match["mode"].startswith("-") else ""
        entries[path] = Entry(match["mode"], match["owner"], size, time, content)
    return entries


def compare_isos(
    first: Path, second: Path, scratch: Path, *, runner: Runner = run
) -> Difference | None:
    """Return the first difference of two ISOs, looking inside their squashfs layers."""
    a = iso_entries(first, scratch / "a", runner=runner)
    b = iso_entries(second, scratch / "b", runner=runner)
    found = first_difference(a, b)
    if found is not None and found.kind == "content" and found.path.endswith(".squashfs"):
        return _inside_layer(found, scratch, runner)
    if found is not None:
        return found
    one, other = iso_order(first, runner=runner), iso_order(second, runner=runner)
    for x, y in zip_longest(one, other, fillvalue=""):
        if x != y:
            return Difference(x or y, "order", x, y)
    return _first_byte(first, second)


def _inside_layer(found: Difference, scratch: Path, runner: Runner) -> Difference:
    name = found.path.lstrip("/")
    trees = [
        squashfs_entries(scratch / side / name, scratch / f"{side}-layer", runner=runner)
        for side in ("a", "b")
    ]
    inner = first_difference(*trees)
    if inner is None:
        return Difference(found.path, "order", found.first[:12], found.second[:12])
    return Difference(f"{found.path}:{inner.path}", inner.kind, inner.first, inner.second)


def _first_byte(first: Path, second: Path) -> Difference | None:
    with first.open("rb") as one, second.open("rb") as other:
        offset = 0
        while True:
            a, b = one.read(1 << 20), other.read(1 << 20)
            if a != b:
                at = next(
                    (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y),
                    min(len(a), len(b)),
                )
                where = f"byte {offset + at} (boot images, partition table or volume dates)"
                return Difference(where, "layout", a[at : at + 8].hex(), b[at : at + 8].hex())
            if not a:
                return None
            offset += len(a)
