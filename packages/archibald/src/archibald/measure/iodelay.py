"""jack_iodelay: what it prints, and running it in a pseudo terminal so that it prints at once.

It sends tones and finds the delay by their phase, to a thousandth of a frame. Its figures count
once they have settled: the median of six that agree.
"""

from __future__ import annotations

import contextlib
import re
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from archibald.errors import PreconditionError
from archibald.measure.terminal import in_terminal

_READING = re.compile(r"^\s*(\d+\.\d+) frames\s+\d+\.\d+ ms total roundtrip latency")

#: Readings that agree within half a frame are settled when there are so many in a row.
SETTLED = 6
_AGREE_FRAMES = 0.5

#: How long a level is waited for, and how long until readings agree (s).
SIGNAL_S = 4.0
SETTLE_S = 20.0


class NoSignalError(PreconditionError):
    """What was sent does not come back."""


@dataclass
class Reading:
    """One figure; ``uncertain`` and ``inverted`` are what the program says of it."""

    frames: float
    uncertain: bool = False
    inverted: bool = False


@dataclass
class Readings:
    """What the program has said so far. Its remarks follow a figure, two lines later."""

    found: list[Reading] = field(default_factory=list)
    silent: int = 0
    refused: str = ""
    _rest: str = ""

    def feed(self, text: str) -> None:
        """Take a piece of its output."""
        *lines, self._rest = (self._rest + text.replace("\r", "")).split("\n")
        for line in lines:
            self._line(line)

    def _line(self, line: str) -> None:
        match = _READING.match(line)
        if match:
            self.found.append(Reading(float(match[1])))
        elif "Signal below threshold" in line:
            self.silent += 1
        elif re.search(r"[Cc]an't connect to J|server is not running|not connect to", line):
            self.refused = self.refused or line.strip()
        if self.found and "??" in line:
            self.found[-1].uncertain = True
        if self.found and re.search(r"\bInv\b", line):
            self.found[-1].inverted = True

    def settled(self) -> list[Reading]:
        """Return the last figures that agree and are complete, or nothing yet.

        The newest one may still get its remarks, so it does not count.
        """
        last = self.found[:-1][-SETTLED:]
        if len(last) < SETTLED or any(reading.uncertain for reading in last):
            return []
        middle = statistics.median(reading.frames for reading in last)
        agree = all(abs(reading.frames - middle) <= _AGREE_FRAMES for reading in last)
        return last if agree else []


@contextlib.contextmanager
def iodelay(argv: Sequence[str], env: Mapping[str, str]) -> Iterator[Callable[[float], Readings]]:
    """Run it inside the block; yields a function that listens for some seconds and returns all."""
    readings = Readings()

    with in_terminal(argv, env, readings.feed) as listen:

        def heard(seconds: float) -> Readings:
            listen(seconds)
            return readings

        yield heard


def wait_until_settled(listen: Callable[[float], Readings], *, where: str) -> list[Reading]:
    """Return readings that agree. Raises :class:`NoSignalError`, or PreconditionError."""
    deadline = time.monotonic() + SETTLE_S
    silent_until = time.monotonic() + SIGNAL_S
    while time.monotonic() < deadline:
        readings = listen(0.5)
        if found := readings.settled():
            return found
        if not readings.found and time.monotonic() > silent_until:
            raise no_signal(readings, where)
    if not readings.found:
        raise no_signal(readings, where)
    values = ", ".join(f"{reading.frames:.1f}" for reading in readings.found[-6:])
    unsure = sum(reading.uncertain for reading in readings.found)
    raise PreconditionError(
        f"the round trip {where} does not settle",
        why=f"last readings: {values} frames; {unsure} of {len(readings.found)} marked uncertain",
        next_step="look for xruns, feedback or a noise gate in the loop, and lower the level",
    )


def no_signal(readings: Readings, where: str) -> PreconditionError:
    """Return the error for a loop that stays silent."""
    if readings.refused:
        return PreconditionError(
            "no JACK server answers", why=f"jack_iodelay: {readings.refused[:200]}",
            next_step="start PipeWire (systemctl --user start pipewire wireplumber) or jackd",
        )  # fmt: skip
    if not readings.silent:
        return NoSignalError(
            f"jack_iodelay said nothing {where}", why="the graph does not run its clients",
            next_step="archibald top shows whether the graph has a driver",
        )  # fmt: skip
    return NoSignalError(
        f"no signal comes back {where}",
        why="jack_iodelay: Signal below threshold: nothing is connected, or the level is too low",
        next_step="put a cable from an output to an input, raise both levels, and name the ports "
        "with --play and --record",
    )
