"""Does the NixOS base do something about every key of a profile?

Each key is changed alone, in a profile in which it matters; the definitions of the modules, their
assertions included, must then differ. A key that changes nothing would be silently ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
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
    "audio.quantum": 64,
    "audio.min_quantum": 32,
    "audio.max_quantum": 128,
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
    "image.components": ["main", "non-free"],
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


def other_value(key: str) -> Any:
    """Return a value of an option that differs from the baseline's."""
    if key in _OTHER:
        return _OTHER[key]
    option = options()[key]
    if isinstance(option.default, bool):
        return not option.default
    if "enum" in option.schema:
        return next(value for value in option.schema["enum"] if value != option.default)
    if option.schema.get("type") == "integer":
        low, high = option.schema["minimum"], option.schema.get("maximum")
        return option.default + 1 if high is None or option.default < high else low
    if option.example != option.default:
        return option.example
    return ""


def changed_profiles() -> dict[str, dict[str, Any]]:
    """Return key → the baseline with that key changed, for every key that has several values."""
    found = {}
    for key in options():
        if _has_one_value(key):
            continue
        table, _, name = key.partition(".")
        profile = deepcopy(dict(BASELINE))
        inside = profile[table][0] if table == "variant" else profile.setdefault(table, {})
        inside[name] = other_value(key)
        found[key] = profile
    return found


def essence(report: Mapping[str, Any]) -> list[Any]:
    """Return what a system is made of, without the copy of the profile that it carries."""
    return [
        one
        for one in report["definitions"]
        if one["path"][:3] != ["environment", "etc", "archibald/profile.json"]
    ]


def ignored_keys(
    baseline: Mapping[str, Any], changed: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Return the keys whose change made no difference; the arguments are evaluated systems."""
    same = essence(baseline)
    return sorted(key for key, report in changed.items() if essence(report) == same)


def assertions(report: Mapping[str, Any]) -> list[str]:
    """Return the sentences of the assertions that fail in an evaluated system."""
    return [
        one["message"]
        for definition in report["definitions"]
        if definition["path"] == ["assertions"]
        for one in definition["value"]
        if not one["assertion"]
    ]
