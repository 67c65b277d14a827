"""Invites: a short code that tells where the realm's authority is, and proves that it is the one.

The code holds, in this order: a version byte, 16 bytes that pin the CA, the secret (16 bytes), the
expiry (4 bytes, seconds since 1970), the endpoints, and two bytes of SHA-256 against typing errors.
It is written in Crockford's base 32, which has no letters that look alike.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass

from hydramesh.errors import InvalidArgument, InviteExpired, InviteMalformed
from hydramesh.identity.certs import PIN_BYTES, span_text

SECRET_BYTES = 16
MAX_LIFE_S = 7 * 24 * 3600
MIN_LIFE_S = 10
MAX_ENDPOINTS = 4
MAX_CODE = 600
_VERSION = 1
_PREFIX = "HM1"
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?", re.IGNORECASE)
_BAD = "see that the whole code was copied, or ask for a new one"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a port can be reached; ``host`` is an address or a name."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Invite:
    """A one-time invite. ``repr`` does not show the secret."""

    pin: bytes
    secret: bytes
    expires: int
    endpoints: tuple[Endpoint, ...]

    def __repr__(self) -> str:
        return f"Invite(realm={self.pin.hex()[:8]}, expires={self.expires})"


def parse_endpoint(text: str, default_port: int = 0) -> Endpoint:
    """Read ``host:port``, ``[v6]:port``, or a host alone if there is a default port.

    >>> parse_endpoint("[::1]:7777"), parse_endpoint("studio.lan", 50051)
    (Endpoint(host='::1', port=7777), Endpoint(host='studio.lan', port=50051))
    """
    found = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\s]+))(?::([0-9]{1,5}))?", text)
    host = (found[1] or found[2]) if found else ""
    port = int(found[3]) if found and found[3] else default_port
    if not 1 <= port <= 65535 or not (_is_address(host) or _HOST.fullmatch(host)):
        raise InvalidArgument(
            f"not an endpoint: {text[:80]!a}",
            next_step="write HOST:PORT, for example 10.0.0.2:7777",
        )
    return Endpoint(host, port)


def _is_address(host: str) -> bool:
    try:
        return "%" not in host and bool(ipaddress.ip_address(host))
    except ValueError:
        return False


def secret_digest(secret: bytes) -> str:
    """What the ledger keeps of a secret."""
    return hashlib.sha256(b"hydramesh invite" + secret).hexdigest()


def _encode_endpoint(endpoint: Endpoint) -> bytes:
    port = endpoint.port.to_bytes(2, "big")
    if _is_address(endpoint.host):
        address = ipaddress.ip_address(endpoint.host)
        return bytes([address.version]) + address.packed + port
    name = endpoint.host.encode("ascii")
    return bytes([0, len(name)]) + name + port


def encode(invite: Invite) -> str:
    """The code of an invite."""
    body = bytes([_VERSION]) + invite.pin + invite.secret + invite.expires.to_bytes(4, "big")
    body += bytes([len(invite.endpoints)])
    body += b"".join(_encode_endpoint(each) for each in invite.endpoints)
    body += hashlib.sha256(body).digest()[:2]
    bits = "".join(f"{byte:08b}" for byte in body)
    bits += "0" * (-len(bits) % 5)
    text = "".join(_ALPHABET[int(bits[at : at + 5], 2)] for at in range(0, len(bits), 5))
    groups = [text[at : at + 5] for at in range(0, len(text), 5)]
    return "-".join([_PREFIX, *groups])


def _to_bytes(code: str) -> bytes:
    if len(code) > MAX_CODE:
        raise InviteMalformed("this is not an invite", why="it is too long", next_step=_BAD)
    plain = re.sub(r"[\s-]", "", code).upper()
    if not plain.startswith(_PREFIX):
        raise InviteMalformed(
            "this is not an invite", why=f"an invite begins with {_PREFIX}", next_step=_BAD
        )
    letters = plain[len(_PREFIX) :].translate(str.maketrans("OIL", "011"))
    if any(letter not in _ALPHABET for letter in letters):
        raise InviteMalformed(
            "the invite's code is damaged",
            why="it holds a character that no code has",
            next_step=_BAD,
        )
    bits = "".join(f"{_ALPHABET.index(letter):05b}" for letter in letters)
    whole = len(bits) // 8 * 8
    if "1" in bits[whole:] or len(bits) - whole > 4:
        raise InviteMalformed("the invite's code is cut off", next_step=_BAD)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, whole, 8))


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise InviteMalformed("the invite's code is cut off", next_step=_BAD)
        part = self.data[self.at : self.at + count]
        self.at += count
        return part

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")


def _decode_endpoint(reader: _Reader) -> Endpoint:
    kind = reader.number(1)
    if kind in (4, 6):
        host = str(ipaddress.ip_address(reader.take(4 if kind == 4 else 16)))
    elif kind == 0:
        host = reader.take(reader.number(1)).decode("ascii", "replace")
        if not _HOST.fullmatch(host):
            raise InviteMalformed("the invite names a host that cannot be one", next_step=_BAD)
    else:
        raise InviteMalformed("the invite has an endpoint of an unknown kind", next_step=_BAD)
    port = reader.number(2)
    if not port:
        raise InviteMalformed("the invite names port 0", next_step=_BAD)
    return Endpoint(host, port)


def decode(code: str) -> Invite:
    """Read a code; says what is wrong with it, never what is in it."""
    data = _to_bytes(code)
    body, check = data[:-2], data[-2:]
    if len(data) < 3 or hashlib.sha256(body).digest()[:2] != check:
        raise InviteMalformed(
            "the invite's code is mistyped or cut off",
            why="its check digits do not fit",
            next_step=_BAD,
        )
    reader = _Reader(body)
    if reader.number(1) != _VERSION:
        raise InviteMalformed(
            "the invite is of a newer version", next_step="update hydramesh on this machine"
        )
    pin, secret, expires = reader.take(PIN_BYTES), reader.take(SECRET_BYTES), reader.number(4)
    count = reader.number(1)
    if not 1 <= count <= MAX_ENDPOINTS:
        raise InviteMalformed("the invite names no endpoint, or too many", next_step=_BAD)
    endpoints = tuple(_decode_endpoint(reader) for _ in range(count))
    if reader.at != len(body):
        raise InviteMalformed("the invite has bytes behind its end", next_step=_BAD)
    return Invite(pin, secret, expires, endpoints)


def check_not_expired(expires: float, now: float) -> None:
    """Refuse an invite whose time is over."""
    if now >= expires:
        raise InviteExpired(
            "the invite has expired",
            why=f"{span_text(now - expires)} ago",
            next_step="ask for a new one: hydramesh invite",
        )
