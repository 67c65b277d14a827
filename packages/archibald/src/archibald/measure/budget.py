"""The latency budget: stage by stage, from the microphone's plug to the headphones' plug.

Nominal buffering, 2 Q / R, is what the profile decides; 0.67 ms at 32 / 96000. It is no round
trip: bus, converters and headroom come on top, and only a loopback cable tells how much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Interface = Literal["usb-high-speed", "pcie", "built-in", "software"]
Scheduling = Literal["irq", "timer"]

INTERFACES: tuple[Interface, ...] = get_args(Interface)

NOMINAL = (
    "{ms:.2f} ms is nominal buffering: two periods of {quantum} frames at {rate} Hz, one in and "
    "one out. It is not the round trip of a device: bus, converters and headroom add to it, and "
    "it takes interrupt scheduling (the Pro Audio profile) without headroom. Scheduling jitter "
    "and DSP time use up the deadline of a cycle; they add nothing."
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
        return NOMINAL.format(ms=self.nominal_ms, quantum=self.quantum, rate=self.rate)


_GRAPH = "PipeWire: nodes of one cycle run one after the other within it; measured with three"
_ALSA = "ALSA: one period is captured before the graph runs, one is played after it"
_HEADROOM = (
    "PipeWire api.alsa.headroom; timer scheduling keeps it on devices that move data in batches"
)


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
    bus_in, bus_out = _bus(interface, rate)
    stages = (
        _converter("ADC filter", rate),
        bus_in,
        _exact("capture period", "Q / R", period, _ALSA),
        _exact("capture headroom", f"{frames} / R", headroom, _HEADROOM),
        *graph,
        _exact("playback period", "Q / R", period, _ALSA),
        _exact("playback headroom", f"{frames} / R", headroom, _HEADROOM),
        bus_out,
        _converter("DAC filter", rate),
    )
    return Budget(quantum, rate, interface, scheduling, stages)


def _exact(name: str, formula: str, ms: float, source: str) -> Stage:
    return Stage(name, formula, ms, ms, source)


def _converter(name: str, rate: int) -> Stage:
    """Return the group delay of a converter's filter, in samples of its own rate."""
    return Stage(
        name, "5 to 40 samples / R", 5000 / rate, 40_000 / rate,
        "data sheets of converters: 5 (short delay) to 40 (sharp linear phase); the device's own "
        "sheet tells",
    )  # fmt: skip


def _bus(interface: Interface, rate: int) -> tuple[Stage, Stage]:
    if interface == "usb-high-speed":
        source = (
            "USB 2.0, 5.12: isochronous data moves once per microframe of 125 us; the driver "
            "queues up to 1 ms"
        )
        return (
            Stage("USB in", "1 to 8 microframes", 0.125, 1.0, source),
            Stage("USB out", "1 to 8 microframes", 0.125, 1.0, source),
        )
    source = (
        "the card fetches and stores through a FIFO of its own"
        if interface == "pcie"
        else "Intel High Definition Audio 1.0a: FIFO size register of the stream (SDnFIFOS)"
    )
    return (
        Stage("device FIFO in", "1 to 64 frames / R", 1000 / rate, 64_000 / rate, source),
        Stage("device FIFO out", "1 to 64 frames / R", 1000 / rate, 64_000 / rate, source),
    )


def interface_of(bus: str, name: str = "") -> Interface:
    """Return the type of a detected card; "pci" is built-in when it is an HDA codec."""
    if bus == "usb":
        return "usb-high-speed"
    if bus == "pci" and "HDA" not in name:
        return "pcie"
    return "built-in" if bus in ("pci", "platform") else "software"
