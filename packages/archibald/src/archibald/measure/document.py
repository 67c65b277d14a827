"""The run document: what was measured, on which machine, when and how. One JSON file per run.

The file says which tool and which format wrote it; files of other tools, of newer versions,
damaged ones and those without a single sample are refused by name.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, Field, ValidationError

from archibald import __version__
from archibald.errors import PreconditionError, UsageError
from archibald.measure.histogram import is_cyclictest
from archibald.measure.records import Data, Name, Record, Seconds, Text, samples
from archibald.tune import hardware

TOOL: Final = "archibald measure"
FORMAT: Final = 1

#: An hour of blocks of one second is about 2 MiB; nothing that was measured is near this.
MAX_BYTES = 64 * 1024 * 1024

#: What a setting may be.
Setting = str | int | float | bool | None


class Kind(StrEnum):
    """What was measured."""

    JITTER = "jitter"
    LATENCY = "latency"
    XRUNS = "xruns"
    BOOT = "boot"
    RESOURCES = "resources"
    MIDI = "midi"
    VIRTUAL_JITTER = "virtual-jitter"


class DocumentError(UsageError):
    """A file cannot be taken as a run document."""


class NotARunError(DocumentError):
    """The file is of another tool, or no JSON at all."""


class NewerRunError(DocumentError):
    """The file has a format that this version does not know."""


class DamagedRunError(DocumentError):
    """The file says it is a run document, but is not complete or contradicts itself."""


class EmptyRunError(DocumentError):
    """The run holds not one sample."""


class MachineRecord(Record):
    """The machine, as far as figures depend on it. No names, no serial numbers."""

    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] = Field(
        description="Digest of the fields below: equal machines have equal ones."
    )
    cpu: Text = Field(description="Model name of the CPU.")
    cpus: Annotated[int, Field(ge=1, le=65536)]
    memory_mib: Annotated[int, Field(ge=0)]
    smt: bool
    hybrid: bool
    virtualization: Text = Field(description="Hypervisor or container; empty on bare metal.")
    card: Text = Field(description="The audio interface, by its model; empty: none.")
    card_bus: Text = ""


class KernelRecord(Record):
    """``uname -r`` and ``uname -v``, which says PREEMPT_RT where it is."""

    release: Text
    version: Text
    cmdline: Text = ""

    @property
    def realtime(self) -> bool:
        """Is this a fully preemptible kernel?"""
        return bool(re.search(r"\bPREEMPT_RT\b", self.version))


class ProfileRecord(Record):
    """The profile that held. ``digest`` is :func:`archibald.profile.load.profile_digest`."""

    source: Text
    digest: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]


class Figure(Record):
    """One result. ``id`` is dotted and the same in each run of its kind.

    ``low`` and ``high`` are the 95 % interval, where there is one.
    """

    id: Name
    title: Name
    value: float
    unit: Text
    better: Literal["lower", "higher", "neither"] = "lower"
    low: float | None = None
    high: float | None = None


class Run(Record):
    """One measurement."""

    tool: Literal["archibald measure"] = TOOL
    format: Literal[1] = FORMAT
    version: Text = Field(__version__, description="Version of archibald that measured.")
    kind: Kind
    label: Text = Field("", description="A name for people, such as 'before apply'.")
    started: AwareDatetime
    duration_s: Seconds
    machine: MachineRecord
    kernel: KernelRecord
    profile: ProfileRecord
    settings: dict[Name, Setting] = Field(description="What the run was asked for.")
    data: Annotated[Data, Field(discriminator="kind")]
    results: tuple[Figure, ...] = ()
    notes: tuple[Text, ...] = ()
    warnings: tuple[Text, ...] = ()

    @property
    def title(self) -> str:
        """How the run is called in reports."""
        return self.label or f"{self.kind.value} of {self.started:%Y-%m-%d %H:%M}"


def machine_record(machine: hardware.Machine, *, cpu_model: str) -> MachineRecord:
    """Return what is kept of a machine."""
    values: dict[str, Any] = {
        "cpu": " ".join(cpu_model.split()),
        "cpus": len(machine.cpus),
        "memory_mib": machine.memory_mib,
        "smt": machine.smt,
        "hybrid": machine.hybrid,
        "virtualization": machine.container or machine.virtualization,
        "card": machine.card.name if machine.card else "",
        "card_bus": machine.card.bus if machine.card else "",
    }
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return MachineRecord(fingerprint=digest[:16], **values)


def kernel_record(machine: hardware.Machine) -> KernelRecord:
    """Return what is kept of the kernel that runs."""
    return KernelRecord(
        release=machine.kernel, version=machine.kernel_version, cmdline=machine.cmdline[:2000]
    )


def dump_run(run: Run) -> str:
    """Return a run as JSON text with sorted keys; :func:`parse_run` gives it back."""
    data = run.model_dump(mode="json")
    return json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def parse_run(text: str | bytes, *, filename: str) -> Run:
    """Return the run of a JSON text. Raises a :class:`DocumentError` that says what is wrong."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotARunError(
            f"{filename} is no run document", why=f"it is no JSON: {str(error)[:200]}",
            next_step="name a file that archibald measure wrote",
        ) from None  # fmt: skip
    _check_origin(data, filename)
    try:
        run = Run.model_validate_json(text)
    except ValidationError as error:
        raise DamagedRunError(
            f"{filename} is damaged", why=_first_problems(error), next_step="measure again"
        ) from None
    if run.kind != run.data.kind:
        raise DamagedRunError(
            f"{filename} is damaged", why=f"a run of {run.kind} with data of {run.data.kind}"
        )
    if not samples(run.data):
        raise EmptyRunError(
            f"{filename} has no samples", why="nothing was measured", next_step="measure again"
        )
    return run


