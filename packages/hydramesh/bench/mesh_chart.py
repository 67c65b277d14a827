"""The ratios as a chart: one line per case, one dot per contender, on a logarithmic scale. PNG."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_COLOURS = {
    "asyncio UDP": "#7f7f7f", "grpc.aio": "#d62728", "TCP sendfile": "#1f77b4",
    "rsync": "#e8862b", "Syncthing": "#2ca02c",
}  # fmt: skip
_LINE, _LEFT, _RIGHT, _TOP, _WIDTH = 34, 320, 40, 92, 960
_LEAST, _MOST = 0.02, 50.0
_SCALE = 2


def ahead(row: Mapping[str, Any]) -> float:
    """How many times we are better than a contender: below 1 we are worse.

    >>> ahead({"better": "less", "ours_by_theirs": 4.0})
    0.25
    """
    ratio = float(row["ours_by_theirs"])
    return ratio if row["better"] == "more" else 1 / ratio


def position(ratio: float) -> float:
    """Where a ratio lies between the left (0) and the right (1) end of the scale.

    >>> position(0.02), position(50)
    (0.0, 1.0)
    """
    inside = min(max(ratio, _LEAST), _MOST)
    return math.log(inside / _LEAST) / math.log(_MOST / _LEAST)


def _require_pillow() -> None:
    if importlib.util.find_spec("PIL") is None:
        print("the chart needs Pillow: .venv/bin/python -m pip install pillow", file=sys.stderr)
        raise SystemExit(3)


def draw(every: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write the chart. Needs Pillow."""
    _require_pillow()
    from PIL import Image, ImageDraw, ImageFont

    rows = [row for row in every if row["contender"] in _COLOURS]
    cases = list(dict.fromkeys(row["text"] for row in rows))
    height = _TOP + _LINE * len(cases) + 50
    image = Image.new("RGB", (_WIDTH * _SCALE, height * _SCALE), "white")
    pen = ImageDraw.Draw(image)
    fonts = {size: ImageFont.load_default(size * _SCALE) for size in (12, 13, 17)}

    def x_of(ratio: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * position(ratio)

    def text(x: float, y: float, words: str, *, size: int = 12, anchor: str = "lm") -> None:
        pen.text((x * _SCALE, y * _SCALE), words, fill="#222", font=fonts[size], anchor=anchor)

    def line(x1: float, y1: float, x2: float, y2: float, colour: str, width: float) -> None:
        ends = [x1 * _SCALE, y1 * _SCALE, x2 * _SCALE, y2 * _SCALE]
        pen.line(ends, fill=colour, width=round(width * _SCALE))

    def dot(x: float, y: float, colour: str) -> None:
        r = 5.5
        pen.ellipse([(v * _SCALE) for v in (x - r, y - r, x + r, y + r)], fill=colour)

    text(12, 22, "HydraMesh, with mutual TLS, beside its peers", size=17)
    told = "times better than the peer: right of 1 HydraMesh is ahead. Only Syncthing encrypts, too"
    text(12, 46, told, size=13)
    at = 12.0
    for name in dict.fromkeys(row["contender"] for row in rows):
        dot(at + 6, 72, _COLOURS[name])
        text(at + 18, 72, name)
        at += 40 + 8 * len(name)
    bottom = _TOP + _LINE * len(cases)
    for ratio in (0.02, 0.1, 0.5, 1, 2, 10, 50):
        bold = ratio == 1
        line(x_of(ratio), _TOP, x_of(ratio), bottom, "#222" if bold else "#ccc", 1.5 if bold else 1)
        text(x_of(ratio), bottom + 14, f"{ratio:g}", anchor="mm")
    for number, case in enumerate(cases):
        y = _TOP + _LINE * (number + 0.5)
        text(_LEFT - 14, y, case, anchor="rm")
        line(_LEFT, y, _WIDTH - _RIGHT, y, "#eee", 1)
        for row in rows:
            if row["text"] == case:
                dot(x_of(ahead(row)), y, _COLOURS[row["contender"]])
    image = image.resize((_WIDTH, height), Image.Resampling.LANCZOS)
    image.save(path, format="PNG", optimize=True)
