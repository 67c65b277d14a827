"""What no longer holds: changes that are gone, checks that were ok, another kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from archibald.tune.apply import boot_id
from archibald.tune.audit import audit
from archibald.tune.journal import Entry, History
from archibald.tune.model import Scene
from archibald.tune.targets import KINDS, TargetError, Targets, shown
from archibald.vm.selftest.model import Answer


@dataclass(frozen=True)
class Standing:
    """A change that was made and not taken back, and what is there now."""

    entry: Entry
    state: Literal["holds", "reverted", "changed", "gone", "unknown"]
    now: str

    def data(self) -> dict[str, Any]:
        """The change as ``--json`` prints it."""
        change = self.entry.change
        return {
            "check": change.check,
            "kind": change.kind,
            "target": change.target,
            "before": shown(change.kind, self.entry.before),
            "after": shown(change.kind, change.value),
            "now": self.now,
            "state": self.state,
            "run": self.entry.run,
            "survives_reboot": change.lasts,
        }


def standings(history: History, scene: Scene, targets: Targets) -> list[Standing]:
    """Return every active change with its state; of one target the last change counts."""
    latest = {entry.change.key: entry for entry in history.active}
    boot = boot_id(scene)
    return [_standing(entry, boot, targets) for entry in latest.values()]


def _standing(entry: Entry, boot: str, targets: Targets) -> Standing:
    change = entry.change
    if entry.boot != boot and not KINDS[change.kind].outlives:
        return Standing(entry, "gone", "ended with its boot")
    try:
        now = targets.read(change.kind, change.target)
    except TargetError as error:
        return Standing(entry, "unknown", str(error))
    text = shown(change.kind, now)
    if any(targets.same(change.kind, now, mine) for mine in (change.value, entry.after)):
        return Standing(entry, "holds", text)
    if targets.same(change.kind, now, entry.before):
        return Standing(entry, "reverted", text)
    return Standing(entry, "changed", text)


@dataclass(frozen=True)
class Drift:
    """What differs from the end of the last run that came to its end."""

    since: str
    kernel_then: str
    kernel_now: str
    lost: tuple[Standing, ...]
    worse: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.lost or self.worse)

    def data(self) -> dict[str, Any]:
        """The drift as ``--json`` prints it."""
        return {
            "since": self.since,
            "kernel_then": self.kernel_then,
            "kernel_now": self.kernel_now,
            "lost": [standing.data() for standing in self.lost],
            "no_longer_ok": list(self.worse),
        }


def drift(history: History, scene: Scene, targets: Targets) -> Drift | None:
    """Compare the machine with the last run that came to its end; None when there was none."""
    ended = [run for run in history.runs if run["run"] in history.finished]
    if not ended:
        return None
    last = ended[-1]
    were_ok = set(history.finished[last["run"]])
    now = audit(scene)
    worse = tuple(f.check for f in now.of(Answer.BAD, Answer.CANNOT_TELL) if f.check in were_ok)
    # What ended with its boot is not lost where the boot has set it anew.
    fine = {f.check for f in now.of(Answer.OK, Answer.NOT_APPLICABLE)}
    lost = tuple(
        standing
        for standing in standings(history, scene, targets)
        if standing.state != "holds"
        and not (standing.state == "gone" and standing.entry.change.check in fine)
    )
    return Drift(
        str(last.get("time", "")), str(last.get("kernel", "")), scene.machine.kernel, lost, worse
    )
