"""The tone: made by the guest's code, found by the host's, and nothing else taken for it."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from archibald.vm.selftest.model import Answer
from archibald.vm.selftest.signal import write_tone
from archibald.vm.tone import analyse, read_wav, tone_check

RATE = 48000


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    with wave.open(str(path), "wb") as stream:
        stream.setnchannels(2)
        stream.setsampwidth(2)
        stream.setframerate(rate)
        both = np.repeat((samples * 32767).round().astype("<i2"), 2)
        stream.writeframes(both.tobytes())
    return path


def tone(frequency: float = 1000.0, dbfs: float = -12.0, length_s: float = 3.0) -> np.ndarray:
    time = np.arange(round(length_s * RATE)) / RATE
    silence = np.zeros(RATE // 2)
    sine = 10 ** (dbfs / 20) * np.sin(2 * np.pi * frequency * time)
    return np.concatenate([silence, sine, silence])


@pytest.mark.parametrize("rate", [44100, 48000, 96000, 192000])
def test_what_the_guest_plays_is_what_the_host_looks_for(tmp_path: Path, rate: int) -> None:
    path = tmp_path / "tone.wav"
    write_tone(path, rate=rate, amplitude=10 ** (-12 / 20))
    figures = analyse(read_wav(path))
    assert figures is not None
    assert figures.frequency_hz == pytest.approx(1000.0, abs=0.5)
    assert figures.level_dbfs == pytest.approx(-12.0, abs=0.1)
    assert figures.length_s == pytest.approx(3.0, abs=0.04)
    assert figures.dropouts == 0
    assert figures.purity > 0.99
    assert tone_check(path).answer is Answer.OK


@pytest.mark.parametrize(
    "samples",
    [
        tone(frequency=980.0),
        tone(frequency=440.0),
        tone(dbfs=-20.0),
        tone(dbfs=-3.0),
        tone(length_s=2.0),
        tone(length_s=6.0),
        np.random.default_rng(1).normal(0, 0.18, 4 * RATE).clip(-1, 1),
        tone(dbfs=-15.0) + np.random.default_rng(2).normal(0, 0.3, 4 * RATE).clip(-0.8, 0.8),
    ],
    ids=["a little flat", "wrong", "quiet", "loud", "short", "long", "noise", "under noise"],
)
def test_other_sounds_are_refused(tmp_path: Path, samples: np.ndarray) -> None:
    check = tone_check(write(tmp_path / "other.wav", samples))
    assert check.answer is Answer.BAD, check.observed


def test_silence_is_refused(tmp_path: Path) -> None:
    check = tone_check(write(tmp_path / "silence.wav", np.zeros(4 * RATE)))
    assert (check.answer, check.observed) == (Answer.BAD, "silence")
    faint = tone_check(write(tmp_path / "faint.wav", tone(dbfs=-70.0)))
    assert (faint.answer, faint.observed) == (Answer.BAD, "silence")


def test_interruptions_are_counted(tmp_path: Path) -> None:
    samples = tone()
    for start_s in (1.0, 2.0):
        start = round(start_s * RATE)
        samples[start : start + RATE // 20] = 0.0
    figures = analyse(read_wav(write(tmp_path / "gaps.wav", samples)))
    assert figures is not None
    assert figures.dropouts == 2
    assert figures.length_s == pytest.approx(2.9, abs=0.05)


def test_header_that_was_never_completed(tmp_path: Path) -> None:
    """QEMU writes the sizes at its end; a file of a killed QEMU has zeros there."""
    path = write(tmp_path / "killed.wav", tone())
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = bytes(4)
    path.write_bytes(data + b"\x01")
    assert tone_check(path).answer is Answer.OK


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"x" * 1000])
def test_files_that_are_no_sound(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "no.wav"
    path.write_bytes(content)
    assert tone_check(path).answer is Answer.CANNOT_TELL


def test_missing_file(tmp_path: Path) -> None:
    check = tone_check(tmp_path / "none.wav")
    assert (check.answer, check.evidence) == (
        Answer.CANNOT_TELL,
        "the emulated card wrote no file",
    )
