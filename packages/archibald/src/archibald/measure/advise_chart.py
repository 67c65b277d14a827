"""The trade-off as a file of its own: risk over latency, for documents and slides."""

from __future__ import annotations

from archibald.measure.advise import Recommendation
from archibald.measure.plot import Axis, Series, chart

_STYLE = (
    "<style>svg{background:#fff;font-family:sans-serif}.grid{stroke:#d8dee4}"
    ".tick,.label{fill:#57606a;font-size:12px}.mark{stroke:#57606a;stroke-dasharray:3 3}"
    ".line{fill:none;stroke:#1f6feb;stroke-width:2}.dot{fill:#1f6feb}"
    ".area{fill:#1f6feb;opacity:.2}</style>"
)


def trade_off_svg(found: Recommendation) -> str:
    """Return the chart of P(xrun in 10 min), with its interval, over the nominal buffering."""
    assert found.forecast is not None
    rows = [
        (choice.buffering_ms, predicted)
        for choice in found.choices
        if (predicted := found.forecast.at(choice.quantum, found.dsp_load)) is not None
    ]
    floor = 1e-6
    value = [(ms, max(floor, p.value)) for ms, p in rows]
    edge = [(ms, max(floor, p.high)) for ms, p in rows]
    edge += [(ms, max(floor, p.low)) for ms, p in reversed(rows)]
    x = Axis(
        "nominal buffering 2 Q/R, ms (logarithmic)", rows[0][0] * 0.9, rows[-1][0] * 1.1, log=True
    )
    y = Axis("P(xrun in 10 min)", floor, 1, log=True)
    marks = [(choice.buffering_ms, f"Q {choice.quantum}") for choice in found.choices[::2]]
    drawn = [Series("", edge, "area"), Series("", value), Series("", value, "dots")]
    svg = chart("risk over latency", x, y, drawn, marks=marks)
    head, _, rest = svg.partition(">")
    return f'{head} xmlns="http://www.w3.org/2000/svg">{_STYLE}{rest}\n'
