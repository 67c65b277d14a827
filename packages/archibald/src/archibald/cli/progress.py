"""How long work looks on the command line: a bar with an estimate, or a line, per stage."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass
class PlainUi:
    """For pipes and logs: one line when a stage begins, one when it ends."""

    seconds: list[tuple[str, float]] = field(default_factory=list)

    @contextlib.contextmanager
    def stage(
        self, name: str, text: str, expected_s: float | None
    ) -> Iterator[Callable[[float], None]]:
        """Announce a stage and time it."""
        hint = f", about {expected_s:.0f} s last time" if expected_s and expected_s >= 2 else ""
        self._say(f"{name}: {text}{hint}")
        started = time.monotonic()
        yield lambda _fraction: None
        took = time.monotonic() - started
        self.seconds.append((name, took))
        self._say(f"{name}: done in {took:.1f} s")

    def note(self, text: str) -> None:
        """Print a remark."""
        self._say(f"note: {text}")

    def _say(self, text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


@dataclass
class BarUi:
    """For terminals: a bar per stage. Without a fraction the bar follows the last run's time."""

    seconds: list[tuple[str, float]] = field(default_factory=list)

    @contextlib.contextmanager
    def stage(
        self, name: str, text: str, expected_s: float | None
    ) -> Iterator[Callable[[float], None]]:
        """Show a bar while the block runs."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        started = time.monotonic()
        known = threading.Event()
        over = threading.Event()
        with Progress(
            TextColumn(f"[bold]{name:8}[/bold] {text:28}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[eta]}"),
            console=Console(stderr=True),
        ) as progress:
            task = progress.add_task(name, total=1.0, eta="")

            def tell(fraction: float) -> None:
                known.set()
                elapsed = time.monotonic() - started
                eta = elapsed * (1 - fraction) / fraction if fraction > 0.02 else None
                progress.update(task, completed=fraction, eta=_eta(eta))

            def follow_clock() -> None:
                while not over.wait(0.5):
                    if known.is_set() or not expected_s:
                        continue
                    elapsed = time.monotonic() - started
                    share = min(0.97, elapsed / expected_s)
                    progress.update(task, completed=share, eta=_eta(expected_s - elapsed))

            clock = threading.Thread(target=follow_clock, daemon=True)
            clock.start()
            try:
                yield tell
                progress.update(task, completed=1.0, eta="")
            finally:
                over.set()
                clock.join()
        self.seconds.append((name, time.monotonic() - started))

    def note(self, text: str) -> None:
        """Print a remark."""
        from rich.console import Console
        from rich.markup import escape

        console = Console(stderr=True, highlight=False)
        console.print(f"[dim]note:[/dim] {escape(text)}", soft_wrap=True)


def _eta(seconds: float | None) -> str:
    return "" if seconds is None or seconds < 1 else f"{seconds:.0f} s left"


def choose_ui() -> PlainUi | BarUi:
    """Return bars on a terminal, lines elsewhere."""
    return BarUi() if sys.stderr.isatty() else PlainUi()
