"""Changing the quantum for a while: what was forced before is forced again at the end."""

from __future__ import annotations

from dataclasses import dataclass, field

from archibald.tune.live.gather import FORCE_QUANTUM
from archibald.tune.targets import State, TargetError, Targets


@dataclass
class Quantum:
    """PipeWire's forced quantum, and what it was before it was changed."""

    targets: Targets
    _before: list[State] = field(default_factory=list)

    def force(self, frames: int) -> str:
        """Force a quantum (0: none); return "" or why it cannot be."""
        try:
            if not self._before:
                self._before.append(self.targets.read("pipewire", FORCE_QUANTUM))
            self.targets.write("pipewire", FORCE_QUANTUM, str(frames))
        except TargetError as error:
            return str(error)
        return ""

    def restore(self) -> str:
        """Take the change back, if there was one; return "" or why it cannot be."""
        if not self._before:
            return ""
        try:
            self.targets.write("pipewire", FORCE_QUANTUM, self._before[0])
        except TargetError as error:
            return str(error)
        self._before.clear()
        return ""
