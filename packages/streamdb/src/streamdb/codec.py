"""How a chunk is written: as it is, compressed, or split into byte planes and compressed.

PCM audio hardly compresses as a stream of bytes: the noisy low byte of each sample stands between
the quiet high ones. Taking every n-th byte together (a *planar* split) puts the quiet bytes side
by side. A planar split by 3 serves 24-bit mono, by 6 24-bit stereo, and so on. It works from any
offset, so that a chunk need not begin on a frame.

A probe of a few KiB chooses; what would gain less than 5 % is stored raw. Numbers of codecs are
part of the file format: none may change its meaning.
"""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from streamdb.errors import CorruptData

if TYPE_CHECKING:
    import zstandard

    from streamdb.checks import Buffer

RAW = 0
ZSTD = 1
#: Codec number → distance in bytes between neighbours in a plane (1: no split).
STRIDES = {ZSTD: 1, 2: 3, 3: 2, 4: 4, 5: 6, 6: 8}
_CODEC_OF_STRIDE = {stride: codec for codec, stride in STRIDES.items()}

LEVEL = 1
"""zstd's level: higher ones gain under 1 % on planes of PCM and cost a multiple of the time."""

MAX_CHUNK = 1 << 30
"""The longest chunk in bytes that :func:`encode` and :func:`decode` accept."""

_GAIN = 0.95
_PLAIN_IS_AS_GOOD = 1.02
_SILENCE = 0.02
_PIECE = 4096
_PIECES = 3
_PACKED_MAGICS = (
    b"fLaC", b"OggS", b"ID3", b"PK\3\4", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0",
    b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\x89PNG", b"\xff\xd8\xff", b"wvpk",
)  # fmt: skip
_local = threading.local()


@dataclass(frozen=True, slots=True)
class AudioLayout:
    """How PCM lies in a file: bytes per frame (all channels) and bytes per sample (one channel)."""

    frame_bytes: int
    sample_bytes: int

    def strides(self) -> tuple[int, ...]:
        """The planar splits worth trying, best guess first.

        >>> AudioLayout(frame_bytes=6, sample_bytes=3).strides()
        (6, 3)
        """
        wanted = dict.fromkeys((self.frame_bytes, self.sample_bytes))
        return tuple(stride for stride in wanted if stride > 1 and stride in _CODEC_OF_STRIDE)


PACKED = AudioLayout(0, 0)
"""As a hint: the content is compressed already, and is stored as it is."""


def is_packed(head: Buffer) -> bool:
    """Whether the beginning of a file is that of a format that compresses its content.

    >>> is_packed(b"fLaC" + bytes(60)), is_packed(b"RIFF" + bytes(60))
    (True, False)
    """
    start = bytes(head[:8])
    return start.startswith(_PACKED_MAGICS) or (
        # An MPEG frame: eleven bits set, layer III, a bit rate and a sample rate that exist.
        len(start) >= 3
        and start[0] == 0xFF
        and start[1] & 0xE6 == 0xE2
        and start[2] & 0xF0 not in (0, 0xF0)
        and start[2] & 0x0C != 0x0C
    )


def layout_of(head: Buffer) -> AudioLayout | None:
    """The layout that the head of a WAV, RF64 or AIFF file declares, or None.

    ``head`` is the beginning of the file; 4 KiB are enough unless large chunks precede the format.
    """
    head = bytes(head[:65536])
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return _layout_of_wave(head)
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _layout_of_aiff(head)
    return None


def _chunk_body(head: bytes, wanted: bytes, order: str) -> bytes:
    position = 12
    while position + 8 <= len(head):
        name, size = struct.unpack_from(f"{order}4sI", head, position)
        if name == wanted:
            return head[position + 8 : position + 8 + size]
        position += 8 + size + size % 2
    return b""


def _layout_of_wave(head: bytes) -> AudioLayout | None:
    body = _chunk_body(head, b"fmt ", "<")
    if len(body) < 16:
        return None
    channels, frame = struct.unpack_from("<2xH8xH", body)
    return _layout(frame, channels)


