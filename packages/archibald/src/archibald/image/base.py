"""The base layer: the locked packages, installed by mmdebstrap and squashed as they stream.

Everything that must *run* inside the system happens here: maintainer scripts, locales, initramfs.
What comes later is data.
"""

from __future__ import annotations

import io
import shlex
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from archibald.errors import ToolFailedError
from archibald.image.privilege import as_root
from archibald.image.squashfs import mksquashfs_command
from archibald.lock.model import Lock
from archibald.lock.repo import repository_address, write_repository
from archibald.lock.store import Store
from archibald.run import Runner, require_tools, run, run_pipeline
from archibald.system.spec import File

BASE_TOOLS = ("mmdebstrap", "mksquashfs", "dpkg-deb", "setpriv", "unshare", "tar", "xargs")

#: Files of the profile that the package stage reads; all others need no new base.
EARLY_PREFIXES = (
    "/etc/locale.gen",
    "/etc/ld.so.conf.d/",
    "/etc/initramfs-tools/",
    "/usr/share/initramfs-tools/",
    "/usr/lib/dracut/",
    "/etc/live/",
    "/etc/systemd/system-preset/",
    "/etc/systemd/user-preset/",
)

_SHAPING = ("mmdebstrap", "apt", "squashfs-tools")
_APT_OPTIONS = (
    'APT::Install-Recommends "false"',
    'Acquire::Languages "none"',
    'Acquire::Check-Valid-Until "false"',
)
#: Manuals, translations and documentation stay out; copyright files stay in (a licence duty).
_DPKG_OPTIONS = (
    "force-unsafe-io",
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/info/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "path-exclude=/usr/share/locale/*",
    "path-include=/usr/share/locale/locale.alias",
    "path-exclude=/usr/share/lintian/*",
)


@dataclass(frozen=True)
class BasePlan:
    """What the base is made of; ``locale_folders`` are translations to keep: de, de_DE."""

    lock: Lock
    early_files: Mapping[str, File]
    locale_folders: tuple[str, ...]
    level: int

    def inputs(self, tools: Mapping[str, str]) -> dict[str, Any]:
        """Return everything that decides the base's bytes, as plain data."""
        return {
            "packages": [[p.name, p.version, p.sha256] for p in self.lock.packages],
            "requested": list(self.lock.requested),
            "epoch": self.lock.epoch,
            "early": {
                path: [file.mode, file.content.hex()] for path, file in self.early_files.items()
            },
            "apt": _APT_OPTIONS,
            "dpkg": self.dpkg_options,
            "squashfs": mksquashfs_command(Path("base.squashfs"), level=self.level),
            "hooks": [_hook_text("early.sh"), _hook_text("finish.sh")],
            "tools": {
                name: tools.get(name, "") for name in ("mmdebstrap", "apt", "squashfs-tools")
            },
        }

    @property
    def dpkg_options(self) -> tuple[str, ...]:
        """dpkg's options for this base."""
        kept = (f"path-include=/usr/share/locale/{name}/*" for name in self.locale_folders)
        return (*_DPKG_OPTIONS, *kept)


def locale_folders(locale: str) -> tuple[str, ...]:
    """Return the translation folders that a locale such as "de_DE.UTF-8" uses."""
    territory = locale.partition(".")[0]
    language = territory.partition("_")[0]
    return (language, territory)


def early_files(tree: Mapping[str, object]) -> dict[str, File]:
    """Return those files of a rendered tree that the package stage needs, sorted."""
    return {
        path: node
        for path, node in sorted(tree.items())
        if path.startswith(EARLY_PREFIXES) and isinstance(node, File)
    }


def _hook_text(name: str) -> str:
    return resources.files("archibald.image").joinpath("hooks", name).read_text("utf-8")


