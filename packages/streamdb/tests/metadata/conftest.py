"""Files made by hand, byte by byte, for the tests of the readers."""

from __future__ import annotations

import struct

import pytest


class Build:
    """Builders of the pieces of audio files; sizes can be made to lie."""

    @staticmethod
    def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
        length = len(body) if size is None else size
        return struct.pack("<4sI", name, length) + body + b"\0" * (len(body) % 2)

    @classmethod
    def fmt(cls, tag=1, channels=2, rate=48_000, bits=24) -> bytes:
        block = channels * bits // 8
        body = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits)
        return cls.chunk(b"fmt ", body)

    @classmethod
    def wave(cls, *chunks: bytes, fmt=None, data=b"\0" * 600, data_size=None) -> bytes:
        body = b"WAVE" + (cls.fmt() if fmt is None else fmt) + b"".join(chunks)
        if data is not None:
            body += cls.chunk(b"data", data, data_size)
        return b"RIFF" + struct.pack("<I", len(body)) + body

    @classmethod
    def rf64(cls, *chunks: bytes, data: bytes, samples=0) -> bytes:
        ds64 = cls.chunk(b"ds64", struct.pack("<QQQI", 0, len(data), samples, 0))
        body = b"WAVE" + ds64 + cls.fmt() + b"".join(chunks)
        return b"RF64\xff\xff\xff\xff" + body + cls.chunk(b"data", data, 0xFFFFFFFF)

    @classmethod
    def acid(cls, flags=0, root=60, beats=8, meter=(4, 4), tempo=120.0) -> bytes:
        body = struct.pack("<IHHfIHHf", flags, root, 0x8000, 0.0, beats, meter[1], meter[0], tempo)
        return cls.chunk(b"acid", body)

    @classmethod
    def smpl(cls, unity=60, loops=(), count=None) -> bytes:
        body = struct.pack(
            "<9I", 0, 0, 20833, unity, 0, 0, 0, len(loops) if count is None else count, 0
        )
        for number, (start, end) in enumerate(loops):
            body += struct.pack("<6I", number, 0, start, end, 0, 0)
        return cls.chunk(b"smpl", body)

    @classmethod
    def bext(
        cls, version=2, date=b"2024-06-30", time=b"12:34:56", loudness=-2301, **texts
    ) -> bytes:
        def text(name, width):
            return texts.get(name, b"").ljust(width, b"\0")

        body = text("description", 256) + text("originator", 32) + text("reference", 32)
        body += date.ljust(10, b"\0") + time.ljust(8, b"\0")
        body += struct.pack("<QH", 172_800_000, version) + bytes(64)
        body += struct.pack("<5h", loudness, 500, -105, 0x7FFF, 0x7FFF) + bytes(180)
        return cls.chunk(b"bext", body + texts.get("history", b""))

    @classmethod
    def info(cls, **tags: bytes) -> bytes:
        body = b"".join(cls.chunk(name.encode(), text + b"\0") for name, text in tags.items())
        return cls.chunk(b"LIST", b"INFO" + body)

    @classmethod
    def cues(cls, *frames: int, labels: tuple[bytes, ...] = ()) -> bytes:
        points = b"".join(
            struct.pack("<II4sIII", number, frame, b"data", 0, 0, frame)
            for number, frame in enumerate(frames, 1)
        )
        cue = cls.chunk(b"cue ", struct.pack("<I", len(frames)) + points)
        adtl = b"".join(
            cls.chunk(b"labl", struct.pack("<I", number) + label + b"\0")
            for number, label in enumerate(labels, 1)
        )
        return cue + cls.chunk(b"LIST", b"adtl" + adtl)

    @staticmethod
    def aiff(*chunks: tuple[bytes, bytes], comm=None, sound=b"\0" * 600, kind=b"AIFF") -> bytes:
        def chunk(name, body, size=None):
            length = len(body) if size is None else size
            return struct.pack(">4sI", name, length) + body + b"\0" * (len(body) % 2)

        if comm is None:
            comm = struct.pack(">hIhHQ", 2, 100, 24, 16383 + 15, 48_000 << 48)
        body = kind + chunk(b"COMM", comm) + b"".join(chunk(*part) for part in chunks)
        if sound is not None:
            body += chunk(b"SSND", bytes(8) + sound)
        return b"FORM" + struct.pack(">I", len(body)) + body

    @staticmethod
    def midi(*tracks: bytes, kind=1, division=480, count=None, end=b"\0\xff\x2f\0") -> bytes:
        number = len(tracks) if count is None else count
        head = b"MThd" + struct.pack(">IHHH", 6, kind, number, division)
        return head + b"".join(
            b"MTrk" + struct.pack(">I", len(track + end)) + track + end for track in tracks
        )

    @staticmethod
    def id3(*frames: tuple[str, bytes], major=4, flags=0, frame_flags=0) -> bytes:
        def safe(number):
            return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))

        body = b""
        for name, content in frames:
            size = len(content)
            if major == 2:
                body += name.encode() + size.to_bytes(3, "big") + content
            else:
                length = safe(size) if major == 4 else size.to_bytes(4, "big")
                body += name.encode() + length + bytes([0, frame_flags]) + content
        body += bytes(20)
        return b"ID3" + bytes([major, 0, flags]) + safe(len(body)) + body


@pytest.fixture
def build():
    return Build
