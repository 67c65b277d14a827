"""``archibald top``: what the graph and the CPUs do now."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json
from archibald.cli.tuning import chosen_profile, look, machine_options
from archibald.errors import MissingToolError, PreconditionError, ToolFailedError, UsageError

if TYPE_CHECKING:
    from archibald.tune.live.model import Snapshot
    from archibald.tune.model import Scene


@click.command(
    epilog=EPILOG_EXAMPLES + "  archibald top\n"
    "  archibald top --once\n"
    "  archibald top --json | jq .dsp_load\n"
    "  sudo archibald top --user alice"
)
@machine_options
@click.option("--once", is_flag=True, help="Print one snapshot as text.")
@click.option("--interval", "interval_s", type=float, default=1.0, show_default=True,
              metavar="SECONDS", help="How long to wait between two looks.")  # fmt: skip
@json_option
def command(
    *, profile_path: Path | None, card: str, user_name: str, root: Path, once: bool,
    interval_s: float, as_json: bool,
) -> None:  # fmt: skip
    """Show quantum, load, missed wake-ups, wake-up latency, and what runs on which CPU.

    Keys: + and - double and halve the quantum, 0 lets clients choose it, q ends. The quantum is as
    it was when the view ends. With --once or --json it prints one snapshot; loads of CPUs are those
    of the time between two looks.
    """
    if not 0.1 <= interval_s <= 60:
        raise UsageError(
            f"--interval {interval_s:g} is out of bounds", why="it takes 0.1 to 60 seconds",
            next_step="archibald top --interval 1",
        )  # fmt: skip
    profile = chosen_profile(profile_path)[0]
    scene = look(profile, root=root, card=card, user_name=user_name, ask=False)
    if as_json:
        print_json(_snapshot(scene, interval_s).data())
    elif once:
        from archibald.tune.live.view import all_lines

        width = shutil.get_terminal_size((80, 24)).columns
        click.echo("\n".join(all_lines(_snapshot(scene, interval_s), width)))
    else:
        _show(scene, interval_s)


def _snapshot(scene: Scene, interval_s: float) -> Snapshot:
    """Return a snapshot after two looks; a recorded machine stands still, so one will do."""
    from archibald.tune.live.gather import gather
    from archibald.tune.live.model import snapshot

    before = gather(scene)
    if not scene.sight.live:
        return snapshot(before)
    time.sleep(interval_s)
    return snapshot(gather(scene.again()), before, before)


def _show(scene: Scene, interval_s: float) -> None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise PreconditionError(
            "the live view needs a terminal", why="standard input or output is none",
            next_step="archibald top --once, or --json",
        )  # fmt: skip
    try:
        from archibald.tune.live.app import Top
    except ModuleNotFoundError as error:
        raise MissingToolError(
            "the live view is not installed", why=f"there is no Python package {error.name}",
            next_step="pip install textual; archibald top --once works without it",
        ) from None  # fmt: skip
    from archibald.tune.live.control import Quantum
    from archibald.tune.live.gather import gather
    from archibald.tune.targets import Targets

    quantum = Quantum(Targets(scene.sight))
    try:
        Top(lambda: gather(scene.again()), quantum.force, interval_s).run()
    finally:
        why = quantum.restore()
    if why:
        raise ToolFailedError(
            "the quantum could not be set back", why=why,
            next_step="pw-metadata -n settings 0 clock.force-quantum 0",
        )  # fmt: skip
