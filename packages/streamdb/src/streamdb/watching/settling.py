"""When is a file complete? When nothing has happened to it for a while.

A pure state machine: it is told what happened and when, and says what is due.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settling:
    """How long a path must be quiet, in seconds: ``quiet_s`` after any event, ``closed_s`` when
    that event was a writer closing the file, ``gone_s`` when the path is not there any more (None:
    twice ``quiet_s``, so that a file which comes back elsewhere is seen first).
    """

    quiet_s: float = 2.0
    closed_s: float = 0.5
    gone_s: float | None = None


class Pending:
    """Paths to which something happened, until they are quiet."""

    def __init__(self, rules: Settling) -> None:
        self._rules = rules
        self._due: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._due)

    def touch(self, path: str, now: float, *, complete: bool = False) -> None:
        """Something happened to a path."""
        self._due[path] = now + (self._rules.closed_s if complete else self._rules.quiet_s)

    def depart(self, path: str, now: float) -> None:
        """A path is not there any more."""
        gone_s = self._rules.gone_s
        self._due[path] = now + (2 * self._rules.quiet_s if gone_s is None else gone_s)

    def move(self, old: str, new: str) -> None:
        """A path, and all below it, have another name: what they wait for goes with them."""
        for path in [each for each in self._due if each == old or each.startswith(f"{old}/")]:
            moved = new + path[len(old) :]
            self._due[moved] = self._due.pop(path)

    def next_due(self) -> float | None:
        """When ``take`` will have something."""
        return min(self._due.values(), default=None)

    def take(self, now: float) -> list[str]:
        """The paths that are quiet by now, sorted; they are forgotten."""
        ready = sorted(path for path, due in self._due.items() if due <= now)
        for path in ready:
            del self._due[path]
        return ready

    def clear(self) -> None:
        """Forget everything."""
        self._due.clear()
