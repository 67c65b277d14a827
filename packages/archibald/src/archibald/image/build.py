"""Building an image: profile and lock in, files out, every stage reused when its inputs are.

The stages are: fetch (packages and wheels into the cache), base (packages installed and squashed),
app (our command), system (the profile's files), and the image itself.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from archibald import __version__
from archibald.errors import DiskFullError
from archibald.image import app as app_stage
from archibald.image import base as base_stage
from archibald.image.accounts import Accounts, crypt_password, with_accounts
from archibald.image.grub import Kernel, kernel_of
from archibald.image.layer import (
    Node,
    home_nodes,
    parse_file_list,
    read_skeleton,
    require_timezone,
    write_layer,
)
from archibald.image.privilege import require_privileges
from archibald.image.sbom import guest_manifest
from archibald.image.space import require_space
from archibald.image.squashfs import make_squashfs, mksquashfs_command
from archibald.image.stages import StageResult, StageStore
from archibald.image.variants import variant_nodes
from archibald.lock.keep import Kept, Policy, keep, read_lock
from archibald.lock.model import Lock
from archibald.lock.resolve import Request, tool_versions
from archibald.lock.sources import Mirrors, Source, find_keyring, find_mirrors, sources_for
from archibald.lock.store import Store, sha256_of
from archibald.lock.wheels import image_requirements
from archibald.profile.load import load_profile
from archibald.profile.model import Profile
from archibald.system.compose import compose
from archibald.system.render import VariantDelta, kernel_command_line, rendered_tree, variant_delta
from archibald.system.spec import File, Group, Package, SystemSpec, User


class Ui(Protocol):
    """What a build tells the person who waits for it."""

    def stage(
        self, name: str, text: str, expected_s: float | None
    ) -> AbstractContextManager[Callable[[float], None]]:
        """Announce a stage; the block gets a function that takes the fraction done."""
        ...

    def note(self, text: str) -> None:
        """Say something that the user should know."""
        ...


@dataclass(frozen=True)
class BuildRequest:
    """What to build, and from where. Paths are absolute.

    ``image_mirror`` is the address written into the image's own package sources; empty takes the
    one that the packages come from. ``stages_path`` keeps the stages elsewhere than in the cache.
    """

    profile_path: Path
    output: Path
    cache: Path
    lock_path: Path | None = None
    locked: bool = False
    offline: bool = False
    mirror: str = ""
    keyring: Path | None = None
    image_mirror: str = ""
    stages_path: Path | None = None

    @property
    def lock(self) -> Path:
        """The lock's path: given, or beside the profile."""
        return self.lock_path or self.profile_path.with_suffix(".lock")


@dataclass(frozen=True)
class Design:
    """A profile and everything that follows from it without I/O."""

    profile: Profile
    spec: SystemSpec
    tree: dict[str, Node]
    deltas: tuple[VariantDelta, ...]
    command_lines: dict[str, str]
    generic_line: str | None

    @property
    def wishes(self) -> dict[str, str]:
        """The packages that the system asks for, with who asks."""
        return {
            c.item.name: ", ".join(f"module {o.module}: {o.why}" for o in c.origins)
            for c in self.spec.contributions
            if isinstance(c.item, Package)
        }

    @property
    def stem(self) -> str:
        """Start of the names of all output files."""
        return f"{self.profile.image.name}-{__version__}"


@dataclass
class Build:
    """A build under way: the design, the lock that holds, and the stage store."""

    request: BuildRequest
    design: Design
    stages: StageStore
    ui: Ui
    kept: Kept
    mirrors: Mirrors | None
    tools: dict[str, str] = field(default_factory=tool_versions)

    @property
    def lock(self) -> Lock:
        """The lock that this build uses."""
        return self.kept.lock

    @property
    def store(self) -> Store:
        """The store of downloaded files."""
        return Store(self.request.cache / "pool")

    def log_file(self, stage: str) -> Path:
        """Return where a stage's external programs write."""
        folder = self.request.cache / "logs"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{self.design.profile.image.name}-{stage}.log"


def design(profile: Profile) -> Design:
    """Compose a profile and its variants. Pure."""
    spec = compose(profile)
    others = [compose(profile, variant=variant.name) for variant in profile.variant]
    lines = {s.variant: kernel_command_line(s) for s in (spec, *others)}
    generic = None
    if profile.image.generic_kernel:
        system = profile.system.model_copy(update={"kernel": "generic"})
        generic = kernel_command_line(compose(profile.model_copy(update={"system": system})))
    return Design(
        profile=profile,
        spec=spec,
        tree=dict(rendered_tree(spec)),
        deltas=tuple(variant_delta(spec, other) for other in others),
        command_lines=lines,
        generic_line=generic,
    )


