"""The three builders under test, each told to make an image of the same packages.

A builder says which commands a case takes (measured) and brings its folder into the state that the
case begins with (not measured). The peers get the settings that serve them best: their caches stay
warm, their slow extras are off, and they leave out the same documentation as we do.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from archibald.errors import PreconditionError
from archibald.image.base import BasePlan
from archibald.image.privilege import as_root, remove_tree
from archibald.lock.model import Lock
from archibald.lock.sources import Source, find_keyring
from archibald.run import find_tool, run, shell_quoted

#: Small, without dependencies of its own, and asked for by no profile.
ADDED_PACKAGE = "tree"
CHANGED_QUANTUM_FRAMES = 64

#: The file in a builder's folder that says for which lock it holds the downloads.
FILLED = "filled.lock"

#: Where the host's debootstrap keeps its scripts.
DEBOOTSTRAP = Path("/usr/share/debootstrap")

Commands = Sequence[Sequence[str | os.PathLike[str]]]


class Case(StrEnum):
    """What is measured, in the order in which a round does it: each case builds on the last one."""

    DOWNLOAD = "download"
    COLD = "cold"
    UNCHANGED = "unchanged"
    CHANGED = "changed"
    ADDED = "added"

    @property
    def text(self) -> str:
        """What the case means."""
        return _CASE_TEXTS[self]


_CASE_TEXTS = {
    Case.DOWNLOAD: "no cache at all, packages come over the network",
    Case.COLD: "packages are cached, nothing else",
    Case.UNCHANGED: "build again, nothing changed",
    Case.CHANGED: "one file of the system changed",
    Case.ADDED: "one small package added",
}


@dataclass(frozen=True)
class Job:
    """What all builders are asked for. ``work`` is a builder's own folder."""

    lock: Lock
    lock_path: Path
    profile: Path
    mirror: str
    work: Path
    compression_level: int

    def packages(self, case: Case) -> list[str]:
        """Return the packages to ask for; their dependencies come by themselves."""
        return [*self.lock.requested, *([ADDED_PACKAGE] if case is Case.ADDED else [])]


class Builder(Protocol):
    """One tool. ``folders`` is all the disk that it uses, caches and result included."""

    name: str
    packages: tuple[str, ...]
    notes: tuple[str, ...]
    job: Job

    @property
    def env(self) -> Mapping[str, str]:
        """Variables that its commands get."""
        ...

    def prepare(self, case: Case) -> None:
        """Bring the folder into the state that the case begins with."""
        ...

    def commands(self, case: Case) -> Commands:
        """Return the commands that are measured."""
        ...

    def result(self) -> Path:
        """Return the image that was made."""
        ...


def extended_profile(base: Path, case: Case) -> str:
    """Return the text of a profile that differs from ``base`` by what the case changes."""
    text = f"format = 1\nextends = '{base}'\n"
    if case is Case.CHANGED:
        text += f"\n[audio]\nquantum = {CHANGED_QUANTUM_FRAMES}\n"
    if case is Case.ADDED:
        text += f'\n[image]\npackages = ["{ADDED_PACKAGE}"]\n'
    return text


@dataclass
class Archibald:
    """Our own command, run as a user would run it."""

    job: Job
    name: str = "archibald"
    packages: tuple[str, ...] = ("mmdebstrap", "squashfs-tools", "xorriso")
    notes: tuple[str, ...] = (
        "zstd squashfs in two layers, GRUB for BIOS and UEFI, manifest, SBOM and checksums",
    )

    @property
    def env(self) -> Mapping[str, str]:
        """Variables that its commands get."""
        return {"ARCHIBALD_CACHE": str(self._cache)}

    @property
    def _cache(self) -> Path:
        return self.job.work / "cache"

    @property
    def _out(self) -> Path:
        return self.job.work / "out"

    def prepare(self, case: Case) -> None:
        """Empty the caches that the case does not have, and write its profile."""
        self.job.work.mkdir(parents=True, exist_ok=True)
        if case is Case.DOWNLOAD:
            remove_tree(self._cache)
        if case is Case.COLD:
            remove_tree(self._cache / "stages")
        if case in (Case.DOWNLOAD, Case.COLD):
            remove_tree(self._out)
        (self.job.work / "profile.toml").write_text(extended_profile(self.job.profile, case))

    def commands(self, case: Case) -> Commands:
        """Return the commands that are measured."""
        command = [
            sys.executable, "-m", "archibald", "build", "iso", "--json",
            "--profile", "profile.toml", "--lock", str(self.job.lock_path),
            "--mirror", self.job.mirror, "--output", str(self._out),
        ]  # fmt: skip
        # With another package the lock cannot hold; in all other cases it must.
        return [command if case is Case.ADDED else [*command, "--locked"]]

    def result(self) -> Path:
        """Return the ISO."""
        return _only(self._out, "*.iso")


