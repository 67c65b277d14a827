"""Finds the self-test's tone in the sound file that QEMU's emulated card wrote."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from archibald.vm.selftest.model import Check, Verdict, make_check, verdict
from archibald.vm.selftest.signal import FREQUENCY_HZ, GROUP, LENGTH_S, LEVEL_DBFS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Windows of this length are silent or sounding.
_WINDOW_S = 0.02

#: What is quieter than this counts as silence.
_SILENCE_DBFS = -50.0

_FREQUENCY_TOLERANCE_HZ = 10.0
_LEVEL_TOLERANCE_DB = 3.0
#: An emulated card drops and repeats pieces when the guest is late; a lost half second is too much.
_LENGTH_TOLERANCE_S = 0.5
#: Share of the energy within the frequency tolerance; noise or a wrong tone has next to nothing.
_PURITY = 0.5


@dataclass(frozen=True)
class Sound:
    """Samples of the left channel, full scale at 1.0."""

    rate: int
    samples: NDArray[np.float64]


@dataclass(frozen=True)
class ToneFigures:
    """What was heard: frequency, level of the sine (0 dBFS = full scale), length, interruptions.

    ``purity`` is the share of the energy near the frequency, 0 to 1.
    """

    frequency_hz: float
    level_dbfs: float
    length_s: float
    dropouts: int
    purity: float

    def __str__(self) -> str:
        return f"{self.frequency_hz:.1f} Hz at {self.level_dbfs:.1f} dBFS for {self.length_s:.2f} s"


def read_wav(path: Path) -> Sound:
    """Read a 16-bit PCM WAV file, also one whose header was never completed.

    Raises ValueError.
    """
    import numpy as np

    data = path.read_bytes()
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError(f"{path.name} is no WAV file ({len(data)} bytes)")
    offset, layout = 12, None
    while offset + 8 <= len(data):
        name, size = data[offset : offset + 4], struct.unpack_from("<I", data, offset + 4)[0]
        offset += 8
        if name == b"fmt " and size >= 16:
            layout = struct.unpack_from("<HHIIHH", data, offset)
        if name == b"data":
            break
        offset += size + size % 2
    if layout is None or layout[0] != 1 or layout[5] != 16 or layout[1] < 1:
        raise ValueError(f"{path.name} is not 16-bit PCM")
    channels, rate = layout[1], layout[2]
    # QEMU writes the size when it ends; until then it is 0, so everything that is there counts.
    frame_bytes = 2 * channels
    end = offset + (len(data) - offset) // frame_bytes * frame_bytes
    frames = np.frombuffer(data[offset:end], dtype="<i2").reshape(-1, channels)
    return Sound(rate, frames[:, 0].astype(np.float64) / 32768.0)


def analyse(sound: Sound) -> ToneFigures | None:
    """Return the figures of the tone in a sound, or None when there is only silence."""
    import numpy as np

    window = round(_WINDOW_S * sound.rate)
    count = len(sound.samples) // window
    if not count:
        return None
    blocks = sound.samples[: count * window].reshape(count, window)
    rms = np.sqrt(np.mean(blocks**2, axis=1))
    sounding = rms * np.sqrt(2) > 10 ** (_SILENCE_DBFS / 20)
    if not sounding.any():
        return None
    first, last = np.flatnonzero(sounding)[[0, -1]]
    part = sounding[first : last + 1]
    frequency, purity = _spectrum(sound.samples[first * window : (last + 1) * window], sound.rate)
    return ToneFigures(
        frequency_hz=frequency,
        # The median is not moved by the windows at the edges.
        level_dbfs=float(20 * np.log10(np.median(rms[sounding]) * np.sqrt(2))),
        length_s=float(sounding.sum() * window / sound.rate),
        dropouts=int(np.count_nonzero(np.diff(part.astype(int)) == -1)),
        purity=purity,
    )


def _spectrum(samples: NDArray[np.float64], rate: int) -> tuple[float, float]:
    """Return the strongest frequency (Hz) and the share of energy within the tolerance of it."""
    import numpy as np

    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    power[0] = 0.0
    peak = int(np.argmax(power))
    width = max(1, round(_FREQUENCY_TOLERANCE_HZ * len(samples) / rate))
    near = float(power[max(0, peak - width) : peak + width + 1].sum())
    return peak * rate / len(samples), near / float(power.sum())


def tone_check(wav: Path) -> Check:
    """The tone that the guest played is in the file: frequency, level and length."""
    wanted = f"{FREQUENCY_HZ:g} Hz at {LEVEL_DBFS:g} dBFS for {LENGTH_S:g} s"

    def judge() -> Verdict:
        if not wav.is_file():
            raise ValueError("the emulated card wrote no file")
        figures = analyse(read_wav(wav))
        if figures is None:
            return verdict(False, "silence", f"{wav.stat().st_size} bytes")
        good = (
            abs(figures.frequency_hz - FREQUENCY_HZ) <= _FREQUENCY_TOLERANCE_HZ
            and abs(figures.level_dbfs - LEVEL_DBFS) <= _LEVEL_TOLERANCE_DB
            and abs(figures.length_s - LENGTH_S) <= _LENGTH_TOLERANCE_S
            and figures.purity >= _PURITY
        )
        evidence = f"{figures.dropouts} interruptions, purity {figures.purity:.3f}"
        return verdict(good, figures, evidence)

    return make_check("tone.arrives", GROUP, wanted, judge)