@contextlib.contextmanager
def disk_full_said(cache: Path, output: Path) -> Iterator[None]:
    """Turn the operating system's "no space left" into an error with a next step."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFullError(
            f"the disk is full: {error.filename or output}",
            next_step=f"free some space (archibald cache prune empties parts of {cache}), or use "
            "ARCHIBALD_CACHE=FOLDER and --output FOLDER",
        ) from error


def start(request: BuildRequest, ui: Ui, *, profile: Profile | None = None) -> Build:
    """Load the profile, keep or make the lock, and bring all packages into the cache.

    ``profile`` is used instead of the file of the request when it is given.
    """
    profile = profile or load_profile(request.profile_path)
    plan = design(profile)
    stages = StageStore(request.stages_path or request.cache / "stages")
    for name in stages.remove_leftovers():
        ui.note(f"removed what a killed build left: {name}")
    require_privileges()
    mirrors = None
    if not request.offline:
        mirrors = find_mirrors(option=request.mirror, profile=profile.image.mirror)
    policy = Policy(
        request.locked, mirrors, None if request.offline else find_keyring(request.keyring)
    )
    wanted = Request(
        profile.system.suite, tuple(profile.image.components), plan.wishes, image_requirements()
    )
    given = read_lock(request.lock)
    if given is not None:
        needed = sum(package.size for package in given.packages)
        require_space(request.cache, needed, purpose="downloading the packages")
    with ui.stage("fetch", "packages", stages.expected_seconds("fetch")) as progress:
        kept = keep(
            given, wanted, Store(request.cache / "pool"), policy,
            folder=request.cache / "apt" / profile.system.suite,
            progress=lambda done, total: progress(done / total if total else 1.0),
            note=ui.note,
        )  # fmt: skip
    if kept.confirmed:
        ui.note(kept.confirmed)
    return Build(request, plan, stages, ui, kept, mirrors)


def build_base(build: Build) -> StageResult:
    """Return the base layer, made or reused."""
    profile = build.design.profile
    plan = base_stage.BasePlan(
        lock=build.lock,
        early_files=base_stage.early_files(build.design.tree),
        locale_folders=base_stage.locale_folders(profile.system.locale),
        level=profile.image.compression_level,
    )
    log_file = build.log_file("base")

    def work(out: Path, progress: Callable[[float], None]) -> None:
        needed = 6 * sum(package.size for package in build.lock.packages)
        require_space(build.request.cache, needed, purpose="installing the packages")
        with build.stages.scratch("base-work") as scratch:
            base_stage.build_base(
                plan, build.store, out, scratch, log_file=log_file, progress=progress
            )

    return _run(build, "base", "installing packages", plan.inputs(build.tools), work)


def _run(
    build: Build,
    name: str,
    text: str,
    inputs: Mapping[str, Any],
    work: Callable[[Path, Callable[[float], None]], None],
) -> StageResult:
    with build.ui.stage(name, text, build.stages.expected_seconds(name)) as progress:
        return build.stages.run(
            name,
            {**inputs, "epoch": build.lock.epoch},
            lambda out: _stamped(out, work, progress, build),
        )


def _stamped(
    out: Path,
    work: Callable[[Path, Callable[[float], None]], None],
    progress: Callable[[float], None],
    build: Build,
) -> None:
    work(out, progress)
    for path in out.rglob("*"):
        os.utime(path, (build.lock.epoch, build.lock.epoch), follow_symlinks=False)


def build_app(build: Build) -> StageResult:
    """Return our own command as a tar, made or reused."""

    def work(out: Path, _progress: Callable[[float], None]) -> None:
        with build.stages.scratch("app-work") as scratch:
            app_stage.build_app(build.lock, build.store, out, scratch)

    return _run(build, "app", "our own command", app_stage.app_inputs(build.lock), work)


def _image_sources(build: Build) -> tuple[Source, ...]:
    lock = build.lock
    if build.request.image_mirror:
        mirrors = find_mirrors(option=build.request.image_mirror)
    elif build.mirrors is not None:
        mirrors = build.mirrors
    else:
        mirrors = find_mirrors(
            option=build.request.mirror, profile=build.design.profile.image.mirror
        )
    return sources_for(lock.suite, lock.components, mirrors)


def debian_sources(sources: tuple[Source, ...]) -> bytes:
    """Return the deb822 text of the image's own package sources."""
    stanzas = []
    for base in dict.fromkeys(source.base for source in sources):
        rows = [source for source in sources if source.base == base]
        stanzas.append(
            f"Types: deb\nURIs: {base}\nSuites: {' '.join(row.suite for row in rows)}\n"
            f"Components: {' '.join(rows[0].components)}\n"
            "Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp\n"
        )
    return "\n".join(stanzas).encode()


