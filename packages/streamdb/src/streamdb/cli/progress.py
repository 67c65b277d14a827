"""How long work looks: a bar with rate and estimate on a terminal, lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from streamdb.cli.output import size_text
from streamdb.model import Progress, ProgressCallback

LINE_SECONDS = 5.0


def amount_text(count: float, unit: str) -> str:
    """A number of bytes, or of other things.

    >>> amount_text(2048, "bytes"), amount_text(12345, "documents")
    ('2.0 KiB', '12,345 documents')
    """
    return size_text(count) if unit == "bytes" else f"{count:,.0f} {unit}"


def time_left_text(seconds: float) -> str:
    """A duration for people.

    >>> time_left_text(7.4), time_left_text(75), time_left_text(7265)
    ('7 s', '1:15', '2:01:05')
    """
    whole = int(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{whole} s"


@dataclass(slots=True)
class Pace:
    """How fast a stage goes; the clock starts with its first report."""

    stage: str = ""
    started: float = 0.0
    first: int = 0

    def rate(self, state: Progress, now: float) -> float:
        """Units per second since the stage began; 0 when nothing can be said."""
        if state.stage != self.stage:
            self.stage, self.started, self.first = state.stage, now, state.done
        elapsed = now - self.started
        return (state.done - self.first) / elapsed if elapsed > 0 else 0.0


def describe(state: Progress, rate: float) -> str:
    """One line about a state of work."""
    text = f"{state.stage}: "
    if state.total:
        text += f"{state.done / state.total:.0%} ({amount_text(state.done, state.unit)})"
    else:
        text += amount_text(state.done, state.unit)
    if rate > 0:
        text += f", {amount_text(rate, state.unit)}/s"
        if state.total:
            text += f", {time_left_text((state.total - state.done) / rate)} left"
    return text


class Lines:
    """For pipes and logs: a line every few seconds."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, every_s: float = LINE_SECONDS
    ) -> None:
        self._clock = clock
        self._every = every_s
        self._told = clock()
        self._pace = Pace()

    def __call__(self, state: Progress) -> None:
        """Take a report."""
        now = self._clock()
        rate = self._pace.rate(state, now)
        if now - self._told >= self._every:
            self._told = now
            sys.stderr.write(describe(state, rate) + "\n")
            sys.stderr.flush()


@contextlib.contextmanager
def showing(*, quiet: bool = False) -> Iterator[ProgressCallback | None]:
    """A callback for long work, on standard error; None when nobody wants to see it."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        yield from _bar()
    else:
        yield Lines()


def _bar() -> Iterator[ProgressCallback]:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    pace = Pace()
    bars = Bars(
        TextColumn("{task.description:<10.10}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[share]:>5}"),
        TextColumn("{task.fields[rate]:>12}"),
        TextColumn("{task.fields[left]:>9}"),
        console=Console(stderr=True),
        transient=True,
        expand=True,
    )
    with bars:
        task = bars.add_task("", total=None, share="", rate="", left="")

        def tell(state: Progress) -> None:
            rate = pace.rate(state, time.monotonic())
            share = f"{state.done / state.total:.0%}" if state.total else ""
            to_go = (state.total - state.done) / rate if rate > 0 and state.total else 0
            shown_rate = amount_text(rate, state.unit if state.unit == "bytes" else "").strip()
            bars.update(
                task,
                description=state.stage,
                completed=state.done,
                total=state.total or None,
                share=share or f"{state.done:,}",
                rate=f"{shown_rate}/s" if rate > 0 else "",
                left=time_left_text(to_go) if to_go >= 1 else "",
            )

        yield tell
