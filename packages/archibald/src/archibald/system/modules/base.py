"""The base: kernel, init, names, language, network; and the background jobs that stay off."""

from __future__ import annotations

from functools import partial

from archibald.profile.model import Profile, System
from archibald.system.modules.common import text_file, xkb_layout
from archibald.system.spec import (
    Contribution,
    File,
    Forbidden,
    Hardware,
    Link,
    Origin,
    Package,
    Unit,
    contributions,
)

_because = partial(Origin, "base")

#: What every system needs: explicit, because Recommends are not installed.
_PACKAGES: dict[str, tuple[str, ...]] = {
    "boots and supervises the system": (
        "systemd", "systemd-sysv", "udev", "kmod", "initramfs-tools", "live-boot", "zstd",
        "busybox",
    ),
    "sessions of users and their services": (
        "dbus", "dbus-user-session", "libpam-systemd", "login", "passwd",
    ),
    "looks after the system by hand": ("procps", "iproute2", "less", "apt", "ca-certificates"),
    "runs archibald inside the system": ("python3",),
}  # fmt: skip

#: Timers that start disk or CPU work at their own time, in the middle of a recording.
_DISTURBING_TIMERS = {
    "apt-daily.timer": "downloads package lists",
    "apt-daily-upgrade.timer": "installs upgrades",
    "dpkg-db-backup.timer": "copies the package database",
    "man-db.timer": "rebuilds the index of manuals",
    "e2scrub_all.timer": "scrubs file systems",
    "logrotate.timer": "compresses logs",
}

#: Services that wake up on their own or listen on the network; nothing here installs them.
_UNWANTED_SERVICES = {
    "ssh.service": "listens on the network",
    "cups.service": "looks for printers",
    "avahi-daemon.service": "answers multicast",
    "ModemManager.service": "probes serial ports",
}

_HOSTS = """\
127.0.0.1 localhost
127.0.1.1 {hostname}
::1 localhost ip6-localhost ip6-loopback
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""

_DHCP = """\
[Match]
Name=en* eth*
Type=ether

[Link]
RequiredForOnline=no

