"""Hostile bytes from honest ones: truncated, damaged, spliced, repeated, with false lengths."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

MOST_BYTES = 1 << 16

#: What makes a careless reader allocate, loop or recurse: lengths of MessagePack, protobuf, DER and
#: plain integers, and nesting.
BOMBS = (
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\xff" * 9 + b"\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\x07",
    b"\x0a\xff\xff\xff\xff\x07",
    b"\xdd\xff\xff\xff\xff",
    b"\xdc\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdb\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",
    b"\xcf" + b"\xff" * 8,
    b"\xcb\x7f\xf8" + bytes(6),
    b"\x30\x84\xff\xff\xff\xff",
    b"\x91" * 2000,
    b"\x0b" * 2000,
    b"\x80" * 40,
    "𐀀\u202e\x00../".encode(),
    b"\xed\xa0\x80",
)


def _noise(rng: random.Random, most: int) -> bytes:
    return rng.randbytes(rng.randint(0, most))


def _cut(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytes:
    return bytes(data[: rng.randint(0, len(data))])


def _flip(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytes:
    for _n in range(rng.choice((1, 1, 2, 5, 20))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(data)


def _overwrite(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytes:
    for _n in range(rng.choice((1, 1, 3))):
        if data:
            data[rng.randrange(len(data))] = rng.choice(
                (0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256))
            )
    return bytes(data)


def _bomb(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytes:
    at = rng.randint(0, len(data))
    bomb = rng.choice(BOMBS)
    end = at + (len(bomb) if rng.random() < 0.7 else 0)
    return bytes(data[:at]) + bomb + bytes(data[end:])


def _drop(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytes:
    at = rng.randint(0, len(data))
    del data[at : at + rng.randint(1, 16)]
    return bytes(data)


def _insert(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytes:
    at = rng.randint(0, len(data))
    data[at:at] = _noise(rng, 16)
    return bytes(data)


def _repeat(rng: random.Random, data: bytearray, _: Sequence[bytes]) -> bytes:
    at = rng.randint(0, len(data))
    part = data[at : at + rng.randint(1, 64)]
    data[at:at] = part * rng.choice((1, 2, 50))
    return bytes(data)


def _splice(rng: random.Random, data: bytearray, valid: Sequence[bytes]) -> bytes:
    other = rng.choice(valid)
    return bytes(data[: rng.randint(0, len(data))]) + other[rng.randint(0, len(other)) :]


_Change = Callable[[random.Random, bytearray, Sequence[bytes]], bytes]
_CHANGES: tuple[_Change, ...] = (
    _cut, _flip, _flip, _overwrite, _bomb, _bomb, _drop, _insert, _repeat, _splice,
)  # fmt: skip


def hostile(rng: random.Random, valid: Sequence[bytes]) -> bytes:
    """One input: now and then plain noise, mostly an honest message, changed once or twice."""
    if rng.random() < 0.1:
        return rng.choice(BOMBS) * rng.randint(0, 2) + _noise(rng, rng.choice((4, 64, 1024)))
    data = rng.choice(valid)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        data = rng.choice(_CHANGES)(rng, bytearray(data), valid)
    return data[:MOST_BYTES]
