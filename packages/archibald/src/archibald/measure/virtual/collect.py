"""Takes out of an image what a guest needs: kernels, modules, programs and their libraries.

Nothing of the host goes into a guest, so its figures are those of the image on every host.
"""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from archibald.errors import PreconditionError, ToolFailedError
from archibald.image.grub import kernel_of
from archibald.measure.virtual import cpio, elf
from archibald.measure.virtual.guest import APPLETS
from archibald.run import Runner, require_tools, run
from archibald.vm.media import NoImageError, identify

_LAYER = "/live/10-base.squashfs"

#: A line of ``unsquashfs -ll``: kind, then the path, and a link's target.
_LISTED = re.compile(
    r"^(?P<kind>[-dlcbps])[-rwxsStT]{9}[+.]? \S+ .*? \d{4}-\d\d-\d\d \d\d:\d\d /+(?P<path>.*?)"
    r"(?: -> (?P<target>.*))?$"
)

_LIBRARIES = "/usr/lib/x86_64-linux-gnu"

#: The package that brings a program, where its name is another one.
_PACKAGES = {"cyclictest": "rt-tests", "hackbench": "rt-tests", "perl": "perl-base"}


@dataclass(frozen=True)
class Kernel:
    """A kernel of an image: ``flavour`` is rt or generic, ``release`` as in ``uname -r``."""

    flavour: str
    release: str

    @property
    def upstream(self) -> str:
        """The release without its flavour: what two kernels to compare should share."""
        return self.release.replace("-rt-", "-")


def parse_listing(text: str) -> dict[str, str]:
    """Return path → link target ("" for others) of ``unsquashfs -ll -d /``."""
    found = {}
    for line in text.splitlines():
        match = _LISTED.match(line)
        if match:
            found["/" + match["path"]] = match["target"] or ""
    return found


def followed(path: str, links: Mapping[str, str]) -> str | None:
    """Return what a path leads to, through links of files and folders; None if to nothing."""
    for _ in range(40):
        head = next(
            (str(p) for p in [*reversed(PurePosixPath(path).parents), PurePosixPath(path)]
             if links.get(str(p))),
            None,
        )  # fmt: skip
        if head is None:
            return path if path in links else None
        target = str(PurePosixPath(head).parent / links[head]) + path[len(head) :]
        path = _normal(target)
    return None


def _normal(path: str) -> str:
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


@dataclass
class Source:
    """The base file system of an image, opened for reading single files."""

    layer: Path
    folder: Path
    links: Mapping[str, str]
    runner: Runner = run
    _read: dict[str, bytes] = field(default_factory=dict)

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels of the image, the real-time one first."""
        names = sorted(path for path in self.links if path.startswith("/boot/vmlinuz-"))
        found = [kernel_of(path.removeprefix("/boot/vmlinuz-")) for path in names]
        kernels = [Kernel(kernel.flavour, kernel.version) for kernel in found]
        return tuple(sorted(kernels, key=lambda kernel: kernel.flavour != "rt"))

    def content(self, path: str) -> bytes:
        """Return a file's content, links followed. Raises KeyError when there is no such file."""
        real = followed(path, self.links)
        if real is None:
            raise KeyError(path)
        if real not in self._read:
            out = self.folder / "content"
            with out.open("w+b") as stream:
                self.runner(["unsquashfs", "-cat", self.layer, real[1:]], stdout_file=stream)
                stream.seek(0)
                self._read[real] = stream.read()
            out.unlink()
        return self._read[real]

    def program(self, name: str) -> str:
        """Return where a program is. Raises PreconditionError that names its package."""
        for folder in ("/usr/bin", "/usr/sbin"):
            if followed(f"{folder}/{name}", self.links):
                return f"{folder}/{name}"
        package = _PACKAGES.get(name, name)
        raise PreconditionError(
            f"the image has no {name}",
            why=f"the package {package} is not in it",
            next_step=f"add it to the profile (apps.packages = [{package!r}]) and build again",
        )

    def with_libraries(self, programs: Iterable[str]) -> dict[str, cpio.Entry]:
        """Return programs, their loader and libraries as entries of a RAM disk."""
        entries: dict[str, cpio.Entry] = {}
        waiting = [self.program(name) for name in programs]
        while waiting:
            path = waiting.pop()
            if path in entries:
                continue
            data = self.content(path)
            entries[path] = cpio.file(data, executable=True)
            loader, libraries = elf.needs(data)
            waiting += [*([loader] if loader else []), *(self._library(n) for n in libraries)]
        return entries

    def _library(self, name: str) -> str:
        path = f"{_LIBRARIES}/{name}"
        if followed(path, self.links) is None:
            raise PreconditionError(
                f"the image has no library {name}", why=f"it is not in {_LIBRARIES}",
                next_step="give an image that `archibald build iso` made",
            )  # fmt: skip
        return path

    def modules(self, kernel: Kernel, names: Iterable[str]) -> dict[str, bytes]:
        """Return module files (uncompressed) in the order to load them; built-in ones are left out.

        Raises PreconditionError when a kernel has a module in neither way.
        """
        folder = f"/usr/lib/modules/{kernel.release}"
        wanted = parse_dependencies(self.content(f"{folder}/modules.dep").decode())
        built_in = self.content(f"{folder}/modules.builtin").decode().split()
        found: dict[str, bytes] = {}
        for name in names:
            if name in wanted:
                for path in wanted[name]:
                    file = path.rpartition("/")[2].removesuffix(".xz")
                    found[file] = _uncompressed(path, self.content(f"{folder}/{path}"))
            elif not any(path.endswith(f"/{name}.ko") for path in built_in):
                raise PreconditionError(
                    f"the kernel {kernel.release} has no module {name}",
                    next_step="choose loads that do not need it with --load",
                )
        return found


