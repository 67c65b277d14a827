"""Tempo and key in file names: what counts, and what only looks like it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamdb.metadata.name import key_of, tempo_of

NAMES = [
    # what sample makers write
    ("Bass_Loop_124bpm_Fmin.wav", 124, "Fmin"),
    ("120bpm.wav", 120, None),
    ("Drum Loop 120 BPM.wav", 120, None),
    ("BPM120 Cmin lead.wav", 120, "Cmin"),
    ("bpm_92.5_groove.aif", 92.5, None),
    ("Funky Break (90 BPM).wav", 90, None),
    ("Break [174bpm] [F#m].wav", 174, "F#min"),
    ("SC_TH_128_synth_loop_arp_Amin.wav", 128, "Amin"),
    ("PMB_120_Am_Pluck_Loop.wav", 120, "Amin"),
    ("Loop_01_120_.wav", 120, None),
    ("_120_.wav", None, None),
    ("120_Amin_Loop.wav", 120, "Amin"),
    ("Dusty_Keys_85_Ebmaj.wav", 85, "Ebmaj"),
    ("Top Loop 126.wav", 126, None),
    ("KSHMR_Drum_Fill_128_04.wav", 128, None),
    ("Vocal Chop - 140 - F# minor.flac", 140, "F#min"),
    ("Guitar_Riff_100bpm_Emaj_DRY.wav", 100, "Emaj"),
    ("Pad F#m 90.wav", None, "F#min"),
    ("strings_Bb_Maj_legato.wav", None, "Bbmaj"),
    ("Choir C minor.wav", None, "Cmin"),
    ("choir c_minor 70bpm.wav", 70, "Cmin"),
    ("Chords in Key_C.wav", None, "Cmaj"),
    ("Rhodes key of Eb.ogg", None, "Ebmaj"),
    ("Lead Dbmin 138 BPM.wav", 138, "C#min"),
    ("arp_g#min_122bpm.wav", 122, "G#min"),
    ("Harp E♭ major.wav", None, "Ebmaj"),
    ("sub_A_min_140bpm.wav", 140, "Amin"),
    ("Piano Dm.wav", None, "Dmin"),
    ("60 BPM ambient.wav", 60, None),
    ("Organ_Gmaj_(75bpm).mp3", 75, "Gmaj"),
    ("Loops/90bpm/Shaker.wav", None, None),
    ("Fsharpmin drone.wav", None, "F#min"),
    ("Beat 95bpm v2.wav", 95, None),
    ("Brass.Stab.115.Loop.wav", 115, None),
    ("Acoustic-Loop-110bpm-Gmin", 110, "Gmin"),
    # traps: numbers
    ("808 Kick.wav", None, None),
    ("909_Clap_Loop.wav", None, None),
    ("Juno 106 Pad Loop.wav", None, None),
    ("SH-101 Bass Loop.wav", None, None),
    ("120_Hz.wav", None, None),
    ("Sine 100Hz loop.wav", None, None),
    ("Sweep_150_Hz_loop.wav", None, None),
    ("Tone 120 dB loop.wav", None, None),
    ("Delay 125 ms loop.wav", None, None),
    ("Kick 100.wav", None, None),
    ("Kick 062.wav", None, None),
    ("Snare_062_loop.wav", None, None),
    ("Take 120 loop.wav", None, None),
    ("Vol 90 - Perc Loop.wav", None, None),
    ("Piano_C4_127.wav", None, None),
    ("Cello F#3 vel 90 rr2.wav", None, None),
    ("Field 2024-06-120 loop.wav", None, None),
    ("loop 90 120.wav", None, None),
    ("90bpm to 120bpm riser.wav", None, None),
    ("Loop 999bpm.wav", None, None),
    ("12bpm.wav", None, None),
    ("Rain 96k 24bit.wav", None, None),
    ("Loop 192 kHz.wav", None, None),
    ("Fill 10.5.wav", None, None),
    ("Hit 8 bars 64.wav", None, None),
    ("abpm120x.wav", None, None),
    # traps: letters
    ("Am I Dreaming.wav", None, None),
    ("I Am Loop.wav", None, None),
    ("B2B Set.wav", None, None),
    ("G-Funk Lead.wav", None, None),
    ("D&B Break.wav", None, None),
    ("E-Piano.wav", None, None),
    ("AM Radio.wav", None, None),
    ("GM Kit.wav", None, None),
    ("FM Bell.wav", None, None),
    ("10 cm tube.wav", None, None),
    ("Admin Voice.wav", None, None),
    ("Chord Am7.wav", None, None),
    ("Chord Cmaj9.wav", None, None),
    ("Dmin7 stab.wav", None, None),
    ("a minor setback.wav", None, None),
    ("a_major_riser.wav", None, None),
    ("Plan A.wav", None, None),
    ("Vitamin C.wav", None, None),
    ("F# hit.wav", None, None),
    ("Cmin to Ebmaj transition.wav", None, None),
    ("5 min ambience.wav", None, None),
    ("em dash.wav", None, None),
    ("Keyboard B.wav", None, None),
    ("Bb.wav", None, None),
    ("minor adjustments.wav", None, None),
    ("readme.txt", None, None),
    ("", None, None),
    (".wav", None, None),
]


def test_there_are_enough_names():
    assert len({name for name, _, _ in NAMES}) == len(NAMES) >= 60


@pytest.mark.parametrize(("name", "tempo", "key"), NAMES)
def test_names(name, tempo, key):
    assert tempo_of(name) == tempo
    found = key_of(name)
    assert (None if found is None else str(found)) == key


@given(st.text(max_size=60))
def test_any_name_gives_a_plausible_tempo_or_none(name):
    tempo = tempo_of(name)
    assert tempo is None or 40 <= tempo <= 300
    key = key_of(name)
    assert key is None or 0 <= key.tonic <= 11


@given(st.integers(40, 300), st.sampled_from(["{}bpm", "BPM {}", "x_{}_BPM_y", "({} bpm)"]))
def test_every_tempo_beside_bpm_is_found(tempo, form):
    assert tempo_of(form.format(tempo) + ".wav") == tempo


def test_long_names_take_no_time():
    for name in ("120 " * 100_000, "bpm" * 100_000, "a" * 1_000_000, "C min " * 50_000):
        tempo_of(name)
        key_of(name)
