"""Do both bases make the same of a profile? What nix/render.nix gives, against ``system.render``.

Files are compared byte for byte, kernel arguments, modules, sysctls and limits as values, units
setting by setting (:mod:`archibald.nixos.units`). What only the Debian base has as a file is listed
in :data:`OTHERWISE`, with what NixOS has in its place, so a new file cannot be forgotten: it is a
difference until somebody has thought of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from archibald import __version__
from archibald.errors import UsageError
from archibald.nixos.evaluate import evaluate
from archibald.nixos.options import nix_input
from archibald.nixos.units import debian_units, is_unit_file, nixos_units, unit_differences
from archibald.profile.model import Profile
from archibald.run import Runner, run
from archibald.system.compose import compose
from archibald.system.modules.hyprland import CHEAT_SHEET_PATH
from archibald.system.render import rendered_tree
from archibald.system.spec import File, KernelArg, KernelModule, Sysctl, SystemSpec

#: Path of the Debian base (a pattern) → what NixOS has in its place.
OTHERWISE: Mapping[str, str] = {
    r"/etc/console-setup/.*|/etc/default/keyboard": "services.xserver.xkb, console.useXkbConfig",
    r"/etc/default/locale|/etc/locale\.(conf|gen)": "i18n.defaultLocale",
    r"/etc/greetd/config\.toml": "services.greetd.settings, compared by session and user",
    r"/etc/host(name|s)": "networking.hostName",
    r"/etc/initramfs-tools/.*": "specialisation: each entry has a system of its own",
    r"/etc/issue": "services.getty.greetingLine",
    r"/etc/ld\.so\.conf\.d/.*": "services.pipewire.jack: its libjack in LD_LIBRARY_PATH",
    r"/etc/localtime": "time.timeZone",
    r"/etc/modules-load\.d/archibald\.conf": "boot.kernelModules, compared as values",
    r"/etc/os-release": "system.nixos.distroName",
    r"/etc/pam\.d/greetd": "security.pam.loginLimits, which holds for every service",
    r"/etc/resolv\.conf": "networking, by the network manager of NixOS",
    r"/etc/sysctl\.d/60-archibald\.conf": "boot.kernel.sysctl, compared as values",
    r"/etc/systemd/system/epmd\.socket\.d/.*": "nothing: services.epmd is off",
    r"/etc/systemd/journald\.conf\.d/.*": "the same folder, of the live system only",
    r"/etc/systemd/network/.*": "systemd.network.networks",
    r"/etc/systemd/resolved\.conf\.d/.*": "services.resolved",
    r"/etc/systemd/(system|user)-preset/.*": "units of NixOS start only when something wants them",
    r"/etc/systemd/system/display-manager\.service": "services.greetd",
    r"/etc/systemd/system/(serial-)?getty@.*": "services.getty.autologinUser, services.greetd",
    r"/etc/systemd/(system|user)/.*\.wants/.*": "wantedBy of the service, compared for our own",
    r"/etc/systemd/system/systemd-networkd\.service\.d/.*": "systemd.services.systemd-networkd",
    r"/usr/lib/archibald/profile\.json": "/etc/archibald/profile.json",
    r"/usr/lib/archibald/selftest-start|/usr/lib/(systemd|udev)/.*archibald-selftest.*": (
        "nothing: the self-test belongs to images of the Debian base"
    ),
}

_SESSION = re.compile(
    r"^\[(\w+)\]\n(?:[^\[]*\n)*?command = \"([^\"]*)\"\nuser = \"([^\"]*)\"", re.M
)


@dataclass(frozen=True)
class Difference:
    """Where the bases disagree: the boot entry, what is compared, and what each side has."""

    entry: str
    what: str
    debian: str
    nixos: str

    def __str__(self) -> str:
        return f"{self.entry}: {self.what}: Debian base {self.debian}, NixOS base {self.nixos}"


def render_all(
    root: Path, profiles: Sequence[Profile | Mapping[str, Any]], *, runner: Runner = run
) -> list[Any]:
    """Return what ``nix/`` under ``root`` makes of each profile, in one evaluation.

    Each is an object with ``problems`` (sentences), ``unsupported`` (sentences) and ``entries``
    (boot entry → settings). Profiles may be data that is not valid. Raises NixError.
    """
    arguments = {
        "root": str(root.resolve()),
        "version": __version__,
        "keysPath": CHEAT_SHEET_PATH,
        "profiles": [p if isinstance(p, Mapping) else nix_input(p) for p in profiles],
    }
    with resources.as_file(resources.files("archibald.nixos") / "conformance.nix") as file:
        found = evaluate(file, arguments, runner=runner)
    assert isinstance(found, list)
    return found


def compare(profile: Profile, found: Mapping[str, Any]) -> list[Difference]:
    """Return every difference between the bases for one profile and all of its boot entries.

    ``found`` is the element of :func:`render_all`. A profile that the Debian base refuses must be
    refused by the NixOS base as well.
    """
    differences: list[Difference] = []
    for name in ["default", *(variant.name for variant in profile.variant)]:
        try:
            spec = compose(profile, variant=name)
            tree = rendered_tree(spec)
        except UsageError as error:
            if not found["problems"] and not found["unsupported"]:
                differences.append(Difference(name, "the profile", f"refuses: {error.what}", "not"))
            continue
        if name not in found["entries"]:
            refusal = "; ".join(found["problems"])
            differences.append(Difference(name, "the profile", "accepts it", f"refuses: {refusal}"))
            continue
        files = {
            path: node
            for path, node in tree.items()
            if isinstance(node, File) and not is_unit_file(path)
        }
        other = [path for path in tree if path not in files and not is_unit_file(path)]
        units = unit_differences(debian_units(tree), nixos_units(found["entries"][name]["units"]))
        differences += [Difference(name, *one) for one in units]
        differences += _settings(name, spec, files, found["entries"][name])
        differences += _files(name, files, other, profile, found["entries"][name]["files"])
    return differences


def _settings(
    entry: str, spec: SystemSpec, files: Mapping[str, File], found: Mapping[str, Any]
) -> Iterator[Difference]:
    session, user = _greeter(files)
    pairs: list[tuple[str, Any, Any]] = [
        ("kernel arguments", sorted(i.text for i in spec.of(KernelArg)),
         sorted(found["kernelParams"])),
        ("kernel modules", sorted(i.name for i in spec.of(KernelModule)), found["kernelModules"]),
        ("sysctls", {i.name: i.value for i in spec.of(Sysctl)},
         {name: str(value) for name, value in found["sysctl"].items()}),
        ("limits", _limits(files), [f"{v['domain']} {v['type']} {v['item']} {v['value']}"
                                    for v in found["limits"]]),
        ("session", session, found["session"]),
    ]  # fmt: skip
    if session:
        pairs.append(("user without password", user, found["autologin"]))
    for what, debian, nixos in pairs:
        if debian != nixos:
            yield Difference(entry, what, str(debian), str(nixos))


def _greeter(files: Mapping[str, File]) -> tuple[str, str]:
    """Return the session that greetd starts and the user who gets it without a password."""
    file = files.get("/etc/greetd/config.toml")
    if file is None:
        return "", ""
    sections = {name: (command, user) for name, command, user in
                _SESSION.findall(file.content.decode())}  # fmt: skip
    command, _ = sections["default_session"]
    _, user = sections.get("initial_session", ("", ""))
    return command.rpartition("--cmd ")[2], user


def _limits(files: Mapping[str, File]) -> list[str]:
    lines = files["/etc/security/limits.d/95-archibald.conf"].content.decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def _files(
    entry: str,
    files: Mapping[str, File],
    other: Sequence[str],
    profile: Profile,
    found: Mapping[str, str],
) -> Iterator[Difference]:
    for path in sorted({*files, *found}):
        debian = files[path].content.decode() if path in files else None
        nixos = found.get(path)
        if nixos is None and _otherwise(path):
            continue
        if debian != nixos:
            yield Difference(entry, path, *_first_difference(debian, nixos))
    library = profile.storage.library
    for path in other:
        # A folder, made by systemd.tmpfiles on both.
        if path != library and not _otherwise(path):
            yield Difference(entry, path, "has it", "has nothing in its place")


def _otherwise(path: str) -> bool:
    return any(re.fullmatch(pattern, path) for pattern in OTHERWISE)


def _first_difference(debian: str | None, nixos: str | None) -> tuple[str, str]:
    if debian is None or nixos is None:
        return ("no file" if debian is None else "a file", "no file" if nixos is None else "a file")
    one, two = debian.split("\n"), nixos.split("\n")
    shared = min(len(one), len(two))
    number = next((n for n in range(shared) if one[n] != two[n]), shared)
    return tuple(
        f"line {number + 1} {lines[number]!r}" if number < len(lines) else "ends earlier"
        for lines in (one, two)
    )  # type: ignore[return-value]
