"""The audit: every check of one machine, as a report."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from archibald.profile.model import CpuTable, Profile
from archibald.system.spec import Forbidden
from archibald.tune.hardware import Machine, detect
from archibald.tune.knobs import all_knobs, examined
from archibald.tune.knobs.limits import RTKIT_COMMAND
from archibald.tune.knobs.pipewire import questions
from archibald.tune.knobs.services import disturbing_command
from archibald.tune.model import Finding, Scene
from archibald.tune.observe import Sight
from archibald.vm.selftest.expectation import expectation
from archibald.vm.selftest.model import Answer

#: Version of the JSON that ``archibald audit --json`` prints.
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Audit:
    """All findings of one machine, and the machine."""

    machine: Machine
    user: str
    findings: tuple[Finding, ...]

    def of(self, *answers: Answer) -> list[Finding]:
        """Return the findings with one of the answers."""
        return [finding for finding in self.findings if finding.answer in answers]

    def counts(self) -> dict[str, int]:
        """Return how many findings have each answer."""
        found = Counter(finding.answer for finding in self.findings)
        return {answer.value: found[answer] for answer in Answer}

    def data(self) -> dict[str, Any]:
        """The audit as ``--json`` prints it."""
        machine = self.machine
        return {
            "schema": SCHEMA_VERSION,
            "machine": {
                "kernel": machine.kernel,
                "cpus": len(machine.cpus),
                "smt": machine.smt,
                "hybrid": machine.hybrid,
                "memory_mib": machine.memory_mib,
                "virtualization": machine.virtualization,
                "container": machine.container,
                "distribution": machine.distribution,
                "card": str(machine.card) if machine.card else "",
                "user": self.user,
            },
            "counts": self.counts(),
            "findings": [finding.data() for finding in self.findings],
        }


def make_scene(
    sight: Sight, profile: Profile, *, card: str = "", adapt: bool = False, ask: bool = True
) -> Scene:
    """Return the machine together with what the profile wants of it.

    The boot entry that runs decides which variant counts. Raises UnreadableError when there is no
    /proc, CpuMismatchError when the profile names CPUs that the machine lacks, and NoSuchCardError.
    With ``adapt`` (for defaults, which nobody chose for this machine) such CPUs are left out.
    ``ask`` starts the programs that an audit will ask, so that their answers are there in time.
    """
    if sight.live and ask:
        sight.prefetch(questions() if _session_has_pipewire(sight) else [])
    machine = detect(sight, card=card)
    if adapt and len(machine.cpus) < profile.cpu.minimum:
        profile = profile.model_copy(update={"cpu": CpuTable(minimum=1, audio=[])})
    expected = expectation(profile, machine.cmdline, cpus=machine.spec.cpus)
    scene = Scene(sight, machine, expected.profile, expected.spec, profile)
    if sight.live and ask and sight.exists("/run/systemd/system"):
        names = [item.unit for item in expected.spec.of(Forbidden)]
        units = [disturbing_command(names)] if names else []
        sight.prefetch([(argv, False) for argv in (*units, RTKIT_COMMAND)])
    return scene


def _session_has_pipewire(sight: Sight) -> bool:
    return sight.exists(f"{sight.user.runtime_dir}/pipewire-0")


def audit(scene: Scene) -> Audit:
    """Judge every knob of the machine."""
    findings = tuple(finding for _, finding in examined(scene))
    return Audit(scene.machine, scene.sight.user.name, findings)


def check_ids(scene: Scene) -> list[str]:
    """Return the names of the machine's checks in their order."""
    return [knob.page.id for _, knob in all_knobs(scene)]
