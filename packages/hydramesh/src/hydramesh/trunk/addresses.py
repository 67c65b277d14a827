"""The addresses of this machine that others may reach."""

from __future__ import annotations

import fcntl
import ipaddress
import socket
import struct
from pathlib import Path

from hydramesh.errors import PortTaken

_SIOCGIFADDR = 0x8915


def _ipv4() -> list[str]:
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                asked = struct.pack("256s", name.encode()[:15])
                answer = fcntl.ioctl(probe, _SIOCGIFADDR, asked)
            except OSError:
                continue  # an interface without an address
            found.append(socket.inet_ntoa(answer[20:24]))
    return found


def _ipv6() -> list[str]:
    try:
        lines = Path("/proc/self/net/if_inet6").read_text(encoding="ascii").splitlines()
    except OSError:
        return []
    return [str(ipaddress.IPv6Address(int(line.split()[0], 16))) for line in lines if line]


def own_addresses() -> list[str]:
    """Addresses of all interfaces that are up, IPv4 first; loopback only if there is no other."""
    found = [ipaddress.ip_address(each) for each in (*_ipv4(), *_ipv6())]
    useful = [str(each) for each in found if not each.is_loopback and not each.is_link_local]
    return list(dict.fromkeys(useful))[:6] or ["127.0.0.1"]


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", 0))
        except OSError as error:
            raise PortTaken("no loopback port is free", why=str(error)) from None
        return int(probe.getsockname()[1])
