"""What is compared: a case has one figure, contenders, and what we want to reach. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

OURS = "hydramesh"
Run = Callable[[], dict[str, float]]


@dataclass(frozen=True)
class Limit:
    """What one of our own figures has to be: at least or at most so much."""

    figure: str
    at_least: float | None = None
    at_most: float | None = None

    def missed(self, case: Case, told: Mapping[str, float]) -> str:
        """A sentence if it is not reached."""
        value = told[self.figure]
        if self.at_least is not None and value < self.at_least:
            return f"{case.text}: {self.figure} {value:g}, the target is at least {self.at_least:g}"
        if self.at_most is not None and value > self.at_most:
            return f"{case.text}: {self.figure} {value:g}, the target is at most {self.at_most:g}"
        return ""


@dataclass(frozen=True)
class Case:
    """One comparison: in each round every contender runs once, in turn.

    ``figure`` is the key of a run's result that is compared; ``better`` says which way. A target
    bounds the ratio of our median to that of a contender; a limit bounds our median itself.
    """

    name: str
    text: str
    unit: str
    figure: str
    better: str
    contenders: dict[str, Run]
    targets: dict[str, float]
    limits: tuple[Limit, ...] = field(default=())

    def missed(self, rows: Iterable[Mapping[str, Any]]) -> list[str]:
        """A sentence for each target that the rows of this case miss."""
        found = []
        for row in rows:
            against, ratio = row["contender"], row["ours_by_theirs"]
            if against == OURS:
                found += [limit.missed(self, row["figures"]) for limit in self.limits]
            target = self.targets.get(against)
            if target is None or (ratio <= target if self.better == "less" else ratio >= target):
                continue
            sign = "at most" if self.better == "less" else "at least"
            found.append(f"{self.text}: {ratio:g} of {against}, the target is {sign} {target:g}")
        return [sentence for sentence in found if sentence]

    def rows(self, runs: Mapping[str, list[dict[str, float]]]) -> list[dict[str, Any]]:
        """The medians of all contenders, each with the ratio of ours to it."""
        medians = {
            name: {key: median(run[key] for run in told) for key in told[0]}
            for name, told in runs.items()
        }
        ours = medians[OURS][self.figure]
        return [
            {
                "case": self.name,
                "text": self.text,
                "unit": self.unit,
                "figure": self.figure,
                "better": self.better,
                "contender": name,
                "figures": {key: round(value, 4) for key, value in told.items()},
                "ours_by_theirs": round(ours / told[self.figure], 3),
            }
            for name, told in medians.items()
        ]
