"""The plan: what apply will do, step by step. The dry run prints this very list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from archibald.errors import UsageError
from archibald.tune.knobs import all_pages, examined
from archibald.tune.model import Change, Finding, Scene
from archibald.tune.persist import persisted, refreshers
from archibald.tune.targets import State, TargetError, Targets, shown
from archibald.vm.selftest.model import Answer


@dataclass(frozen=True)
class Step:
    """A change, and what is there before it."""

    change: Change
    before: State

    def data(self) -> dict[str, Any]:
        """The step as ``--json`` prints it."""
        change = self.change
        return {
            "check": change.check,
            "kind": change.kind,
            "target": change.target,
            "before": shown(change.kind, self.before),
            "after": shown(change.kind, change.value),
            "survives_reboot": change.lasts,
        }


@dataclass(frozen=True)
class Plan:
    """Steps in their order; programs that make files take effect; and what is left to people."""

    steps: tuple[Step, ...]
    refreshers: tuple[tuple[str, ...], ...] = ()
    by_hand: tuple[Finding, ...] = ()
    unreadable: tuple[str, ...] = ()

    def data(self) -> dict[str, Any]:
        """The plan as ``--json`` prints it."""
        return {
            "steps": [step.data() for step in self.steps],
            "then": [list(argv) for argv in self.refreshers],
            "by_hand": [{"check": f.check, "fix": f.fix} for f in self.by_hand],
            "unreadable": list(self.unreadable),
        }


def check_names(names: Sequence[str], *, also: Sequence[str] = ()) -> None:
    """Raise :class:`UsageError` when one of the names is no check, and none of ``also``."""
    known = {*also, *(page.id for _, page in all_pages())}
    wrong = [name for name in names if name not in known]
    if wrong:
        raise UsageError(
            f"there is no check {', '.join(map(repr, wrong))}",
            next_step="archibald audit --all lists them",
        )


def make_plan(
    scene: Scene, targets: Targets, *, only: Sequence[str] = (), persist: bool = False
) -> Plan:
    """Return what would make the bad answers good.

    ``only`` are names of checks; ``persist`` adds the files that hold after a reboot. Without it
    nothing outside the kernel and running programs is changed. Raises :class:`UsageError`.
    """
    check_names(only)
    changes: list[Change] = []
    by_hand: list[Finding] = []
    for knob, finding in examined(scene, only):
        if finding.answer is not Answer.BAD:
            continue
        found = [change for change in knob.changes() if persist or not change.lasts]
        changes += found
        if not found:
            by_hand.append(finding)
    if persist and not only:
        changes += persisted(scene)
    steps, unreadable = [], []
    for change in dict.fromkeys(changes):
        try:
            before = targets.read(change.kind, change.target)
        except TargetError as error:
            unreadable.append(f"{change.check}: {error}")
            continue
        if not targets.same(change.kind, before, change.value):
            steps.append(Step(change, before))
    after = refreshers([step.change for step in steps])
    return Plan(tuple(steps), after, _left(by_hand, changes), tuple(unreadable))


def _left(by_hand: Sequence[Finding], changes: Sequence[Change]) -> tuple[Finding, ...]:
    """Return what is left to people: not what a file does, unless something comes after it."""
    done = {change.check for change in changes}
    return tuple(f for f in by_hand if f.check not in done or ", then " in f.fix)
