"""What survives a reboot: drop-in files from the system's spec, and the boot loader. Pure.

The files are those that an image of the same profile has, byte for byte. On NixOS files in /etc
are made from the configuration: :func:`nix_modules` says what to add to it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from archibald.nixos.export import modules_text
from archibald.profile.load import canonical_json
from archibald.system.modules import guard
from archibald.system.modules.identity import PROFILE_PATH
from archibald.system.render import rendered
from archibald.system.spec import File, KernelArg, Unit
from archibald.tune.journal import Entry
from archibald.tune.knobs.kernel import wanted_arguments
from archibald.tune.model import Change, Scene
from archibald.tune.targets import file_state
from archibald.vm.selftest.kernel import missing_arguments

#: Folder of drop-ins → the check that it makes right.
FOLDERS = {
    "/etc/sysctl.d/": "sysctl.vm.swappiness",
    "/etc/security/limits.d/": "limits.session",
    guard.CARD_RULE: "irq.card-affinity",
    f"/etc/systemd/system/{guard.CARD_UNIT}": "irq.card-affinity",
    f"/etc/systemd/system/{guard.WATCHDOG_UNIT}": "services.watchdog",
    f"/etc/systemd/user/{guard.AWAKE_UNIT}": "cpu.idle-latency",
    "/etc/udev/rules.d/": "cpu.latency-device",
    "/etc/modprobe.d/archibald-realtime.conf": "sound.module-parameters",
    "/etc/tmpfiles.d/": "memory.huge-pages",
    "/etc/modules-load.d/": "sound.modules",
    "/etc/pipewire/pipewire.conf.d/": "pipewire.quantum",
    "/etc/wireplumber/wireplumber.conf.d/": "pipewire.suspend",
}

GRUB_DROP_IN = "/etc/default/grub.d/95-archibald.cfg"
KERNEL_CMDLINE = "/etc/kernel/cmdline"

#: The profile that was applied for good; it counts before the one of an image. NixOS makes it.
OWN_PROFILE = "/etc/archibald/profile.json"

#: What the journal calls that file, which no check is about.
PROFILE = "profile"

#: Arguments that the kernel takes once; others, such as console=, may come several times.
_SINGLE = frozenset(
    {
        "cgroup.memory", "cpufreq.default_governor", "irqaffinity", "isolcpus", "nohz_full",
        "preempt", "rcu_nocbs", "threadirqs",
    }
)  # fmt: skip

#: Start of a path → the program that makes a changed file take effect.
_REFRESHERS: dict[str, tuple[str, ...]] = {
    "/etc/udev/rules.d/": ("udevadm", "control", "--reload"),
    "/etc/systemd/system/": ("systemctl", "daemon-reload"),
    GRUB_DROP_IN: ("update-grub",),
    KERNEL_CMDLINE: ("kernel-install", "add-all"),
}


def refreshers(changes: Sequence[Change]) -> tuple[tuple[str, ...], ...]:
    """Return the programs to run after these changes."""
    return (*_refreshers(changes), *_watchdog("restart", changes))


def undo_refreshers(undone: Sequence[Entry]) -> tuple[tuple[str, ...], ...]:
    """Return the programs to run after taking these changes back: what was new does not go on."""
    changes = [entry.change for entry in undone]
    new = [entry.change for entry in undone if entry.before is None]
    old = [change for change in changes if change not in new]
    return (*_watchdog("stop", new), *_refreshers(changes), *_watchdog("restart", old))


def _refreshers(changes: Sequence[Change]) -> tuple[tuple[str, ...], ...]:
    paths = [change.target for change in changes if change.kind == "file"]
    return tuple(
        argv for start, argv in _REFRESHERS.items() if any(path.startswith(start) for path in paths)
    )


def _watchdog(verb: str, changes: Sequence[Change]) -> tuple[tuple[str, ...], ...]:
    """Return what makes the one service that stays take notice of its unit."""
    unit = f"/etc/systemd/system/{guard.WATCHDOG_UNIT}"
    about_it = any((change.kind, change.target) == ("file", unit) for change in changes)
    return (("systemctl", verb, guard.WATCHDOG_UNIT),) if about_it else ()


def on_nixos(scene: Scene) -> bool:
    """Say whether /etc is made from a configuration, so that files are not written there."""
    return scene.machine.distribution == "nixos"


def persisted(scene: Scene) -> list[Change]:
    """Return the files that hold the profile's settings after a reboot.

    Empty on NixOS and in containers, which have no boot of their own.
    """
    if on_nixos(scene):
        return []
    found = []
    for contribution in rendered(scene.spec):
        item = contribution.item
        if not isinstance(item, File) or (scene.machine.container and _of_services(item.path)):
            continue
        check = next((c for start, c in FOLDERS.items() if item.path.startswith(start)), None)
        if check is not None and (item.owner, item.group) == ("root", "root"):
            content = _here(scene, item)
            found += _file(scene, check, item.path, content, item.mode)
            found += _wanted(scene, check, item)
    once: dict[tuple[str, str], Change] = {}
    for change in (*found, *_boot_loader(scene), *_profile(scene)):
        # A folder that several files need is made for the first of them.
        once.setdefault(change.key, change)
    return list(once.values())


def _profile(scene: Scene) -> list[Change]:
    """Return the file that tells the units, and the next audit, what was wanted."""
    content = canonical_json(scene.given)
    now = scene.sight.optional(OWN_PROFILE) or scene.sight.optional(PROFILE_PATH)
    if now == content.decode().strip():
        return []
    return _file(scene, PROFILE, OWN_PROFILE, content)


def _of_services(path: str) -> bool:
    """Say whether a file is about services, which a container has of its own, if any."""
    return path.startswith("/etc/systemd/") or path == guard.CARD_RULE


def own_program() -> str:
    """Return the command line of this program, as it was called, for units that call it."""
    program = str(Path(sys.argv[0]).resolve())
    if program.endswith("__main__.py"):
        return f"{sys.executable} -m archibald"
    return program


def _here(scene: Scene, item: File) -> bytes:
    """Return a file's content; units of this machine call the program where it is here."""
    if not (scene.sight.live and item.path.startswith("/etc/systemd/")):
        return item.content
    return item.content.replace(
        f"ExecStart={guard.PROGRAM} ".encode(), f"ExecStart={own_program()} ".encode()
    )


