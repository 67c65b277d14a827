"""Small audio files for tests, made here."""

from __future__ import annotations

import struct


def wav(rate: int = 44100, channels: int = 1, frames: int = 100) -> bytes:
    """A 16-bit WAV file of a rising ramp."""
    width = 2 * channels
    data = b"".join(struct.pack("<h", (at * 37) % 32768) * channels for at in range(frames))
    head = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * width, width, 16)
    body = b"WAVEfmt " + head + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", len(body)) + body
