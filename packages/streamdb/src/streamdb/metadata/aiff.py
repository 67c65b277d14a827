"""AIFF and AIFF-C: format, length, texts, markers and the instrument chunk.

Source: Apple's Audio Interchange File Format, version 1.3, and its AIFF-C draft.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from streamdb.metadata import id3
from streamdb.metadata.draft import MAX_ITEMS, Draft, decode
from streamdb.metadata.reading import MAX_CHUNKS, Source

_CODECS = {
    b"fl32": "float32",
    b"FL32": "float32",
    b"fl64": "float64",
    b"FL64": "float64",
    b"ulaw": "ulaw",
    b"ULAW": "ulaw",
    b"alaw": "alaw",
    b"ALAW": "alaw",
    b"ima4": "adpcm_ima",
}
_LINEAR = {b"NONE", b"twos", b"sowt", b"in24", b"in32", b"raw "}
_TEXTS = {b"NAME": "title", b"AUTH": "artist", b"(c) ": "copyright", b"ANNO": "comment"}


def read(source: Source, draft: Draft) -> None:
    """Read an AIFF or AIFF-C file into the draft."""
    draft.put("format", "aiff")
    frame_bytes = frames = sound = None
    markers: dict[int, tuple[int, str]] = {}
    instrument = b""
    for name, offset, size in _walk(source, draft):
        if name == b"SSND":
            sound = max(0, min(size, source.size - offset) - 8)
        elif name == b"COMM":
            frames, frame_bytes = _read_common(source.at(offset, min(size, 256)), draft)
        elif name in _TEXTS:
            draft.put(_TEXTS[name], decode(source.at(offset, size)))
        elif name == b"MARK":
            markers = dict(_markers(source.at(offset, size)))
        elif name == b"INST":
            instrument = source.at(offset, min(size, 20))
        elif name == b"ID3 ":
            id3.read(source.at(offset, size), draft)
    _read_instrument(instrument, markers, draft)
    draft.put_markers(markers.values())
    _finish(frames, frame_bytes, sound, draft)


def _walk(source: Source, draft: Draft) -> Iterator[tuple[bytes, int, int]]:
    position = 12
    for _ in range(MAX_CHUNKS):
        header = source.at(position, 8)
        if len(header) < 8:
            return
        name, size = struct.unpack(">4sI", header)
        offset = position + 8
        if name != b"SSND" and offset + size > source.size:
            draft.problem(
                f"the chunk {name.decode('latin-1')!r} says {size} bytes, "
                f"{source.size - offset} are left in the file"
            )
        yield name, offset, size
        position = offset + size + size % 2
    draft.problem(f"more than {MAX_CHUNKS} chunks; the rest was not read")


def _read_common(body: bytes, draft: Draft) -> tuple[int | None, int | None]:
    """Format and length: (frames, bytes per frame or None where they vary)."""
    if len(body) < 18:
        draft.problem("the format chunk is too short")
        return None, None
    channels, frames, bits, exponent, mantissa = struct.unpack_from(">hIhHQ", body)
    rate = _extended(exponent, mantissa)
    compression = body[18:22] if len(body) >= 22 else b"NONE"
    linear = compression in _LINEAR
    codec = f"pcm_s{bits}" if linear else _CODECS.get(compression, decode(compression))
    draft.put("codec", codec)
    draft.put("rate", rate)
    draft.put("channels", channels)
    if linear or codec.startswith("float"):
        draft.put("bits", bits)
    if channels <= 0 or rate <= 0:
        draft.problem(f"the format chunk says {channels} channels at {rate} Hz")
        return frames, None
    draft.put_length(frames, rate)
    width = (bits + 7) // 8
    return frames, channels * width if linear and width > 0 else None


def _extended(exponent: int, mantissa: int) -> int:
    """A sample rate from an 80-bit float, in whole hertz; 0 when it is none."""
    shift = (exponent & 0x7FFF) - 16383 - 63
    if exponent & 0x8000 or not -63 <= shift <= 0:
        return 0
    return round(mantissa / (1 << -shift))


def _finish(frames: int | None, frame_bytes: int | None, sound: int | None, draft: Draft) -> None:
    if frames is None:
        draft.problem("there is no format chunk")
    if sound is None:
        if frames:
            draft.problem("there is no audio data")
    elif frames and frame_bytes and sound < frames * frame_bytes:
        draft.problem(f"the audio is cut off: {sound} of {frames * frame_bytes} bytes are there")


def _markers(body: bytes) -> Iterator[tuple[int, tuple[int, str]]]:
    if len(body) < 2:
        return
    (count,) = struct.unpack_from(">H", body)
    position = 2
    for _ in range(min(count, MAX_ITEMS)):
        if position + 7 > len(body):
            return
        number, frame, length = struct.unpack_from(">hIB", body, position)
        label = body[position + 7 : position + 7 + length]
        yield number, (frame, decode(label))
        position += 7 + length + (length + 1) % 2  # a Pascal string fills an even number of bytes


def _read_instrument(body: bytes, markers: dict[int, tuple[int, str]], draft: Draft) -> None:
    if len(body) < 20:
        return
    draft.put("root_note", body[0] or None)
    mode, begin, end = struct.unpack_from(">hhh", body, 8)
    if mode in {1, 2}:
        draft.put("loop", value=True)
        if begin in markers and end in markers:
            draft.put("loop_start", markers[begin][0])
            draft.put("loop_end", markers[end][0])