@dataclass
class LiveBuild:
    """Debian's live-build: the tool behind Debian's own live images."""

    job: Job
    name: str = "live-build"
    packages: tuple[str, ...] = ("live-build", "debootstrap")
    notes: tuple[str, ...] = (
        "zstd squashfs of our level, GRUB for BIOS and UEFI; no zsync, firmware or installer",
        "cold: its package cache is kept; changed, added: its bootstrap cache as well (lb clean)",
    )

    @property
    def env(self) -> Mapping[str, str]:
        """Variables that its commands get."""
        return {"DEBOOTSTRAP_DIR": str(self.job.work / "debootstrap")}

    @property
    def _tree(self) -> Path:
        return self.job.work / "live"

    def config(self) -> list[str]:
        """Return the options of ``lb config``."""
        mirrors = [
            word
            for role in ("bootstrap", "chroot", "binary")
            for side in ("", "parent-")
            for word in (f"--{side}mirror-{role}", self.job.mirror)
        ]
        suite = self.job.lock.suite
        return [
            "noauto", "--mode", "debian", "--system", "live",
            "--distribution", suite, "--parent-distribution", suite, *mirrors,
            "--architectures", self.job.lock.architecture,
            "--archive-areas", " ".join(self.job.lock.components),
            "--security", "false", "--updates", "false", "--backports", "false",
            "--apt-recommends", "false", "--apt-source-archives", "false", "--apt-indices", "false",
            "--apt-options", "--yes -o Acquire::Check-Valid-Until=false",
            "--debootstrap-options", "--variant=minbase",
            "--linux-packages", "linux-image", "--linux-flavours", " ".join(self._flavours()),
            "--initramfs", "live-boot", "--debian-installer", "none", "--memtest", "none",
            "--firmware-chroot", "false", "--firmware-binary", "false",
            "--bootloaders", "grub-pc,grub-efi", "--uefi-secure-boot", "disable",
            "--binary-images", "iso-hybrid", "--chroot-filesystem", "squashfs",
            "--chroot-squashfs-compression-type", "zstd",
            "--chroot-squashfs-compression-level", str(self.job.compression_level),
            "--cache", "true", "--cache-packages", "true", "--cache-stages", "bootstrap",
            "--zsync", "false", "--checksums", "sha256", "--loadlin", "false",
            "--win32-loader", "false",
        ]  # fmt: skip

    def _flavours(self) -> list[str]:
        prefix = "linux-image-"
        return [n.removeprefix(prefix) for n in self.job.lock.requested if n.startswith(prefix)]

    def _lb(self, *words: str) -> list[str]:
        return as_root(["lb", *words])

    def _cleaning(self) -> list[list[str]]:
        """Clean as its manual demands; what says that there is a configuration goes with it."""
        return [self._lb("clean"), as_root(["touch", ".build/config"])]

    def prepare(self, case: Case) -> None:
        """Write the configuration; for the first cases remove what they do not have."""
        if case is Case.DOWNLOAD:
            remove_tree(self.job.work)
            self._tree.mkdir(parents=True)
            copy_debootstrap(self.job.work / "debootstrap", self.job.lock.suite)
            run(self._lb("config", *self.config()), cwd=self._tree, env=self.env)
            remove_tree(self._tree / "config/package-lists")
        if case is Case.COLD:
            for words in self._cleaning():
                run(words, cwd=self._tree, env=self.env)
            remove_tree(self._tree / "cache/bootstrap")
        config = self._tree / "config"
        _write(config / "package-lists/bench.list.chroot", "\n".join(self.job.packages(case)))
        _write(
            config / "includes.chroot_before_packages/etc/dpkg/dpkg.cfg.d/bench",
            "\n".join(excludes(self.job)),
        )
        if case is Case.CHANGED:
            _write(
                config / "includes.chroot_after_packages/etc/pipewire/pipewire.conf.d/bench.conf",
                f"context.properties = {{ default.clock.quantum = {CHANGED_QUANTUM_FRAMES} }}",
            )

    def commands(self, case: Case) -> Commands:
        """Return the commands that are measured: its manual demands ``lb clean`` after changes."""
        if case in (Case.CHANGED, Case.ADDED):
            return [*self._cleaning(), self._lb("build")]
        return [self._lb("build")]

    def result(self) -> Path:
        """Return the ISO."""
        return _only(self._tree, "*.iso")


