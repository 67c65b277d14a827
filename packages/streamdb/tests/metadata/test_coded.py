"""FLAC, Ogg, Opus and MP3: facts and tags, and files that lie."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
from mutagen.flac import FLAC, Picture
from mutagen.id3 import COMM, ID3, TALB, TBPM, TCON, TDRC, TIT2, TKEY, TPE1, TRCK
from mutagen.oggopus import OggOpus
from mutagen.oggvorbis import OggVorbis

from streamdb.metadata import describe, mpeg
from streamdb.metadata.reading import Allowance, Source

RNG = np.random.default_rng(5)
CORE = "CAF"  # codespell:ignore caf


def encoded(form, subtype=None, frames=48_000, channels=2, rate=48_000):
    tone = np.sin(np.arange(frames)[:, None] * 0.05 * np.arange(1, channels + 1)) * 0.4
    file = io.BytesIO()
    soundfile.write(file, tone + RNG.normal(0, 0.01, tone.shape), rate, subtype, format=form)
    return file.getvalue()


def tagged(data, reader, **tags):
    file = io.BytesIO(data)
    loaded = reader(file)
    for name, value in tags.items():
        loaded[name] = value
    file.seek(0)
    loaded.save(file)
    return file.getvalue()


TAGS = {
    "title": "Élan",
    "artist": ["One", "Two"],
    "album": "Pack",
    "genre": "House",
    "date": "2020-02-03",
    "tracknumber": "4/9",
    "bpm": "124.5",
    "initialkey": "Ebm",
    "keywords": ["warm; dusty", "vinyl"],
    "comment": "two\nlines\x1b",
}
FOUND = {
    "title": "Élan",
    "artist": "One, Two",
    "album": "Pack",
    "genre": "House",
    "date": "2020-02-03",
    "track": 4,
    "tempo": 124.5,
    "tempo_source": "tag",
    "key": "Ebmin",
    "key_source": "tag",
    "tags": ["warm", "dusty", "vinyl"],
    "comment": "two lines",
}


@pytest.mark.parametrize(("subtype", "bits"), [("PCM_16", 16), ("PCM_24", 24), ("PCM_S8", 8)])
@pytest.mark.parametrize("rate", [44_100, 96_000, 192_000])
def test_flac(subtype, bits, rate):
    data = tagged(encoded("FLAC", subtype, 5001, 2, rate), FLAC, **TAGS)
    described = describe(data, "a.flac")
    assert described.problem is None
    expected = {"format": "flac", "codec": "flac", "rate": rate, "channels": 2, "bits": bits}
    expected |= {"frames": 5001, "duration": round(5001 / rate, 6)}
    assert described.metadata == expected | FOUND


def test_flac_behind_an_id3_tag(build):
    data = build.id3(("TIT2", b"\x03Front")) + encoded("FLAC", frames=500)
    found = describe(data, "a.flac").metadata
    assert (found["format"], found["frames"], found["title"]) == ("flac", 500, "Front")


@pytest.mark.parametrize(
    ("subtype", "reader", "codec"), [("VORBIS", OggVorbis, "vorbis"), ("OPUS", OggOpus, "opus")]
)
def test_ogg(subtype, reader, codec):
    data = tagged(encoded("OGG", subtype), reader, **TAGS)
    described = describe(data, "a.ogg")
    assert described.problem is None
    found = described.metadata
    assert (found["format"], found["codec"]) == ("ogg", codec)
    assert (found["rate"], found["channels"]) == (48_000, 2)
    assert found["frames"] == 48_000
    assert FOUND.items() <= found.items()


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000])
def test_mp3_with_constant_and_variable_rate(mode, rate):
    file = io.BytesIO()
    tone = np.sin(np.arange(rate * 4) * 0.05) * np.linspace(0, 0.5, rate * 4)
    soundfile.write(
        file, tone, rate, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode=mode,
        compression_level=0.5,
    )  # fmt: skip
    described = describe(file.getvalue(), "a.mp3")
    assert described.problem is None
    found = described.metadata
    assert (found["format"], found["codec"], found["rate"]) == ("mp3", "mp3", rate)
    assert found["channels"] == 1
    assert found["duration"] == pytest.approx(4, abs=0.1)
    assert found["bitrate"] == pytest.approx(len(file.getvalue()) * 2, rel=0.05)


def without_header_frame(data):
    """The MP3 without its first frame, in which encoders note how many follow."""
    second = data.index(data[:2], 10)
    return data[second:]


def test_mp3_of_variable_rate_without_a_header_is_counted():
    file = io.BytesIO()
    # Silence, then noise: the first frame's bit rate says nothing about the rest.
    tone = np.concatenate([np.zeros(44_100 * 4), RNG.normal(0, 0.3, 44_100 * 4)])
    soundfile.write(
        file, tone, 44_100, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="VARIABLE",
        compression_level=0.1,
    )  # fmt: skip
    data = without_header_frame(file.getvalue())
    assert b"Xing" not in data
    assert b"Info" not in data
    found = describe(data, "a.mp3").metadata
    assert found["duration"] == pytest.approx(8, abs=0.15)


@pytest.mark.parametrize("version", [3, 2, 0])
@pytest.mark.parametrize("layer", [1, 2, 3])
def test_frames_of_every_version_and_layer_are_counted(version, layer):
    data = b""
    for bits in (3, 9, 14, 5):  # every frame has another rate
        header = bytes([0xFF, 0xE1 | version << 3 | (4 - layer) << 1, bits << 4, 0])
        length, samples = mpeg._frame(header[1], header[2]) or (0, 0)
        assert length > 4
        data += header + bytes(length - 4)
    padded = b"junk\xff\xff\xfb" + data + b"TAG" + bytes(125)
    assert mpeg.count_samples(Source(io.BytesIO(padded), len(padded)), 2) == samples * 4
    assert mpeg.count_samples(Source(io.BytesIO(b"no"), 2), 0) is None


def id3_of_mutagen(**options):
    tags = ID3()
    tags.add(TIT2(encoding=3, text="Élan"))
    tags.add(TPE1(encoding=1, text=["One", "Two"]))
    tags.add(TALB(encoding=0, text="Pack"))
    tags.add(TCON(encoding=3, text="(17)" if options.get("v2_version") == 3 else "17"))
    tags.add(TDRC(encoding=3, text="2020-02-03"))
    tags.add(TRCK(encoding=3, text="4/9"))
    tags.add(TBPM(encoding=3, text="124"))
    tags.add(TKEY(encoding=3, text="Ebm"))
    tags.add(COMM(encoding=3, lang="eng", desc="", text="dry"))
    tags.add(COMM(encoding=3, lang="eng", desc="iTunNORM", text="0000"))
    if options.get("v2_version") == 3:
        tags.update_to_v23()
    file = io.BytesIO()
    tags.save(file, padding=lambda _info: 100, **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"v2_version": 3}, {"v2_version": 3, "v23_sep": None}])
def test_id3_as_mutagen_writes_it(options):
    found = describe(id3_of_mutagen(**options) + encoded("MP3"), "a.mp3").metadata
    assert (found["title"], found["album"], found["genre"]) == ("Élan", "Pack", "Rock")
    assert found["artist"] in {"One, Two", "One/Two"}
    assert (found["track"], found["tempo"], found["key"]) == (4, 124.0, "Ebmin")
    assert found["date"].startswith("2020")
    assert found["comment"] == "dry"


def test_id3_of_version_2_2_and_1(build):
    tag = build.id3(("TT2", b"\x00Old"), ("TBP", b"\x0090"), major=2)
    tail = b"TAG" + b"Older".ljust(30, b"\0") + b"Trio".ljust(30) + bytes(30) + b"1999"
    tail += b"hum".ljust(28, b"\0") + b"\0\x07\x11"
    found = describe(tag + encoded("MP3") + tail, "a.mp3").metadata
    assert (found["title"], found["tempo"], found["artist"]) == ("Old", 90.0, "Trio")
    assert (found["date"], found["track"], found["genre"]) == ("1999", 7, "Rock")


def test_id3_with_unsynchronisation_and_an_extended_header(build):
    title = b"\x01\xff\xfeE\0l\0"
    for major in (3, 4):
        content = title.replace(b"\xff\xfe", b"\xff\0\xfe")
        if major == 3:
            tag = bytearray(build.id3(("TIT2", title), major=3, flags=0x80))
            body = bytes(tag[10:]).replace(b"\xff\xfe", b"\xff\0\xfe")
            data = bytes(tag[:9]) + bytes([len(body)]) + body
        else:
            data = build.id3(("TIT2", content), major=4, flags=0x80, frame_flags=0x02)
        assert describe(data + encoded("MP3"), "a.mp3").metadata["title"] == "El"
    extended = build.id3(("TIT2", b"\x03Ext"), major=4)
    size = bytes([0, 0, 0, len(extended) - 10 + 6])
    data = extended[:5] + b"\x40" + size + b"\0\0\0\x06\x01\0" + extended[10:]
    assert describe(data + encoded("MP3"), "a.mp3").metadata["title"] == "Ext"


def test_a_compressed_frame_does_not_fill_the_memory(build):
    bomb = zlib.compress(b"\x03" + b"A" * 50_000_000)
    for major, flags, head in ((3, 0x80, b"\x02\xfa\xf0\x81"), (4, 0x08, b"")):
        tag = build.id3(("TIT2", head + bomb), ("TPE1", b"\x00x"), major=major, frame_flags=flags)
        found = describe(tag + encoded("MP3"), "a.mp3").metadata
        assert "title" not in found


def test_a_flac_with_a_huge_picture_keeps_its_facts():
    data = encoded("FLAC", frames=500)
    flac = FLAC(io.BytesIO(data))
    picture = Picture()
    picture.data = bytes(3_000_000)
    flac.add_picture(picture)
    flac["title"] = "Cover"
    file = io.BytesIO(data)
    flac.save(file)
    described = describe(file.getvalue(), "a.flac")
    assert described.problem is None
    assert described.metadata["title"] == "Cover"


def flac_block(kind, body, size=None):
    return bytes([kind]) + (len(body) if size is None else size).to_bytes(3, "big") + body


def test_metadata_beyond_the_allowance_is_said():
    data = encoded("FLAC", frames=500)
    blocks = b"".join(flac_block(2, bytes(4_000_000)) for _ in range(6))
    described = describe(data[:42] + blocks + data[42:], "a.flac")
    assert "larger than any player reads" in str(described.problem)


@pytest.mark.parametrize(
    ("form", "name"), [("AU", "a.au"), (CORE, f"a.{CORE.lower()}"), ("W64", "a.w64")]
)
def test_rarer_formats(form, name):
    described = describe(encoded(form, "PCM_24", 4800), name)
    assert described.problem is None
    found = described.metadata
    assert (found["format"], found["codec"], found["bits"]) == (name[2:], "pcm_s24", 24)
    assert (found["rate"], found["channels"], found["frames"]) == (48_000, 2, 4800)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"fLaC", "a.flac"),
        (encoded("FLAC", frames=500)[:30], "a.flac"),
        (b"fLaC" + flac_block(0, bytes(34)), "a.flac"),
        (encoded("OGG", "VORBIS")[:200], "a.ogg"),
        (encoded("OGG", "VORBIS")[:28], "a.ogg"),
        (b"OggS" + bytes(600), "a.ogg"),
        (b"\xff\xfb\x90\x00" + bytes(500), "a.mp3"),
        (b"ID3\x04\0\0\0\0\0\x10" + bytes(16), "a.mp3"),
        (b"caff" + bytes(200), f"a.{CORE.lower()}"),
        (b".snd" + b"\xff" * 200, "a.au"),
    ],
)
def test_what_is_broken_gives_a_problem(data, name):
    described = describe(data, name)
    assert described.problem
    assert described.metadata["format"]


def test_vorbis_comments_that_lie_about_their_number():
    data = bytearray(encoded("FLAC", frames=500))
    comment = struct.pack("<I", 4) + b"test" + struct.pack("<I", 0xFFFFFFFF)
    broken = bytes(data[:42]) + flac_block(4, comment) + bytes(data[42:])
    assert describe(broken, "a.flac").problem


def test_an_allowance_ends_a_reader_that_reads_on_and_on():
    source = Source(io.BytesIO(bytes(1000)), 1000)
    window = Allowance(source, start=100, most_bytes=500, most_calls=50)
    assert window.seek(0, io.SEEK_END) == 900
    assert window.seek(-100, io.SEEK_END) == 800
    assert len(window.read()) == 100
    assert window.read(5) == b""
    assert not window.spent
    window.seek(0)
    assert len(window.read(400)) == 400
    assert window.read(5) == b""
    assert window.spent
    busy = Allowance(source, most_calls=3)
    assert [len(busy.read(1)) for _ in range(5)] == [1, 1, 1, 0, 0]
    assert busy.spent
    with pytest.raises(OSError, match="before the beginning"):
        busy.seek(-1)
