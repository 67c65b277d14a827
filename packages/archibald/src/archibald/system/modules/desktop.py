"""Desktop: Hyprland, started by greetd; minimal, and light on the CPU."""

from __future__ import annotations

from functools import partial

from archibald.errors import UsageError
from archibald.profile.model import Profile
from archibald.system.modules import hyprland
from archibald.system.modules.common import text_file
from archibald.system.spec import (
    Contribution,
    File,
    Hardware,
    Link,
    Origin,
    Package,
    Unit,
    contributions,
)

_because = partial(Origin, "desktop")

#: Releases whose archive has Hyprland.
SUITES_WITH_HYPRLAND = ("forky",)

_SESSION = "start-hyprland"
_DISPLAY_MANAGER = "display-manager.service"

_GREETD = """\
[terminal]
vt = 1

[default_session]
command = "/usr/sbin/agreety --cmd {session}"
user = "_greetd"
"""

_GREETD_AUTOLOGIN = """
[initial_session]
command = "{session}"
user = "{user}"
"""

#: Debian's file for greetd lacks pam_limits, which its file for login has: programs of the desktop
#: would have no right to real-time priority and locked memory.
_GREETD_PAM = """\
@include common-auth
@include common-account
session required pam_limits.so
@include common-session
"""


class UnsupportedSuiteError(UsageError):
    """The chosen Debian release lacks something that the profile asks for."""


def contribute(profile: Profile, _hardware: Hardware) -> list[Contribution]:
    """Return the desktop, or nothing when it is not wanted.

    Raises :class:`UnsupportedSuiteError` when the release has no Hyprland.
    """
    if not profile.desktop.enable:
        return []
    suite = profile.system.suite
    if suite not in SUITES_WITH_HYPRLAND:
        raise UnsupportedSuiteError(
            f"the desktop needs Debian {' or '.join(SUITES_WITH_HYPRLAND)}, "
            f"and system.suite is {suite}",
            why=f"{suite} has no package hyprland",
            next_step='set system.suite to "forky", or desktop.enable to false',
        )
    return [*_packages(profile), *_session(profile), *_login(profile)]


def _packages(profile: Profile) -> list[Contribution]:
    desktop = profile.desktop
    key = ("desktop.enable",)
    found = contributions(
        _because("compositor, bar and what they draw with", key),
        *(
            Package(name)
            for name in (
                "hyprland", "xwayland", "libgl1-mesa-dri", "waybar", "fonts-dejavu-core",
                "adwaita-icon-theme", "librsvg2-common",
            )
        ),
    )  # fmt: skip
    found += contributions(
        _because("screenshots, clipboard, and the keys for volume, players and brightness", key),
        *(
            Package(name)
            for name in ("grim", "slurp", "wl-clipboard", "playerctl", "brightnessctl", "less")
        ),
    )
    for option in ("terminal", "launcher", "file_manager", "browser", "editor"):
        name = getattr(desktop, option)
        if name:
            origin = _because(f"the {option.replace('_', ' ')}", (f"desktop.{option}",))
            found += contributions(origin, Package(name))
    return found


def _session(profile: Profile) -> list[Contribution]:
    keys = "desktop, branding, system.keymap, system.locale"
    return contributions(
        _because("how the session looks, and its keys", ("desktop", "branding", "system.keymap")),
        text_file(
            "/etc/xdg/hypr/hyprland.lua", hyprland.configuration(profile), keys=keys, comment="--"
        ),
        text_file("/etc/xdg/waybar/config.jsonc", hyprland.bar(), keys="desktop", comment="//"),
        File("/etc/xdg/waybar/style.css", hyprland.bar_style(profile).encode()),
        File(hyprland.CHEAT_SHEET_PATH, hyprland.cheat_sheet(profile).encode()),
    )


def _login(profile: Profile) -> list[Contribution]:
    body = _GREETD.format(session=_SESSION)
    if profile.desktop.autologin:
        body += _GREETD_AUTOLOGIN.format(session=_SESSION, user=profile.users.name)
    return contributions(
        _because("starts the session on the first console", ("desktop.autologin", "users.name")),
        Package("greetd"),
        text_file("/etc/greetd/config.toml", body, keys="desktop.autologin, users.name"),
        text_file("/etc/pam.d/greetd", _GREETD_PAM, keys="desktop.enable"),
        Link(f"/etc/systemd/system/{_DISPLAY_MANAGER}", "/usr/lib/systemd/system/greetd.service"),
        # Both want the first console, and the getty wins.
        Unit("getty@tty1.service", "masked"),
    )