def _wanted(scene: Scene, check: str, item: File) -> list[Change]:
    """Return what pulls a unit in: a drop-in of what wants it, which is a file, and no link."""
    found = []
    for unit in scene.spec.of(Unit):
        folder = f"/etc/systemd/{unit.scope}"
        if item.path == f"{folder}/{unit.name}" and unit.wanted_by:
            path = f"{folder}/{unit.wanted_by}.d/{unit.name.partition('.')[0]}.conf"
            found += _file(scene, check, path, f"[Unit]\nWants={unit.name}\n".encode())
    return found


def _file(scene: Scene, check: str, path: str, content: bytes, mode: int = 0o644) -> list[Change]:
    """Return the change that writes a file, after those that make the folders above it."""
    folders = [
        str(folder)
        for folder in reversed(PurePosixPath(path).parents)
        if str(folder).startswith("/etc/") and not scene.sight.exists(str(folder))
    ]
    made = [Change(check, "folder", folder, "there", lasts=True) for folder in folders]
    return [*made, Change(check, "file", path, file_state(content, mode), lasts=True)]


def _boot_loader(scene: Scene) -> list[Change]:
    """Return the file that gives the kernel its arguments; none where they are there already."""
    if scene.machine.container:
        return []
    wanted = [c.item.text for c in wanted_arguments(scene) if isinstance(c.item, KernelArg)]
    check = "kernel.arguments"
    if scene.machine.boot_loader == "grub" and (wanted or scene.sight.exists(GRUB_DROP_IN)):
        # Written anew as a whole, so what is not wanted any more is gone.
        return _file(scene, check, GRUB_DROP_IN, grub_drop_in(wanted).encode())
    if scene.machine.boot_loader == "systemd-boot":
        now = scene.sight.optional(KERNEL_CMDLINE) or booted_arguments(scene.machine.cmdline)
        if missing_arguments(wanted, now):
            return _file(
                scene, check, KERNEL_CMDLINE, f"{joined_arguments(now, wanted)}\n".encode()
            )
    return []


def joined_arguments(now: str, wanted: Sequence[str]) -> str:
    """Return a command line with arguments added; another value of one of ours is replaced.

    An argument that nobody wants any more stays: who wrote it cannot be told from the line.
    """
    missing = missing_arguments(list(wanted), now)
    replaced = {text.partition("=")[0] for text in missing} & _SINGLE
    kept = [word for word in now.split() if word.partition("=")[0] not in replaced]
    return " ".join([*kept, *missing])


def grub_drop_in(arguments: Sequence[str]) -> str:
    """Return a drop-in of /etc/default/grub.d, a piece of shell; arguments have no quotes."""
    return (
        "# Made by archibald apply --persist; archibald rollback removes it.\n"
        f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {" ".join(arguments)}"\n'
    )


def booted_arguments(cmdline: str) -> str:
    """Return the command line without what the boot loader adds for one kernel."""
    mine = ("BOOT_IMAGE=", "initrd=")
    return " ".join(word for word in cmdline.split() if not word.startswith(mine))


def nix_modules(scene: Scene) -> str:
    """Return what brings the profile's settings to the configuration of NixOS, as its modules."""
    return modules_text(scene.profile, user=scene.sight.user.name)
