"""``archibald session``: what holds only while music is made."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json
from archibald.cli.tuning import chosen_profile, look, machine_options, require_root
from archibald.errors import ExitCode

if TYPE_CHECKING:
    from archibald.tune.journal import Journal


def _journal(root: Path) -> Journal:
    from archibald.tune.journal import Journal
    from archibald.tune.session import FOLDER

    return Journal(root / FOLDER)


@click.group(
    epilog=EPILOG_EXAMPLES + "  sudo archibald session run\n"
    "  sudo archibald session start\n"
    "  sudo archibald session stop\n"
    "  archibald session unit | sudo tee /etc/systemd/system/archibald-session.service"
)
def command() -> None:
    """Keep CPUs awake and the card's interrupts first, while music is made."""


@command.command(epilog=EPILOG_EXAMPLES + "  sudo archibald session run")
@machine_options
def run(
    *, profile_path: Path | None, card: str, user_name: str, root: Path
) -> None:  # fmt: skip
    """Hold everything until Ctrl-C, SIGTERM or `archibald session stop`.

    Holds /dev/cpu_dma_latency, moves the card's interrupts to the audio CPUs, raises their threads
    and moves other interrupts and the kernel's own work elsewhere; lets go of all of it at the end.
    """
    from archibald.tune.session import session

    require_root(root, "a session", "session run")
    scene = look(chosen_profile(profile_path)[0], root=root, card=card, user_name=user_name)
    with contextlib.suppress(KeyboardInterrupt), session(scene, _journal(root)) as results:
        good = sum(result.good for result in results)
        click.echo(f"holding: CPUs awake, {good} of {len(results)} changes")
        sys.stdout.flush()
        while True:
            signal.pause()


@command.command(
    epilog=EPILOG_EXAMPLES + "  sudo archibald session start\n"
    "  sudo archibald session start irq.card-affinity irq.card-priority"
)
@click.argument("checks", nargs=-1, metavar="[CHECK]...")
@machine_options
@json_option
def start(
    *, checks: tuple[str, ...], profile_path: Path | None, card: str, user_name: str, root: Path,
    as_json: bool,
) -> int:  # fmt: skip
    """Set it and return; it holds until `archibald session stop`, or a reboot.

    Without a process that holds /dev/cpu_dma_latency: sleep states are limited for the audio CPUs
    alone. CHECK limits it to some of cpu.idle-latency, irq.card-affinity, irq.audio-cpu,
    irq.card-priority and scheduler.workqueues.
    Exit code 1 when something did not take.
    """
    from archibald.tune import session

    require_root(root, "a session", "session start", *checks)
    profile = chosen_profile(profile_path)[0]
    scene = look(profile, root=root, card=card, user_name=user_name, ask=False)
    results = session.start(scene, _journal(root), checks)
    good = sum(result.good for result in results)
    if as_json:
        print_json({"steps": [result.data() for result in results]})
    else:
        click.echo(f"set: {good} of {len(results)} changes; archibald session stop undoes them")
        for result in results:
            if not result.good:
                step = result.step.data()
                click.echo(f"{result.outcome}: {step['check']}: {step['target']} ({result.detail})")
    return ExitCode.OK if good == len(results) else ExitCode.FINDINGS


@command.command(epilog=EPILOG_EXAMPLES + "  sudo archibald session stop")
@click.option(
    "--root", type=click.Path(path_type=Path, file_okay=False, exists=True), default=Path("/"),
    metavar="DIR", help="A recorded system instead of the running one.",
)  # fmt: skip
def stop(*, root: Path) -> None:
    """End the session, or take back what `start` or a killed one has left."""
    from archibald.profile.model import Profile
    from archibald.tune import session

    require_root(root, "a session", "session stop")
    scene = look(Profile(), root=root, card="", user_name="", ask=False)
    undone = session.stop(scene, _journal(root))
    click.echo(f"{len(undone)} changes taken back" if undone else "stopped")


@command.command(epilog=EPILOG_EXAMPLES + "  archibald session unit")
def unit() -> None:
    """Print a systemd unit that runs the session."""
    from archibald.tune.persist import own_program
    from archibald.tune.session import UNIT

    click.echo(UNIT.format(program=own_program()), nl=False)
