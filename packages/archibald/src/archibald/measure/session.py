"""From raw data to a run document: which machine, which profile, when, how long.

:class:`Bench` is the machine with its profile; every measurement takes one, and hands its data to
:meth:`Bench.document`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from archibald.errors import PreconditionError, UsageError
from archibald.measure.document import (
    Kind,
    ProfileRecord,
    Run,
    Setting,
    kernel_record,
    machine_record,
)
from archibald.measure.figures import figures_of
from archibald.measure.records import Data, samples
from archibald.profile.load import profile_digest
from archibald.tune.model import Scene
from archibald.vm.selftest.model import UnreadableError


@dataclass
class Notes:
    """What a reader of the run has to know: remarks, and reasons for doubt."""

    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Clock:
    """When a measurement began."""

    started: datetime
    ticks: float

    @staticmethod
    def now() -> Clock:
        """Start the clock."""
        return Clock(datetime.now(UTC), time.monotonic())

    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.ticks


@dataclass(frozen=True)
class Bench:
    """The machine that is measured, and the profile that holds there."""

    scene: Scene
    source: str
    label: str = ""

    @property
    def cpus(self) -> tuple[int, ...]:
        """All CPUs of the machine."""
        return tuple(cpu.number for cpu in self.scene.machine.cpus)

    def document(
        self,
        kind: Kind,
        data: Data,
        *,
        clock: Clock,
        settings: Mapping[str, Setting],
        remarks: Notes,
    ) -> Run:
        """Return the run document of what was measured.

        Raises PreconditionError when that is nothing: such a file would be refused by everything
        that reads it.
        """
        if not samples(data):
            raise PreconditionError(
                f"{kind.value} gave not one sample", why="nothing was kept",
                next_step="measure longer, and look at what the programs print: --debug",
            )  # fmt: skip
        scene = self.scene
        audio = scene.profile.audio
        return Run(
            kind=kind,
            label=self.label,
            started=clock.started,
            duration_s=round(clock.elapsed_s(), 3),
            machine=machine_record(scene.machine, cpu_model=cpu_model(scene)),
            kernel=kernel_record(scene.machine),
            profile=ProfileRecord(source=self.source, digest=profile_digest(scene.profile)),
            settings={"quantum": audio.quantum, "rate": audio.rate, **settings},
            data=data,
            results=figures_of(data),
            notes=tuple(dict.fromkeys([*remarks.notes, *self._remarks(kind)])),
            warnings=tuple(dict.fromkeys(remarks.warnings)),
        )

    def _remarks(self, kind: Kind) -> Sequence[str]:
        machine = self.scene.machine
        where = machine.virtualization or machine.container
        if not where or kind is Kind.VIRTUAL_JITTER:
            return ()
        return (f"measured inside {where}: what the host does to this machine is in the figures",)


def cpu_model(scene: Scene) -> str:
    """Return the model name of the CPU; ARM's /proc/cpuinfo names its part numbers only."""
    try:
        text = scene.sight.text("/proc/cpuinfo")
    except UnreadableError:
        return ""
    for name in ("model name", "Model", "Hardware", "CPU part"):
        found = re.search(rf"^{name}\s*:\s*(.+)$", text, re.MULTILINE)
        if found:
            return found[1].strip()
    return ""


def require_cpus(chosen: Sequence[int], known: Sequence[int]) -> None:
    """Raise UsageError unless the machine has the CPUs, each named once."""
    wrong = [cpu for cpu in chosen if cpu not in known]
    if wrong or len(set(chosen)) != len(chosen):
        raise UsageError(
            f"CPU {wrong[0]} does not exist here" if wrong else "a CPU is named twice",
            why=f"this machine has {', '.join(map(str, known))}",
            next_step="name others with --cpu",
        )
