"""Checksums and addresses: what finds a flipped bit, and what names a chunk.

CRC-32C guards every record, block and chunk against damage by accident; it is hardware work, so
that reading with checks costs next to nothing. BLAKE3 names content: two chunks with one address
are one chunk. The packages behind both are imported on first use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from blake3 import blake3

Buffer: TypeAlias = bytes | bytearray | memoryview

ADDRESS_BYTES = 32

_crc: Callable[[Buffer, int], int] | None = None
_blake3: type[blake3] | None = None


def crc32c(data: Buffer, value: int = 0) -> int:
    """CRC-32C (Castagnoli, RFC 3720) of ``data``: 0 to 2**32 - 1.

    ``value`` is the result for what came before ``data``, so that long content is checked in
    pieces. Memory views are read in place.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    >>> crc32c(b"6789", crc32c(b"12345")) == crc32c(b"123456789")
    True
    """
    global _crc
    if _crc is None:
        from crc32c import crc32c as implementation

        _crc = implementation
    return _crc(data, value)


def hasher(key: bytes | None = None) -> blake3:
    """A BLAKE3 state to feed piece by piece (``update``, ``digest``, ``hexdigest``).

    ``key`` is 32 bytes or None. The digest of all pieces equals :func:`address` of their sum.

    >>> state = hasher()
    >>> _ = state.update(b"kick ").update(b"drum")
    >>> state.digest() == address(b"kick drum")
    True
    """
    global _blake3
    if _blake3 is None:
        from blake3 import blake3 as implementation

        _blake3 = implementation
    return _blake3() if key is None else _blake3(key=key)


def address(data: Buffer, key: bytes | None = None) -> bytes:
    """The 32 bytes that name ``data``: its BLAKE3 digest, keyed where ``key`` (32 bytes) is given.

    >>> address(b"").hex()[:16]
    'af1349b9f5f9a1a6'
    """
    if key is None and _blake3 is not None:
        return _blake3(data).digest()
    return hasher(key).update(data).digest()