@dataclass
class Mkosi:
    """systemd's mkosi: a disk image with an ext4 root."""

    job: Job
    name: str = "mkosi"
    packages: tuple[str, ...] = ("mkosi", "debootstrap")
    notes: tuple[str, ...] = (
        "format gpt_ext4, not compressed, no boot loader: that would replace initramfs-tools by "
        "dracut; so it does less than the others",
        "cold: its package cache is kept (-ff); changed: its incremental image as well (-f)",
    )

    @property
    def env(self) -> Mapping[str, str]:
        """Variables that its commands get."""
        return {"DEBOOTSTRAP_DIR": str(self.job.work / "debootstrap")}

    def _folder(self, name: str) -> Path:
        return self.job.work / name

    def prepare(self, case: Case) -> None:
        """Write the trees that are copied into the image; at first remove the caches."""
        if case is Case.DOWNLOAD:
            remove_tree(self.job.work)
            copy_debootstrap(self.job.work / "debootstrap", self.job.lock.suite)
        for name in ("cache", "out", "workspace", "extra"):
            self._folder(name).mkdir(parents=True, exist_ok=True)
        # mkosi 14 writes the mirror into two lists, as trusted in one of them, which apt refuses.
        apt = self._folder("skeleton") / "etc/apt"
        source = Source("debian", self.job.mirror, self.job.lock.suite, self.job.lock.components)
        _write(apt / "sources.list", "# see sources.list.d")
        _write(
            apt / "sources.list.d/mirror.list",
            source.line(f"signed-by={find_keyring()} check-valid-until=no"),
        )
        if case is Case.CHANGED:
            _write(
                self._folder("extra") / "etc/pipewire/pipewire.conf.d/bench.conf",
                f"context.properties = {{ default.clock.quantum = {CHANGED_QUANTUM_FRAMES} }}",
            )

    def commands(self, case: Case) -> Commands:
        """Return the commands that are measured: twice --force makes the cached image anew."""
        anew = case in (Case.DOWNLOAD, Case.COLD, Case.ADDED)
        words = [
            "mkosi", "--distribution", "debian", "--release", self.job.lock.suite,
            "--architecture", "x86_64", "--repositories", ",".join(self.job.lock.components),
            # Named as the local mirror it is the only one: mkosi 14 adds suites that a testing
            # release does not have to any other.
            "--mirror", self.job.mirror, "--local-mirror", self.job.mirror,
            "--format", "gpt_ext4", "--root-size", "4G", "--bootable=no", "--manifest-format=",
            "--package", ",".join(self.job.packages(case)), "--incremental=yes",
            "--cache", str(self._folder("cache")), "--output-dir", str(self._folder("out")),
            "--workspace-dir", str(self._folder("workspace")),
            "--skeleton-tree", str(self._folder("skeleton")),
            "--extra-tree", str(self._folder("extra")),
            *(["--force", "--force"] if anew else ["--force"]), "build",
        ]  # fmt: skip
        # systemd-nspawn looks up its processes, so it needs the /proc of their namespace.
        mounts = "mount -t proc proc /proc"
        if not Path("/run/dbus/system_bus_socket").exists():
            # Without a running systemd it wants to be told so, and a /run in memory.
            mounts += " && mount -t tmpfs tmpfs /run"
            words.insert(1, "--nspawn-keep-unit=yes")
        return [as_root(["sh", "-c", f'{mounts} && exec "$@"', "sh", *words])]

    def result(self) -> Path:
        """Return the disk image."""
        return _only(self._folder("out"), "**/image.raw")


