"""Comparing two systems item by item, with everybody who asked for each. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from archibald.system.spec import Contribution, SystemSpec


@dataclass(frozen=True)
class Change:
    """An item that two systems have with different values."""

    before: Contribution
    after: Contribution


@dataclass(frozen=True)
class SpecDiff:
    """What distinguishes two systems, each list sorted by key."""

    added: tuple[Contribution, ...]
    removed: tuple[Contribution, ...]
    changed: tuple[Change, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def diff_specs(before: SystemSpec, after: SystemSpec) -> SpecDiff:
    """Return what ``after`` has more, less and otherwise than ``before``; origins do not count."""
    first = {c.item.key: c for c in before.contributions}
    second = {c.item.key: c for c in after.contributions}
    return SpecDiff(
        added=tuple(second[key] for key in sorted(second.keys() - first.keys())),
        removed=tuple(first[key] for key in sorted(first.keys() - second.keys())),
        changed=tuple(
            Change(first[key], second[key])
            for key in sorted(first.keys() & second.keys())
            if first[key].item != second[key].item
        ),
    )