def _check_origin(data: Any, filename: str) -> None:
    if is_cyclictest(data):
        raise NotARunError(
            f"{filename} is a file of cyclictest, not a run document",
            why="it names no machine, no profile and no load",
            next_step="archibald measure jitter runs cyclictest and keeps all of that",
        )
    if not isinstance(data, dict) or data.get("tool") != TOOL:
        other = str(data.get("tool", ""))[:60] if isinstance(data, dict) else ""
        raise NotARunError(
            f"{filename} is no run document",
            why=f"it is of {other!r}" if other else f'it does not say "tool": "{TOOL}"',
            next_step="name a file that archibald measure wrote",
        )
    found = data.get("format")
    if isinstance(found, int) and not isinstance(found, bool) and found > FORMAT:
        raise NewerRunError(
            f"{filename} has format {found}",
            why=f"archibald {__version__} reads formats up to {FORMAT}",
            next_step="use the version that wrote it, or a later one",
        )


def _first_problems(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)
    lines = [f"{'.'.join(map(str, e['loc'])) or 'whole'}: {e['msg']}"[:160] for e in found[:3]]
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return "; ".join(lines) + more


def load_run(path: Path) -> Run:
    """Read a run document. Raises a :class:`DocumentError`."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise DocumentError(
            f"{path} cannot be read", why=(error.strerror or "unreadable").lower(),
            next_step="name a file that archibald measure wrote",
        ) from None  # fmt: skip
    if len(data) > MAX_BYTES:
        raise NotARunError(
            f"{path} is no run document", why=f"it is longer than {MAX_BYTES // 2**20} MiB"
        )
    return parse_run(data, filename=str(path))


def write_run(run: Run, path: Path) -> None:
    """Write a run document; an existing file is replaced whole or not at all.

    Raises :class:`PreconditionError` when the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as stream:
            new = Path(stream.name)
            stream.write(dump_run(run))
            stream.flush()
            os.fsync(stream.fileno())
        new.chmod(0o644)
        new.replace(path)
    except OSError as error:
        raise PreconditionError(
            f"{path} cannot be written",
            why=(error.strerror or str(error)).lower(),
            next_step="name another file with --output",
        ) from None


def default_filename(kind: Kind, started: datetime) -> str:
    """Return a file name that sorts by time: ``jitter-20260102T030405Z.json``."""
    return f"{kind.value}-{started.astimezone(UTC):%Y%m%dT%H%M%SZ}.json"


def run_schema() -> dict[str, Any]:
    """Return the JSON Schema of run documents."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Run.model_json_schema(mode="serialization"),
    }


if __name__ == "__main__":
    print(json.dumps(run_schema(), indent=2, sort_keys=True, ensure_ascii=False))
