"""What tuning talks about: pages, knobs, findings, changes. Pure data.

A :class:`Knob` is one question about one machine: what is wanted, how it is judged, and which
changes would make it right. Its :class:`Page` is the same on every machine and becomes a page of
the documentation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, NamedTuple

from archibald.profile.model import Profile
from archibald.system.spec import Origin, SystemSpec
from archibald.tune.hardware import Machine
from archibald.tune.observe import DeniedError, Sight
from archibald.vm.selftest.model import (
    Answer,
    NotApplicableError,
    UnreadableError,
    Verdict,
    shortened,
)

#: Where the pages of the checks are, in the repository and in an installed package's manual.
PAGES_FOLDER = "docs/reference/checks"

_MAX_EVIDENCE = 2000


class Severity(StrEnum):
    """How much a bad answer costs: dropouts, dropouts under load, or comfort."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Family(NamedTuple):
    """A group of checks."""

    id: str
    title: str


@dataclass(frozen=True)
class Page:
    """What the documentation says about a check."""

    id: str
    title: str
    severity: Severity
    reads: str
    why: str
    fix: str

    @property
    def link(self) -> str:
        """The page's file in the repository."""
        return f"{PAGES_FOLDER}/{self.id}.md"


@dataclass(frozen=True)
class Change:
    """One thing to be set: ``kind`` says how (:mod:`.targets`), ``target`` what, ``value`` to what.

    A change that ``lasts`` is still there after a reboot.
    """

    check: str
    kind: str
    target: str
    value: str
    lasts: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """What the change is about: two changes of one key are about the same thing."""
        return self.kind, self.target


def _no_changes() -> tuple[Change, ...]:
    return ()


@dataclass(frozen=True)
class Knob:
    """One question about one machine.

    ``judge`` may raise UnreadableError (cannot tell), NotApplicableError and ValueError (what was
    read is not understood); ``changes`` is asked only when the answer is bad.
    """

    page: Page
    wanted: str
    judge: Callable[[], Verdict]
    changes: Callable[[], tuple[Change, ...]] = _no_changes
    fix: str = ""
    origins: tuple[Origin, ...] = ()


@dataclass(frozen=True)
class Scene:
    """Everything that the knobs of a machine are made from.

    ``profile`` is that of the boot entry that runs, ``given`` the whole one with its variants.
    """

    sight: Sight
    machine: Machine
    profile: Profile
    spec: SystemSpec
    given: Profile

    def again(self) -> Scene:
        """Return the scene with eyes that remember nothing of what was read before."""
        sight = self.sight
        fresh = Sight(sight.root, sight.user, sight.commands, sight.nodes)
        return replace(self, sight=fresh)

    @property
    def audio_cpus(self) -> tuple[int, ...]:
        """CPUs of the data loop; empty when the scheduler chooses."""
        return tuple(sorted(self.profile.cpu.audio))

    @property
    def other_cpus(self) -> tuple[int, ...]:
        """All CPUs but those of the data loop."""
        mine = set(self.audio_cpus)
        return tuple(cpu.number for cpu in self.machine.cpus if cpu.number not in mine)


@dataclass(frozen=True)
class Finding:
    """The answer of one check, with the raw text that it rests on."""

    check: str
    family: str
    title: str
    severity: Severity
    answer: Answer
    wanted: str
    observed: str
    evidence: str
    fix: str
    page: str
    needs_root: bool
    origins: tuple[Origin, ...] = ()

    def data(self) -> dict[str, Any]:
        """The finding as ``--json`` prints it."""
        return {
            "check": self.check,
            "family": self.family,
            "title": self.title,
            "severity": self.severity.value,
            "answer": self.answer.value,
            "wanted": self.wanted,
            "observed": self.observed,
            "evidence": self.evidence,
            "fix": self.fix,
            "page": self.page,
            "needs_root": self.needs_root,
            "wanted_by": [
                {"module": origin.module, "why": origin.why, "keys": list(origin.keys)}
                for origin in self.origins
            ],
        }


def examine(knob: Knob, family: Family) -> Finding:
    """Judge a knob and turn whatever happens into a finding: what cannot be read is never ok."""
    denied = False
    try:
        answer, observed, evidence = knob.judge()
    except UnreadableError as error:
        answer, observed, evidence = Answer.CANNOT_TELL, "could not be read", str(error)
        denied = isinstance(error, DeniedError) or "Permission denied" in evidence
    except NotApplicableError as error:
        answer, observed, evidence = Answer.NOT_APPLICABLE, str(error), ""
    except ValueError as error:
        answer, observed, evidence = Answer.CANNOT_TELL, "could not be understood", str(error)
    page = knob.page
    return Finding(
        check=page.id,
        family=family.id,
        title=page.title,
        severity=page.severity,
        answer=answer,
        wanted=shortened(knob.wanted, 400),
        observed=shortened(" ".join(observed.split()), 400),
        evidence=shortened(evidence.strip(), _MAX_EVIDENCE),
        fix=(knob.fix or page.fix) if answer is Answer.BAD else "",
        page=page.link,
        needs_root=denied,
        origins=knob.origins,
    )
