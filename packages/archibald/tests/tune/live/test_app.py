"""The live view on a screen: keys, sizes, and no PipeWire."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from archibald.tune.live.app import Top
from archibald.tune.live.model import Pinned, Raw, parse_nodes

TOP = (Path(__file__).parents[2] / "vm/recorded/pw-top.txt").read_text("utf-8")

Steps = Callable[[Top, Pilot[None]], Awaitable[None]]


class _Machine:
    """A graph whose quantum can be forced."""

    def __init__(self, *, trouble: str = "", refusal: str = "") -> None:
        self.forced = 0
        self.trouble = trouble
        self.refusal = refusal

    def look(self) -> Raw:
        text = TOP.replace("     64  96000", f"{self.forced or 64:>7}  96000")
        return Raw(
            nodes=[] if self.trouble else parse_nodes(text),
            trouble=self.trouble,
            settings={"clock.force-quantum": str(self.forced)},
            cpus=range(16),
            audio_cpus=[1],
            pinned=[Pinned(1, "data-loop.0 FIFO 88 bound", ours=True)],
        )

    def force(self, quantum: int) -> str:
        if not self.refusal:
            self.forced = quantum
        return self.refusal


def _run(machine: _Machine, steps: Steps, size: tuple[int, int] = (80, 24)) -> Top:
    app = Top(machine.look, machine.force, interval_s=3600)

    async def play() -> None:
        async with app.run_test(size=size) as pilot:
            while app.now is None:
                await pilot.pause(0.01)
            await steps(app, pilot)

    asyncio.run(play())
    return app


def _text(app: Top, name: str) -> str:
    return str(app.query_one(f"#{name}", Static).content)


def test_it_shows_the_graph_and_the_cpus():
    async def steps(app: Top, pilot: Pilot[None]) -> None:
        await pilot.pause()
        assert _text(app, "head").startswith("64 frames at 96000 Hz = 0.67 ms")
        assert "80 us now" in _text(app, "latency")
        assert "pw-play" in _text(app, "node-lines")
        assert "data-loop.0 FIFO 88 bound" in _text(app, "cpu-lines")

    _run(_Machine(), steps)


@pytest.mark.parametrize("size", [(80, 24), (40, 12), (200, 60)])
def test_everything_has_its_place(size):
    async def steps(app: Top, pilot: Pilot[None]) -> None:
        await pilot.pause()
        width, height = size
        for name in ("head", "latency", "nodes", "cpus", "message"):
            region = app.query_one(f"#{name}").region
            assert region.height >= 1
            assert region.right <= width
            assert region.bottom < height
        lines = _text(app, "cpu-lines").splitlines()
        assert max(map(len, lines)) <= width - 2

    _run(_Machine(), steps, size)


def test_keys_change_the_quantum_and_show_the_effect():
    machine = _Machine()

    async def steps(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("plus")
        await pilot.pause()
        assert machine.forced == 128
        assert _text(app, "head").startswith("128 frames")
        assert "(forced to 128)" in _text(app, "head")
        await pilot.press("minus", "minus")
        await pilot.pause()
        assert machine.forced == 32
        assert "forced to 32" in _text(app, "message")
        await pilot.press("0")
        await pilot.pause()
        assert machine.forced == 0
        assert _text(app, "head").startswith("64 frames")

    _run(machine, steps)


def test_a_refusal_is_shown():
    async def steps(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("plus")
        await pilot.pause()
        assert _text(app, "message") == "the quantum cannot be changed: pw-metadata failed"

    _run(_Machine(refusal="pw-metadata failed"), steps)


def test_without_pipewire_the_cpus_are_there():
    machine = _Machine(trouble="pw-top: can't connect: [Host is down]")

    async def steps(app: Top, pilot: Pilot[None]) -> None:
        await pilot.pause()
        # In brackets, as it came: nothing of it is taken for markup.
        assert "[Host is down]" in _text(app, "node-lines")
        assert "CPU 15" in _text(app, "cpu-lines")
        await pilot.press("plus")
        await pilot.pause()
        assert "no graph runs" in _text(app, "message")
        assert machine.forced == 0

    _run(machine, steps)


def test_the_history_grows_with_each_look():
    async def steps(app: Top, pilot: Pilot[None]) -> None:
        await app.refresh_now()
        await app.refresh_now()
        assert list(app.history) == [79.9] * 3

    _run(_Machine(), steps)


def test_q_ends_it():
    async def steps(app: Top, pilot: Pilot[None]) -> None:
        await pilot.press("q")

    assert _run(_Machine(), steps).return_code == 0


def test_other_verbs_do_not_load_it():
    code = (
        "import sys; import archibald.cli.audit, archibald.cli.top, archibald.tune.audit; "
        "sys.exit('textual' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
