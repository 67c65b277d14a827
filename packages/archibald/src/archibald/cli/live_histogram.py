"""A bar and a histogram that grow while latencies are measured; without a terminal plain lines."""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archibald.measure.cyclictest import Stream
    from archibald.measure.loads import Load

_PARTIAL = " ▏▎▍▌▋▊▉"
_ROWS = 12
_WIDTH = 40

OnLook = Callable[["Load", "Stream", float], None]


def histogram_lines(
    bins: Mapping[int, int], *, rows: int = _ROWS, width: int = _WIDTH
) -> list[str]:
    """Return bars of latencies: rows of equal width in us, lengths by the logarithm.

    The logarithm shows the rare ones: a single late wake-up is what a dropout is made of.
    """
    if not bins:
        return []
    low, high = min(bins), max(bins)
    step = max(1, math.ceil((high - low + 1) / rows))
    sums: dict[int, int] = {}
    for us, count in bins.items():
        sums[(us - low) // step] = sums.get((us - low) // step, 0) + count
    most = math.log1p(max(sums.values()))
    lines = []
    for row in range((high - low) // step + 1):
        count = sums.get(row, 0)
        bar = _bar(math.log1p(count) / most, width)
        first, last = low + row * step, low + (row + 1) * step - 1
        label = f"{first}" if step == 1 else f"{first}..{last}"
        lines.append(f"{label:>11} us {bar} {count or ''}".rstrip())
    return lines


def _bar(share: float, width: int) -> str:
    eighths = round(share * width * 8)
    if share > 0:
        eighths = max(1, eighths)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_PARTIAL[rest] if rest else "")


@contextlib.contextmanager
def watching(duration_s: int, loads: int) -> Iterator[OnLook]:
    """Show progress on standard error; yields what takes the looks of a measurement."""
    if sys.stderr.isatty():
        with _on_terminal(duration_s, loads) as look:
            yield look
    else:
        yield _plain(duration_s)


def _plain(duration_s: int) -> OnLook:
    seen: set[str] = set()

    def look(load: Load, _stream: Stream, _elapsed_s: float) -> None:
        if load.name not in seen:
            seen.add(load.name)
            sys.stderr.write(f"jitter, {load.name}: {load.what}, {duration_s} s\n")
            sys.stderr.flush()

    return look


@contextlib.contextmanager
def _on_terminal(duration_s: int, loads: int) -> Iterator[OnLook]:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.text import Text

    progress = Progress(
        TextColumn("[bold]{task.description:10}[/bold]"), BarColumn(bar_width=40),
        TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn(),
        TextColumn("{task.fields[said]}"),
    )  # fmt: skip
    task = progress.add_task("starting", total=duration_s * loads, said="")
    begun: list[str] = []
    with Live(progress, console=Console(stderr=True), refresh_per_second=4) as live:

        def look(load: Load, stream: Stream, elapsed_s: float) -> None:
            if load.name not in begun:
                begun.append(load.name)
            done = (len(begun) - 1) * duration_s + min(elapsed_s, duration_s)
            bins = stream.bins()
            said = f"{sum(bins.values())} cycles, max {stream.max_us} us"
            progress.update(task, description=load.name, completed=done, said=said)
            live.update(Group(progress, Text("\n".join(histogram_lines(bins)))))

        yield look
        progress.update(task, completed=duration_s * loads)
