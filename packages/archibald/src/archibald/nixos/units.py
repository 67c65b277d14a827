"""Do both bases start the same services? Debian's unit files against those of nix/units.nix.

A unit is compared setting by setting, because NixOS writes its file itself. What starts it is
compared as what has a link to it: that is what ``wantedBy`` makes on NixOS.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from archibald.system.render import Node
from archibald.system.spec import File, Link

#: A setting of a unit: section and key → its values, in order.
Settings = Mapping[tuple[str, str], tuple[str, ...]]

_FILE = re.compile(r"/etc/systemd/(system|user)/([^/]+\.service)")
_WANTS = re.compile(r"/etc/systemd/(system|user)/([^/]+)\.wants/([^/]+\.service)")

#: Attributes of a service of NixOS that stand for one key of the section Unit.
_UNIT_KEYS: Mapping[str, str] = {
    "description": "Description", "documentation": "Documentation", "after": "After",
    "before": "Before", "bindsTo": "BindsTo", "wants": "Wants", "requires": "Requires",
    "partOf": "PartOf", "conflicts": "Conflicts",
}  # fmt: skip

_SECTIONS: Mapping[str, str] = {"unitConfig": "Unit", "serviceConfig": "Service"}

_WANTED_BY = ("Install", "WantedBy")


def is_unit_file(path: str) -> bool:
    """Say whether a path of the Debian base is a unit of our own, which is compared here."""
    return _FILE.fullmatch(path) is not None


def unit_settings(text: str) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return what a unit file sets, without its section Install.

    Comments are dropped and a backslash at the end of a line joins it to the next, as
    systemd.syntax(7) says; blanks around the place count as one.
    """
    lines = [line for line in text.split("\n") if not line.lstrip().startswith(("#", ";"))]
    joined = re.sub(r"[ \t]*\\\n[ \t]*", " ", "\n".join(lines))
    section = ""
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for line in filter(None, map(str.strip, joined.split("\n"))):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif section != "Install":
            key, _, value = line.partition("=")
            place = (section, key.strip())
            found[place] = (*found.get(place, ()), value.strip())
    return found


def nix_settings(service: Mapping[str, Any]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return what NixOS writes into the unit of a service (nixos/lib/systemd-unit-options.nix).

    An attribute that has no meaning here becomes a setting of no section, so it is a difference.
    """
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    for name, value in service.items():
        if name in _UNIT_KEYS:
            found["Unit", _UNIT_KEYS[name]] = (" ".join(_listed(value)),)
        elif name in _SECTIONS:
            for key, given in value.items():
                found[_SECTIONS[name], key] = tuple(_listed(given))
        elif name == "wantedBy":
            found[_WANTED_BY] = tuple(sorted(value))
        else:
            found["", name] = (str(value),)
    return found


def _listed(value: Any) -> list[str]:
    """Return values as text; true and false as units have them."""
    values = value if isinstance(value, list) else [value]
    return [("yes" if one else "no") if isinstance(one, bool) else str(one) for one in values]


def debian_units(tree: Mapping[str, Node]) -> dict[str, Settings]:
    """Return path → settings of the units of the Debian base, with what starts them."""
    found: dict[str, dict[tuple[str, str], tuple[str, ...]]] = {
        path: unit_settings(node.content.decode())
        for path, node in tree.items()
        if isinstance(node, File) and is_unit_file(path)
    }
    for path, node in sorted(tree.items()):
        match = _WANTS.fullmatch(path) if isinstance(node, Link) else None
        if match:
            unit = found.get(f"/etc/systemd/{match[1]}/{match[3]}")
            if unit is not None:
                unit[_WANTED_BY] = (*unit.get(_WANTED_BY, ()), match[2])
    return dict(found)


def nixos_units(services: Mapping[str, Mapping[str, Any]]) -> dict[str, Settings]:
    """Return path → settings; ``services`` are ``units`` of nix/render.nix: system and user."""
    return {
        f"/etc/systemd/{scope}/{name}.service": nix_settings(service)
        for scope, named in services.items()
        for name, service in named.items()
    }


def unit_differences(
    debian: Mapping[str, Settings], nixos: Mapping[str, Settings]
) -> Iterator[tuple[str, str, str]]:
    """Yield what differs, and what each base has."""
    for path in sorted({*debian, *nixos}):
        if path not in debian or path not in nixos:
            yield path, _presence(path in debian), _presence(path in nixos)
            continue
        one, two = debian[path], nixos[path]
        for place in sorted({*one, *two}):
            ours, theirs = one.get(place, ()), two.get(place, ())
            if ours != theirs:
                yield f"{path}: [{place[0]}] {place[1]}", _shown(ours), _shown(theirs)


def _presence(there: bool) -> str:
    return "a unit" if there else "no unit"


def _shown(values: tuple[str, ...]) -> str:
    return ", ".join(values) or "nothing"
