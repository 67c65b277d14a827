"""What survives a reboot: drop-in files from the system's spec, and the boot loader. Pure.

The files are those that an image of the same profile has, byte for byte. On NixOS files in /etc
are made from the configuration: there :func:`nix_module` says what to add to it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from archibald.system.modules import guard
from archibald.system.render import rendered
from archibald.system.spec import File, KernelArg, KernelModule, Sysctl, Unit
from archibald.tune.knobs.base import tmpfiles_writes
from archibald.tune.knobs.cpu import wanted_governor
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
    """Return the programs to run after these changes, or after taking them back."""
    paths = [change.target for change in changes if change.kind == "file"]
    return tuple(
        argv for start, argv in _REFRESHERS.items() if any(path.startswith(start) for path in paths)
    )


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
    for change in (*found, *_boot_loader(scene)):
        # A folder that several files need is made for the first of them.
        once.setdefault(change.key, change)
    return list(once.values())


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


def _nix(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${") + '"'


def nix_module(scene: Scene) -> str:
    """Return a NixOS module with the profile's settings, to be imported in the configuration."""
    spec, realtime, audio = scene.spec, scene.profile.realtime, scene.profile.audio
    arguments = [c.item.text for c in wanted_arguments(scene) if isinstance(c.item, KernelArg)]
    memory = realtime.memory_lock_mib
    locked = memory if memory == "unlimited" else str(memory * 1024)
    limits = (("rtprio", str(realtime.priority_limit)), ("nice", str(realtime.nice_limit)),
              ("memlock", locked))  # fmt: skip
    lines = [
        "# Made by archibald apply --persist: import it in configuration.nix.",
        "{ ... }:",
        "{",
        f"  boot.kernelParams = [ {' '.join(map(_nix, arguments))} ];",
        f"  boot.kernelModules = [ {' '.join(_nix(m.name) for m in spec.of(KernelModule))} ];",
        "  boot.kernel.sysctl = {",
        *(f"    {_nix(item.name)} = {_nix(item.value)};" for item in spec.of(Sysctl)),
        "  };",
        f"  powerManagement.cpuFreqGovernor = {_nix(wanted_governor(scene)[0])};",
        "  systemd.tmpfiles.rules = [",
        *(f"    {_nix(f'w {path} - - - - {value}')}"
          for path, (value, _) in tmpfiles_writes(scene).items()),
        "  ];",
        "  security.pam.loginLimits = [",
        *(f'    {{ domain = "@audio"; type = "-"; item = {_nix(item)}; value = {_nix(value)}; }}'
          for item, value in limits),
        "  ];",
        # NixOS has this one, which knows nothing of PipeWire but ends a runaway as well.
        f"  services.das_watchdog.enable = {'true' if realtime.watchdog else 'false'};",
        f"  security.rtkit.enable = {'true' if realtime.rtkit else 'false'};",
        f"  users.users.{_nix(scene.sight.user.name)}.extraGroups = [ \"audio\" ];",
        '  services.pipewire.extraConfig.pipewire."92-low-latency" = {',
        '    "context.properties" = {',
        f'      "default.clock.rate" = {audio.rate};',
        f'      "default.clock.quantum" = {audio.quantum};',
        f'      "default.clock.min-quantum" = {audio.min_quantum};',
        f'      "default.clock.max-quantum" = {audio.max_quantum};',
        "    };",
        "  };",
        "}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"
