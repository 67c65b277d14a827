"""From single measurements to medians, ratios, a table and a chart. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from image_builders import Case
from image_measure import Usage

OURS = "archibald"

#: The goals of the project: a cold build in at most this share of live-build's time, and seconds
#: for a build after a one-file change.
COLD_SHARE = 0.5
CHANGED_S = 15.0


@dataclass(frozen=True)
class Sample:
    """One measured build."""

    tool: str
    case: Case
    round: int
    usage: Usage
    result_bytes: int

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Sample:
        """Return the sample that ``dataclasses.asdict`` has taken apart."""
        return cls(**{**data, "case": Case(data["case"]), "usage": Usage(**data["usage"])})


@dataclass(frozen=True)
class Row:
    """The medians of one tool in one case.

    ``ratio`` is its wall time by ours, ``cpu_ratio`` its CPU time by ours: above 1 we are ahead.
    """

    case: Case
    tool: str
    count: int
    wall_s: float
    fastest_s: float
    slowest_s: float
    ratio: float | None
    cpu_s: float
    cpu_ratio: float | None
    memory_bytes: float
    process_bytes: float
    disk_bytes: float
    result_bytes: float
    others_cores: float


@dataclass(frozen=True)
class Goal:
    """A goal, the figure that decides, and whether it is reached."""

    text: str
    figure: str
    reached: bool


def rows_of(samples: Sequence[Sample]) -> list[Row]:
    """Return one row for each case and tool that was measured, in order of cases, ours first."""
    groups: dict[tuple[Case, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.case, sample.tool), []).append(sample)
    order = list(Case)
    keys = sorted(groups, key=lambda key: (order.index(key[0]), key[1] != OURS, key[1]))
    return [
        _row(case, tool, groups[case, tool], groups.get((case, OURS), ())) for case, tool in keys
    ]


def _row(case: Case, tool: str, group: Sequence[Sample], ours: Sequence[Sample]) -> Row:
    walls = [s.usage.wall_s for s in group]
    wall, cpu = median(walls), median(s.usage.cpu_s for s in group)
    return Row(
        case=case, tool=tool, count=len(group), wall_s=wall,
        fastest_s=min(walls), slowest_s=max(walls),
        ratio=wall / median(s.usage.wall_s for s in ours) if ours else None,
        cpu_s=cpu, cpu_ratio=cpu / median(s.usage.cpu_s for s in ours) if ours else None,
        memory_bytes=median(s.usage.memory_bytes for s in group),
        process_bytes=median(s.usage.process_bytes for s in group),
        disk_bytes=median(s.usage.disk_bytes for s in group),
        result_bytes=median(s.result_bytes for s in group),
        others_cores=median(s.usage.others_cores for s in group),
    )  # fmt: skip


def goals_of(rows: Iterable[Row]) -> list[Goal]:
    """Return those goals that the rows can decide."""
    walls = {(row.case, row.tool): row.wall_s for row in rows}
    goals = []
    ours, peer = walls.get((Case.COLD, OURS)), walls.get((Case.COLD, "live-build"))
    if ours is not None and peer is not None:
        share = ours / peer
        goals.append(
            Goal("cold build under half of live-build's time", f"{share:.2f}", share < COLD_SHARE)
        )
    changed = walls.get((Case.CHANGED, OURS))
    if changed is not None:
        text = f"build after a one-file change under {CHANGED_S:g} s"
        goals.append(Goal(text, f"{changed:.1f} s", changed < CHANGED_S))
    return goals


def table_of(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    heads = ("case", "tool", "n", "wall s", "ratio", "CPU s", "ratio", "memory MiB", "largest MiB",
             "disk MiB", "result MiB", "others' cores")  # fmt: skip
    lines = [_cells(heads), "|---|---|" + "---:|" * (len(heads) - 2)]
    for row in rows:
        sizes = (row.memory_bytes, row.process_bytes, row.disk_bytes, row.result_bytes)
        figures = (
            row.case, row.tool, str(row.count), f"{row.wall_s:.1f}", _ratio(row, row.ratio),
            f"{row.cpu_s:.1f}", _ratio(row, row.cpu_ratio),
            *(f"{size / 2**20:.0f}" for size in sizes), f"{row.others_cores:.1f}",
        )  # fmt: skip
        lines.append(_cells(figures))
    return "\n".join(lines) + "\n"


def _ratio(row: Row, value: float | None) -> str:
    return "" if value is None or row.tool == OURS else f"{value:.1f}"


def _cells(words: Iterable[str]) -> str:
    return "| " + " | ".join(words) + " |"


_COLOURS: Mapping[str, str] = {OURS: "#2a9d8f", "live-build": "#e9a23b", "mkosi": "#8a6fb0"}
_BAR, _GAP, _LEFT, _WIDTH = 18, 14, 110, 640


def chart_of(rows: Sequence[Row], *, title: str) -> str:
    """Return the wall times as a bar chart in SVG, on a linear scale from zero."""
    longest = max((row.wall_s for row in rows), default=1.0)
    y, case, parts = 46, None, []
    for row in rows:
        if row.case is not case:
            y += _GAP if case else 0
            parts.append(_text(12, y + 14, row.case))
            case = row.case
        width = max(1.0, (_WIDTH - _LEFT - 190) * row.wall_s / longest)
        colour = _COLOURS.get(row.tool, "#777")
        parts.append(
            f'<rect x="{_LEFT}" y="{y}" width="{width:.1f}" height="{_BAR - 3}" fill="{colour}"/>'
        )
        ratio = f" ({row.ratio:.1f} times ours)" if row.ratio and row.tool != OURS else ""
        parts.append(_text(_LEFT + width + 6, y + 12, f"{row.tool} {row.wall_s:.1f} s{ratio}"))
        y += _BAR
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y + 16}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="100%" height="100%" fill="#fff"/>{_text(12, 24, title, size=15)}'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, *, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y}" font-size="{size}">{html.escape(text)}</text>'
