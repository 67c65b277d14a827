"""MIDI round trips: a message goes out of one port, and its way back into another is timed.

Ports are raw MIDI devices, whose bytes are read and written directly: through a cable between an
output and an input, or through the ALSA sequencer with a pair of virtual ports (snd-virmidi). Ports
of JACK and PipeWire are those of :mod:`.midi_jack`.
Messages are control changes of numbers that mean nothing (102 to 119), so nothing sounds.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from archibald.errors import PreconditionError
from archibald.measure.clocks import without_sleep
from archibald.measure.document import Kind, Run
from archibald.measure.records import MidiData
from archibald.measure.session import Bench, Clock, Notes

#: Control change on the first channel (MIDI 1.0: status 0xB0), and undefined controllers.
_STATUS, _FIRST_CONTROLLER, _CONTROLLERS = 0xB0, 102, 18

#: A message that is not back after this time (s) is lost.
_LOST_S = 0.5

#: Bytes that may come at any time: clock, active sensing.
_REALTIME = 0xF8

#: So many lost at the beginning mean that there is no loop at all.
_HOPELESS = 5


@dataclass(frozen=True)
class MidiRequest:
    """Which ports, how many messages, and the time between two (s)."""

    send: Path
    receive: Path
    count: int = 200
    interval_s: float = 0.01


@dataclass
class Parser:
    """Finds control changes in what arrives; knows running status (MIDI 1.0)."""

    status: int = 0
    data: list[int] = field(default_factory=list)

    def feed(self, received: bytes) -> list[tuple[int, int]]:
        """Return the (controller, value) pairs that are complete now."""
        found = []
        for byte in received:
            if byte >= _REALTIME:
                continue
            if byte & 0x80:
                self.status, self.data = byte, []
            elif self.status == _STATUS:
                self.data.append(byte)
                if len(self.data) == 2:
                    found.append((self.data[0], self.data[1]))
                    self.data = []
        return found


def message(number: int) -> tuple[int, int]:
    """Return controller and value of a message; the same ones come again after 2304."""
    return _FIRST_CONTROLLER + number // 128 % _CONTROLLERS, number % 128


def measure_midi(
    bench: Bench,
    request: MidiRequest,
    *,
    on_message: Callable[[int], None] = lambda _number: None,
) -> Run:
    """Time the messages, and return the run document.

    Raises PreconditionError: no port, no loop, a suspended machine.
    """
    clock, remarks = Clock.now(), Notes()
    priority = bench.scene.profile.audio.data_loop_priority
    with (
        without_sleep("MIDI"),
        _opened(request) as (out, back),
        _in_real_time(priority, remarks),
    ):
        try:
            rtts = _time_all(request, out, back, on_message)
        except OSError as error:
            raise PreconditionError(
                "the MIDI port does not take or give messages any more",
                why=f"{request.send} to {request.receive}: {error.strerror or error}",
                next_step="see that the device is still there: ls /dev/snd/midi*",
            ) from None
    if len(rtts) < request.count:
        remarks.warnings.append(f"{request.count - len(rtts)} of {request.count} did not come back")
    return bench.document(
        Kind.MIDI,
        MidiData(
            path=f"{request.send} to {request.receive}",
            sent=request.count,
            rtts_us=tuple(round(rtt, 1) for rtt in rtts),
        ),
        clock=clock,
        settings={"count": request.count, "interval_s": request.interval_s},
        remarks=remarks,
    )


def _time_all(
    request: MidiRequest, out: int, back: int, on_message: Callable[[int], None]
) -> list[float]:
    parser, rtts = Parser(), []
    _drain(back)
    for number in range(request.count):
        controller, value = message(number)
        sent = time.monotonic_ns()
        os.write(out, bytes((_STATUS, controller, value)))
        arrived = _await(back, parser, (controller, value))
        if arrived:
            rtts.append((arrived - sent) / 1000)
        elif not rtts and number + 1 >= min(_HOPELESS, request.count):
            raise PreconditionError(
                "no MIDI message comes back",
                why=f"{number + 1} were sent to {request.send}, none arrived at {request.receive}",
                next_step="put a cable from the output to the input, or connect the ports of the "
                "sequencer: aconnect -l lists them",
            )
        on_message(number + 1)
        time.sleep(request.interval_s)
    return rtts


def _await(back: int, parser: Parser, wanted: tuple[int, int]) -> int:
    """Return when a message came (ns), 0 if it did not."""
    deadline = time.monotonic() + _LOST_S
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([back], [], [], left)[0]:
            return 0
        received = os.read(back, 256)
        now = time.monotonic_ns()
        if not received:
            return 0
        if wanted in parser.feed(received):
            return now
    return 0


def _drain(back: int) -> None:
    for _ in range(1000):
        if not select.select([back], [], [], 0)[0] or not os.read(back, 4096):
            return


@contextlib.contextmanager
def _opened(request: MidiRequest) -> Iterator[tuple[int, int]]:
    with contextlib.ExitStack() as stack:
        # Both ways at once where it is one device; a pipe blocks unless it has both ends.
        back = _open(request.receive)
        stack.callback(os.close, back)
        same = request.send == request.receive
        out = os.dup(back) if same else _open(request.send)
        stack.callback(os.close, out)
        yield out, back


def _open(path: Path) -> int:
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
            raise PreconditionError(
                f"{path} is no MIDI port", why="it is neither a device nor a pipe",
                next_step="name one of: ls /dev/snd/midi*",
            )  # fmt: skip
        return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise PreconditionError(
            f"the MIDI port {path} cannot be opened", why=error.strerror or str(error),
            next_step="name one of: ls /dev/snd/midi*; another program may hold it, and the group "
            "audio may open it",
        ) from None  # fmt: skip


def is_jack_port(name: str) -> bool:
    """Say whether a name is CLIENT:PORT of an audio graph, and not the path of a device."""
    return ":" in name and not name.startswith(("/", "."))


def raw_request(send: str, receive: str, count: int, interval_s: float) -> MidiRequest:
    """Return a request for raw devices; one end that is not named is the other one.

    Without both it is the first device there is. Raises PreconditionError.
    """
    out = Path(send or receive) if send or receive else find_port()
    return MidiRequest(out, Path(receive) if receive else out, count, interval_s)


def find_port(folder: Path = Path("/dev/snd")) -> Path:
    """Return the first raw MIDI port. Raises PreconditionError."""
    ports = sorted(folder.glob("midiC*D*")) if folder.is_dir() else []
    if not ports:
        raise PreconditionError(
            "there is no MIDI port", why=f"{folder} has no midiC*D*",
            next_step="connect an interface, make virtual ports (sudo modprobe snd-virmidi), or "
            "name ports of JACK with --send and --receive",
        )  # fmt: skip
    return ports[0]


@contextlib.contextmanager
def _in_real_time(priority: int, remarks: Notes) -> Iterator[None]:
    """Wait for messages with real-time priority where that is allowed; ordinary afterwards."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError:
        remarks.warnings.append(
            "no right to real-time priority: times include waiting for a CPU like any program"
        )
        yield
        return
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
