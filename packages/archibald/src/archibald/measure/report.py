"""One self-contained HTML file, and a Markdown summary, of any number of runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from archibald import __version__
from archibald.measure.document import Figure, Run
from archibald.measure.figures import figures_of
from archibald.measure.forecast import (
    LOADS,
    Forecast,
    assumptions,
    forecast_at_setting,
    percent,
    worst_series,
)
from archibald.measure.plot import number
from archibald.measure.records import JitterData, LatencyData
from archibald.measure.report_parts import charts, forecast_chart

_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--dim:#57606a;--grid:#d8dee4;--card:#f6f8fa;
--c0:#1f6feb;--c1:#bf5b00;--c2:#1a7f37;--c3:#8250df;--warn:#9a3b00}
@media(prefers-color-scheme:dark){:root{--bg:#0f1419;--fg:#e6edf3;--dim:#9aa4ae;--grid:#2d333b;
--card:#171d24;--c0:#58a6ff;--c1:#f0883e;--c2:#56d364;--c3:#bc8cff;--warn:#ffa657}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--fg);
font:16px/1.5 system-ui,sans-serif}main{max-width:760px;margin:0 auto;padding:16px}
h1{font-size:1.5rem;margin:.5rem 0}h2{font-size:1.2rem;margin:2rem 0 .25rem;padding-top:1rem;
border-top:1px solid var(--grid)}h3{font-size:1rem;margin:1.25rem 0 .25rem}
p{margin:.4rem 0}.dim,figcaption{color:var(--dim);font-size:.875rem}
.warn{color:var(--warn)}figure{margin:1rem 0;background:var(--card);border-radius:8px;padding:8px}
svg{display:block;width:100%;height:auto}figcaption{padding:0 4px 4px}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.875rem}
th,td{text-align:left;padding:4px 8px;border-bottom:1px solid var(--grid);vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.grid{stroke:var(--grid);stroke-width:1}.tick,.label{fill:var(--dim);font-size:12px;
font-family:system-ui,sans-serif}.mark{stroke:var(--dim);stroke-dasharray:3 3}
.line{fill:none;stroke-width:2}.c0{--c:var(--c0)}.c1{--c:var(--c1)}.c2{--c:var(--c2)}
.c3{--c:var(--c3)}.line{stroke:var(--c)}.dot,.bar{fill:var(--c)}.area{fill:var(--c);opacity:.25}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;padding:4px;font-size:.8125rem;color:var(--dim)}
.legend i{display:inline-block;width:12px;height:12px;border-radius:2px;margin-right:6px;
vertical-align:-1px}.k0{background:var(--c0)}.k1{background:var(--c1)}.k2{background:var(--c2)}
.k3{background:var(--c3)}small{color:var(--dim);white-space:normal}code{font-size:.875em;overflow-wrap:anywhere}
""".strip()


def html_report(runs: Sequence[Run], *, title: str = "Measurements") -> str:
    """Return the report as one HTML file without outside parts."""
    body = [f"<h1>{escape(title)}</h1>", f"<p class=dim>{escape(_subtitle(runs))}</p>"]
    for run in runs:
        body += _section(run)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body><main>{''.join(body)}</main></body></html>\n"
    )


def _subtitle(runs: Sequence[Run]) -> str:
    machines = {run.machine.fingerprint for run in runs}
    many = f"{len(runs)} run" + ("s" if len(runs) != 1 else "")
    of = f"{len(machines)} machine" + ("s" if len(machines) != 1 else "")
    return f"{many} of {of}; archibald {__version__}"


def _section(run: Run) -> Iterator[str]:
    yield f"<h2>{escape(run.title)}</h2>"
    yield f"<p class=dim>{escape(conditions(run))}</p>"
    for text in run.warnings:
        yield f"<p class=warn>{escape(text)}</p>"
    yield from _figures(figures_of(run.data))
    for caption, svg in charts(run):
        yield f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
    for found in forecasts(run):
        yield from _forecast(found)
    for text in run.notes:
        yield f"<p class=dim>{escape(text)}</p>"


