"""Does the NixOS base do something about every key of a profile?

Each key is changed alone, in a profile in which it matters; the definitions of the modules, their
assertions included, must then differ. A key that changes nothing would be silently ignored. Where a
key has a list of values, each is tried, and must differ from the others too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from archibald.profile.options import options

#: The profile in which each key matters: several keys count only together with others.
BASELINE: Mapping[str, Any] = {
    "cpu": {"minimum": 8, "isolated": [3]},
    "audio": {"max_quantum": 256},
    "apps": {"groups": ["daw"]},
    "mesh": {"enable": True},
    "variant": [{"name": "v", "title": "V"}],
}

#: A value other than the baseline's, where neither the declaration nor its bounds give one.
_OTHER: Mapping[str, Any] = {
    "system.hostname": "studio",
    "system.locale": "de_DE.UTF-8",
    "system.keymap": "de-nodeadkeys",
    "audio.data_loop_priority": 80,
    "cpu.minimum": 9,
    "cpu.audio": [2],
    "cpu.isolated": [4],
    "cpu.tickless": [3],
    "desktop.terminal": "kitty",
    "desktop.launcher": "rofi",
    "apps.groups": ["daw", "synth"],
    "apps.exclude": ["ardour"],
    "mesh.enable": False,
    "storage.library": "/srv/samples",
    "users.name": "anna",
    "users.full_name": "Anna",
    "users.groups": ["audio"],
    "users.live_password": "other",
    "branding.name": "Studio OS",
    "branding.accent": "ff0000",
    "branding.inactive": "000000",
    "image.name": "studio",
    "image.volume_id": "STUDIO",
    "image.mirror": "file:/srv/debian",
    "realtime.memory_lock_mib": 1024,
    "variant.name": "w",
    "variant.title": "W",
    "variant.audio": {"quantum": 64},
    "variant.realtime": {"swappiness": 1},
    "variant.cpu": {"audio": [2]},
}


def _has_one_value(key: str) -> bool:
    """Say whether nothing can be chosen: one allowed value, or `extends`, which is merged away."""
    return key == "extends" or "const" in options()[key].schema


#: Values of keys where one of each kind is not enough, or where not all of them go together.
_OTHERS: Mapping[str, Sequence[Any]] = {
    "audio.quantum": [16, 64, 128, 256],
    "audio.min_quantum": [32],
    "audio.max_quantum": [32, 64, 128, 512, 1024, 2048, 4096, 8192],
    "image.components": [["main", "non-free"], ["main", "non-free-firmware"], ["main", "contrib"]],
    "desktop.file_manager": ["", "pcmanfm", "unknown-file-manager"],
    "desktop.browser": ["", "nano", "unknown-browser"],
    "desktop.editor": ["", "geany", "unknown-editor"],
    "desktop.terminal": ["kitty", "alacritty", "unknown-terminal"],
    "desktop.launcher": ["rofi", "fuzzel", "unknown-launcher"],
    "apps.packages": [["htop"], ["unknown-synth"]],
    "image.packages": [["htop"], ["unknown-synth"]],
}


def other_values(key: str) -> Sequence[Any]:
    """Return values of an option that differ from the baseline's, and from each other."""
    if key in _OTHERS:
        return _OTHERS[key]
    option = options()[key]
    if "enum" in option.schema:
        return [value for value in option.schema["enum"] if value != option.default]
    return [_other_value(key)]


def _other_value(key: str) -> Any:
    if key in _OTHER:
        return _OTHER[key]
    option = options()[key]
    if isinstance(option.default, bool):
        return not option.default
    if option.schema.get("type") == "integer":
        low, high = option.schema["minimum"], option.schema.get("maximum")
        return option.default + 1 if high is None or option.default < high else low
    if option.example != option.default:
        return option.example
    return ""


@dataclass(frozen=True)
class Change:
    """A profile in which one key has another value than in the baseline."""

    key: str
    value: Any
    profile: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.key} = {json.dumps(self.value)}"


def changes() -> list[Change]:
    """Return the baseline with one key changed, for every value that is tried of every key."""
    found = []
    for key in options():
        if _has_one_value(key):
            continue
        table, _, name = key.partition(".")
        for value in other_values(key):
            profile = deepcopy(dict(BASELINE))
            inside = profile[table][0] if table == "variant" else profile.setdefault(table, {})
            inside[name] = value
            found.append(Change(key, value, profile))
    return found


def essence(report: Mapping[str, Any]) -> list[Any]:
    """Return what a system is made of, without the copy of the profile that it carries."""
    return [
        one
        for one in report["definitions"]
        if one["path"][:3] != ["environment", "etc", "archibald/profile.json"]
    ]


def ignored(
    baseline: Mapping[str, Any], changed: Sequence[tuple[Change, Mapping[str, Any]]]
) -> list[str]:
    """Return a sentence for each change that makes no difference to the baseline or to another.

    ``baseline`` and what stands beside each change are evaluated systems.
    """
    found = []
    seen: dict[str, list[tuple[str, list[Any]]]] = {}
    for change, report in changed:
        same = essence(report)
        others = seen.setdefault(change.key, [("the baseline", essence(baseline))])
        found += [f"{change} is ignored: the same as {name}" for name, one in others if one == same]
        others.append((str(change), same))
    return found


def assertions(report: Mapping[str, Any]) -> list[str]:
    """Return the sentences of the assertions that fail in an evaluated system."""
    return [
        one["message"]
        for definition in report["definitions"]
        if definition["path"] == ["assertions"]
        for one in definition["value"]
        if not one["assertion"]
    ]