def _layout_of_aiff(head: bytes) -> AudioLayout | None:
    body = _chunk_body(head, b"COMM", ">")
    if len(body) < 8:
        return None
    channels, bits = struct.unpack_from(">H4xH", body)
    return _layout(channels * ((bits + 7) // 8), channels)


def _layout(frame: int, channels: int) -> AudioLayout | None:
    if not channels or frame % channels or not 1 <= frame // channels <= 8:
        return None
    return AudioLayout(frame, frame // channels)


def encode(chunk: Buffer, hint: AudioLayout | None = None) -> tuple[int, bytes]:
    """Choose a codec and apply it: (codec number, payload). The payload is never longer than raw.

    Deterministic for one version of zstd. ``hint`` spares the search for a layout. Raises
    ``ValueError`` for a chunk beyond :data:`MAX_CHUNK`.

    >>> number, payload = encode(b"bass " * 2000)
    >>> number, len(payload) < 100, decode(number, payload, 10_000) == b"bass " * 2000
    (1, True, True)
    """
    data = chunk if isinstance(chunk, bytes) else bytes(chunk)
    if len(data) > MAX_CHUNK:
        raise ValueError(f"a chunk has at most {MAX_CHUNK} bytes, this one {len(data)}")
    stride = None if hint is PACKED else _choose(data, hint)
    if stride is None:
        return RAW, data
    payload = _compressor().compress(_split(data, stride))
    if len(payload) > len(data) * _GAIN:
        return RAW, data
    return _CODEC_OF_STRIDE[stride], payload


def decode(codec_id: int, payload: Buffer, size: int) -> bytes:
    """The chunk of ``size`` bytes that :func:`encode` was given.

    Raises CorruptData when the codec is unknown or the payload does not give exactly ``size``
    bytes; no more than ``size`` bytes are ever allocated, whatever the payload claims.

    >>> decode(RAW, b"snare", 5)
    b'snare'
    """
    if codec_id == RAW:
        if len(payload) != size:
            raise _damaged(f"the raw payload has {len(payload)} bytes, {size} were written")
        return bytes(payload)
    stride = STRIDES.get(codec_id)
    if stride is None:
        raise CorruptData(
            f"a chunk is written in codec {codec_id}, which this version does not know",
            why=f"known codecs: {RAW}, {', '.join(map(str, STRIDES))}",
            next_step="run `streamdb check`; a newer StreamDB may have written this store",
        )
    return _join(_decompress(payload, size), stride)


def _damaged(why: str) -> CorruptData:
    return CorruptData(
        "a compressed chunk is damaged",
        why=why,
        next_step="run `streamdb check` to see what is damaged, then restore it from a backup",
    )


def _choose(data: bytes, hint: AudioLayout | None) -> int | None:
    """The stride to use, or None for raw, judged by a few KiB spread over the chunk."""
    if not data:
        return None
    sample = _sample(data)
    compress = _compressor().compress
    sizes = {1: len(compress(sample))}
    if sizes[1] < len(sample) * _SILENCE:
        return 1
    for stride in hint.strides() if hint else _CODEC_OF_STRIDE:
        if stride > 1:
            sizes[stride] = len(compress(_split(sample, stride)))
    best = min(sizes, key=sizes.__getitem__)
    if sizes[1] <= sizes[best] * _PLAIN_IS_AS_GOOD:
        best = 1  # reading it back is a step shorter
    # Tables weigh more in the short sample than in the chunk: the doubtful are tried in full.
    return best if sizes[best] < len(sample) else None


def _sample(data: bytes) -> bytes:
    """Pieces from the beginning, middle and end: music begins with silence often enough."""
    if len(data) <= _PIECE * _PIECES:
        return data
    # A multiple of 24 keeps the pieces in step for every stride.
    gap = (len(data) - _PIECE) // (_PIECES - 1) // 24 * 24
    length = _PIECE // 24 * 24
    return b"".join(data[at * gap : at * gap + length] for at in range(_PIECES))


def _split(data: bytes, stride: int) -> bytes:
    if stride == 1:
        return data
    return b"".join([data[start::stride] for start in range(stride)])


def _join(planes: bytes, stride: int) -> bytes:
    if stride == 1:
        return planes
    size = len(planes)
    joined = bytearray(size)
    position = 0
    for start in range(stride):
        end = position + len(range(start, size, stride))
        joined[start::stride] = planes[position:end]
        position = end
    return bytes(joined)


def _decompress(payload: Buffer, size: int) -> bytes:
    import zstandard

    try:
        declared = zstandard.frame_content_size(payload)
        if declared != size:
            raise _damaged(f"the payload declares {declared} bytes, {size} were written")
        return _decompressor().decompress(payload, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise _damaged(f"zstd: {error}") from error


def _compressor() -> zstandard.ZstdCompressor:
    """One per thread: contexts must not be shared, and making one costs more than a chunk."""
    held: zstandard.ZstdCompressor | None = getattr(_local, "compressor", None)
    if held is None:
        import zstandard

        held = _local.compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=False)
    return held


def _decompressor() -> zstandard.ZstdDecompressor:
    held: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if held is None:
        import zstandard

        held = _local.decompressor = zstandard.ZstdDecompressor()
    return held
