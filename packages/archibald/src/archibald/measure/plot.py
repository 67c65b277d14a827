"""Charts as inline SVG: steps, points with a line, bars, ticks. Colours are CSS variables of the
page, so that one file serves light and dark; text is real text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 14, 42


@dataclass(frozen=True)
class Axis:
    """From ``low`` to ``high``; logarithmic when ``log``; ticks at ``at`` where given."""

    label: str
    low: float
    high: float
    log: bool = False
    at: tuple[float, ...] = ()

    def share(self, value: float) -> float:
        """Return where a value lies, 0 to 1."""
        low, high = self.low, self.high
        if self.log:
            value, low, high = (math.log10(max(v, 1e-12)) for v in (value, low, high))
        return min(1.0, max(0.0, (value - low) / (high - low or 1)))

    def ticks(self) -> list[float]:
        """Return the values of ``at``, else round ones, six or fewer."""
        if self.at:
            return list(self.at)
        if self.log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high) + 1e-9)
            step = max(1, math.ceil((last - first + 1) / 6))
            return [10.0**n for n in range(first, last + 1, step)]
        raw = (self.high - self.low) / 5 or 1
        unit = 10.0 ** math.floor(math.log10(raw))
        step_size = next(unit * n for n in (1, 2, 5, 10) if unit * n >= raw * 0.999)
        first = math.ceil(self.low / step_size)
        return [n * step_size for n in range(first, math.floor(self.high / step_size + 1e-9) + 1)]


@dataclass(frozen=True)
class Series:
    """Points; ``style`` is steps, line, dots or area."""

    name: str
    points: Sequence[tuple[float, float]]
    style: str = "line"


def chart(
    title: str,
    x: Axis,
    y: Axis,
    series: Sequence[Series],
    *,
    marks: Sequence[tuple[float, str]] = (),
) -> str:
    """Return a chart. ``marks`` are vertical lines with a name."""
    parts = [_open(title, HEIGHT), *_grid(x, y)]
    for number, one in enumerate(series):
        parts.append(_series(one, number % 4, x, y))
    for at, name in marks:
        px = _x(x, at)
        anchor = "end" if px > WIDTH * 0.7 else "start"
        offset = -4 if anchor == "end" else 4
        parts.append(
            f'<line class="mark" x1="{px:.1f}" x2="{px:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
            f'<text class="label" x="{px + offset:.1f}" y="{_TOP + 10}" '
            f'text-anchor="{anchor}">{escape(name)}</text>'
        )
    return "".join(parts) + "</svg>" + _legend(series)


def bars(title: str, rows: Sequence[tuple[str, float, str]]) -> str:
    """Return horizontal bars: (name, value, value as text)."""
    height, top = 30 * len(rows) + 12, max((value for _, value, _ in rows), default=0) or 1
    parts = [_open(title, height)]
    for number, (name, value, text) in enumerate(rows):
        y = 8 + 30 * number
        length = (WIDTH - 330) * value / top
        parts.append(
            f'<text class="label" x="200" y="{y + 15}" text-anchor="end">{escape(name[:30])}</text>'
            f'<rect class="c0 bar" x="208" y="{y}" width="{length:.1f}" height="20" rx="2"/>'
            f'<text class="label" x="{214 + length:.1f}" y="{y + 15}">{escape(text)}</text>'
        )
    return "".join(parts) + "</svg>"


def _open(title: str, height: int) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>"
    )


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.share(value) * (WIDTH - _LEFT - _RIGHT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - _BOTTOM - axis.share(value) * (HEIGHT - _TOP - _BOTTOM)


def _grid(x: Axis, y: Axis) -> list[str]:
    parts = []
    for tick in x.ticks():
        px = _x(x, tick)
        parts.append(
            f'<line class="grid" x1="{px:.1f}" x2="{px:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
            f'<text class="tick" x="{px:.1f}" y="{HEIGHT - _BOTTOM + 15}" text-anchor="middle">'
            f"{number(tick)}</text>"
        )
    for tick in y.ticks():
        py = _y(y, tick)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{py:.1f}" y2="{py:.1f}"/>'
            f'<text class="tick" x="{_LEFT - 6}" y="{py + 4:.1f}" text-anchor="end">'
            f"{number(tick)}</text>"
        )
    middle = (HEIGHT - _BOTTOM + _TOP) / 2
    parts.append(
        f'<text class="label" x="{(WIDTH + _LEFT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{escape(x.label)}</text>"
        f'<text class="label" transform="translate(13 {middle}) rotate(-90)" '
        f'text-anchor="middle">{escape(y.label)}</text>'
    )
    return parts


def _series(one: Series, colour: int, x: Axis, y: Axis) -> str:
    points = [(_x(x, a), _y(y, b)) for a, b in one.points]
    if one.style == "dots":
        return "".join(
            f'<circle class="c{colour} dot" cx="{a:.1f}" cy="{b:.1f}" r="4"/>' for a, b in points
        )
    if one.style == "area":
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        return f'<polygon class="c{colour} area" points="{path}"/>'
    if one.style == "steps":
        floor = HEIGHT - _BOTTOM
        width = max(1.0, (WIDTH - _LEFT - _RIGHT) / max(1.0, x.high - x.low))
        bits = [f"M{a:.1f} {floor}V{b:.1f}h{width:.1f}V{floor}z" for a, b in points]
        return f'<path class="c{colour} bar b{colour}" d="{"".join(bits)}"/>'
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    return f'<polyline class="c{colour} line" points="{path}"/>'


def _legend(series: Sequence[Series]) -> str:
    names = [(number % 4, one.name) for number, one in enumerate(series) if one.name]
    if len(names) < 2:
        return ""
    items = "".join(
        f'<span><i class="k{colour}"></i>{escape(name)}</span>' for colour, name in names
    )
    return f'<div class="legend">{items}</div>'


def number(value: float) -> str:
    """Return a number for people: no more than four digits that count."""
    if value == 0:
        return "0"
    if value == int(value) and abs(value) < 1e9:
        return f"{value:.0f}"
    if abs(value) >= 1e5 or abs(value) < 1e-3:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        short = mantissa.rstrip("0").rstrip(".")
        return f"{short}e{int(exponent)}"
    if abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.4g}"
