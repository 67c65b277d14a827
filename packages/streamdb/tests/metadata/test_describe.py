"""describe: any bytes give facts or a problem, never an exception, within bounds."""

from __future__ import annotations

import io
import json
import random
import tracemalloc

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from streamdb.errors import StreamDBError
from streamdb.metadata import Described, describe
from streamdb.metadata.draft import MAX_ITEMS, MAX_PROBLEM, MAX_TEXT, Draft, clean, iso_date
from streamdb.metadata.fields import FIELDS, STORED, Kind
from streamdb.metadata.reading import Source, opened
from streamdb.query import parse

_TYPES = {
    Kind.TEXT: str,
    Kind.DATE: str,
    Kind.KEY: str,
    Kind.TAGS: list,
    Kind.FLAG: bool,
    Kind.DURATION: float,
    Kind.TEMPO: float,
    Kind.NUMBER: float,
}


def check(described: Described) -> None:
    """What holds for every description, of whatever bytes."""
    text = json.dumps(described.metadata, allow_nan=False)
    assert json.loads(text) == described.metadata
    assert len(text) < 400_000
    assert described.metadata.get("problem") == described.problem
    for name, value in described.metadata.items():
        kind = FIELDS[name].kind
        wanted = list if name == "markers" else _TYPES.get(kind, int)
        assert type(value) is wanted, (name, value)
        if isinstance(value, str):
            assert value == clean(value)
            assert 0 < len(value) <= MAX_TEXT
        if isinstance(value, list):
            assert 0 < len(value) <= MAX_ITEMS
    assert ("tempo" in described.metadata) is ("tempo_source" in described.metadata)
    assert ("key" in described.metadata) is ("key_source" in described.metadata)


