"""Composition: all modules' contributions, merged into one SystemSpec. Pure.

Equal items are merged and keep everybody who asked for them. Different items with one key are a
conflict, an error that names both sides; nothing ever wins silently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from pathlib import PurePosixPath
from typing import Any

from archibald.errors import UsageError
from archibald.profile.load import boot_entry
from archibald.profile.model import Profile
from archibald.system.modules import (
    apps,
    audio,
    base,
    branding,
    desktop,
    identity,
    installer,
    mesh,
    realtime,
    selftest,
    setup,
    users,
    variants,
)
from archibald.system.spec import (
    Contribution,
    Directory,
    File,
    Forbidden,
    Hardware,
    Link,
    Origin,
    SystemSpec,
    Unit,
    shown_value,
)

Contribute = Callable[[Profile, Hardware], Iterable[Contribution]]

#: Modules that see the profile as one boot entry sees it. Their order does not matter.
MODULES: tuple[Contribute, ...] = (
    base.contribute,
    audio.contribute,
    realtime.contribute,
    desktop.contribute,
    users.contribute,
    apps.contribute,
    mesh.contribute,
    branding.contribute,
    installer.contribute,
    selftest.contribute,
    setup.contribute,
    variants.contribute,
)

#: Modules that see the whole profile with its variants: what all boot entries share.
SHARED_MODULES: tuple[Contribute, ...] = (identity.contribute,)

ANY_MACHINE = Hardware()


class ConflictError(UsageError):
    """Two modules want different things of one item."""

    def __init__(self, key: str, first: Contribution, second: Contribution) -> None:
        self.key, self.first, self.second = key, first, second
        sides = zip(_values(first, second), (first, second), strict=True)
        self._sides = sorted(sides, key=_side)
        keys = sorted({k for c in (first, second) for origin in c.origins for k in origin.keys})
        super().__init__(
            f"conflict about {key}: {_modules(first, second)} want different things",
            why="\n        ".join(map(_side, self._sides)),
            next_step=(
                f"change {' or '.join(keys)} in the profile (archibald profile explain {keys[0]})"
                if keys
                else "no option decides this: it is a fault of the modules named above"
            ),
        )

    def details(self) -> dict[str, Any]:
        """The conflicting values and who wants them, for ``--json``."""
        return {
            "key": self.key,
            "sides": [
                {"value": value, "origins": [str(origin) for origin in side.origins]}
                for value, side in self._sides
            ],
        }


def _side(side: tuple[str, Contribution]) -> str:
    value, contribution = side
    return f"{value}  <- {'; '.join(map(str, contribution.origins))}"


def _values(first: Contribution, second: Contribution) -> tuple[str, str]:
    """Return both items as one line each; of two files the first line that differs."""
    one, two = first.item, second.item
    if not (isinstance(one, File) and isinstance(two, File) and one.content != two.content):
        return shown_value(one), shown_value(two)
    lines = zip_longest(one.content.splitlines(), two.content.splitlines(), fillvalue=b"")
    number, pair = next(
        ((number, pair) for number, pair in enumerate(lines, 1) if pair[0] != pair[1]),
        (1, (b"", b"")),
    )
    left, right = (
        f"file {one.path}, line {number}: {text.decode('utf-8', 'replace')!r}" for text in pair
    )
    return left, right


def _modules(*sides: Contribution) -> str:
    names = sorted({origin.module for side in sides for origin in side.origins})
    return " and ".join(names) if len(names) > 1 else f"two parts of {names[0]}"


def compose(
    profile: Profile,
    hardware: Hardware = ANY_MACHINE,
    *,
    variant: str = "default",
    modules: Sequence[Contribute] = MODULES,
) -> SystemSpec:
    """Return the system of one boot entry of a profile.

    ``variant`` is the name of a ``[[variant]]``, or "default". Raises :class:`UsageError` when
    there is no such variant or the modules cannot do what the profile asks, :class:`ConflictError`
    when they disagree, and PreconditionError when ``hardware`` is known and does not suffice.
    """
    seen = boot_entry(profile, variant)
    wanted = [c for contribute in modules for c in contribute(seen, hardware)]
    wanted += [c for contribute in SHARED_MODULES for c in contribute(profile, hardware)]
    return SystemSpec(variant, merge(wanted))


def merge(wanted: Iterable[Contribution]) -> tuple[Contribution, ...]:
    """Return the contributions with equal items merged, sorted by key.

    The result does not depend on the order. Raises :class:`ConflictError`.
    """
    merged: dict[str, Contribution] = {}
    # Sorted first, so that of several conflicts always the same one is reported.
    for contribution in sorted(wanted, key=_order):
        key = contribution.item.key
        if key not in merged:
            merged[key] = contribution
        elif merged[key].item == contribution.item:
            merged[key] = merged[key].joined_by(contribution)
        else:
            raise ConflictError(key, merged[key], contribution)
    _check_parents(merged)
    _check_forbidden(merged)
    return tuple(merged[key] for key in sorted(merged))


def _order(contribution: Contribution) -> tuple[str, str, tuple[Origin, ...]]:
    return contribution.item.key, repr(contribution.item), contribution.origins


def _check_parents(merged: dict[str, Contribution]) -> None:
    """Refuse a file inside what another module makes a file or a link."""
    for key, contribution in merged.items():
        item = contribution.item
        if not isinstance(item, File | Link | Directory):
            continue
        for parent in PurePosixPath(item.path).parents:
            above = merged.get(f"file:{parent}")
            if above is not None and not isinstance(above.item, Directory):
                raise ConflictError(key, above, contribution)


def _check_forbidden(merged: dict[str, Contribution]) -> None:
    """Refuse a unit that one module enables and another forbids."""
    for contribution in merged.values():
        item = contribution.item
        if not isinstance(item, Forbidden):
            continue
        unit = merged.get(f"unit:system:{item.unit}")
        if unit is not None and isinstance(unit.item, Unit) and unit.item.state == "enabled":
            raise ConflictError(unit.item.key, unit, contribution)
