"""Users: the one who makes music, with rights for audio and a session that starts by itself.

root stays as the base system has it: without a password, so nobody can log in as root.
"""

from __future__ import annotations

from functools import partial

from archibald.profile.model import Profile
from archibald.system.modules.common import text_file
from archibald.system.spec import (
    Contribution,
    Group,
    Hardware,
    Origin,
    Package,
    User,
    contributions,
)

_because = partial(Origin, "users")

#: Number of the first ordinary user of a Debian system.
FIRST_UID = 1000

_AUTOLOGIN = """\
[Service]
ExecStart=
ExecStart=-/usr/sbin/agetty --autologin {name} --noreset --noclear {speeds}- ${{TERM}}
"""

_SERIAL_SPEEDS = "--keep-baud 115200,57600,38400,9600 "


def contribute(profile: Profile, _hardware: Hardware) -> list[Contribution]:
    """Return the user, the groups, the right to use sudo, and the log-in on consoles."""
    return [*_user(profile), *_sudo(profile), *_console(profile)]


def _user(profile: Profile) -> list[Contribution]:
    users = profile.users
    found = contributions(
        _because("the user of the live session", ("users",)),
        User(
            name=users.name,
            uid=FIRST_UID,
            full_name=users.full_name,
            home=f"/home/{users.name}",
            shell="/bin/bash",
            groups=tuple(users.groups),
            password=users.live_password,
        ),
    )
    origin = _because("the user is a member", ("users.groups",))
    return found + contributions(origin, *(Group(name) for name in users.groups))


def _sudo(profile: Profile) -> list[Contribution]:
    users = profile.users
    if not users.sudo:
        return []
    return contributions(
        _because("the user of the live session administrates it", ("users.sudo",)),
        Package("sudo"),
        text_file(
            "/etc/sudoers.d/archibald",
            f"{users.name} ALL=(ALL:ALL) NOPASSWD: ALL\n",
            keys="users.sudo",
            mode=0o440,
        ),
    )


def _console(profile: Profile) -> list[Contribution]:
    """Log in on the console; a desktop has its own way."""
    if not profile.desktop.autologin:
        return []
    name = profile.users.name
    found: list[Contribution] = []
    if not profile.desktop.enable:
        found += contributions(
            _because("the session starts without a question", ("desktop.autologin",)),
            text_file(
                "/etc/systemd/system/getty@tty1.service.d/archibald.conf",
                _AUTOLOGIN.format(name=name, speeds=""),
                keys="desktop.autologin, users.name",
            ),
        )
    if profile.image.serial_console:
        found += contributions(
            _because(
                "the boot entry with a serial console starts a session as well",
                ("desktop.autologin", "image.serial_console"),
            ),
            text_file(
                "/etc/systemd/system/serial-getty@.service.d/archibald.conf",
                _AUTOLOGIN.format(name=name, speeds=_SERIAL_SPEEDS),
                keys="desktop.autologin, users.name",
            ),
        )
    return found
