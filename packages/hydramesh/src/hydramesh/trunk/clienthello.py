"""The one fact of a TLS ClientHello that we route by: the server name that the client asks for."""

from __future__ import annotations

from hydramesh.errors import HydraMeshError

_WHAT = "a connection did not begin as TLS does"
MAX_HELLO = 5 + 16384
_HANDSHAKE, _CLIENT_HELLO, _SERVER_NAME = 22, 1, 0


class NotTls(HydraMeshError):
    """The bytes are no TLS ClientHello."""

    exit_code = 4


class _Cut(Exception):
    """The bytes end too early."""


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise _Cut
        part = self.data[self.at : self.at + count]
        self.at += count
        return part

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def vector(self, count: int) -> bytes:
        """Bytes with their length ahead, of ``count`` bytes."""
        return self.take(self.number(count))

    def left(self) -> int:
        return len(self.data) - self.at


def server_name(data: bytes) -> str | None:
    """The name asked for ("" if none), or None while more bytes are needed.

    Raises ``NotTls`` for anything but the beginning of a TLS connection.
    """
    if data and data[0] != _HANDSHAKE:
        raise NotTls(_WHAT)
    if len(data) < 5:
        return None
    if data[1] != 3:
        raise NotTls(_WHAT)
    length = int.from_bytes(data[3:5], "big")
    if not 4 < length <= MAX_HELLO - 5:
        raise NotTls(_WHAT)
    if len(data) < 5 + length:
        return None
    try:
        return _from_handshake(_Reader(data[5 : 5 + length]))
    except _Cut:
        # A ClientHello over several records: no client of ours sends one.
        raise NotTls(_WHAT) from None


def _from_handshake(reader: _Reader) -> str:
    if reader.number(1) != _CLIENT_HELLO:
        raise NotTls(_WHAT)
    hello = _Reader(reader.vector(3))
    hello.take(2 + 32)
    hello.vector(1)
    hello.vector(2)
    hello.vector(1)
    if not hello.left():
        return ""
    extensions = _Reader(hello.vector(2))
    while extensions.left():
        kind, body = extensions.number(2), extensions.vector(2)
        if kind == _SERVER_NAME:
            return _first_name(_Reader(body))
    return ""


def _first_name(reader: _Reader) -> str:
    names = _Reader(reader.vector(2))
    kind, name = names.number(1), names.vector(2)
    return name.decode("ascii", "replace") if kind == 0 else ""