def conditions(run: Run) -> str:
    """Return where, when and how a run was measured, in one line."""
    machine = run.machine
    parts = [
        f"{run.started:%Y-%m-%d %H:%M %Z}, {run.duration_s:.0f} s",
        f"{machine.cpu or 'unknown CPU'}, {machine.cpus} CPUs, {machine.memory_mib} MiB",
        *([f"inside {machine.virtualization}"] if machine.virtualization else []),
        machine.card or "no sound card",
        f"kernel {run.kernel.release} ({'PREEMPT_RT' if run.kernel.realtime else 'no PREEMPT_RT'})",
        f"profile {run.profile.digest[:12] or 'none'}",
        *(f"{key} {value}" for key, value in sorted(run.settings.items())),
    ]
    return "; ".join(parts)


def _figures(figures: Sequence[Figure]) -> Iterator[str]:
    yield '<div class="scroll"><table><tr><th>figure<th class=n>value<th>unit<th>95 % interval</tr>'
    for one in figures:
        yield (
            f"<tr><td>{escape(one.title)}<td class=n>{number(one.value)}<td>{escape(one.unit)}"
            f"<td>{interval(one)}</tr>"
        )
    yield "</table></div>"


def interval(figure: Figure) -> str:
    """Return the interval as text, empty when there is none."""
    if figure.low is None or figure.high is None:
        return ""
    return f"{number(figure.low)} to {number(figure.high)}"


def forecasts(run: Run) -> list[Forecast]:
    """Return what a run predicts, from its worst series."""
    if not isinstance(run.data, JitterData):
        return []
    return [forecast_at_setting(worst_series(run.data), run.settings.get("rate"))]


def _forecast(found: Forecast) -> Iterator[str]:
    at = f" at {found.rate} Hz" if found.rate else ""
    yield f"<h3>Prediction from {escape(found.series.name)}{at}</h3>"
    if found.refusal:
        yield f"<p class=warn>No prediction: {escape(found.refusal)}</p>"
        return
    caption, svg = forecast_chart(found)
    yield f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
    heads = "".join(f"<th class=n>DSP {100 * load:.0f} %" for load in LOADS)
    yield f'<div class="scroll"><table><tr><th class=n>quantum{heads}</tr>'
    for quantum in sorted({p.quantum for p in found.predictions}):
        cells = "".join(
            f"<td class=n>{_two_lines(percent(p))}"
            for load in LOADS
            if (p := found.at(quantum, load)) is not None
        )
        yield f"<tr><td class=n>{quantum}{cells}</tr>"
    yield f"</table></div><p class=dim>{escape(assumptions(found))}</p>"


def _two_lines(text: str) -> str:
    value, bracket, rest = escape(text).partition(" (")
    return f"{value}<br><small>{rest.removesuffix(')')}</small>" if bracket else value


def markdown_report(runs: Sequence[Run], *, title: str = "Measurements") -> str:
    """Return the figures and predictions as Markdown."""
    lines = [f"# {_plain(title)}", "", _subtitle(runs), ""]
    for run in runs:
        lines += [f"## {_plain(run.title)}", "", _plain(conditions(run)), ""]
        lines += [f"- warning: {_plain(text)}" for text in run.warnings]
        # A table that follows a list without a gap belongs to its last item.
        lines += [""] if run.warnings else []
        lines += ["| figure | value | unit | 95 % interval |", "|---|---:|---|---|"]
        lines += [
            f"| {_plain(one.title)} | {number(one.value)} | {one.unit} | {interval(one)} |"
            for one in figures_of(run.data)
        ]
        if isinstance(run.data, LatencyData):
            lines += ["", *(_plain(caption) for caption, _ in charts(run))]
        for found in forecasts(run):
            lines += ["", *_forecast_lines(found)]
        lines += ["", *(f"- {_plain(text)}" for text in run.notes), ""]
    return "\n".join(lines).rstrip() + "\n"


def _forecast_lines(found: Forecast) -> Iterator[str]:
    if found.refusal:
        yield f"No prediction: {_plain(found.refusal)}"
        return
    yield f"P(at least one xrun in 10 min) at {found.rate} Hz:"
    yield ""
    yield "| quantum |" + "".join(f" DSP {100 * load:.0f} % |" for load in LOADS)
    yield "|---:|" + "---:|" * len(LOADS)
    for quantum in sorted({p.quantum for p in found.predictions}):
        cells = [percent(p) for load in LOADS if (p := found.at(quantum, load))]
        yield f"| {quantum} | {' | '.join(cells)} |"
    yield ""
    yield assumptions(found)


def _plain(text: str) -> str:
    """Return text that Markdown shows as it is."""
    flat = " ".join(text.split())
    for sign in "\\`*_[]<>|#":
        flat = flat.replace(sign, f"\\{sign}")
    return flat
