"""How a chunk is written: as it is, compressed, or split into byte planes, each for itself.

PCM audio hardly compresses as a stream of bytes: the noisy low byte of each sample stands between
the quiet high ones. Taking every n-th byte together (a *planar* split) puts the quiet bytes side
by side. A split by 3 serves 24-bit samples, by 2 those of 16 bits, and so on. It works from any
offset, so that a chunk need not begin on a frame. The planes that gain nothing are stored raw:
they cost no time when the chunk is written, and none when it is read.

A probe of a few KiB chooses; what would gain less than 5 % is stored raw. Numbers of codecs are
part of the file format: none may change its meaning. 2 to 6 were planes in one piece, before there
was a release; they are not used again.
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
STRIDES = {ZSTD: 1, 7: 3, 8: 2, 9: 4, 10: 6, 11: 8}
_CODEC_OF_STRIDE = {stride: codec for codec, stride in STRIDES.items()}
# The splits that divide each other: where the largest gains nothing, the others do not.
_FAMILIES = ((8, 4, 2), (6, 3))

LEVEL = 1
"""zstd's level: higher ones gain under 1 % on planes of PCM and cost a multiple of the time."""

MAX_CHUNK = 1 << 30
"""The longest chunk in bytes that :func:`encode` and :func:`decode` accept."""

_GAIN = 0.95
_AS_GOOD = 1.02
_SILENCE = 0.02
_PIECE = 2040
_PIECES = 3
_SHORT_PIECE = 680
_PACKED_MAGICS = (
    b"fLaC", b"OggS", b"ID3", b"PK\3\4", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0",
    b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07", b"\x89PNG", b"\xff\xd8\xff", b"wvpk",
)  # fmt: skip
_WITH_LAYOUT = (b"RIFF", b"RF64", b"BW64", b"FORM")
_local = threading.local()


@dataclass(frozen=True, slots=True)
class AudioLayout:
    """How PCM lies in a file: bytes per frame (all channels) and bytes per sample (one channel)."""

    frame_bytes: int
    sample_bytes: int

    def strides(self) -> tuple[int, ...]:
        """The planar splits worth trying, the one with the fewest planes first.

        >>> AudioLayout(frame_bytes=6, sample_bytes=3).strides()
        (3, 6)
        """
        wanted = dict.fromkeys((self.sample_bytes, self.frame_bytes))
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
    if bytes(head[:4]) not in _WITH_LAYOUT:
        return None
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


def encode(chunk: Buffer, hint: AudioLayout | None = None) -> tuple[int, Buffer]:
    """Choose a codec and apply it: (codec number, payload). The payload is never longer than raw.

    A raw payload is the chunk itself, not a copy. Deterministic for one version of zstd. ``hint``
    spares the search for a layout; with a single split in it, that one is taken. Raises
    ``ValueError`` for a chunk beyond :data:`MAX_CHUNK`.

    >>> number, payload = encode(b"bass " * 2000)
    >>> number, len(payload) < 100, decode(number, payload, 10_000) == b"bass " * 2000
    (1, True, True)
    """
    size = len(chunk)
    if size > MAX_CHUNK:
        raise ValueError(f"a chunk has at most {MAX_CHUNK} bytes, this one {size}")
    if hint is PACKED or not size:
        return RAW, chunk
    strides = None if hint is None else hint.strides()
    if strides is not None and len(strides) == 1:
        payload = _pack_planes(chunk, strides[0])
        if payload is not None:
            return _CODEC_OF_STRIDE[strides[0]], payload
        strides = ()
    stride = _choose(chunk, strides)
    if stride is None:
        return RAW, chunk
    packed = _pack_planes(chunk, stride) if stride > 1 else _compressor().compress(chunk)
    if packed is None or len(packed) > size * _GAIN:
        return RAW, chunk
    return _CODEC_OF_STRIDE[stride], packed


def decode(codec_id: int, payload: Buffer, size: int) -> Buffer:
    """The chunk of ``size`` bytes that :func:`encode` was given; a raw payload is given back.

    Raises CorruptData when the codec is unknown or the payload does not give exactly ``size``
    bytes; no more than ``size`` bytes are ever allocated, whatever the payload claims.

    >>> decode(RAW, b"snare", 5)
    b'snare'
    """
    if codec_id == RAW:
        if len(payload) != size:
            raise _damaged(f"the raw payload has {len(payload)} bytes, {size} were written")
        return payload
    stride = STRIDES.get(codec_id)
    if stride is None:
        raise CorruptData(
            f"a chunk is written in codec {codec_id}, which this version does not know",
            why=f"known codecs: {RAW}, {', '.join(map(str, STRIDES))}",
            next_step="run `streamdb check`; a newer StreamDB may have written this store",
        )
    return _decompress(payload, size) if stride == 1 else _join_planes(payload, size, stride)