def samples():
    """One small real file of each format."""
    tone = np.sin(np.arange(3000)[:, None] * [0.1, 0.2]) * 0.3
    for form, subtype in [
        ("WAV", "PCM_24"),
        ("RF64", "PCM_16"),
        ("AIFF", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
        ("CAF", "PCM_16"),  # codespell:ignore caf
        ("AU", "PCM_16"),
    ]:
        file = io.BytesIO()
        soundfile.write(file, tone, 48_000, subtype, format=form)
        yield f"{form}-{subtype}", file.getvalue()


REAL = dict(samples())


@pytest.fixture
def corpus(build):
    midi = build.midi(b"\0\xff\x51\x03\x09\x27\xc0\0\x90\x3c\x40\x83\x60\x80\x3c\x40")
    wave = build.wave(
        build.bext(description=b"x" * 256),
        build.acid(),
        build.smpl(loops=[(1, 2)]),
        build.info(INAM=b"title", IKEY=b"a;b"),
        build.cues(1, 2, labels=(b"a", b"b")),
        build.chunk(b"iXML", b"<BWFXML><SCENE>1</SCENE></BWFXML>"),
        build.chunk(b"id3 ", build.id3(("TIT2", b"\x03T"), ("COMM", b"\x03eng\0hi"))),
    )
    aiff = build.aiff((b"NAME", b"n"), (b"MARK", b"\0\1\0\1\0\0\0\1\1a"), (b"INST", bytes(20)))
    return {**REAL, "midi": midi, "wave": wave, "aiff": aiff}


NAMES = {"FLAC": "a.flac", "OGG": "a.ogg", "MP3": "a.mp3", "AIFF": "a.aif", "aiff": "a.aif"}
NAMES |= {"CAF": "a.caf", "AU": "a.au", "midi": "a.mid"}  # codespell:ignore caf


def name_of(kind):
    return NAMES.get(kind.split("-")[0], "a.wav")


def test_every_real_file_is_read_without_a_problem(corpus):
    for kind, data in corpus.items():
        described = describe(data, name_of(kind))
        assert described.problem is None, (kind, described)
        check(described)


def test_every_cut_of_every_format(corpus):
    for kind, data in corpus.items():
        step = max(1, len(data) // 150)
        for length in range(0, len(data), step):
            described = describe(data[:length], name_of(kind))
            check(described)
            if length < 12:
                assert described.problem, (kind, length)


def test_flipped_and_overwritten_bytes(corpus):
    rng = random.Random(3)
    for kind, data in corpus.items():
        for _ in range(60):
            broken = bytearray(data)
            for _ in range(rng.randrange(1, 12)):
                at = rng.randrange(min(len(broken), 2000))
                broken[at] = rng.choice([0, 0xFF, 0x7F, 0x80, rng.randrange(256)])
            check(describe(bytes(broken), name_of(kind)))


_HEADS = [
    b"RIFF\xff\xff\xff\xffWAVE",
    b"RF64\xff\xff\xff\xffWAVEds64",
    b"RIFF\0\0\0\0RMID",
    b"FORM\0\0\0\0AIFC",
    b"FORM\0\0\0\x008SVX",
    b"MThd\0\0\0\x06\0\x01\0\x01\x01\xe0MTrk\0\0\0\x20",
    b"fLaC\0\0\0\x22",
    b"OggS\0\x02\0\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\0\0\0\0\1\x1e\x01vorbis",
    b"ID3\x04\0\0\0\0\x07\x76",
    b"ID3\x03\0\x80\0\0\x07\x76TIT2",
    b"\xff\xfb\x90\x64",
    b"caff\0\1\0\0",
    b".snd",
    b"",
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(_HEADS),
    st.binary(max_size=300),
    st.sampled_from(["a.wav", "a.mp3", "a.flac", "a.ogg", "a.mid", "a.aif", "a", "x.txt"]),
)
def test_any_bytes_behind_any_beginning(head, tail, name):
    check(describe(head + tail, name))


@given(st.text(max_size=50))
def test_any_name(name):
    check(describe(b"", name))
    check(describe(REAL["WAV-PCM_24"], name))


def test_sizes_of_four_gigabytes_cost_nothing(build):
    lies = [
        build.wave(*(build.chunk(name, b"x" * 40, 0xFFFFFFFE) for name in (b"LIST", b"bext"))),
        build.wave(build.chunk(b"cue ", b"\xff" * 400, 0xFFFFFFFE)),
        build.aiff(comm=b"\0\2\xff\xff\xff\xff\0\x18\x40\x0e" + b"\xbb\x80" + bytes(6)),
        b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + b"TIT2\x7f\x7f\x7f\x7f\0\0\x03" + b"x" * 5000,
        b"fLaC\x84\xff\xff\xff" + bytes(3000),
        build.midi(b"\0\xff\x03\xff\xff\xff\x7f"),
        b"MThd\0\0\0\6\0\1\xff\xff\1\xe0" + b"MTrk\xff\xff\xff\xff" * 3,
    ]
    tracemalloc.start()
    try:
        for data in lies:
            check(describe(data, "a.wav"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 40_000_000


def test_a_large_file_is_not_read_whole(build, tmp_path):
    """8 GiB of silence behind an honest header, as a sparse file."""
    path = tmp_path / "long.wav"
    head = build.rf64(data=b"")
    size = 8 << 30
    head = head.replace(
        b"ds64\x1c\0\0\0" + bytes(16), b"ds64\x1c\0\0\0" + bytes(8) + size.to_bytes(8, "little")
    )
    path.write_bytes(head)
    with path.open("r+b") as file:
        file.truncate(len(head) + size)
    tracemalloc.start()
    try:
        described = describe(path, path.name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert described.problem is None
    assert described.metadata["frames"] == size // 6
    assert peak < 5_000_000


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, "path", "file"])
def test_every_kind_of_source_gives_the_same(kind, tmp_path):
    data = REAL["FLAC-PCM_16"]
    path = tmp_path / "a.flac"
    path.write_bytes(data)
    wanted = describe(data, "a.flac")
    if kind == "path":
        assert describe(path, "a.flac") == wanted
    elif kind == "file":
        with path.open("rb") as file:
            file.seek(7)
            assert describe(file, "a.flac") == wanted
            assert file.tell() == 7
            assert not file.closed
    else:
        assert describe(kind(data), "a.flac") == wanted


@pytest.mark.parametrize(
    ("data", "name", "form", "problem"),
    [
        (b"", "kick.wav", "wav", "the file is empty"),
        (b"", "notes.txt", "txt", None),
        (b"", "README", None, None),
        (b"hello", "kick.wav", "wav", "named like wav, but its content is not"),
        (b"\x89PNG\r\n\x1a\n....", "cover.png", "png", None),
        (b"\xff\xd8\xff\xe0....", "cover.jpg", "jpeg", None),
        (b"%PDF-1.7", "manual.pdf", "pdf", None),
        (b"PK\x03\x04....", "pack.zip", "zip", None),
        (b"%PDF-1.7", "kick.wav", "pdf", "named like wav, but its content is not"),
        (b"text", "notes.TXT", "txt", None),
        (b"\0\1\2", "x.adg", "adg", None),
        (b"\0\1\2", "no suffix", None, None),
        (b"\xff\xfe\x00T", "notes.txt", "txt", None),
        (b"\xff\xfb\x90\x64", "noise.bin", "bin", None),
    ],
)
def test_what_is_not_audio_gets_its_format_and_no_problem(data, name, form, problem):
    described = describe(data, name)
    assert described.metadata.get("format") == form
    assert described.problem == problem
    check(described)


def test_audio_under_another_name_is_noted():
    described = describe(REAL["FLAC-PCM_16"], "loop_120bpm.wav")
    assert described.metadata["format"] == "flac"
    assert described.problem == "named like wav, but its content is flac"
    assert described.metadata["tempo"] == 120.0


def test_names_of_what_is_no_audio_tell_no_tempo():
    assert "tempo" not in describe(b"text", "Loops 120bpm Cmin.txt").metadata


def test_descriptions_can_be_found_again():
    described = describe(REAL["WAV-PCM_24"], "Bass_124bpm_F#m.wav")
    query = parse("rate=48000 channels=2 bits=24 duration<1s tempo=124 key=Gbmin format=wav")
    assert query.matches("Bass_124bpm_F#m.wav", described.metadata, 0)
    broken = describe(REAL["WAV-PCM_24"][:1000], "a.wav")
    assert parse("has:problem").matches("a.wav", broken.metadata, 0)


def test_a_file_that_cannot_be_read_is_an_error_of_reading(tmp_path):
    with pytest.raises(FileNotFoundError):
        describe(tmp_path / "missing.wav", "missing.wav")

    class Failing(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output") as caught:
        describe(Failing(b"RIFF....WAVE" * 9), "a.wav")
    assert not isinstance(caught.value, StreamDBError)


def test_a_reader_that_fails_in_an_unforeseen_way_keeps_the_file(monkeypatch):
    def explode(*_):
        raise ZeroDivisionError("one by zero")

    monkeypatch.setattr("streamdb.metadata.riff.read", explode)
    described = describe(REAL["WAV-PCM_24"], "kick_90bpm.wav")
    assert "ZeroDivisionError" in str(described.problem)


def test_texts_are_cleaned_and_bounded():
    assert clean("a\x00b\x1b[2Jc\u202ed\u2028e\ud800f") == "a b [2Jc d e f"
    assert clean("x" * 5000) == "x" * (MAX_TEXT - 1) + "…"
    assert clean(" " * 10_000_000) == ""
    draft = Draft()
    for number in range(100):
        draft.problem(f"{number} " + "y" * 300)
    assert len(str(draft.trouble)) <= MAX_PROBLEM
    draft.put("tags", [f"tag {number}" for number in range(1000)])
    assert len(draft.facts["tags"]) == MAX_ITEMS


def test_facts_out_of_range_are_left_out_and_the_first_one_stays():
    draft = Draft()
    for name, value in [
        ("rate", 0),
        ("rate", -1),
        ("rate", "x"),
        ("channels", None),
        ("frames", -1),
        ("frames", 1 << 70),
        ("duration", float("nan")),
        ("duration", -1),
        ("loudness", float("inf")),
        ("tempo", 5),
        ("tempo", 5000),
        ("tempo", "fast"),
        ("key", "H"),
        ("root_note", 128),
        ("title", " \0 "),
        ("tags", []),
    ]:
        draft.put(name, value)
    assert draft.facts == {}
    draft.put("title", "first")
    draft.put("title", "second")
    assert draft.facts == {"title": "first"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024", "2024"),
        ("2024-06", "2024-06"),
        ("2024-06-30T12:00:00Z", "2024-06-30"),
        ("2024/06/30", "2024-06-30"),
        ("20240630", None),
        ("June 2024", None),
        ("", None),
    ],
)
def test_dates_of_tags(text, expected):
    assert iso_date(text) == expected


def test_a_short_read_is_gone_on_with():
    class Short(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 3))

    assert Source(Short(b"0123456789"), 10).at(2, 7) == b"2345678"
    with opened(b"abc") as source:
        assert source.at(-1, 5) == source.at(3, 5) == source.at(0, 0) == b""


def test_every_field_has_one_declaration():
    names = [field.name for field in STORED]
    assert len(names) == len(set(names))
    assert all(field.meaning and field.example for field in FIELDS.values())