#: The builders by name, ours first.
BUILDERS: Mapping[str, Callable[[Job], Builder]] = {
    "archibald": Archibald,
    "live-build": LiveBuild,
    "mkosi": Mkosi,
}

_PROGRAMS = {"live-build": "lb", "mkosi": "mkosi"}


def is_filled(builder: Builder) -> bool:
    """True when an earlier run left the downloads of this very lock in the builder's folder."""
    marker = builder.job.work / FILLED
    return marker.is_file() and marker.read_text() == builder.job.lock_path.read_text()


def mark_filled(builder: Builder) -> None:
    """Remember that the builder's folder holds the downloads of its lock."""
    shutil.copyfile(builder.job.lock_path, builder.job.work / FILLED)


def make_builder(name: str, job: Job) -> Builder:
    """Return the builder of this name with a folder of its own below the job's."""
    return BUILDERS[name](replace(job, work=job.work / name))


def install_peer(name: str, root: Path) -> None:
    """Install a peer's Debian package unless it is there; the script announces what it does."""
    program = _PROGRAMS.get(name)
    if program is None or find_tool(program):
        return
    if os.geteuid() != 0:
        raise PreconditionError(
            f"{name} is not installed",
            next_step=f"sudo apt-get install {name}, and run this as root: {name} needs it",
        )
    run([root / "scripts/host-tools", "--package", name, "measured beside archibald"])


def require_root(names: Sequence[str]) -> None:
    """Raise unless we are root, when peers are measured: they work for root alone."""
    peers = [name for name in names if name in _PROGRAMS]
    if peers and os.geteuid() != 0:
        raise PreconditionError(
            f"{' and '.join(peers)} can be measured as root only",
            why="they mount file systems without user namespaces",
            next_step="repeat it with sudo, or with --only archibald",
        )


def excludes(job: Job) -> list[str]:
    """Return dpkg's options of our own base, so that all leave out the same documentation."""
    return list(BasePlan(job.lock, {}, ("en", "en_US"), job.compression_level).dpkg_options)


def copy_debootstrap(copy: Path, suite: str) -> None:
    """Copy debootstrap's scripts and let them know the suite: those of an old host do not."""
    shutil.copytree(DEBOOTSTRAP, copy, symlinks=True)
    script = copy / "scripts" / suite
    if not script.exists():
        script.symlink_to("sid")


def configuration(builder: Builder) -> list[str]:
    """Return the exact commands of a builder, without addresses and this run's folders."""
    rows = []
    if isinstance(builder, LiveBuild):
        rows.append(shell_quoted(["lb", "config", *builder.config()]))
    for case in Case:
        rows += [f"{case}: {shell_quoted(words)}" for words in builder.commands(case)]
    return [anonymous(row, builder.job) for row in rows]


def anonymous(text: str, job: Job) -> str:
    """Return a command without the mirror's address and without folders of this machine."""
    text = text.replace(job.mirror, "MIRROR").replace(str(job.work), "WORK")
    text = text.replace(str(job.lock_path), "LOCK")
    return re.sub(r"^(\S+: )?\S*/python3?[\d.]* -m archibald", r"\1archibald", text)


def _only(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise PreconditionError(
            f"expected one {pattern} in {folder}, found {len(found)}",
            next_step="see the log of the build beside it",
        )
    return found[0]


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")
