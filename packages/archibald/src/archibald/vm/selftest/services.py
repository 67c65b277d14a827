"""Probes of services, of the network, and of the installed packages."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import dataclass

from archibald.system.spec import Forbidden
from archibald.vm.selftest.expectation import Expectation
from archibald.vm.selftest.model import (
    Check,
    NotApplicableError,
    UnreadableError,
    Verdict,
    make_check,
    verdict,
)
from archibald.vm.selftest.reader import Reader

GROUP = "services"

#: Written by the image builder: every package with its version, as the lock has it.
MANIFEST = "/usr/lib/archibald/manifest.json"

#: A DHCP client holds these while the network is on; nothing can be asked of it there.
_DHCP_CLIENT = frozenset({("udp", 68), ("udp6", 546)})


def services_checks(reader: Reader, expected: Expectation) -> list[Check]:
    """Return all checks of this group."""
    return [
        failed_units(reader, "system"),
        failed_units(reader, "user"),
        forbidden(reader, expected),
        listening(reader, expected),
        packages(reader),
    ]


def failed_units(reader: Reader, scope: str) -> Check:
    """No unit of the system's or the session's systemd has failed."""

    def judge() -> Verdict:
        text = reader.command(
            ["systemctl", f"--{scope}", "list-units", "--state=failed", "--plain", "--no-legend",
             "--no-pager", "--full"],
            in_session=scope == "user",
        )  # fmt: skip
        failed = parse_unit_list(text)
        return verdict(not failed, ", ".join(failed) or "none", text)

    return make_check(f"units.failed-{scope}", GROUP, "none", judge)


def parse_unit_list(text: str) -> list[str]:
    """Return the unit names of ``systemctl list-units --plain --no-legend``."""
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def forbidden(reader: Reader, expected: Expectation) -> Check:
    """No unit that the profile forbids is active."""
    names = [item.unit for item in expected.spec.of(Forbidden)]

    def judge() -> Verdict:
        if not names:
            raise NotApplicableError("the profile forbids no unit")
        text = reader.command(
            ["systemctl", "show", "--property=Id,LoadState,ActiveState", "--", *names]
        )
        states = parse_unit_states(text)
        if len(states) != len(names):
            raise ValueError(f"asked for {len(names)} units, got {len(states)}")
        active = [
            name
            for name, state in zip(names, states, strict=True)
            if state.get("ActiveState") not in ("inactive", "failed")
        ]
        observed = f"active: {', '.join(active)}" if active else f"none of {len(names)} is active"
        rows = [
            f"{name}: {state.get('LoadState')} {state.get('ActiveState')}"
            for name, state in zip(names, states, strict=True)
        ]
        return verdict(not active, observed, "\n".join(rows))

    return make_check("units.forbidden", GROUP, f"none of {len(names)} is active", judge)


def parse_unit_states(text: str) -> list[dict[str, str]]:
    """Return the property blocks of ``systemctl show`` in the order of the units asked for."""
    blocks = [block for block in re.split(r"\n\s*\n", text.strip()) if block.strip()]
    return [
        dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        for block in blocks
    ]


@dataclass(frozen=True)
class Socket:
    """A socket that waits for others to come."""

    protocol: str
    address: str
    port: int
    inode: str

    @property
    def on_loopback(self) -> bool:
        """Only this machine can reach it."""
        address = ipaddress.ip_address(self.address)
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.protocol} {host}:{self.port}"


def parse_sockets(text: str, protocol: str) -> list[Socket]:
    """Return the waiting sockets of /proc/net/{tcp,tcp6,udp,udp6}.

    Waiting is state 0A (listen) for TCP and 07 (unconnected) for UDP; addresses are 32-bit words
    in host byte order.
    """
    wanted = "0A" if protocol.startswith("tcp") else "07"
    lines = text.splitlines()
    if not lines or "local_address" not in lines[0]:
        raise ValueError(f"no socket table: {text[:80]!r}")
    found = []
    for line in lines[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != wanted:
            continue
        words, _, port = fields[1].partition(":")
        raw = b"".join(
            bytes.fromhex(words[start : start + 8])[::-1] for start in range(0, len(words), 8)
        )
        found.append(Socket(protocol, str(ipaddress.ip_address(raw)), int(port, 16), fields[9]))
    return found


def listening(reader: Reader, expected: Expectation) -> Check:
    """Nothing on this machine waits for others on the network."""

    def judge() -> Verdict:
        sockets: list[Socket] = []
        for protocol in ("tcp", "tcp6", "udp", "udp6"):
            try:
                table = reader.text(f"/proc/net/{protocol}")
            except UnreadableError:
                if protocol.endswith("6"):
                    continue  # a kernel without IPv6
                raise
            sockets += parse_sockets(table, protocol)
        tolerated = _DHCP_CLIENT if expected.profile.system.network == "on" else frozenset()
        exposed = [
            item
            for item in sockets
            if not item.on_loopback and (item.protocol, item.port) not in tolerated
        ]
        owners = _owners(reader, {item.inode for item in sockets})
        rows = [f"{item}  {owners.get(item.inode, 'unknown owner')}" for item in sockets]
        named = [f"{item} ({owners.get(item.inode, 'unknown owner')})" for item in exposed]
        local = f"nothing ({len(sockets)} on loopback)" if sockets else "nothing"
        return verdict(not exposed, ", ".join(named) or local, "\n".join(rows))

    return make_check("network.listening", GROUP, "nothing", judge)


def _owners(reader: Reader, inodes: set[str]) -> dict[str, str]:
    """Return ``inode → process`` for the sockets, as far as the rights go."""
    owners: dict[str, str] = {}
    if not inodes:
        return owners
    for pid in [name for name in reader.names("/proc") if name.isdigit()]:
        try:
            links = [reader.link(f"/proc/{pid}/fd/{fd}") for fd in reader.names(f"/proc/{pid}/fd")]
            comm = reader.text(f"/proc/{pid}/comm").strip()
        except UnreadableError:
            continue  # it ended meanwhile, or belongs to another user
        for link in links:
            found = re.fullmatch(r"socket:\[(\d+)\]", link)
            if found and found.group(1) in inodes:
                owners[found.group(1)] = f"{comm}[{pid}]"
    return owners


def packages(reader: Reader) -> Check:
    """The installed packages are those of the lock that the image was built from."""

    def judge() -> Verdict:
        wanted = parse_manifest(reader.text(MANIFEST))
        text = reader.command(
            ["dpkg-query", "-W", "-f", "${db:Status-Status}\t${Package}\t${Version}\n"]
        )
        installed = parse_dpkg(text)
        differences = compare_packages(wanted, installed)
        observed = f"{len(differences)} differ" if differences else f"{len(installed)} packages"
        return verdict(not differences, observed, "\n".join(differences))

    return make_check("packages.lock", "packages", "every package as the lock has it", judge)


def parse_manifest(text: str) -> dict[str, str]:
    """Return ``package → version`` of the image's manifest."""
    try:
        packages_table = json.loads(text)["packages"]
    except (json.JSONDecodeError, KeyError, TypeError):
        raise ValueError(f"{MANIFEST} is not a manifest") from None
    if not isinstance(packages_table, dict) or not packages_table:
        raise ValueError(f"{MANIFEST} lists no packages")
    return {str(name): str(version) for name, version in packages_table.items()}


def parse_dpkg(text: str) -> dict[str, str]:
    """Return ``package → version`` of what is installed; removed packages do not count."""
    rows = [line.split("\t") for line in text.splitlines() if line.count("\t") == 2]
    return {name: version for status, name, version in rows if status == "installed"}


def compare_packages(wanted: dict[str, str], installed: dict[str, str]) -> list[str]:
    """Return one line per difference."""
    lines = []
    for name in sorted({*wanted, *installed}):
        left, right = wanted.get(name), installed.get(name)
        if left != right:
            lines.append(f"{name}: lock {left or 'without it'}, installed {right or 'not'}")
    return lines