def system_tree(build: Build, base: StageResult) -> tuple[dict[str, Node], Accounts]:
    """Return all nodes of the system layer and the accounts that own them."""
    lock, spec = build.lock, build.design.spec
    names = ("passwd", "group", "shadow", "gshadow")
    texts = [base.path(f"accounts/{name}").read_text("utf-8") for name in names]
    users = spec.of(User)
    accounts = with_accounts(
        Accounts(*texts), spec.of(Group), users, epoch=lock.epoch, hash_password=crypt_password
    )
    tree = dict(build.design.tree)
    tree.update(variant_nodes(tree, build.design.deltas))
    with base.path("skel.tar").open("rb") as stream:
        skeleton = read_skeleton(stream)
    for user in users:
        tree = {**home_nodes(user.home, user.name, skeleton, tree), **tree}
    own: dict[str, bytes] = {
        "/etc/apt/sources.list.d/debian.sources": debian_sources(_image_sources(build)),
        "/usr/lib/archibald/manifest.json": guest_manifest(lock),
    }
    for path, content in own.items():
        tree[path] = File(path, content)
    for path, (text, mode, group) in accounts.files().items():
        tree[path] = File(path, text.encode(), mode, "root", group)
    return tree, accounts


def build_system(build: Build, base: StageResult, app: StageResult) -> StageResult:
    """Return the system layer, made or reused: the profile's files and our command."""
    level = build.design.profile.image.compression_level
    buffer = io.BytesIO()
    tree, accounts = system_tree(build, base)
    entries = parse_file_list(base.path("files.list").read_text("utf-8"))
    require_timezone(build.design.profile.system.timezone, entries)
    with app.path("app.tar").open("rb") as stream:
        write_layer(
            buffer, app=stream, tree=tree, accounts=accounts, epoch=build.lock.epoch, base=entries
        )
    import hashlib

    inputs = {
        "tar": hashlib.sha256(buffer.getbuffer()).hexdigest(),
        "squashfs": mksquashfs_command(Path("system.squashfs"), level=level),
        "tools": build.tools.get("squashfs-tools", ""),
    }

    def work(out: Path, _progress: Callable[[float], None]) -> None:
        with (out / "system.tar").open("w+b") as stream:
            stream.write(buffer.getbuffer())
            make_squashfs(
                stream, out / "system.squashfs", level=level, epoch=build.lock.epoch,
                log_file=build.log_file("system"),
            )  # fmt: skip
        (out / "system.tar").unlink()

    return _run(build, "system", "the profile's files", inputs, work)


def kernels(base: StageResult) -> list[Kernel]:
    """Return the kernels of a base, real-time first."""
    names = [Path(name).name for name in base.outputs if name.startswith("boot/vmlinuz-")]
    found = [kernel_of(name.removeprefix("vmlinuz-")) for name in names]
    return sorted(found, key=lambda kernel: kernel.flavour != "rt")


def publish(build: Build, files: Mapping[str, Path], texts: Mapping[str, str]) -> list[Path]:
    """Put results into the output folder, each whole or not at all, and update SHA256SUMS."""
    output = build.request.output
    output.mkdir(parents=True, exist_ok=True)
    total = sum(path.stat().st_size for path in files.values())
    require_space(output, total, purpose="the image")
    made = []
    for name, source in files.items():
        made.append(_publish(output / name, partial(_link_or_copy, source)))
    for name, text in texts.items():
        made.append(_publish(output / name, partial(_write, text)))
    _publish(output / "SHA256SUMS", partial(_write, _sums(output, made)))
    _give_to_caller([output, output / "SHA256SUMS", *made])
    return made


def _publish(target: Path, write: Callable[[Path], object]) -> Path:
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        write(unfinished)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return target


def _write(text: str, target: Path) -> None:
    target.write_text(text, encoding="utf-8")


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)


def _sums(output: Path, made: list[Path]) -> str:
    sums = {}
    listing = output / "SHA256SUMS"
    if listing.is_file():
        for line in listing.read_text("utf-8").splitlines():
            sha256, _, name = line.partition("  ")
            if (output / name).is_file():
                sums[name] = sha256
    sums.update({path.name: sha256_of(path) for path in made})
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def _give_to_caller(paths: list[Path]) -> None:
    """Under sudo, hand the results to the user who called, so that no root-owned files are left."""
    uid, gid = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
    if os.geteuid() == 0 and uid and gid:
        for path in paths:
            os.chown(path, int(uid), int(gid))
