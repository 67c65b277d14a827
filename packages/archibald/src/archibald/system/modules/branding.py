"""Branding: the names that users and programs see."""

from __future__ import annotations

from archibald import __version__
from archibald.profile.model import Profile
from archibald.system.modules.common import text_file
from archibald.system.spec import Contribution, File, Hardware, Origin, contributions

_MOTD = """\
{name} {version}: {rate_khz:g} kHz, {quantum} frames a cycle ({cycle_ms:.2f} ms).
"""


def contribute(profile: Profile, _hardware: Hardware) -> list[Contribution]:
    """Return /etc/os-release and the greetings of the console."""
    name = profile.branding.name
    fields = {
        "NAME": name,
        "PRETTY_NAME": f"{name} {__version__}",
        "ID": "archibaldos",
        "ID_LIKE": "debian",
        "VERSION": __version__,
        "VERSION_ID": __version__,
        "VERSION_CODENAME": profile.system.suite,
    }
    release = "".join(f"{key}={_quoted(value)}\n" for key, value in fields.items())
    greeting = _MOTD.format(
        name=name,
        version=__version__,
        rate_khz=profile.audio.rate / 1000,
        quantum=profile.audio.quantum,
        cycle_ms=profile.audio.cycle_us / 1000,
    )
    # agetty expands backslash sequences in this file.
    issue = f"{name} {__version__}".replace("\\", "\\\\") + " \\n \\l\n\n"
    named = contributions(
        Origin("branding", "the system tells its name", ("branding.name", "system.suite")),
        text_file("/etc/os-release", release, keys="branding.name, system.suite"),
        File("/etc/issue", issue.encode()),
    )
    keys = ("branding.name", "audio.rate", "audio.quantum")
    greeted = contributions(
        Origin("branding", "the greeting says which boot entry runs", keys),
        File("/etc/motd", greeting.encode()),
    )
    return named + greeted


def _quoted(value: str) -> str:
    """Quote a value as os-release(5) wants it, which shells read."""
    for character in '\\"$`':
        value = value.replace(character, f"\\{character}")
    return f'"{value}"'
