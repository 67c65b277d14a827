"""What a program needs to run: its loader and libraries, read from its ELF headers. Pure.

Only 64-bit little-endian files, as images of amd64 have them (elf(5)).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NULL, _DT_NEEDED, _DT_STRTAB = 0, 1, 5


class _Segment(NamedTuple):
    kind: int
    offset: int
    address: int
    size: int


class Needs(NamedTuple):
    """The dynamic loader ("" for libraries and static programs) and the names of libraries."""

    loader: str
    libraries: tuple[str, ...]


def needs(data: bytes) -> Needs:
    """Return what an ELF file needs. Raises ValueError when it is none."""
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("no 64-bit ELF file")
    try:
        segments = _segments(data)
        loader = next((_text(data, s.offset) for s in segments if s.kind == _PT_INTERP), "")
        return Needs(loader, tuple(_libraries(data, segments)))
    except (struct.error, IndexError) as error:
        raise ValueError(f"a damaged ELF file: {error}") from None


def _segments(data: bytes) -> list[_Segment]:
    start = struct.unpack_from("<Q", data, 32)[0]
    size, count = struct.unpack_from("<HH", data, 54)
    found = []
    for number in range(count):
        kind, _flags, offset, address, _physical, length = struct.unpack_from(
            "<IIQQQQ", data, start + number * size
        )
        found.append(_Segment(kind, offset, address, length))
    return found


def _libraries(data: bytes, segments: list[_Segment]) -> list[str]:
    dynamic = next((s for s in segments if s.kind == _PT_DYNAMIC), None)
    if dynamic is None:
        return []
    names, table = [], 0
    for position in range(dynamic.offset, dynamic.offset + dynamic.size, 16):
        tag, value = struct.unpack_from("<QQ", data, position)
        if tag == _DT_NULL:
            break
        if tag == _DT_NEEDED:
            names.append(value)
        elif tag == _DT_STRTAB:
            table = _file_offset(value, segments)
    return [_text(data, table + name) for name in names]


def _file_offset(address: int, segments: list[_Segment]) -> int:
    for segment in segments:
        if segment.kind == _PT_LOAD and 0 <= address - segment.address < segment.size:
            return segment.offset + address - segment.address
    raise IndexError("the table of names lies in no segment")


def _text(data: bytes, offset: int) -> str:
    end = data.index(b"\0", offset)
    return data[offset:end].decode("utf-8", "replace")
