"""The tone that the guest plays and the host looks for, made without any library."""

from __future__ import annotations

import array
import math
import sys
import wave
from pathlib import Path

#: Group of the checks about sound that is heard.
GROUP = "sound"

FREQUENCY_HZ = 1000.0
LEVEL_DBFS = -12.0
LENGTH_S = 3.0

#: Silence in front and behind, so that starting the card does not cut the tone.
_PADDING_S = 0.5


def write_tone(path: Path, *, rate: int, amplitude: float, length_s: float = LENGTH_S) -> None:
    """Write a stereo 16-bit WAV file with the tone; ``amplitude`` is 0 (silence) to 1."""
    padding = [0] * round(_PADDING_S * rate)
    count = round(length_s * rate)
    tone = _sine(rate, count, amplitude * 32767) if amplitude else [0] * count
    samples = array.array(
        "h", [value for one in (*padding, *tone, *padding) for value in (one, one)]
    )
    if sys.byteorder == "big":
        samples.byteswap()
    with wave.open(str(path), "wb") as stream:
        stream.setnchannels(2)
        stream.setsampwidth(2)
        stream.setframerate(rate)
        stream.writeframes(samples.tobytes())


def _sine(rate: int, count: int, peak: float) -> list[int]:
    step = 2 * math.pi * FREQUENCY_HZ / rate
    # Ten milliseconds of fade keep the spectrum free of clicks.
    fade = max(1, rate // 100)
    return [
        round(peak * min(1.0, n / fade, (count - n) / fade) * math.sin(step * n))
        for n in range(count)
    ]