def parse_dependencies(text: str) -> dict[str, list[str]]:
    """Return module name → files to load, dependencies first, of modules.dep (depmod(8))."""
    found = {}
    for line in text.splitlines():
        path, _, rest = line.partition(":")
        name = path.rpartition("/")[2].partition(".ko")[0]
        # The file lists them in the order in which modprobe removes them.
        found[name] = [*reversed(rest.split()), path]
    return found


def _uncompressed(path: str, data: bytes) -> bytes:
    if path.endswith(".ko"):
        return data
    if path.endswith(".xz"):
        return lzma.decompress(data)
    raise PreconditionError(
        f"{path} is compressed in a way that is not known here", why="only xz is",
        next_step="choose loads that need no modules with --load",
    )  # fmt: skip


def open_image(image: Path, folder: Path, *, runner: Runner = run) -> Source:
    """Open the base file system of an ISO. Raises UsageError (no image), PreconditionError."""
    if identify(image) != "iso":
        raise NoImageError(
            f"{image} is a disk, not an ISO", why="its file systems are not read here",
            next_step="give the ISO of the same profile",
        )  # fmt: skip
    require_tools(["xorriso", "unsquashfs"], purpose="reading an image")
    layer = folder / "base.squashfs"
    try:
        runner(["xorriso", "-osirrox", "on", "-indev", image, "-extract", _LAYER, layer])
    except ToolFailedError as error:
        raise NoImageError(
            f"{image} is not an ArchibaldOS ISO", why=f"{_LAYER} cannot be read: "
            f"{error.why.splitlines()[0]}", next_step="give one that `archibald build iso` made",
        ) from None  # fmt: skip
    layer.chmod(0o600)
    listing = runner(["unsquashfs", "-ll", "-d", "/", layer]).stdout
    return Source(layer, folder, parse_listing(listing), runner)


def ram_disk(
    programs: Mapping[str, cpio.Entry], script: str, modules: Mapping[str, bytes]
) -> bytes:
    """Return the RAM disk of one guest."""
    entries = {
        **programs,
        "/init": cpio.file(script.encode(), executable=True),
        **{f"/modules/{name}": cpio.file(data) for name, data in modules.items()},
        **{f"/usr/bin/{name}": cpio.link("busybox") for name in APPLETS},
        **{f"/{name}": cpio.folder() for name in ("proc", "sys", "dev", "tmp", "mnt")},
        "/lib": cpio.link("usr/lib"),
        "/bin": cpio.link("usr/bin"),
    }
    # Programs name their loader by a path through the link /lib64.
    return cpio.pack(entries)
