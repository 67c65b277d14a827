"""Making the steps of a plan, and taking them back.

Each step: read what is there, journal it, write, read back, journal. Whatever ends this in the
middle leaves a journal from which :func:`roll_back` restores every value.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from archibald import __version__
from archibald.errors import ArchibaldError
from archibald.run import shell_quoted
from archibald.tune.journal import Entry, Journal
from archibald.tune.model import Scene
from archibald.tune.plan import Plan, Step
from archibald.tune.targets import KINDS, State, TargetError, TargetGoneError, Targets, shown

#: Called at every point where a crash would matter: ("journaled" | "written" | "done", step).
Watcher = Callable[[str, int], None]


def _nobody(_event: str, _number: int) -> None:
    return


@dataclass(frozen=True)
class Applied:
    """What became of a step."""

    step: Step
    outcome: Literal["set", "already", "refused", "gone", "not-taken"]
    detail: str = ""

    @property
    def good(self) -> bool:
        """Say whether the target has the wanted value now."""
        return self.outcome in ("set", "already")

    def data(self) -> dict[str, Any]:
        """The outcome as ``--json`` prints it."""
        return {**self.step.data(), "outcome": self.outcome, "detail": self.detail}


def boot_id(scene: Scene) -> str:
    """Return the number of this boot: a run of another one may have set interrupts and threads."""
    return scene.sight.optional("/proc/sys/kernel/random/boot_id") or "unknown"


def _new_run() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{os.getpid()}"


def execute(
    plan: Plan,
    scene: Scene,
    targets: Targets,
    journal: Journal,
    *,
    profile: str = "",
    watch: Watcher = _nobody,
) -> tuple[str, list[Applied]]:
    """Make every step and return the run's name and what became of each.

    ``journal`` is open. A step that the kernel refuses is reported, and the others are made. When
    the journal cannot be written, or the user interrupts, what this run did is taken back first.
    """
    run = _new_run()
    journal.append(
        "begin",
        run=run,
        boot=boot_id(scene),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        kernel=scene.machine.kernel,
        archibald=__version__,
        profile=profile,
    )
    made: list[tuple[Step, State, State]] = []
    results: list[Applied] = []
    try:
        for number, step in enumerate(plan.steps, 1):
            results.append(_make(step, number, run, targets, journal, made, watch))
    except BaseException:
        # A full disk, Ctrl-C: half a plan is no state that anybody wanted.
        _take_back(made, targets)
        raise
    return run, results


def _make(
    step: Step, number: int, run: str, targets: Targets, journal: Journal,
    made: list[tuple[Step, State, State]], watch: Watcher,
) -> Applied:  # fmt: skip
    change = step.change
    try:
        before = targets.read(change.kind, change.target)
    except TargetGoneError as error:
        return Applied(step, "gone", str(error))
    except TargetError as error:
        return Applied(step, "refused", str(error))
    if targets.same(change.kind, before, change.value):
        return Applied(step, "already")
    journal.append(
        "intent", run=run, n=number, check=change.check, kind=change.kind, target=change.target,
        value=change.value, before=before, lasts=change.lasts,
    )  # fmt: skip
    watch("journaled", number)
    made.append((step, before, change.value))
    try:
        targets.write(change.kind, change.target, change.value)
        watch("written", number)
        after = targets.read(change.kind, change.target)
    except TargetError as error:
        journal.append("failed", run=run, n=number, why=str(error))
        return Applied(step, "gone" if isinstance(error, TargetGoneError) else "refused",
                       str(error))  # fmt: skip
    made[-1] = (step, before, after)
    journal.append("done", run=run, n=number, after=after)
    watch("done", number)
    if targets.same(change.kind, after, change.value):
        return Applied(step, "set")
    return Applied(step, "not-taken", f"it reads {shown(change.kind, after)}")


def _take_back(made: list[tuple[Step, State, State]], targets: Targets) -> None:
    """Restore what this run wrote; the journal still says so, and a rollback finds it done."""
    for step, before, after in reversed(made):
        change = step.change
        with contextlib.suppress(TargetError):
            now = targets.read(change.kind, change.target)
            if any(targets.same(change.kind, now, mine) for mine in (after, change.value)):
                targets.write(change.kind, change.target, before)


def finish(journal: Journal, run: str, ok: Sequence[str]) -> None:
    """Note that a run came to its end, and which checks were ok then."""
    journal.append("end", run=run, ok=list(ok))


@dataclass(frozen=True)
class Undone:
    """What became of taking a change back."""

    entry: Entry
    outcome: Literal["restored", "already", "gone", "forced", "foreign", "refused"]
    detail: str = ""

    @property
    def good(self) -> bool:
        """Say whether nothing of the change is left."""
        return self.outcome not in ("foreign", "refused")

    def data(self) -> dict[str, Any]:
        """The outcome as ``--json`` prints it."""
        change = self.entry.change
        return {
            "check": change.check,
            "kind": change.kind,
            "target": change.target,
            "before": shown(change.kind, self.entry.before),
            "after": shown(change.kind, change.value),
            "outcome": self.outcome,
            "detail": self.detail,
        }


#: Asks whether a value that somebody else has set is to be replaced: (entry, value now).
Ask = Callable[[Entry, State], bool]


def never(_entry: Entry, _now: State) -> bool:
    """Leave the values of others alone."""
    return False


def roll_back(
    journal: Journal,
    scene: Scene,
    targets: Targets,
    *,
    only: Sequence[str] = (),
    ask: Ask = never,
    dry_run: bool = False,
) -> list[Undone]:
    """Restore the values that were there before, the last change first.

    ``journal`` is open unless ``dry_run``. A value that is neither ours nor the previous one was
    set by somebody else: it stays unless ``ask`` says otherwise.
    """
    boot = boot_id(scene)
    results = []
    for entry in reversed(journal.history().active):
        if only and entry.change.check not in only:
            continue
        done = _undo(entry, boot, targets, ask, dry_run)
        results.append(done)
        if done.good and not dry_run:
            journal.append("undone", run=entry.run, n=entry.number, how=done.outcome)
    return results


def _undo(entry: Entry, boot: str, targets: Targets, ask: Ask, dry_run: bool) -> Undone:
    change = entry.change
    if entry.boot != boot and not KINDS[change.kind].outlives:
        return Undone(entry, "gone", "ended with the boot in which it was set")
    try:
        now = targets.read(change.kind, change.target)
    except TargetGoneError as error:
        return Undone(entry, "gone", str(error))
    except TargetError as error:
        return Undone(entry, "refused", str(error))
    if targets.same(change.kind, now, entry.before):
        return Undone(entry, "already")
    ours = [change.value] if entry.after is None else [change.value, entry.after]
    mine = any(targets.same(change.kind, now, value) for value in ours)
    if not mine and not (not dry_run and ask(entry, now)):
        return Undone(entry, "foreign", f"somebody set it to {shown(change.kind, now)}")
    if dry_run:
        return Undone(entry, "restored")
    return _restore(entry, targets, "restored" if mine else "forced")


def _restore(entry: Entry, targets: Targets, how: Literal["restored", "forced"]) -> Undone:
    change = entry.change
    try:
        targets.write(change.kind, change.target, entry.before)
        now = targets.read(change.kind, change.target)
    except TargetError as error:
        return Undone(entry, "refused", str(error))
    if not targets.same(change.kind, now, entry.before):
        return Undone(entry, "refused", f"it reads {shown(change.kind, now)}")
    return Undone(entry, how)


def refresh(commands: Sequence[tuple[str, ...]], targets: Targets) -> list[str]:
    """Run the programs that make changed files take effect; return what failed, one line each."""
    failed = []
    for argv in commands:
        if not targets.sight.live:
            continue
        try:
            targets.runner(list(argv), timeout_s=600)
        except ArchibaldError as error:
            failed.append(f"{shell_quoted(argv)}: {error.what}")
    return failed
