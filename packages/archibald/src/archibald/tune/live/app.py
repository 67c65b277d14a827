"""The live view in a terminal. Imported only when it is shown: Textual takes its time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Footer, Static

from archibald.tune.live import view
from archibald.tune.live.model import Raw, Snapshot, next_quantum, snapshot

#: Looks that the sparkline remembers.
_HISTORY = 300


class Top(App[None]):
    """Shows snapshots, and changes the quantum.

    ``look`` reads the machine; ``force`` sets the quantum (0: let clients choose again) and returns
    "" or why not. Both may take their time, and run in threads.
    """

    CSS = """
    #head { height: 2; background: $primary; color: $text; padding: 0 1; }
    #latency { height: 2; padding: 0 1; }
    #nodes { height: 1fr; padding: 0 1; }
    #cpus { height: 1fr; padding: 0 1; border-top: solid $primary; }
    #message { height: 1; padding: 0 1; color: $warning; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("plus,equals_sign,up", "quantum(1)", "quantum x 2", key_display="+"),
        Binding("minus,down", "quantum(-1)", "quantum / 2", key_display="-"),
        Binding("0", "release", "as clients ask"),
        Binding("q,escape", "quit", "quit"),
    ]

    ENABLE_COMMAND_PALETTE = False

    def __init__(
        self, look: Callable[[], Raw], force: Callable[[int], str], interval_s: float = 1.0
    ) -> None:
        super().__init__()
        self.look = look
        self.force = force
        self.interval_s = interval_s
        self.first: Raw | None = None
        self.before: Raw | None = None
        self.now: Snapshot | None = None
        self.history: deque[float | None] = deque(maxlen=_HISTORY)

    def compose(self) -> ComposeResult:
        """Return the parts of the screen."""
        yield Static("looking ...", id="head", markup=False)
        yield Static(id="latency", markup=False)
        with VerticalScroll(id="nodes"):
            yield Static(id="node-lines", markup=False)
        with VerticalScroll(id="cpus"):
            yield Static(id="cpu-lines", markup=False)
        yield Static(id="message", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self.run_worker(self._watch(), exclusive=True, group="watch")

    async def _watch(self) -> None:
        while True:
            await self.refresh_now()
            await asyncio.sleep(self.interval_s)

    async def refresh_now(self) -> None:
        """Look once, and show it."""
        raw = await asyncio.to_thread(self.look)
        self.first = self.first or raw
        self.now = snapshot(raw, self.before, self.first)
        self.before = raw
        self.history.append(self.now.wake_us)
        self._show(self.now)

    def _show(self, now: Snapshot) -> None:
        width = max(20, self.size.width - 2)
        parts = {
            "head": view.head_lines(now, width),
            "latency": view.latency_lines(self.history, width),
            "node-lines": view.node_lines(now, width),
            "cpu-lines": view.cpu_lines(now, width),
        }
        for name, lines in parts.items():
            self.query_one(f"#{name}", Static).update("\n".join(lines))

    def on_resize(self) -> None:
        """Cut the lines anew."""
        if self.now is not None:
            self._show(self.now)

    async def action_quantum(self, step: int) -> None:
        """Double or halve the quantum."""
        if self.now is None or not self.now.quantum:
            self._say("there is no quantum to change: no graph runs")
            return
        await self._force(next_quantum(self.now.forced or self.now.quantum, step))

    async def action_release(self) -> None:
        """Let clients choose the quantum."""
        await self._force(0)

    async def _force(self, quantum: int) -> None:
        why = await asyncio.to_thread(self.force, quantum)
        if why:
            self._say(f"the quantum cannot be changed: {why}")
            return
        self._say(f"quantum forced to {quantum}" if quantum else "clients choose the quantum")
        await self.refresh_now()

    def _say(self, text: str) -> None:
        self.query_one("#message", Static).update(text)
