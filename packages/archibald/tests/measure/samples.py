"""Runs and histograms that several tests use."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from archibald.measure.document import (
    KernelRecord,
    Kind,
    MachineRecord,
    ProfileRecord,
    Run,
)
from archibald.measure.figures import figures_of
from archibald.measure.histogram import Histogram, merged, parse_cyclictest
from archibald.measure.records import Data, JitterData, JitterSeries

DATA = Path(__file__).with_name("data")

MACHINE = MachineRecord(
    fingerprint="0123456789abcdef",
    cpu="Some CPU @ 3.00GHz",
    cpus=2,
    memory_mib=3904,
    smt=False,
    hybrid=False,
    virtualization="",
    card="Scarlett 2i2",
    card_bus="usb",
)
KERNEL = KernelRecord(release="6.12.1-rt", version="#1 SMP PREEMPT_RT Debian 6.12.1-1")


def recorded(name: str = "cyclictest", thread: int = 1) -> Histogram:
    """Return a histogram of a recorded file of cyclictest."""
    path = DATA / f"{name}.json"
    return parse_cyclictest(path.read_text("utf-8"), filename=path.name)[thread]


def run_of(data: Data, **changes: Any) -> Run:
    """Return a run with this data."""
    values: dict[str, Any] = {
        "kind": Kind(data.kind),
        "started": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        "duration_s": 20.0,
        "machine": MACHINE,
        "kernel": KERNEL,
        "profile": ProfileRecord(source="archibald.toml", digest=""),
        "settings": {"quantum": 32, "rate": 96000},
        "data": data,
        "results": figures_of(data),
    }
    return Run(**{**values, **changes})


def jitter_series(
    histogram: Histogram | None = None, *, blocks: Iterable[Histogram] = (), **changes: Any
) -> JitterSeries:
    """Return a series of a histogram, or of blocks of one second."""
    parts = tuple(blocks)
    values: dict[str, Any] = {
        "name": "idle",
        "cpu": 1,
        "priority": 88,
        "interval_us": 333,
        "idle_states_hidden": True,
        "histogram": histogram or merged(parts),
        "block_s": 1.0 if parts else 0.0,
        "blocks": parts,
    }
    return JitterSeries(**{**values, **changes})


def jitter_data(*series: JitterSeries) -> JitterData:
    """Return the data of a jitter run; without series, of the two recorded ones."""
    return JitterData(
        series=series
        or (
            jitter_series(recorded()),
            jitter_series(recorded("cyclictest_load"), name="load", load="hackbench"),
        )
    )
