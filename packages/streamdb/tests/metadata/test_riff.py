"""WAV and its relatives: every chunk, against soundfile, and when it lies or breaks off."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import soundfile  # type: ignore[import-untyped]

from streamdb.metadata import describe


def facts(data, name="a.wav"):
    return describe(data, name).metadata


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("form", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize(("rate", "channels"), [(44_100, 1), (96_000, 2), (192_000, 6)])
def test_format_and_length_are_those_that_soundfile_wrote(subtype, form, rate, channels):
    file = io.BytesIO()
    soundfile.write(file, np.zeros((1001, channels)), rate, subtype=subtype, format=form)
    codec = {"PCM_U8": "pcm_u8", "FLOAT": "float32", "DOUBLE": "float64"}.get(
        subtype, subtype.lower().replace("_", "_s")
    )
    described = describe(file.getvalue(), "x.wav")
    assert described.problem is None
    assert described.metadata == {
        "format": "wav",
        "codec": codec,
        "rate": rate,
        "channels": channels,
        "bits": int("".join(letter for letter in codec if letter.isdigit())),
        "frames": 1001,
        "duration": round(1001 / rate, 6),
    }


@pytest.mark.parametrize(
    ("subtype", "codec"),
    [("ULAW", "ulaw"), ("ALAW", "alaw"), ("IMA_ADPCM", "adpcm_ima"), ("MS_ADPCM", "adpcm_ms")],
)
def test_compressed_waves_tell_their_length_in_the_fact_chunk(subtype, codec):
    file = io.BytesIO()
    soundfile.write(file, np.zeros((5000, 1)), 22_050, subtype=subtype, format="WAV")
    found = facts(file.getvalue())
    assert found["codec"] == codec
    # A writer of ADPCM may count the padding of its last block.
    assert 5000 <= found["frames"] < 5200
    assert "bits" not in found


def test_a_loop_tells_tempo_beats_meter_and_root(build):
    found = facts(build.wave(build.acid(flags=2, root=45, beats=16, meter=(3, 4), tempo=127.5)))
    assert found["tempo"] == 127.5
    assert found["tempo_source"] == "acid"
    assert (found["loop"], found["beats"]) == (True, 16)
    assert (found["time_signature"], found["root_note"]) == ("3/4", 45)


def test_the_tempo_of_a_one_shot_is_a_default_that_means_nothing(build):
    found = facts(build.wave(build.acid(flags=1, tempo=120.0)))
    assert found["loop"] is False
    assert not {"tempo", "beats", "root_note"} & found.keys()


@pytest.mark.parametrize("tempo", [0.0, -5.0, float("nan"), float("inf"), 1e30])
def test_a_tempo_that_is_none_is_left_out(build, tempo):
    assert "tempo" not in facts(build.wave(build.acid(tempo=tempo)))


def test_facts_in_the_file_win_over_its_name(build):
    data = build.wave(build.acid(tempo=127.0))
    found = facts(data, "Bass_140bpm_Fmin.wav")
    assert (found["tempo"], found["tempo_source"]) == (127.0, "acid")
    assert (found["key"], found["key_source"]) == ("Fmin", "name")


def test_broadcast_waves_tell_who_recorded_what_when(build):
    found = facts(
        build.wave(
            build.bext(
                description=b"Rain on a tin roof",
                originator=b"ZOOM H5",
                reference=b"DE123",
                history=b"A=PCM,F=48000,W=24,M=stereo\r\n\0\0",
            )
        )
    )
    assert found["description"] == "Rain on a tin roof"
    assert found["originator"] == "ZOOM H5"
    assert found["originator_reference"] == "DE123"
    assert found["origination"] == "2024-06-30T12:34:56"
    assert found["time_reference"] == 172_800_000
    assert found["coding_history"] == "A=PCM,F=48000,W=24,M=stereo"
    assert (found["loudness"], found["peak"]) == (-23.01, -1.05)


def test_broadcast_dates_of_every_separator_and_none(build):
    for date, time, expected in [
        (b"2024/06/30", b"12.34.56", "2024-06-30T12:34:56"),
        (b"2024_06_30", b"", "2024-06-30"),
        (b"0000-00-00", b"00:00:00", "0000-00-00T00:00:00"),
        (b"yesterday", b"12:34:56", None),
        (b"2024-99-30", b"12:34:56", None),
        (b"2024-06-30", b"99:99:99", "2024-06-30"),
    ]:
        assert facts(build.wave(build.bext(date=date, time=time))).get("origination") == expected


def test_loudness_counts_from_version_two_and_when_it_was_measured(build):
    assert "loudness" not in facts(build.wave(build.bext(version=1)))
    assert "loudness" not in facts(build.wave(build.bext(loudness=0x7FFF)))


def test_sampler_loops_and_notes(build):
    found = facts(build.wave(build.smpl(unity=57, loops=[(10, 90), (20, 30)])))
    assert (found["root_note"], found["loop"]) == (57, True)
    assert (found["loop_start"], found["loop_end"]) == (10, 90)
    assert (
        facts(build.wave(build.chunk(b"inst", bytes([48, 0, 0, 0, 127, 1, 127]))))["root_note"]
        == 48
    )
    assert "root_note" not in facts(build.wave(build.smpl(unity=0)))
    assert "root_note" not in facts(build.wave(build.smpl(unity=4_000_000_000)))
    assert "loop_start" not in facts(build.wave(build.smpl(loops=[(90, 10)])))


def test_texts_of_the_info_list(build):
    found = facts(
        build.wave(
            build.info(
                INAM=b"Kick \xe9lan",
                IART=b"Trio",
                IPRD="Köln Pack".encode(),
                IGNR=b"House",
                ICMT=b"dry",
                ICRD=b"2019-05-01",
                ITRK=b"7/12",
                IKEY=b"warm; analog, tape",
                ISFT=b"REAPER",
            )
        )
    )
    assert (found["title"], found["artist"], found["album"]) == ("Kick élan", "Trio", "Köln Pack")
    assert (found["genre"], found["comment"], found["date"]) == ("House", "dry", "2019-05-01")
    assert (found["track"], found["tags"]) == (7, ["warm", "analog", "tape"])
    assert found["software"] == "REAPER"


def test_markers_with_and_without_labels(build):
    found = facts(build.wave(build.cues(480, 0, 960, labels=(b"verse", b"intro"))))
    assert found["markers"] == [
        {"frame": 0, "label": "intro"},
        {"frame": 480, "label": "verse"},
        {"frame": 960, "label": ""},
    ]


def test_ixml_of_a_field_recorder(build):
    xml = b"""<?xml version="1.0" encoding="UTF-8"?><BWFXML><PROJECT>Film</PROJECT>
    <SCENE>12A</SCENE><TAKE>3</TAKE><TAPE>T01</TAPE><NOTE>wind &amp; rain</NOTE></BWFXML>\0\0"""
    found = facts(build.wave(build.chunk(b"iXML", xml)))
    assert (found["project"], found["scene"], found["take"]) == ("Film", "12A", "3")
    assert (found["tape"], found["comment"]) == ("T01", "wind & rain")


def test_an_id3_tag_within_a_wave(build):
    tag = build.id3(("TIT2", b"\x03Snare"), ("TBPM", b"\x0398"), ("TKEY", b"\x03Ebm"))
    found = facts(build.wave(build.chunk(b"id3 ", tag)))
    assert (found["title"], found["tempo"], found["key"]) == ("Snare", 98.0, "Ebmin")
    assert (found["tempo_source"], found["key_source"]) == ("tag", "tag")


def test_rf64_takes_sizes_from_its_own_chunk(build):
    data = build.rf64(data=bytes(1200))
    assert facts(data)["frames"] == 200
    assert describe(data, "a.wav").problem is None
    assert "600 of 1200" in str(describe(data[:-600], "a.wav").problem)


def test_a_streamed_wave_whose_writer_could_not_go_back(build):
    described = describe(build.wave(data=bytes(600), data_size=0xFFFFFFFF), "a.wav")
    assert described.metadata["frames"] == 100
    assert described.problem is None


def test_chunks_behind_odd_ones_are_found(build):
    found = facts(build.wave(build.chunk(b"JUNK", b"abc"), build.info(INAM=b"x"), build.acid()))
    assert (found["title"], found["tempo"]) == ("x", 120.0)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda b: b.wave(data_size=5000), "600 of 5000 bytes"),
        (lambda b: b.wave(data=None), "no audio data"),
        (lambda b: b.wave(fmt=b""), "no format chunk"),
        (lambda b: b.wave(fmt=b.chunk(b"fmt ", b"short")), "format chunk is too short"),
        (lambda b: b.wave(fmt=b.fmt(channels=0)), "0 channels"),
        (lambda b: b.wave(fmt=b.fmt(rate=0)), "0 Hz"),
        (lambda b: b.wave(b.chunk(b"bext", b"x")), "broadcast chunk is too short"),
        (lambda b: b.wave(b.chunk(b"acid", b"x")), "acid chunk is too short"),
        (lambda b: b.wave(b.chunk(b"smpl", b"x")), "sampler chunk is too short"),
        (lambda b: b.wave(b.chunk(b"iXML", b"<a><b></a>")), "iXML chunk is damaged"),
        (lambda b: b.wave(b.chunk(b"id3 ", b"nothing")), "ID3 tag is damaged"),
        (lambda b: b.wave(b.chunk(b"LIST", b"INFO", 0xFFFFFFF0)), "4294967280 bytes"),
        (lambda b: b.wave()[:30], "format chunk"),
        (lambda b: b.wave()[:12], "no format chunk"),
    ],
)
def test_what_is_broken_is_said_and_the_rest_is_kept(build, make, words):
    described = describe(make(build), "Kick_120bpm.wav")
    assert words in str(described.problem)
    assert described.metadata["problem"] == described.problem
    assert described.metadata["format"] == "wav"
    assert described.metadata["tempo"] == 120.0


def test_entities_and_nesting_without_end_are_refused(build):
    bomb = b'<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">]><BWFXML><PROJECT>&a;</PROJECT></BWFXML>'
    assert "entities" in str(describe(build.wave(build.chunk(b"iXML", bomb)), "a.wav").problem)
    deep = b"<BWFXML>" + b"<a>" * 100_000
    assert "deeply" in str(describe(build.wave(build.chunk(b"iXML", deep)), "a.wav").problem)


def test_more_chunks_than_anybody_writes_are_not_read_to_the_end(build):
    described = describe(build.wave(build.chunk(b"JUNK", b"") * 5000), "a.wav")
    assert "4096 chunks" in str(described.problem)


def test_a_chunk_of_zero_length_does_not_stop_the_reader(build):
    head = b"RIFF" + struct.pack("<I", 100) + b"WAVE"
    assert "format chunk" in str(describe(head + bytes(100_000), "a.wav").problem)
