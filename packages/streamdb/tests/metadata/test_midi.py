"""MIDI files, against mido, and when they break off."""

from __future__ import annotations

import io

import mido  # type: ignore[import-untyped]
import pytest

from streamdb.metadata import describe

TEMPO_100 = b"\0\xff\x51\x03\x09\x27\xc0"
NOTE = b"\0\x90\x3c\x40\x83\x60\x80\x3c\x40"  # a quarter at 480 ticks


def song(kind=1, division=480):
    file = mido.MidiFile(type=kind, ticks_per_beat=division)
    meta = file.add_track("Sketch")
    meta.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(96)))
    meta.append(mido.MetaMessage("time_signature", numerator=7, denominator=8))
    meta.append(mido.MetaMessage("key_signature", key="C#m"))
    meta.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(120), time=1000))
    bass = file.add_track("Bass")
    for note in range(30, 50):
        bass.append(mido.Message("program_change", program=3, time=0))
        bass.append(mido.Message("note_on", note=note, velocity=90, time=13))
        bass.append(mido.Message("note_on", note=note, velocity=0, time=200))
    bass.append(mido.Message("sysex", data=range(100)))
    bass.append(mido.Message("pitchwheel", pitch=-300, time=77))
    return file


def saved(file):
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


@pytest.mark.parametrize("division", [24, 480, 960, 32767])
def test_a_song_of_mido(division):
    file = song(division=division)
    described = describe(saved(file), "sketch.mid")
    assert described.problem is None
    found = described.metadata
    assert (found["format"], found["tracks"], found["notes"]) == ("midi", 2, 20)
    assert (found["tempo"], found["tempo_source"]) == (96.0, "midi")
    assert (found["time_signature"], found["key"]) == ("7/8", "C#min")
    assert found["track_names"] == ["Sketch", "Bass"]
    assert found["title"] == "Sketch"
    assert found["duration"] == pytest.approx(file.length, abs=1e-5)


@pytest.mark.parametrize(
    "key", ["C", "G", "F#", "Db", "Gb", "C#", "Am", "Em", "A#m", "Abm", "Ebm", "Bm"]
)
def test_every_key_signature(key, build):
    file = mido.MidiFile()
    file.add_track().append(mido.MetaMessage("key_signature", key=key))
    from streamdb.music import parse_key

    assert describe(saved(file), "a.mid").metadata["key"] == str(parse_key(key))


def test_tracks_of_format_two_follow_each_other(build):
    one = describe(build.midi(TEMPO_100 + NOTE, kind=1), "a.mid").metadata["duration"]
    both = describe(build.midi(TEMPO_100 + NOTE, NOTE, kind=2), "a.mid").metadata["duration"]
    assert (one, both) == (0.6, 1.2)


def test_time_code_divisions_count_frames(build):
    # 25 frames per second, 40 ticks per frame: 1000 ticks are a second.
    data = build.midi(b"\x87\x68\x90\x3c\x40", division=0xE728)
    assert describe(data, "a.mid").metadata["duration"] == 1.0


def test_running_status_and_silent_notes(build):
    data = build.midi(b"\0\x90\x3c\x40\x10\x3c\0\x10\x3e\x40\x10\x3e\0")
    assert describe(data, "a.mid").metadata["notes"] == 2


def test_a_midi_file_within_riff(build):
    data = build.midi(TEMPO_100)
    wrapped = b"RIFF\0\0\0\0RMID" + build.chunk(b"data", data)
    assert describe(wrapped, "a.mid").metadata["tempo"] == 100.0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda b: b.midi(NOTE)[:10], "header is cut off"),
        (lambda b: b.midi(NOTE, count=5), "1 of 5 tracks"),
        (lambda b: b.midi(TEMPO_100 + NOTE)[:-8], "a track is cut off"),
        (lambda b: b.midi(TEMPO_100 + b"\0\xff\x03\x7f", end=b""), "in the middle of an event"),
        (lambda b: b.midi(TEMPO_100 + b"\xff\xff\xff\xff\xff\x7f"), "in the middle of an event"),
        (lambda b: b.midi(TEMPO_100 + b"\0\x40"), "in the middle of an event"),
        (lambda b: b.midi(TEMPO_100 + b"\0\xf4"), "in the middle of an event"),
        (lambda b: b.midi(TEMPO_100 + b"\0"), "in the middle of an event"),
    ],
)
def test_what_breaks_off_keeps_what_came_before(build, make, words):
    data = make(build)
    described = describe(data, "a.mid")
    assert words in str(described.problem)
    if len(data) > 30 and b"\xff\x51" in data:
        assert described.metadata["tempo"] == 100.0


def test_values_that_mean_nothing_are_left_out(build):
    data = build.midi(
        b"\0\xff\x51\x03\0\0\0\0\xff\x58\x04\x04\x7f\x18\x08\0\xff\x59\x02\x7f\0", division=0
    )
    described = describe(data, "a.mid")
    assert described.problem is None
    assert not {"tempo", "time_signature", "key", "duration"} & described.metadata.keys()


def test_a_file_longer_than_any_song_is_read_in_part(build, monkeypatch):
    monkeypatch.setattr("streamdb.metadata.midi.MAX_FILE", 1 << 20)
    data = build.midi(TEMPO_100 + NOTE * 200_000)
    described = describe(data, "a.mid")
    assert "first 1 MiB" in str(described.problem)
    assert described.metadata["tempo"] == 100.0
    assert described.metadata["notes"] > 100_000
