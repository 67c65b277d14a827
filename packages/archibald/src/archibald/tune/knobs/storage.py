"""File systems that audio is read from and recorded to."""

from __future__ import annotations

from typing import NamedTuple

from archibald.tune.knobs.base import because, evidence
from archibald.tune.model import Family, Knob, Page, Scene, Severity
from archibald.vm.selftest.model import NotApplicableError, Verdict, verdict

FAMILY = Family("storage", "File systems")

ATIME = Page(
    "storage.atime",
    "Reading a sample writes nothing",
    Severity.LOW,
    "/proc/self/mounts: options of the file systems on disks",
    "With strictatime every read of a sample writes the time of the access back to the disk. "
    "relatime, the kernel's default, writes it once a day; noatime never.",
    "mount it with relatime or noatime (the fourth field in /etc/fstab)",
)
LIBRARY = Page(
    "storage.library",
    "The sample library and the home folder are on local disks",
    Severity.MEDIUM,
    "/proc/self/mounts: the file system that holds storage.library and the home folder",
    "A network or FUSE file system answers when it likes. Samples that are streamed from it, and "
    "recordings that go to it, depend on that.",
    "move the library to a local disk (storage.library in the profile)",
)

PAGES = (ATIME, LIBRARY)

#: File systems that ask another machine, or a process, for every block.
_REMOTE = ("nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "afs", "davfs", "glusterfs", "sshfs")

_ON_DISKS = ("ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "bcachefs", "zfs", "ntfs3", "exfat",
             "vfat")  # fmt: skip


class Mount(NamedTuple):
    """A line of /proc/self/mounts."""

    source: str
    point: str
    kind: str
    options: tuple[str, ...]


def parse_mounts(text: str) -> list[Mount]:
    """Return the mounts; spaces in paths are written as ``\\040`` (fstab(5))."""
    found = []
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) < 4:
            raise ValueError(f"no line of a table of mounts: {line[:80]!r}")
        point = fields[1].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        found.append(Mount(fields[0], point, fields[2], tuple(fields[3].split(","))))
    return found


def mount_of(mounts: list[Mount], path: str) -> Mount:
    """Return the mount that holds a path; of two on one point the later one."""
    inside = [m for m in mounts if path == m.point or path.startswith(m.point.rstrip("/") + "/")]
    if not inside:
        raise ValueError(f"no mount holds {path}")
    return max(reversed(inside), key=lambda mount: len(mount.point))


def knobs(scene: Scene) -> list[Knob]:
    """Return the knobs of this family."""
    library = scene.profile.storage.library
    return [
        Knob(ATIME, "relatime or noatime", lambda: _atime(scene)),
        Knob(
            LIBRARY,
            "local disks",
            lambda: _library(scene),
            origins=because(f"the library is in {library}", "storage.library"),
        ),
    ]


def _mounts(scene: Scene) -> list[Mount]:
    return parse_mounts(scene.sight.text("/proc/self/mounts"))


def _atime(scene: Scene) -> Verdict:
    disks = [mount for mount in _mounts(scene) if mount.kind in _ON_DISKS]
    if not disks:
        raise NotApplicableError("no file system on a disk can be seen from here")
    # The kernel lists neither word for strictatime.
    strict = [
        mount.point for mount in disks if not {"relatime", "noatime", "ro"} & set(mount.options)
    ]
    rows = {mount.point: f"{mount.kind} {','.join(mount.options)}" for mount in disks}
    observed = ", ".join(strict) if strict else f"none of {len(disks)} file systems writes times"
    return verdict(not strict, observed, evidence(rows))


def _home(scene: Scene) -> str:
    name = scene.sight.user.name
    for line in (scene.sight.optional("/etc/passwd") or "").splitlines():
        fields = line.split(":")
        if len(fields) == 7 and fields[0] == name:
            return fields[5]
    return "/root" if name == "root" else f"/home/{name}"


def _library(scene: Scene) -> Verdict:
    mounts = _mounts(scene)
    rows, slow = {}, []
    for path in dict.fromkeys((scene.profile.storage.library, _home(scene))):
        mount = mount_of(mounts, path)
        rows[path] = f"{mount.kind} on {mount.point} ({mount.source})"
        if mount.kind in _REMOTE or mount.kind.startswith("fuse"):
            slow.append(f"{path} on {mount.kind}")
    return verdict(not slow, ", ".join(slow) or "local", evidence(rows))
