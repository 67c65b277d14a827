"""The raw data of a run, one model per kind of measurement. Times are seconds, latencies us."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from archibald.measure.histogram import Count, Histogram, merged

Seconds = Annotated[float, Field(ge=0, le=1e9)]
Micros = Annotated[float, Field(ge=0, le=1e12)]
Rate = Annotated[int, Field(ge=8000, le=768000)]
Quantum = Annotated[int, Field(ge=1, le=65536)]
Text = Annotated[str, Field(max_length=2000)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Record(BaseModel):
    """A part of a run document: immutable, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class JitterSeries(Record):
    """Wake-up latencies of one thread under one load.

    ``blocks`` are the histograms of consecutive stretches of ``block_s`` seconds; together they
    are ``histogram``. Without them nothing is known of how latencies follow each other.
    """

    name: Name = Field(description='"idle", or the name of the load.')
    load: Text = Field("", description="The commands of the load; empty when idle.")
    cpu: Annotated[int, Field(ge=0, le=65535)] | None = Field(description="None: any CPU.")
    priority: Annotated[int, Field(ge=0, le=99)] = Field(description="SCHED_FIFO; 0: none.")
    interval_us: Annotated[int, Field(ge=1, le=10_000_000)]
    idle_states_hidden: bool = Field(
        description="The program held /dev/cpu_dma_latency at 0, so that no CPU slept deeply."
    )
    histogram: Histogram
    block_s: Seconds = 0.0
    blocks: tuple[Histogram, ...] = ()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.blocks:
            return self
        if self.block_s <= 0:
            raise ValueError("blocks without their length block_s")
        total = merged(self.blocks)
        if (total.bins, total.overflow) != (self.histogram.bins, self.histogram.overflow):
            raise ValueError("the blocks together are not the histogram")
        return self


class JitterData(Record):
    """``measure jitter``."""

    kind: Literal["jitter"] = "jitter"
    series: tuple[JitterSeries, ...]


class LatencyPoint(Record):
    """Round trips at one quantum."""

    quantum: Quantum
    rate: Rate
    rtts_frames: tuple[Annotated[float, Field(ge=0, le=1e9)], ...]
    uncertain: Count = Field(0, description="Readings that the tool marked as uncertain.")
    inverted: bool = Field(False, description="The loop inverts the signal.")


class LatencyData(Record):
    """``measure latency``. ``injected_frames`` is a delay that the loop itself adds on purpose."""

    kind: Literal["latency"] = "latency"
    path: Literal["software-loop", "cable"]
    method: Text = Field(description="The program that measured.")
    points: tuple[LatencyPoint, ...]
    injected_frames: Count = 0


class XrunEvent(Record):
    """``at_s`` seconds after the start a node had missed ``missed`` further wake-ups."""

    at_s: Seconds
    missed: Annotated[int, Field(ge=1)]


class XrunNode(Record):
    """What one node of the graph missed."""

    name: Name
    events: tuple[XrunEvent, ...]


class XrunData(Record):
    """``measure xruns``. ``resolution_s`` is how exactly times are known: 0 from a callback,
    else the interval between two looks at the counters."""

    kind: Literal["xruns"] = "xruns"
    server: Name
    quantum: Quantum
    rate: Rate
    dsp_load: Annotated[float, Field(ge=0, le=1)] = Field(description="Share of the cycle.")
    observed_s: Annotated[float, Field(gt=0, le=1e9)]
    resolution_s: Seconds
    nodes: tuple[XrunNode, ...]


class BootUnit(Record):
    """A unit of the critical chain: active ``at_s`` after user space began, took ``took_s``."""

    unit: Name
    at_s: Seconds
    took_s: Seconds


class BootData(Record):
    """``measure boot``: seconds per phase, None where the machine has no such phase."""

    kind: Literal["boot"] = "boot"
    firmware_s: Seconds | None
    loader_s: Seconds | None
    kernel_s: Seconds | None
    initrd_s: Seconds | None
    userspace_s: Seconds
    target: Text = ""
    critical_chain: tuple[BootUnit, ...] = ()


class ServiceUse(Record):
    """What a service, or all processes of one name, take at rest."""

    name: Name
    memory_bytes: Count = Field(description="Proportional share (PSS) where it can be read.")
    cpu_s: Seconds = 0.0


class ResourcesData(Record):
    """``measure resources``, over ``observed_s`` seconds at rest."""

    kind: Literal["resources"] = "resources"
    observed_s: Annotated[float, Field(gt=0, le=1e9)]
    memory_total_bytes: Count
    memory_used_bytes: Count = Field(description="MemTotal - MemAvailable.")
    wakeups_per_s: Annotated[float, Field(ge=0)] | None
    services: tuple[ServiceUse, ...] = ()


class MidiData(Record):
    """``measure midi``: round trips of messages through a loop.

    Where ``resolution_us`` is not 0, the smallest and the largest are exact, and those between are
    known to within that interval.
    """

    kind: Literal["midi"] = "midi"
    path: Text
    sent: Count
    rtts_us: tuple[Micros, ...]
    resolution_us: Micros = 0.0


class VirtualJitterRow(Record):
    """One kernel under one load, in virtual time."""

    kernel: Name
    load: Name
    histogram: Histogram


class VirtualJitterData(Record):
    """``measure virtual-jitter``."""

    kind: Literal["virtual-jitter"] = "virtual-jitter"
    image: Text
    emulator: Text
    rows: tuple[VirtualJitterRow, ...]


Data = JitterData | LatencyData | XrunData | BootData | ResourcesData | MidiData | VirtualJitterData


def samples(data: Data) -> int:
    """Return how many measurements a run holds; a run of none is no run."""
    if isinstance(data, JitterData):
        return sum(series.histogram.cycles for series in data.series)
    if isinstance(data, LatencyData):
        return sum(len(point.rtts_frames) for point in data.points)
    if isinstance(data, MidiData):
        return len(data.rtts_us)
    if isinstance(data, VirtualJitterData):
        return sum(row.histogram.cycles for row in data.rows)
    # A session without an xrun, a boot, a look at the memory: each is one measurement.
    return len(data.nodes) if isinstance(data, XrunData) else 1
