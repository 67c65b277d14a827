"""A profile as a flake, to be put beside the hardware configuration of a machine. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from archibald.profile.model import Profile

#: Tables of a profile that the real-time part of the modules reads.
_REALTIME = frozenset({"audio", "realtime", "cpu", "system"})

#: The release whose data formats a new system starts with (system.stateVersion).
STATE_VERSION = "26.05"

_FLAKE = """\
# Made by archibald nixos export. The profile below is complete: what it leaves out is the default.
{{
  description = {description};

  inputs.archibald.url = {url};
  inputs.nixpkgs.follows = "archibald/nixpkgs";

  outputs = {{ archibald, nixpkgs, ... }}: {{
    nixosConfigurations.{host} = nixpkgs.lib.nixosSystem {{
      system = "x86_64-linux";
      modules = [
        archibald.nixosModules.default
        ./hardware-configuration.nix
        {{
          # Of a machine that has NixOS already, keep the value of its configuration.nix.
          system.stateVersion = "{state}";

          {loader}

          # Without it nobody can log in by a password, nor use sudo. Make one with: mkpasswd
          # users.users.{user}.hashedPassword = "...";

          archibald.profile = {profile};
        }}
      ];
    }};
  }};
}}
"""


_MODULE = """\
# Made by archibald apply --persist; docs/how-to/nixos.md says more. In flake.nix, with `archibald`
# among the arguments of outputs, and the folder of its sources for /srv/archibald:
#   inputs.archibald.url = "git+file:///srv/archibald";
#   inputs.archibald.inputs.nixpkgs.follows = "nixpkgs";
# Add these two to the list `modules` of nixpkgs.lib.nixosSystem, then:
#   sudo nixos-rebuild boot --flake .
archibald.nixosModules.audio
{{
  archibald.profile = {profile};
  users.users.{user}.extraGroups = [ "audio" ];
}}
"""

_SYSTEMD_BOOT = """\
# For UEFI. Without it: archibald nixos export --grub /dev/sda
          boot.loader.systemd-boot.enable = true;
          boot.loader.efi.canTouchEfiVariables = true;"""

_GRUB = """\
# For BIOS: the disk that the machine starts from.
          boot.loader.grub.device = {disk};"""


def nix_string(text: str) -> str:
    """Return a text as a Nix string literal on one line."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("${", "\\${"), ("\n", "\\n"),
                           ("\r", "\\r"), ("\t", "\\t")):  # fmt: skip
        text = text.replace(plain, escaped)
    return f'"{text}"'


def nix_literal(value: Any, indent: int = 0) -> str:
    """Return JSON types as a Nix expression; sets take a line for each name."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, str):
        return nix_string(value)
    if isinstance(value, Mapping):
        inner = " " * (indent + 2)
        lines = [
            f"{inner}{_name(name)} = {nix_literal(value[name], indent + 2)};\n" for name in value
        ]
        return "{\n" + "".join(lines) + " " * indent + "}" if lines else "{ }"
    if isinstance(value, Sequence):
        return f"[ {' '.join(_element(one, indent) for one in value)} ]" if value else "[ ]"
    return str(value)


def _element(value: Any, indent: int) -> str:
    text = nix_literal(value, indent)
    return f"({text})" if text.startswith("-") else text


def _name(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", name) else nix_string(name)


def modules_text(profile: Profile, *, user: str) -> str:
    """Return what a system's list of modules needs for the real-time part of a profile.

    The module brings the services, too: the watchdog, awake CPUs, the card's interrupts first.
    ``user`` gets the rights of the group audio.
    """
    data = _chosen(profile, {name for name in type(profile).model_fields if name not in _REALTIME})
    return _MODULE.format(profile=nix_literal(data, indent=2), user=_name(user))


def _chosen(profile: Profile, without: set[str]) -> dict[str, Any]:
    """Return what a profile says beyond the defaults.

    ``image.mirror`` is an address of the author's machine, so it is left out.
    """
    data = profile.model_dump(mode="json", exclude_defaults=True, exclude=without)
    data.get("image", {}).pop("mirror", None)
    return {name: value for name, value in data.items() if value != {}}


def flake_text(profile: Profile, *, url: str, grub: str = "") -> str:
    """Return the text of a ``flake.nix`` whose system is that of a profile.

    ``url`` is where Nix finds the flake of archibald; ``grub`` the disk of GRUB on a machine
    without UEFI. Defaults are left out, and so is ``image.mirror``, an address of the author's
    machine.
    """
    return _FLAKE.format(
        description=nix_string(f"{profile.branding.name} on NixOS"),
        url=nix_string(url),
        host=_name(profile.system.hostname),
        state=STATE_VERSION,
        loader=_GRUB.format(disk=nix_string(grub)) if grub else _SYSTEMD_BOOT,
        user=_name(profile.users.name),
        profile=nix_literal(_chosen(profile, {"extends"}), indent=10),
    )
