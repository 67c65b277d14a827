"""AIFF and AIFF-C: format, texts, markers, the instrument chunk, and damage."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]

from streamdb.metadata import describe


def facts(data):
    return describe(data, "a.aif").metadata


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("rate", [8_000, 44_100, 96_000, 192_000])
def test_format_and_length_are_those_that_soundfile_wrote(subtype, rate):
    file = io.BytesIO()
    soundfile.write(file, np.zeros((1001, 2)), rate, subtype=subtype, format="AIFF")
    codec = {"FLOAT": "float32", "DOUBLE": "float64", "PCM_S8": "pcm_s8"}.get(
        subtype, subtype.lower().replace("_", "_s")
    )
    described = describe(file.getvalue(), "x.aiff")
    assert described.problem is None
    assert described.metadata["codec"] == codec
    assert described.metadata["rate"] == rate
    assert described.metadata["channels"] == 2
    assert described.metadata["frames"] == 1001
    assert described.metadata["duration"] == round(1001 / rate, 6)


def test_texts_markers_loops_and_tags(build):
    markers = struct.pack(">HhIB", 2, 1, 10, 5) + b"start" + struct.pack(">hIB", 2, 90, 2) + b"to\0"
    instrument = struct.pack(">bbbbbbhhhhhhh", 62, 0, 0, 127, 1, 127, 0, 1, 1, 2, 0, 0, 0)
    found = facts(
        build.aiff(
            (b"NAME", b"Pad"),
            (b"AUTH", b"Trio"),
            (b"(c) ", b"CC0"),
            (b"ANNO", b"slow"),
            (b"MARK", markers),
            (b"INST", instrument),
            (b"ID3 ", build.id3(("TBPM", b"\x0088"))),
        )
    )
    assert (found["title"], found["artist"], found["copyright"]) == ("Pad", "Trio", "CC0")
    assert (found["comment"], found["root_note"], found["tempo"]) == ("slow", 62, 88.0)
    assert found["markers"] == [{"frame": 10, "label": "start"}, {"frame": 90, "label": "to"}]
    assert (found["loop"], found["loop_start"], found["loop_end"]) == (True, 10, 90)


@pytest.mark.parametrize(
    ("compression", "codec"),
    [(b"sowt", "pcm_s24"), (b"NONE", "pcm_s24"), (b"ima4", "adpcm_ima"), (b"xyz1", "xyz1")],
)
def test_kinds_of_aiff_c(build, compression, codec):
    comm = struct.pack(">hIhHQ", 2, 100, 24, 16383 + 15, 48_000 << 48) + compression + b"\0\0"
    found = facts(build.aiff(comm=comm, kind=b"AIFC"))
    assert (found["codec"], found["rate"], found["frames"]) == (codec, 48_000, 100)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda b: b.aiff(sound=bytes(300)), "300 of 600 bytes"),
        (lambda b: b.aiff(sound=None), "no audio data"),
        (lambda b: b.aiff(comm=b"short"), "format chunk is too short"),
        (lambda b: b.aiff(comm=struct.pack(">hIhHQ", 0, 1, 16, 16398, 48_000 << 48)), "0 channels"),
        (lambda b: b.aiff(comm=struct.pack(">hIhHQ", 2, 1, 16, 0x7FFF, 0)), "0 Hz"),
        (lambda b: b.aiff((b"NAME", b"x", 0xFFFFFFF0)), "4294967280 bytes"),
        (lambda b: b.aiff()[:12], "no format chunk"),
        (lambda b: b.aiff(*[(b"JUNK", b"")] * 5000), "4096 chunks"),
    ],
)
def test_what_is_broken_is_said(build, make, words):
    described = describe(make(build), "a.aif")
    assert words in str(described.problem)
    assert described.metadata["format"] == "aiff"
