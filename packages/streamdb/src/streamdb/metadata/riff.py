"""WAV, Broadcast WAV, RF64 and BW64: format, length, and every chunk that says more."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from streamdb.metadata import chunks, id3
from streamdb.metadata.draft import Draft
from streamdb.metadata.reading import MAX_CHUNKS, Source

_UNKNOWN_SIZE = 0xFFFFFFFF

#: Format tags of WAVEFORMATEX; those of uncompressed audio are named with their bits.
_CODECS = {
    0x0001: "pcm",
    0x0002: "adpcm_ms",
    0x0003: "float",
    0x0006: "alaw",
    0x0007: "ulaw",
    0x0011: "adpcm_ima",
    0x0031: "gsm610",
    0x0050: "mp2",
    0x0055: "mp3",
    0x2000: "ac3",
    0x674F: "vorbis",
    0xF1AC: "flac",
}
_EXTENSIBLE = 0xFFFE
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")


@dataclass(slots=True)
class _Wave:
    """What the chunks say together: lengths need format, data size and sample count."""

    codec: str = ""
    rate: int = 0
    block: int = 0
    samples: int | None = None
    data_size64: int | None = None
    data: tuple[int, int] | None = None  # declared and present bytes
    labels: dict[int, str] = field(default_factory=dict)
    cues: list[tuple[int, int]] = field(default_factory=list)


def read(source: Source, draft: Draft) -> None:
    """Read a RIFF WAVE file into the draft."""
    draft.put("format", "wav")
    wave = _Wave()
    for name, offset, declared in _walk(source, wave, draft):
        present = max(0, min(declared, source.size - offset))
        if name == b"data":
            wave.data = (declared, present)
        elif name == b"fmt ":
            _read_format(source.at(offset, min(present, 64)), wave, draft)
        elif name in _READERS or name in {b"LIST", b"cue ", b"fact"}:
            _read_chunk(name, source.at(offset, present), wave, draft)
    _finish(wave, draft)


def _walk(source: Source, wave: _Wave, draft: Draft) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of the file: name, offset of the body, declared size."""
    long_form = source.at(0, 4) in {b"RF64", b"BW64"}
    position = 12
    for _ in range(MAX_CHUNKS):
        header = source.at(position, 8)
        if len(header) < 8:
            # Trailing zeros and single bytes are left behind by recorders; they harm nothing.
            return
        name, size = struct.unpack("<4sI", header)
        offset = position + 8
        if name == b"ds64":
            _read_ds64(source.at(offset, min(size, 28)), wave)
        elif name == b"data" and long_form and wave.data_size64 and size == _UNKNOWN_SIZE:
            size = wave.data_size64
        elif name == b"data" and size == _UNKNOWN_SIZE:
            size = source.size - offset  # streamed: the writer could not go back
        if name != b"data" and offset + size > source.size:
            draft.problem(
                f"the chunk {_printable(name)} says {size} bytes, "
                f"{source.size - offset} are left in the file"
            )
        yield name, offset, size
        position = offset + size + size % 2
    draft.problem(f"more than {MAX_CHUNKS} chunks; the rest was not read")


def _printable(name: bytes) -> str:
    return repr(name.decode("latin-1"))


def _read_ds64(body: bytes, wave: _Wave) -> None:
    if len(body) >= 24:
        _riff, wave.data_size64, samples = struct.unpack_from("<QQQ", body)
        wave.samples = samples or None


def _read_format(body: bytes, wave: _Wave, draft: Draft) -> None:
    if len(body) < 16:
        draft.problem("the format chunk is too short")
        return
    tag, channels, rate, byte_rate, block, bits = struct.unpack_from("<HHIIHH", body)
    if tag == _EXTENSIBLE and len(body) >= 40 and body[26:40] == _GUID_TAIL:
        (tag,) = struct.unpack_from("<H", body, 24)
        bits = struct.unpack_from("<H", body, 18)[0] or bits  # the valid bits of the container's
    kind = _CODECS.get(tag, f"wave_{tag:#06x}")
    linear = kind in {"pcm", "float"}
    if kind == "pcm":
        kind = f"pcm_{'u' if bits <= 8 else 's'}{bits}"
    elif kind == "float":
        kind = f"float{bits}"
    # Frames of uncompressed audio and of A-law and u-law have one length; others are counted.
    even = linear or kind in {"alaw", "ulaw"}
    wave.codec, wave.rate, wave.block = kind, rate, block if even else 0
    if not channels or not rate or (linear and not block):
        draft.problem(
            f"the format chunk says {channels} channels at {rate} Hz, {block} byte frames"
        )
    draft.put("codec", kind)
    draft.put("rate", rate)
    draft.put("channels", channels)
    if linear:
        draft.put("bits", bits)
    else:
        draft.put("bitrate", byte_rate * 8)


def _read_chunk(name: bytes, body: bytes, wave: _Wave, draft: Draft) -> None:
    if name == b"LIST":
        if body[:4] == b"INFO":
            chunks.read_info(body[4:], draft)
        elif body[:4] == b"adtl":
            wave.labels.update(chunks.read_labels(body[4:]))
    elif name == b"cue ":
        wave.cues.extend(chunks.read_cues(body))
    elif name == b"fact":
        if len(body) >= 4 and wave.samples is None:
            (wave.samples,) = struct.unpack_from("<I", body)
    else:
        _READERS[name](body, draft)


def _finish(wave: _Wave, draft: Draft) -> None:
    if not wave.codec:
        draft.problem("there is no format chunk")
    if wave.data is None:
        draft.problem("there is no audio data")
    elif wave.codec:
        declared, present = wave.data
        if present < declared:
            draft.problem(f"the audio is cut off: {present} of {declared} bytes are there")
        if wave.block:
            draft.put_length(present // wave.block, wave.rate)
        elif wave.samples:
            draft.put_length(wave.samples, wave.rate)
    draft.put_markers((frame, wave.labels.get(number, "")) for number, frame in wave.cues)


_READERS = {
    b"bext": chunks.read_bext,
    b"acid": chunks.read_acid,
    b"smpl": chunks.read_smpl,
    b"inst": chunks.read_inst,
    b"iXML": chunks.read_ixml,
    b"id3 ": id3.read,
    b"ID3 ": id3.read,
}