def _early_tar(files: Mapping[str, File], epoch: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path, file in files.items():
            info = tarfile.TarInfo(path.lstrip("/"))
            info.mode, info.size, info.mtime = file.mode, len(file.content), epoch
            tar.addfile(info, io.BytesIO(file.content))
    return buffer.getvalue()


def mmdebstrap_command(
    plan: BasePlan, *, repository: Path, hooks: Path, out: Path, target: str = "-"
) -> list[str]:
    """Return mmdebstrap's command; ``hooks`` holds the hook scripts and their inputs."""

    def hook(name: str, *arguments: Path) -> str:
        return " ".join(
            [
                "sh",
                shlex.quote(str(hooks / name)),
                '"$1"',
                *(shlex.quote(str(a)) for a in arguments),
            ]
        )

    address = repository_address(repository).replace("copy:", "copy://", 1)
    finish = hook("finish.sh", out, hooks / "early.tar", hooks / "auto.list")
    return [
        # apt's folders are cleaned in the last hook: apt itself would give them to another owner
        # when it runs as root than when it runs in a user namespace.
        "mmdebstrap", "--skip=cleanup/apt", "--mode=root", "--variant=minbase",
        "--format=tar", "--verbose",
        f"--architectures={plan.lock.architecture}",
        "--include=" + ",".join(package.name for package in plan.lock.packages),
        *(f"--aptopt={option}" for option in _APT_OPTIONS),
        *(f"--dpkgopt={option}" for option in plan.dpkg_options),
        f"--essential-hook={hook('early.sh')}",
        f"--customize-hook={finish}",
        "", target, f"deb [trusted=yes] {address} ./",
    ]  # fmt: skip


def build_base(
    plan: BasePlan,
    store: Store,
    out: Path,
    scratch: Path,
    *,
    log_file: Path,
    progress: Callable[[float], None],
    runner: Runner = run,
) -> None:
    """Make base.squashfs, the boot files and the account files in ``out``.

    ``scratch`` takes the repository and the root file system while they are needed; ``progress`` is
    told the fraction done.
    """
    require_tools(BASE_TOOLS, purpose="building the base")
    repository, hooks, temporary = scratch / "repo", scratch / "hooks", scratch / "tmp"
    for folder in (hooks, temporary):
        folder.mkdir()
    write_repository(plan.lock.packages, store, repository, runner=runner)
    for name in ("early.sh", "finish.sh"):
        (hooks / name).write_text(_hook_text(name), "utf-8")
    (hooks / "early.tar").write_bytes(_early_tar(plan.early_files, plan.lock.epoch))
    automatic = sorted({p.name for p in plan.lock.packages} - set(plan.lock.requested))
    (hooks / "auto.list").write_text("".join(f"{name}\n" for name in automatic), "utf-8")
    command = mmdebstrap_command(plan, repository=repository, hooks=hooks, out=out)
    squash = mksquashfs_command(out / "base.squashfs", level=plan.level)
    counter = _LogProgress(log_file, packages=len(plan.lock.packages), tell=progress)
    try:
        run_pipeline(
            as_root(command),
            as_root(squash),
            env={
                "SOURCE_DATE_EPOCH": str(plan.lock.epoch),
                "TMPDIR": str(temporary),
                "DEBIAN_FRONTEND": "noninteractive",
            },
            log_file=log_file,
            on_tick=counter.tick,
        )
    except ToolFailedError as error:
        raise ToolFailedError(
            "installing the packages failed", why=_log_errors(log_file) or error.why,
            next_step=f"see {log_file}",
        ) from error  # fmt: skip
    _check_installed(plan.lock, out / "dpkg.list")


def _log_errors(log_file: Path) -> str:
    lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()
    found = [
        li
        for li in lines
        if li.startswith(("E:", "dpkg: error", "FATAL ERROR")) or "No space" in li
    ]
    return "\n        ".join(found[-6:])


def _check_installed(lock: Lock, listing: Path) -> None:
    """Raise unless exactly the locked packages are installed in exactly the locked versions."""
    rows = [line.split("\t") for line in listing.read_text(encoding="utf-8").splitlines()]
    installed = {row[0]: row[1] for row in rows}
    locked = {package.name: package.version for package in lock.packages}
    if installed != locked:
        differing = sorted(n for n in {*installed, *locked} if installed.get(n) != locked.get(n))
        raise ToolFailedError(
            f"the base does not hold what the lock says: {', '.join(differing[:8])}",
            next_step="this is a bug of archibald or of mmdebstrap; repeat with --debug",
        )


class _LogProgress:
    """Turns the growing log of mmdebstrap into a fraction: two lines a package, then the rest."""

    #: Share of the time that unpacking and configuring take, by measurement.
    PACKAGES_SHARE = 0.7

    def __init__(self, log_file: Path, *, packages: int, tell: Callable[[float], None]) -> None:
        self.log_file, self.expected, self.tell = log_file, 2 * packages, tell
        self.position = 0
        self.seen = 0
        self.images = 0

    def tick(self) -> None:
        """Read what was added to the log and tell the fraction."""
        with self.log_file.open("rb") as stream:
            stream.seek(self.position)
            text = stream.read()
            self.position += len(text)
        self.seen += text.count(b"\nUnpacking ") + text.count(b"\nSetting up ")
        self.images += text.count(b"I: creating tarball")
        packages = min(1.0, self.seen / self.expected) * self.PACKAGES_SHARE
        self.tell(packages + (0.2 if self.images else 0.0))
