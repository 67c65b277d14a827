"""Applications: groups of Debian packages, further packages, and what is left out."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial
from typing import get_args

from archibald.errors import UsageError
from archibald.profile.model import AppGroup, Profile
from archibald.system.modules.common import text_file
from archibald.system.spec import (
    Contribution,
    Hardware,
    Origin,
    Package,
    Unit,
    contributions,
)

_because = partial(Origin, "apps")

#: Packages of each group. All are in forky and in trixie.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "daw": ("ardour", "qtractor", "rosegarden", "muse", "audacity"),
    "synth": (
        "zynaddsubfx", "yoshimi", "synthv1", "samplv1", "setbfree", "fluidsynth",
        "timgm6mb-soundfont",
    ),
    "drums": ("hydrogen", "drumgizmo", "drumkv1"),
    "modular": ("bespokesynth", "puredata"),
    "effects": (
        "guitarix", "calf-plugins", "lsp-plugins-lv2", "x42-plugins", "zam-plugins",
        "dragonfly-reverb", "jalv",
    ),
    "livecoding": ("supercollider", "sc3-plugins", "sonic-pi", "csound", "faust"),
    "notation": ("musescore3",),
    "patchbay": ("qpwgraph", "qjackctl", "raysession"),
    "midi": ("vmpk", "qmidinet"),
    "visuals": ("projectm-pulseaudio", "projectm-sdl", "cava"),
    "network": ("jacktrip",),
    "tools": ("jack-example-tools", "rt-tests"),
}  # fmt: skip

#: User services that packages start at log-in, where they would take the sound card or memory.
_UNWANTED_SERVICES = {"fluidsynth": "fluidsynth.service"}

#: Sonic Pi brings Erlang's name server, whose socket Debian opens to every network at boot.
_NAME_SERVER_USER = "sonic-pi"
_NAME_SERVER_SOCKET = """\
[Socket]
ListenStream=
ListenStream=127.0.0.1:4369
ListenStream=[::1]:4369
"""


class ExcludeError(UsageError):
    """The profile excludes an application that it does not install."""


def contribute(profile: Profile, _hardware: Hardware) -> list[Contribution]:
    """Return the packages of the chosen groups without the excluded ones, and the further ones.

    Raises :class:`ExcludeError` when an exclusion has no effect or contradicts ``apps.packages``.
    """
    apps = profile.apps
    _check_exclusions(profile)
    found: list[Contribution] = []
    for group in apps.groups:
        names = [name for name in GROUPS[group] if name not in apps.exclude]
        origin = _because(f"in the group {group}", ("apps.groups",))
        found += contributions(origin, *(Package(name) for name in names))
    origin = _because("named in the profile", ("apps.packages",))
    found += contributions(origin, *(Package(name) for name in apps.packages))
    installed = {c.item.name for c in found if isinstance(c.item, Package)}
    for package, unit in sorted(_UNWANTED_SERVICES.items()):
        if package in installed:
            origin = _because(f"{package} runs when it is started, not at every log-in")
            found += contributions(origin, Unit(unit, "disabled", "user"))
    if _NAME_SERVER_USER in installed:
        found += _name_server()
    return found


def _name_server() -> list[Contribution]:
    return contributions(
        _because(f"{_NAME_SERVER_USER} needs Erlang's name server, on this machine only"),
        text_file(
            "/etc/systemd/system/epmd.socket.d/archibald.conf", _NAME_SERVER_SOCKET,
            keys="apps.groups",
        ),
        Unit("epmd.socket", "enabled", wanted_by="sockets.target"),
        # The socket starts it for the first program that asks.
        Unit("epmd.service", "disabled"),
    )  # fmt: skip


def _check_exclusions(profile: Profile) -> None:
    apps = profile.apps
    chosen = {name for group in apps.groups for name in GROUPS[group]}
    for name in apps.exclude:
        if name in apps.packages:
            raise ExcludeError(
                f"apps.packages asks for {name} and apps.exclude leaves it out",
                next_step="remove it from one of them",
            )
        if name not in chosen:
            raise ExcludeError(
                f"apps.exclude names {name}, which no chosen group installs",
                why=_why_not(name, chosen),
                next_step="remove it from apps.exclude, or correct the name",
            )


def _why_not(name: str, chosen: set[str]) -> str:
    groups = [group for group in get_args(AppGroup) if name in GROUPS[group]]
    if groups:
        return f"it is in the group {groups[0]}, which apps.groups does not list"
    near = get_close_matches(name, sorted(chosen), n=3)
    if near:
        return f"near names are {', '.join(near)}"
    return f"chosen groups: {', '.join(sorted(chosen)) or 'none'}"
