"""Plays the tone through PipeWire to a real card.

Inside a virtual machine the host finds it in the file that the emulated card writes.
"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from archibald.run import spawn
from archibald.vm.selftest.audio import graph
from archibald.vm.selftest.expectation import Expectation
from archibald.vm.selftest.model import (
    Check,
    NotApplicableError,
    UnreadableError,
    Verdict,
    make_check,
    verdict,
)
from archibald.vm.selftest.pipewire import Sink, hardware_sinks, parse_dump, parse_metadata
from archibald.vm.selftest.reader import Reader, session_command
from archibald.vm.selftest.resources import detect_virtualization
from archibald.vm.selftest.signal import GROUP, LEVEL_DBFS, write_tone

#: Name of the node that plays, to find it again in pw-top.
NODE_NAME = "archibald-selftest"

#: Longer than pw-top looks, also on an emulated CPU; playing ends when pw-top has seen enough.
_SILENCE_S = 60.0

_PLAY_TIMEOUT_S = 180.0

#: Frames a cycle that an emulated CPU can keep up with.
_SLOW_QUANTUM = 8192


@contextlib.contextmanager
def full_volume(reader: Reader, sink: Sink) -> Iterator[str]:
    """Set a sink to full volume, unmuted, and put back what was there; yields what was there."""
    node = str(sink.object_id)
    before = reader.command(["wpctl", "get-volume", node], in_session=True)
    level, muted = parse_volume(before)
    reader.command(["wpctl", "set-mute", node, "0"], in_session=True)
    reader.command(["wpctl", "set-volume", node, "1.0"], in_session=True)
    try:
        yield before.strip()
    finally:
        reader.command(["wpctl", "set-volume", node, f"{level:g}"], in_session=True)
        reader.command(["wpctl", "set-mute", node, "1" if muted else "0"], in_session=True)


@contextlib.contextmanager
def unhurried(reader: Reader) -> Iterator[str]:
    """Slow the graph down on an emulated CPU, which cannot keep a small quantum; yields how.

    What the quantum is by itself has been checked by then; this is about sound that arrives.
    """
    if detect_virtualization(reader) != "qemu":
        yield "in the graph's own quantum"
        return
    command = ["pw-metadata", "-n", "settings", "0"]
    before = parse_metadata(reader.command(command, in_session=True))
    forced = [*command, "clock.force-quantum"]
    reader.command([*forced, str(_SLOW_QUANTUM)], in_session=True)
    try:
        yield f"with a quantum of {_SLOW_QUANTUM} frames, because this CPU is emulated"
    finally:
        reader.command([*forced, before.get("clock.force-quantum", "0")], in_session=True)


def parse_volume(text: str) -> tuple[float, bool]:
    """Return (volume, muted) of ``wpctl get-volume``: ``Volume: 0.40 [MUTED]``."""
    words = text.split()
    if len(words) < 2 or words[0] != "Volume:":
        raise ValueError(f"no volume in {text.strip()!r}")
    return float(words[1]), "[MUTED]" in words


def find_sink(
    reader: Reader, *, rounds: int = 20, sleep: Callable[[float], None] = time.sleep
) -> Sink:
    """Return the sink to play on; a session that has just started may still be making it."""
    for attempt in range(rounds):
        sinks = hardware_sinks(parse_dump(reader.command(["pw-dump"], in_session=True)))
        if sinks:
            return sinks[0]
        if attempt < rounds - 1:
            sleep(1.0)
    if "no soundcards" in reader.text("/proc/asound/cards"):
        raise NotApplicableError("this machine has no sound card")
    raise UnreadableError("PipeWire has no sink on a sound card")


def play_checks(
    reader: Reader,
    expected: Expectation,
    *,
    audible: bool,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Check]:
    """Look at the graph while silence plays, then play the tone if it may be heard."""
    played = "the tone is played" if audible else "silence is played"
    try:
        sink = find_sink(reader, sleep=sleep)
    except (NotApplicableError, UnreadableError, ValueError) as error:
        return [make_check("tone.played", GROUP, played, _raiser(error))]
    rate = expected.profile.audio.rate
    with tempfile.TemporaryDirectory(prefix="archibald-tone-") as name:
        folder = Path(name)
        # The session's user has to read what root wrote.
        folder.chmod(0o755)
        silence = folder / "silence.wav"
        write_tone(silence, rate=rate, amplitude=0.0, length_s=_SILENCE_S)
        with _playing(reader, sink, silence):
            sleep(1.0)
            checks = graph(reader, expected, NODE_NAME)
        if audible:
            tone = folder / "tone.wav"
            write_tone(tone, rate=rate, amplitude=10 ** (LEVEL_DBFS / 20))
            checks.append(
                make_check("tone.played", GROUP, played, lambda: _play(reader, sink, tone))
            )
    return checks


def _raiser(error: Exception) -> Callable[[], Verdict]:
    def judge() -> Verdict:
        raise error

    return judge


def _playing(
    reader: Reader, sink: Sink, path: Path
) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    # Latency "none": the node asks for nothing, so the graph keeps the profile's own quantum.
    argv, env = session_command(
        reader.user,
        ["pw-play", "--latency=none", f"--target={sink.name}",
         "-P", f'{{ node.name = "{NODE_NAME}" }}', str(path)],
    )  # fmt: skip
    return spawn(argv, env=env)


def _play(reader: Reader, sink: Sink, path: Path) -> Verdict:
    with (
        full_volume(reader, sink) as volume,
        unhurried(reader) as pace,
        _playing(reader, sink, path) as process,
    ):
        deadline = time.monotonic() + _PLAY_TIMEOUT_S
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
        status = process.poll()
    if status is None:
        return verdict(False, f"pw-play did not end within {_PLAY_TIMEOUT_S:g} s")
    observed = f"on {sink.name}, {pace}" if status == 0 else f"pw-play ended with status {status}"
    return verdict(status == 0, observed, f"before: {volume}")
