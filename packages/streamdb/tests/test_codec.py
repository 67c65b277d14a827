"""Codecs: what goes in comes out, damage is named, and audio gets smaller."""

from __future__ import annotations

import contextlib
import hashlib
import math
import random
import struct
import threading

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from streamdb import codec
from streamdb.codec import AudioLayout, decode, encode, layout_of
from streamdb.errors import CorruptData

NOISE = hashlib.shake_128(b"noise").digest(100_000)


def tone(frames: int, channels: int, sample_bytes: int, level: float = 0.05) -> bytes:
    """A quiet chord with a little noise, as little-endian PCM."""
    rng = random.Random(7)
    top = 1 << (8 * sample_bytes - 1)
    out = bytearray()
    for frame in range(frames):
        for channel in range(channels):
            angle = frame * 0.03 * (1 + channel * 0.01)
            value = math.sin(angle) + math.sin(angle * 1.5) + rng.gauss(0, 0.001)
            out += int(value * level * top).to_bytes(sample_bytes, "little", signed=True)
    return bytes(out)


LAYOUTS = [None, AudioLayout(2, 2), AudioLayout(6, 3), AudioLayout(8, 4), AudioLayout(18, 3)]


@given(st.binary(max_size=4000), st.sampled_from(LAYOUTS))
def test_what_was_encoded_is_decoded(data, hint):
    number, payload = encode(data, hint)
    assert len(payload) <= len(data)
    assert decode(number, payload, len(data)) == data
    assert encode(memoryview(data), hint) == (number, payload)


@given(st.binary(min_size=1, max_size=60), st.integers(1, 900), st.sampled_from(LAYOUTS))
def test_repetitive_content_is_decoded(pattern, times, hint):
    data = pattern * times
    number, payload = encode(data, hint)
    assert decode(number, memoryview(payload), len(data)) == data


@pytest.mark.parametrize("number", codec.STRIDES)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 7, 8, 23, 24, 4096])
@pytest.mark.parametrize("packed", [False, True])
def test_every_codec_of_the_format_is_readable_at_every_remainder(number, size, packed):
    data = bytes(1_000) + NOISE[:size]
    size = len(data)
    stride = codec.STRIDES[number]
    compress = zstandard.ZstdCompressor(level=1).compress
    if stride == 1:
        payload = compress(data)
    else:
        planes = [data[start::stride] for start in range(stride)]
        if packed:  # planes of either kind stand side by side
            planes[1:] = [compress(plane) for plane in planes[1:]]
        payload = struct.pack(f"<{stride}I", *map(len, planes)) + b"".join(planes)
    assert decode(number, payload, size) == data


def test_numbers_of_codecs_keep_their_meaning():
    assert codec.RAW == 0
    assert codec.STRIDES == {1: 1, 7: 3, 8: 2, 9: 4, 10: 6, 11: 8}


@pytest.mark.parametrize(
    ("channels", "sample_bytes", "wanted"),
    [(1, 3, {7, 10}), (2, 3, {7, 10}), (2, 2, {8, 9}), (1, 2, {8})],
)
def test_pcm_is_split_into_planes_with_and_without_a_hint(channels, sample_bytes, wanted):
    data = tone(12_000, channels, sample_bytes)
    hinted, payload = encode(data, AudioLayout(channels * sample_bytes, sample_bytes))
    assert hinted in wanted
    plain = len(zstandard.ZstdCompressor(level=1).compress(data))
    assert len(payload) < plain * 0.9
    joint = b"".join(data[start::sample_bytes] for start in range(sample_bytes))
    assert len(payload) <= len(zstandard.ZstdCompressor(level=1).compress(joint)) * 1.02
    found, same = encode(data)
    assert len(same) <= len(payload) * 1.02, codec.STRIDES[found]


def test_planes_that_gain_nothing_are_stored_as_they_are():
    data = bytearray(NOISE[:30_000])
    data[2::3] = bytes(10_000)
    number, payload = encode(data, AudioLayout(3, 3))
    assert number == 7
    lengths = struct.unpack_from("<3I", payload)
    assert lengths[:2] == (10_000, 10_000)
    assert lengths[2] < 100
    assert payload[12:10_012] == data[0::3]


def test_what_lies_in_audio_and_is_none_is_compressed_plainly():
    text = b"".join(b"<tempo>%d</tempo>" % n for n in range(1_000))
    hint = AudioLayout(3, 3)
    number, payload = encode(text, hint)
    assert number in (1, 7)
    assert len(payload) < len(text) / 2


def test_sixteen_bits_in_twenty_four_shrink_by_a_third_at_least():
    padded = b"".join(b"\0" + NOISE[at : at + 2] for at in range(0, 60_000, 2))
    number, payload = encode(padded, AudioLayout(3, 3))
    assert number == 7
    assert len(payload) < len(padded) * 0.68


