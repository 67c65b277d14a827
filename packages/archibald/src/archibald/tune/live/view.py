"""Lines of a snapshot, for a terminal of some width. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from archibald.tune.live.model import CpuRow, Node, Snapshot
from archibald.tune.watchdog.tell import printable

_BARS = " ▁▂▃▄▅▆▇█"

_UNKNOWN = "?"


def head_lines(now: Snapshot, width: int) -> list[str]:
    """Return what counts most: quantum, rate, load, missed wake-ups, temperature."""
    if now.rate:
        cycle = f"{now.quantum} frames at {now.rate} Hz = {now.cycle_ms:.2f} ms"
    else:
        cycle = "no graph"
    forced = f" (forced to {now.forced})" if now.forced else ""
    xruns = sum(now.xruns.values())
    parts = [
        f"DSP {_percent(now.load)}",
        f"missed wake-ups {xruns} new",
        f"{now.temperature_c:.0f} C" if now.temperature_c is not None else "no sensor",
    ]
    return [_cut(f"{cycle}{forced}", width), _cut("   ".join(parts), width)]


def latency_lines(history: Sequence[float | None], width: int) -> list[str]:
    """Return the sparkline of wake-up latencies (us), the newest on the right."""
    known = [value for value in history if value is not None]
    if not known:
        return [_cut("wake-up latency: no client in the graph", width), ""]
    title = f"wake-up latency: {known[-1]:.0f} us now, {max(known):.0f} us at most"
    return [_cut(title, width), spark(history, width)]


def spark(values: Sequence[float | None], width: int) -> str:
    """Return bars for the last ``width`` values; none is a gap, and zero the lowest bar."""
    shown = list(values)[-width:]
    top = max((value for value in shown if value is not None), default=0.0)
    return "".join(
        " " if value is None else _BARS[1 + round((len(_BARS) - 2) * value / top) if top else 1]
        for value in shown
    )


def node_lines(now: Snapshot, width: int) -> list[str]:
    """Return the table of nodes, or why there is none."""
    if now.trouble:
        return [_cut("PipeWire cannot be asked:", width), _cut(f"  {now.trouble}", width),
                _cut("  start it: systemctl --user start pipewire wireplumber", width)]  # fmt: skip
    lines = [_cut("    QUANT    RATE    WAIT    BUSY  LOAD  ERR  NEW  NODE", width)]
    for node in now.nodes:
        new = now.xruns.get(node.object_id, 0)
        share = node.busy_share if node.follower else node.wait_share
        fresh = f"+{new}" if new else ""
        figures = (
            f"{node.state} {node.quantum:>7} {node.rate:>7} {_us(node.wait_us):>7} "
            f"{_us(node.busy_us):>7} {_percent(share):>5} {node.errors:>4} {fresh:>4}"
        )
        lines.append(_cut(f"{figures}  {_name(node)}", width))
    return lines


def cpu_lines(now: Snapshot, width: int) -> list[str]:
    """Return the map of CPUs: load, frequency, what is bound there; ``*`` marks the audio's."""
    return [_cut(_cpu(row), width) for row in now.cpus]


def _cpu(row: CpuRow) -> str:
    load = _bar(row.load)
    mhz = f"{row.mhz:>5.0f} MHz" if row.mhz is not None else "         "
    parts = [*row.ours, *([f"{row.others} other IRQs"] if row.others else [])]
    mark = "*" if row.audio else " "
    text = f"CPU{row.number:>3}{mark} {load} {_percent(row.load):>4} {mhz}  {', '.join(parts)}"
    return printable(text).rstrip()


def _bar(share: float | None, width: int = 10) -> str:
    if share is None:
        return "." * width
    filled = round(share * width)
    return "█" * filled + "░" * (width - filled)


def _name(node: Node) -> str:
    return ("  " if node.follower else "") + printable(node.name)


def _percent(share: float | None) -> str:
    return _UNKNOWN if share is None else f"{share:.0%}"


def _us(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}us" if value < 10_000 else f"{value / 1000:.0f}ms"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"


def all_lines(now: Snapshot, width: int) -> list[str]:
    """Return one snapshot as text, as ``--once`` prints it."""
    wake = _cut(f"wake-up latency: {_us(now.wake_us)}", width)
    return [*head_lines(now, width), wake, "", *node_lines(now, width), "", *cpu_lines(now, width)]
