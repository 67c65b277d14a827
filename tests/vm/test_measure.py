"""Measuring an image: its kernels in virtual time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archibald.measure.document import Run, parse_run
from archibald.measure.records import VirtualJitterData

from .conftest import BuiltImage, archibald

#: Boots in counted instructions take minutes, and `make test` has half an hour for everything.
pytestmark = [pytest.mark.vm, pytest.mark.torture]

BOUNDS = json.loads(Path(__file__).with_name("virtual_jitter.json").read_text("utf-8"))


def virtual(image: Path, logs: Path, *words: str) -> Run:
    """Measure in virtual time through the command line."""
    cycles = str(BOUNDS["cycles"])
    done = archibald("measure", "virtual-jitter", image, "--json", "--cycles", cycles,
                     "--console-logs", logs, *words)  # fmt: skip
    assert done.code == 0, done.err
    return parse_run(done.out, filename="virtual-jitter")


def largest(run: Run) -> dict[tuple[str, str], float]:
    assert isinstance(run.data, VirtualJitterData)
    return {(row.kernel, row.load): row.histogram.max_us for row in run.data.rows}


def test_the_real_time_kernel_has_not_become_slower(core_image: BuiltImage, tmp_path):
    run = virtual(core_image.path, tmp_path / "one", "--load", "tmpfs", "--load", "memory",
                  "--kernel", "rt")  # fmt: skip
    assert any(BOUNDS["kernel"] in note for note in run.notes), (
        "another kernel: measure it, and write its bounds down", run.notes,
    )  # fmt: skip
    for load, bound in BOUNDS["max_us"].items():
        assert largest(run)["rt", load] <= bound, load
    # The other kernel is late in the same place: what is measured is the kernel, not the emulator.
    generic = virtual(core_image.path, tmp_path / "one", "--load", "tmpfs", "--kernel", "generic")
    assert largest(generic)["generic", "tmpfs"] >= BOUNDS["generic_at_least_us"]["tmpfs"]


def test_two_runs_are_the_same_to_the_last_byte(core_image: BuiltImage, tmp_path):
    words = ("--load", "tmpfs", "--kernel", "rt")
    first = virtual(core_image.path, tmp_path / "one", *words)
    second = virtual(core_image.path, tmp_path / "two", *words)
    assert first.data == second.data
    logs = [(tmp_path / name / "rt-tmpfs.log").read_bytes() for name in ("one", "two")]
    assert logs[0] == logs[1]