def _damaged(why: str) -> CorruptData:
    return CorruptData(
        "a compressed chunk is damaged",
        why=why,
        next_step="run `streamdb check` to see what is damaged, then restore it from a backup",
    )


# -- choosing --------------------------------------------------------------------------------------


def _choose(data: Buffer, strides: tuple[int, ...] | None) -> int | None:
    """The stride to use, of those given or (None) of all, or None for raw.

    Judged by a few KiB spread over the chunk.
    """
    # Where no split is asked for, little tells what is worth compressing.
    sample = _sample(data, _SHORT_PIECE if strides == () else _PIECE)
    plain = len(_compressor().compress(sample))
    if plain < len(sample) * _SILENCE:
        return 1
    if strides is None:
        # All planes at once are quicker to judge, and enough to tell noise, or the family, by.
        compress = _compressor().compress
        joint = {f: len(compress(b"".join(_planes(sample, f[0])))) for f in _FAMILIES}
        best = min(joint, key=joint.__getitem__)
        strides = best if joint[best] < len(sample) else ()
    sizes = {stride: _size_of_planes(sample, stride) for stride in strides}
    smallest = min([plain, *sizes.values()])
    # Tables weigh more in the short sample than in the chunk: the doubtful are tried in full.
    if smallest >= len(sample):
        return None
    # Reading back plain content, or fewer planes, is quicker.
    sizes[1] = plain
    return min(stride for stride, size in sizes.items() if size <= smallest * _AS_GOOD)


def _sample(data: Buffer, length: int) -> Buffer:
    """Pieces from the beginning, middle and end: music begins with silence often enough.

    ``length`` is that of a piece; a multiple of 24 keeps the pieces in step for every stride.
    """
    if len(data) <= length * _PIECES * 2:
        return data
    gap = (len(data) - length) // (_PIECES - 1) // 24 * 24
    return b"".join([data[at * gap : at * gap + length] for at in range(_PIECES)])


def _size_of_planes(sample: Buffer, stride: int) -> int:
    compress = _compressor().compress
    return sum(min(len(plane), len(compress(plane))) for plane in _planes(sample, stride))


# -- planes ----------------------------------------------------------------------------------------


def _planes(data: Buffer, stride: int) -> list[bytearray]:
    # Slices with a step are twice as quick out of a bytearray as out of bytes.
    whole = bytearray(data)
    return [whole[start::stride] for start in range(stride)]


def _pack_planes(data: Buffer, stride: int) -> bytes | None:
    """The stored lengths of the planes (u32 each), then the planes; None where nothing is gained.

    A plane of its own length is raw, a shorter one a frame of zstd's.
    """
    compress = _compressor().compress
    samples = _planes(_sample(data, _SHORT_PIECE * stride), stride)
    promising = [len(compress(sample)) < len(sample) for sample in samples]
    if not any(promising):
        # Noise: to split it would take longer than all else.
        return None
    planes = samples if len(samples[0]) * stride >= len(data) else _planes(data, stride)
    parts = [_pack_plane(plane) if promising[at] else plane for at, plane in enumerate(planes)]
    lengths = [len(part) for part in parts]
    if 4 * stride + sum(lengths) > len(data) * _GAIN:
        return None
    return b"".join((struct.pack(f"<{stride}I", *lengths), *parts))


def _pack_plane(plane: bytearray) -> Buffer:
    packed = _compressor().compress(plane)
    return packed if len(packed) <= len(plane) * _GAIN else plane


def _join_planes(payload: Buffer, size: int, stride: int) -> bytearray:
    view = memoryview(payload)
    position = 4 * stride
    if len(view) < position:
        raise _damaged(f"its {len(view)} bytes are too few for the lengths of {stride} planes")
    lengths = struct.unpack_from(f"<{stride}I", view)
    if position + sum(lengths) != len(view):
        raise _damaged(f"the lengths of its planes do not add up to its {len(view)} bytes")
    whole = bytearray(size)
    for start, stored in enumerate(lengths):
        plane: Buffer = view[position : position + stored]
        position += stored
        length = len(range(start, size, stride))
        whole[start::stride] = plane if stored == length else _decompress(plane, length)
    return whole


def _decompress(payload: Buffer, size: int) -> bytes:
    import zstandard

    try:
        declared = zstandard.frame_content_size(payload)
        if declared != size:
            raise _damaged(f"the payload declares {declared} bytes, {size} were written")
        return _decompressor().decompress(payload, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise _damaged(f"zstd: {error}") from error


# -- zstd's contexts -------------------------------------------------------------------------------


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