def test_any_offset_into_the_audio_compresses_alike():
    data = tone(12_000, 2, 3)
    sizes = [len(encode(data[offset:], AudioLayout(6, 3))[1]) for offset in range(6)]
    assert max(sizes) < min(sizes) * 1.01


def test_noise_and_a_gain_under_five_percent_stay_raw():
    assert encode(NOISE) == (codec.RAW, NOISE)
    assert encode(b"") == (codec.RAW, b"")
    barely = NOISE[:97_000] + bytes(3_000)
    assert encode(barely)[0] == codec.RAW
    clearly = NOISE[:90_000] + bytes(10_000)
    assert encode(clearly)[0] == codec.ZSTD


def test_silence_at_the_beginning_does_not_hide_noise_behind_it():
    data = bytes(6_000) + NOISE[:60_000]
    number, payload = encode(data)
    assert decode(number, payload, len(data)) == data


@pytest.mark.parametrize(
    ("number", "payload", "size"),
    [
        (0, b"abc", 4),
        (0, b"abc", 2),
        (2, b"abc", 3),
        (12, b"abc", 3),
        (7, bytes(11), 0),
        (7, struct.pack("<3I", 1, 1, 1) + b"ab", 3),
        (7, struct.pack("<3I", 1, 1, 1) + b"abcd", 3),
        (7, struct.pack("<3I", 1, 2, 0) + b"abc", 3),
        (7, struct.pack("<3I", 2, 1, 0xFFFFFFFF) + b"ab", 3),
        (255, b"", 0),
        (1, b"", 5),
        (1, b"not zstd at all", 5),
        (1, zstandard.ZstdCompressor().compress(b"snare"), 4),
        (1, zstandard.ZstdCompressor().compress(b"snare"), 6),
        (1, zstandard.ZstdCompressor().compress(b"snare")[:-2], 5),
        (1, zstandard.ZstdCompressor().compress(b"snare") + b"more", 5),
        (1, zstandard.ZstdCompressor(write_content_size=False).compress(b"snare"), 5),
    ],
)
def test_damage_is_named(number, payload, size):
    with pytest.raises(CorruptData) as caught:
        decode(number, payload, size)
    assert caught.value.why
    assert caught.value.next_step


def test_a_payload_cannot_make_the_reader_allocate_more_than_was_written():
    # 30 MB of zeros in a frame of about 1 KiB, whose record says that 100 bytes were written.
    bomb = zstandard.ZstdCompressor().compress(bytes(30_000_000))
    with pytest.raises(CorruptData, match="damaged") as caught:
        decode(1, bomb, 100)
    assert "30000000" in caught.value.why


@given(st.binary(max_size=200), st.integers(0, 300))
def test_random_payloads_give_bytes_of_that_size_or_an_error(payload, size):
    for number in (1, 7, 10):
        with contextlib.suppress(CorruptData):
            assert len(decode(number, payload, size)) == size


def test_threads_do_not_share_a_compressor():
    data = tone(6_000, 2, 3)
    failures = []

    def work():
        for _ in range(20):
            number, payload = encode(data)
            if decode(number, payload, len(data)) != data:
                failures.append(number)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def wave(channels: int, bits: int, before: bytes = b"") -> bytes:
    block = channels * bits // 8
    fmt = struct.pack("<HHIIHH", 1, channels, 48_000, 48_000 * block, block, bits)
    body = b"WAVE" + before + b"fmt " + struct.pack("<I", len(fmt)) + fmt + b"data\0\0\0\0"
    return b"RIFF" + struct.pack("<I", len(body)) + body


def test_the_layout_is_read_from_the_head_of_a_file():
    assert layout_of(wave(2, 24)) == AudioLayout(6, 3)
    assert layout_of(wave(1, 16, b"JUNK\x03\0\0\0abc\0")) == AudioLayout(2, 2)
    comm = struct.pack(">hIh", 2, 100, 24) + bytes(10)
    aiff = b"FORM\0\0\0\x2eAIFFCOMM" + struct.pack(">I", len(comm)) + comm
    assert layout_of(aiff) == AudioLayout(6, 3)
    assert layout_of(memoryview(wave(8, 32))) == AudioLayout(32, 4)


@given(st.binary(max_size=80))
def test_any_head_gives_a_layout_or_none(tail):
    for magic in (b"RIFF\0\0\0\0WAVE", b"FORM\0\0\0\0AIFF", b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0", b""):
        found = layout_of(magic + tail)
        assert found is None or found.frame_bytes % found.sample_bytes == 0


def test_a_layout_of_nothing_is_none():
    assert layout_of(b"") is None
    assert layout_of(wave(2, 24)[:30]) is None
    assert layout_of(wave(0, 24)) is None
    assert AudioLayout(18, 3).strides() == (3,)
    assert AudioLayout(1, 1).strides() == ()


def test_a_chunk_beyond_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(codec, "MAX_CHUNK", 10)
    with pytest.raises(ValueError, match="at most 10"):
        encode(bytes(11))
