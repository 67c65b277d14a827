"""Counting the frames of MPEG audio, for files of variable bit rate whose encoder noted no length.

Source: ISO 11172-3 and 13818-3, frame header.
"""

from __future__ import annotations

from streamdb.metadata.reading import Source

MAX_COUNTED = 64 << 20
"""Files longer than this in bytes are estimated by the first frames instead."""

#: kbit/s by (version 1 or not, layer), for the indexes 1 to 14.
_BITRATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def is_header(head: bytes) -> bool:
    """Whether ``head`` (4 bytes or more) begins with a valid header of an MPEG audio frame."""
    return len(head) >= 4 and head[0] == 0xFF and _frame(head[1], head[2]) is not None


def count_samples(source: Source, start: int) -> int | None:
    """Samples per channel from the first frame at or behind ``start`` to the last whole one.

    None for files longer than :data:`MAX_COUNTED`, and where no frames follow each other.
    """
    if source.size - start > MAX_COUNTED:
        return None
    data = b"".join(
        source.at(at, 1 << 20)
        for at in range(start, min(source.size, start + MAX_COUNTED), 1 << 20)
    )
    position = _first(data)
    samples = 0
    while position is not None and position + 4 <= len(data):
        if data[position] != 0xFF:
            break  # a tag at the end, or something that is no audio
        frame = _frame(data[position + 1], data[position + 2])
        if frame is None:
            break
        length, count = frame
        samples += count
        position += length
    return samples or None


def _first(data: bytes) -> int | None:
    """Where two frames follow each other for the first time, within the first 128 KiB."""
    position = data.find(b"\xff", 0, 1 << 17)
    while position >= 0:
        frame = _frame(*data[position + 1 : position + 3]) if position + 3 < len(data) else None
        if frame and is_header(data[position + frame[0] : position + frame[0] + 4]):
            return position
        position = data.find(b"\xff", position + 1, 1 << 17)
    return None


def _frame(second: int, third: int) -> tuple[int, int] | None:
    """Bytes and samples of the frame with these bytes in its header; None when it is none."""
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    index, rate_index = third >> 4, third >> 2 & 3
    if second & 0xE0 != 0xE0 or version == 1 or layer == 4 or index in {0, 15} or rate_index == 3:
        return None
    rate = _RATES[version][rate_index]
    bits = _BITRATES[version == 3, layer][index - 1] * 1000
    padding = third >> 1 & 1
    if layer == 1:
        return (12 * bits // rate + padding) * 4, 384
    samples = 576 if layer == 3 and version != 3 else 1152
    return samples // 8 * bits // rate + padding, samples
