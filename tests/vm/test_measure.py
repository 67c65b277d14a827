"""Measuring an image: its kernels in virtual time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from archibald.measure.document import Run, parse_run
from archibald.measure.records import VirtualJitterData
from archibald.run import run

from .conftest import BuiltImage, archibald

pytestmark = pytest.mark.vm

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


def emulator() -> str:
    """The version of QEMU in the form in which the bounds name it."""
    words = run(["qemu-system-x86_64", "--version"]).stdout.split()
    return "QEMU " + ".".join(words[words.index("version") + 1].split(".")[:2])


def test_the_real_time_kernel_has_not_become_slower(core_image: BuiltImage, tmp_path):
    measured = virtual(core_image.path, tmp_path, "--load", "tmpfs", "--load", "memory",
                       "--kernel", "rt")  # fmt: skip
    # Another QEMU counts differently.
    slack = 1 if emulator() == BOUNDS["emulator"] else 2
    for load, bound in BOUNDS["max_us"].items():
        assert largest(measured)["rt", load] <= bound * slack, (
            "the real-time kernel keeps threads waiting for longer than the one that was measured",
            load, BOUNDS["kernel"], measured.notes,
        )  # fmt: skip


@pytest.mark.torture
def test_the_ordinary_kernel_is_late_in_the_same_place(core_image: BuiltImage, tmp_path):
    # What is measured is the kernel, not the emulator.
    generic = virtual(core_image.path, tmp_path, "--load", "tmpfs", "--kernel", "generic")
    assert largest(generic)["generic", "tmpfs"] >= BOUNDS["generic_at_least_us"]["tmpfs"]


@pytest.mark.torture
def test_two_runs_are_the_same_to_the_last_byte(core_image: BuiltImage, tmp_path):
    words = ("--load", "tmpfs", "--kernel", "rt")
    first = virtual(core_image.path, tmp_path / "one", *words)
    second = virtual(core_image.path, tmp_path / "two", *words)
    assert first.data == second.data
    logs = [(tmp_path / name / "rt-tmpfs.log").read_bytes() for name in ("one", "two")]
    assert logs[0] == logs[1]