[Network]
DHCP=yes
LLMNR=no
MulticastDNS=no
"""

_NO_KVM = """\
# Not loaded by itself for every CPU that has it; modprobe by name still does.
blacklist kvm_intel
blacklist kvm_amd
"""

_RESOLVED = """\
[Resolve]
LLMNR=no
MulticastDNS=no
"""

_RESOLVED_WITH_NETWORKD = """\
[Unit]
Wants=systemd-resolved.service
"""


def contribute(profile: Profile, _hardware: Hardware) -> list[Contribution]:
    """Return the base system of a profile."""
    return [
        *_packages(profile),
        *_names(profile.system),
        *_language(profile.system),
        *_keyboard(profile.system),
        *_quiet(),
        *_network(profile),
        *_bluetooth(profile.system),
        *_virtual_machines(profile.system),
    ]


def _packages(profile: Profile) -> list[Contribution]:
    found = [
        item
        for why, names in _PACKAGES.items()
        for item in contributions(_because(why), *(Package(name) for name in names))
    ]
    found += contributions(
        _because("named in the profile", ("image.packages",)),
        *(Package(name) for name in profile.image.packages),
    )
    if profile.system.kernel == "rt":
        why = "PREEMPT_RT: the kernel itself can be preempted almost everywhere"
        found += contributions(_because(why, ("system.kernel",)), Package("linux-image-rt-amd64"))
    if profile.system.kernel == "generic":
        why = "Debian's ordinary kernel is the one of the default boot entry"
        found += contributions(_because(why, ("system.kernel",)), Package("linux-image-amd64"))
    if profile.image.generic_kernel:
        why = "Debian's ordinary kernel has a boot entry of its own"
        origin = _because(why, ("image.generic_kernel",))
        found += contributions(origin, Package("linux-image-amd64"))
    return found


def _names(system: System) -> list[Contribution]:
    hosts = text_file("/etc/hosts", _HOSTS.format(hostname=system.hostname), keys="system.hostname")
    return contributions(
        _because("the machine knows its own name", ("system.hostname",)),
        File("/etc/hostname", f"{system.hostname}\n".encode()),
        hosts,
    )


def _language(system: System) -> list[Contribution]:
    language = contributions(
        _because("language and formats of the system", ("system.locale",)),
        Package("locales"),
        text_file("/etc/locale.gen", f"{system.locale} UTF-8\n", keys="system.locale"),
        text_file("/etc/locale.conf", f"LANG={system.locale}\n", keys="system.locale"),
        # PAM reads this older name.
        Link("/etc/default/locale", "../locale.conf"),
    )
    zone = contributions(
        _because("time zone of the clock", ("system.timezone",)),
        Package("tzdata"),
        Link("/etc/localtime", f"/usr/share/zoneinfo/{system.timezone}"),
    )
    return language + zone


def _keyboard(system: System) -> list[Contribution]:
    """Set the layout of the console; the kernel itself knows only the American one."""
    layout, variant = xkb_layout(system.keymap)
    if (layout, variant) == ("us", ""):
        return []
    body = f'XKBMODEL="pc105"\nXKBLAYOUT="{layout}"\nXKBVARIANT="{variant}"\nXKBOPTIONS=""\n'
    return contributions(
        _because("keyboard layout of the console", ("system.keymap",)),
        Package("kbd"),
        Package("console-setup"),
        Package("keyboard-configuration"),
        text_file("/etc/default/keyboard", body, keys="system.keymap"),
        # The package caches the layout that it was configured with, and an executable cache wins
        # over the file above; this one is not executable, so the layout is computed at boot.
        text_file(
            "/etc/console-setup/cached_setup_keyboard.sh",
            "# Intentionally not executable: see /etc/default/keyboard.\n",
            keys="system.keymap",
        ),
    )


def _off(why: str, names: tuple[str, ...], keys: tuple[str, ...] = ()) -> list[Contribution]:
    """Return the units as disabled (they can still be started by hand) and not to be active."""
    return contributions(
        _because(why, keys),
        *(Unit(name, "disabled") for name in names),
        *(Forbidden(name) for name in names),
    )


def _quiet() -> list[Contribution]:
    # A journal in memory counts as used memory, in files of 8 MiB unless told otherwise.
    journal = File(
        "/etc/systemd/journald.conf.d/archibald.conf",
        b"[Journal]\nStorage=volatile\nRuntimeMaxUse=8M\nRuntimeMaxFileSize=512K\n",
    )
    found = contributions(_because("the live system's journal stays small"), journal)
    for name, what in _DISTURBING_TIMERS.items():
        found += _off(f"{what} at its own time, which may be during a recording", (name,))
    for name, what in _UNWANTED_SERVICES.items():
        found += _off(f"{what}; start it by hand where it is needed", (name,))
    return found


def _network(profile: Profile) -> list[Contribution]:
    key = ("system.network",)
    choice = profile.system.network
    manager = "NetworkManager.service" if profile.desktop.enable else "systemd-networkd.service"
    found: list[Contribution] = []
    if choice != "off":
        found += _network_manager(key) if profile.desktop.enable else _networkd(key)
    if choice == "on":
        origin = _because("the network starts at boot", key)
        found += contributions(origin, Unit(manager, "enabled", wanted_by="multi-user.target"))
        if not profile.desktop.enable:
            resolved = Unit("systemd-resolved.service", "enabled", wanted_by="sysinit.target")
            found += contributions(origin, resolved)
    idle = {
        "NetworkManager.service",
        "systemd-networkd.service",
        "systemd-resolved.service",
    } - ({manager, "systemd-resolved.service"} if choice == "on" else set())
    why = "the network starts only when it is asked for" if choice == "on-demand" else (
        "no network in this system" if choice == "off" else "another network manager runs"
    )  # fmt: skip
    return found + _off(why, tuple(sorted(idle)), key)


def _network_manager(key: tuple[str, ...]) -> list[Contribution]:
    helpers = (
        "NetworkManager-dispatcher.service",
        "NetworkManager-wait-online.service",
        "wpa_supplicant.service",
    )
    why = "manages wired and wireless networks from the desktop"
    return [
        *contributions(
            _because(why, (*key, "desktop.enable")),
            Package("network-manager"),
            Package("wpasupplicant"),
            Package("wireless-regdb"),
            Link("/etc/resolv.conf", "/run/NetworkManager/resolv.conf"),
        ),
        *contributions(
            _because("NetworkManager starts it when needed; alone it only costs boot time", key),
            *(Unit(name, "disabled") for name in helpers),
        ),
    ]


def _networkd(key: tuple[str, ...]) -> list[Contribution]:
    sockets = ("systemd-resolved-monitor.socket", "systemd-resolved-varlink.socket")
    late = ("systemd-networkd-wait-online.service", *sockets)
    return [
        *contributions(
            _because("an address by DHCP on wired networks, and names", key),
            Package("systemd-resolved"),
            text_file("/etc/systemd/network/80-archibald.network", _DHCP, keys="system.network"),
            text_file(
                "/etc/systemd/resolved.conf.d/archibald.conf", _RESOLVED, keys="system.network"
            ),
            text_file(
                "/etc/systemd/system/systemd-networkd.service.d/archibald.conf",
                _RESOLVED_WITH_NETWORKD,
                keys="system.network",
            ),
            Link("/etc/resolv.conf", "/run/systemd/resolve/stub-resolv.conf"),
        ),
        *contributions(
            _because("would delay the boot or start the resolver on its own", key),
            *(Unit(name, "disabled") for name in late),
        ),
    ]


def _bluetooth(system: System) -> list[Contribution]:
    key = ("system.bluetooth",)
    if system.bluetooth:
        return contributions(
            _because("Bluetooth is wanted", key),
            Package("bluez"),
            Unit("bluetooth.service", "enabled", wanted_by="bluetooth.target"),
        )
    return _off("radio work of Bluetooth causes xruns", ("bluetooth.service",), key)


def _virtual_machines(system: System) -> list[Contribution]:
    if system.virtual_machines:
        return []
    return contributions(
        _because(
            "KVM takes memory, and its guests take the CPU from audio threads",
            ("system.virtual_machines",),
        ),
        text_file("/etc/modprobe.d/archibald-kvm.conf", _NO_KVM, keys="system.virtual_machines"),
    )
