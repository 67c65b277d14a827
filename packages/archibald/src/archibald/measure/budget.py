"""The latency budget: stage by stage, from the microphone's plug to the headphones' plug.

Nominal buffering, 2 Q / R, is what the profile decides; 0.67 ms at 32 / 96000. It is no round
trip: bus, converters and headroom come on top, and only a loopback cable tells how much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

Interface = Literal["usb-high-speed", "pcie", "built-in", "software"]
Scheduling = Literal["irq", "timer"]

INTERFACES: tuple[Interface, ...] = get_args(Interface)

NOMINAL = (
    "{ms:.2f} ms is nominal buffering: two periods of {quantum} frames at {rate} Hz, one in and "
    "one out. It is the part of the {low:.2f} to {high:.2f} ms above that the profile decides, "
    "and not the round trip of a device: bus, converters and headroom add to it, and it takes "
    "interrupt scheduling (the Pro Audio profile) without headroom. Scheduling jitter and DSP "
    "time use up the deadline of a cycle; they add nothing. Only a cable tells what yours takes: "
    "archibald measure latency --play PORT --record PORT."
)


@dataclass(frozen=True)
class Stage:
    """A stage: between ``low_ms`` and ``high_ms``. ``source`` says where the numbers are from."""

    name: str
    formula: str
    low_ms: float
    high_ms: float
    source: str


@dataclass(frozen=True)
class Budget:
    """All stages of a way in and out."""

    quantum: int
    rate: int
    interface: Interface
    scheduling: Scheduling
    stages: tuple[Stage, ...]

    @property
    def nominal_ms(self) -> float:
        """Two periods."""
        return 2000 * self.quantum / self.rate

    @property
    def low_ms(self) -> float:
        """Sum of the lower ends."""
        return sum(stage.low_ms for stage in self.stages)

    @property
    def high_ms(self) -> float:
        """Sum of the upper ends."""
        return sum(stage.high_ms for stage in self.stages)

    @property
    def statement(self) -> str:
        """What the nominal figure is, and what it is not."""
        if self.interface == "software":
            return (
                f"A loop inside the graph has one period, {self.nominal_ms / 2:.2f} ms: the edge "
                "that closes it. No device takes part."
            )
        return NOMINAL.format(
            ms=self.nominal_ms, quantum=self.quantum, rate=self.rate, low=self.low_ms,
            high=self.high_ms,
        )  # fmt: skip


_GRAPH = (
    "PipeWire: nodes of one cycle run one after the other within it; measured with three in a "
    "loop, which stayed one period"
)
_ALSA = "ALSA: one period is captured before the graph runs, one is played after it"
_HEADROOM = (
    "PipeWire api.alsa.headroom; timer scheduling keeps it on devices that move data in batches"
)
#: Group delays as data sheets give them, in frames at the sheet's own rate.
_ADC = (
    "data sheets: 5 (CS5361 at 192 kHz), 9 (96 kHz), 12 (48 kHz), 29.3 (AK4522); the device's own "
    "sheet tells"
)
_DAC = (
    "data sheets: 4.6 (CS4392 at 96 kHz), 5 (AK4493, short delay), 26.8 (AK4436, sharp), 55 "
    "(PCM1794A, sharp); the device's own sheet tells"
)
_USB_IN = (
    "USB 2.0, 5.12: a packet per microframe of 125 us holds what came in the one before; Linux "
    "sound/usb/endpoint.c: a transfer collects 1 to 8 of them, less than a period"
)
_USB_OUT = (
    "USB 2.0, 5.12: a packet per microframe of 125 us; xHCI 1.2, 5.3.4: the controller wants up "
    "to 7 microframes of notice (isochronous scheduling threshold)"
)
_PCIE = (
    "Linux sound/pci/rme9652/hdspm.c (RME HDSPe): data moves in pieces of 64 bytes, 16 frames of "
    "a channel; the transfer itself takes microseconds"
)
_HDA = (
    "Intel 82801 (ICH6, ICH7) and NM10 data sheets, SDnFIFOS: 120 or 160 bytes in, 16 to 192 "
    "bytes out (256 at 24 bits), in stereo frames of 4 or 8 bytes"
)

_MICROFRAME_MS = 0.125
_MICROFRAMES_PER_S = 8000


def latency_budget(
    quantum: int, rate: int, interface: Interface, *, scheduling: Scheduling = "irq",
    headroom_frames: int | None = None, async_edges: int = 0,
) -> Budget:  # fmt: skip
    """Return the budget.

    ``headroom_frames`` is per direction; None takes 0 with interrupts, one quantum with a timer.
    """
    period = 1000 * quantum / rate
    graph = [
        Stage("nodes of one cycle", "0", 0.0, 0.0, _GRAPH),
        _exact("asynchronous edges", f"{async_edges} Q / R", async_edges * period,
               "PipeWire: a feedback or asynchronous link hands over in the next cycle"),
    ]  # fmt: skip
    if interface == "software":
        loop = _exact("edge that closes the loop", "Q / R", period, "measured at 16 to 256 frames")
        return Budget(quantum, rate, interface, scheduling, (loop, *graph))
    frames = headroom_frames
    if frames is None:
        frames = 0 if scheduling == "irq" else quantum
    headroom = 1000 * frames / rate
    bus_in, bus_out = _bus(interface, quantum, rate)
    stages = (
        _frames("ADC filter", 5, 30, rate, _ADC),
        bus_in,
        _exact("capture period", "Q / R", period, _ALSA),
        _exact("capture headroom", f"{frames} / R", headroom, _HEADROOM),
        *graph,
        _exact("playback period", "Q / R", period, _ALSA),
        _exact("playback headroom", f"{frames} / R", headroom, _HEADROOM),
        bus_out,
        _frames("DAC filter", 4.6, 55, rate, _DAC),
    )
    return Budget(quantum, rate, interface, scheduling, stages)


def _exact(name: str, formula: str, ms: float, source: str) -> Stage:
    return Stage(name, formula, ms, ms, source)


def _frames(name: str, least: float, most: float, rate: int, source: str) -> Stage:
    formula = f"{least:g} to {most:g} frames / R"
    return Stage(name, formula, 1000 * least / rate, 1000 * most / rate, source)


def _bus(interface: Interface, quantum: int, rate: int) -> tuple[Stage, Stage]:
    """Return the stages between converters and memory, in and out."""
    if interface == "usb-high-speed":
        most = 1 + capture_packets(quantum, rate)
        return _microframes("USB in", most, _USB_IN), _microframes("USB out", 8, _USB_OUT)
    if interface == "pcie":
        return (
            _frames("device FIFO in", 1, 16, rate, _PCIE),
            _frames("device FIFO out", 1, 16, rate, _PCIE),
        )
    return (
        _frames("device FIFO in", 15, 30, rate, _HDA),
        _frames("device FIFO out", 2, 48, rate, _HDA),
    )


def _microframes(name: str, most: int, source: str) -> Stage:
    return Stage(name, f"1 to {most} microframes", _MICROFRAME_MS, most * _MICROFRAME_MS, source)


def capture_packets(quantum: int, rate: int) -> int:
    """Return how many microframes one transfer of capture collects.

    Linux takes 8 (1 ms) and halves that until a transfer, whose packets may be a quarter larger
    than nominal, is shorter than the period (data_ep_set_params in sound/usb/endpoint.c).
    """
    packet_frames = math.ceil(1.25 * rate / _MICROFRAMES_PER_S)
    packets = 8
    while packets > 1 and packets * packet_frames >= quantum:
        packets //= 2
    return packets


def interface_of(bus: str, name: str = "") -> Interface:
    """Return the type of a detected card; "pci" is built-in when it is an HDA codec."""
    if bus == "usb":
        return "usb-high-speed"
    if bus == "pci" and "HDA" not in name:
        return "pcie"
    return "built-in" if bus in ("pci", "platform") else "software"
