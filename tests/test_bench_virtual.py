"""The report of the comparison in virtual time: table, chart, and what it runs."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import pytest

from archibald.measure.document import KernelRecord, Kind, MachineRecord, ProfileRecord, Run
from archibald.measure.figures import figures_of
from archibald.measure.histogram import from_values
from archibald.measure.records import VirtualJitterData, VirtualJitterRow


@pytest.fixture
def script(root, monkeypatch):
    """The benchmark, which is a script."""
    monkeypatch.syspath_prepend(root / "bench")
    yield import_module("virtual_jitter")
    sys.modules.pop("virtual_jitter", None)


@pytest.fixture
def run() -> Run:
    rows = tuple(
        VirtualJitterRow(
            kernel=kernel, load=load, histogram=from_values([3, 3, most], limit_us=2000)
        )
        for kernel, load, most in (
            ("rt", "tmpfs", 4), ("rt", "memory", 9), ("generic", "tmpfs", 400),
        )
    )  # fmt: skip
    data = VirtualJitterData(image="x.iso", emulator="QEMU <7>", rows=rows)
    return Run(
        kind=Kind.VIRTUAL_JITTER, started=datetime(2026, 1, 2, tzinfo=UTC), duration_s=1,
        machine=MachineRecord(
            fingerprint="0" * 16, cpu="", cpus=1, memory_mib=1, smt=False, hybrid=False,
            virtualization="", card="",
        ),
        kernel=KernelRecord(release="", version=""), profile=ProfileRecord(source="", digest=""),
        settings={}, data=data, results=figures_of(data),
    )  # fmt: skip


def test_the_table_has_a_cell_for_each_kernel(script, run):
    lines = script.markdown(run).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[0] == "| load | rt | generic |"
    assert "| 4 (3.3) | 400 (135.3) |" in lines[2]
    assert "| 9 (5.0) | - |" in lines[3]


def test_bars_are_as_long_as_the_roots(script, run):
    tree = ElementTree.fromstring(script.chart(list(run.data.rows), "a < b"))
    bars = [
        float(element.get("width", "0"))
        for element in tree
        if element.tag.endswith("rect") and element.get("x")
    ]
    assert bars[0] / bars[1] == pytest.approx((4 / 400) ** 0.5, abs=0.01)
    assert len(bars) == 3


def test_the_quick_form_is_two_loads_and_two_kernels(script):
    words = script.command(Path("x.iso"), Path("t"), quick=True, cycles=2000)
    assert words.count("--load") == words.count("--kernel") == 2
    words = script.command(Path("x.iso"), Path("t"), quick=False, cycles=4000)
    assert (words.count("--load"), words.count("--kernel")) == (8, 3)


@pytest.mark.parametrize("words", [[], ["x.iso", "--from", "run.json"]])
def test_an_image_or_a_run_is_needed(script, words):
    with pytest.raises(SystemExit) as caught:
        script.arguments(words)
    assert caught.value.code == 2
