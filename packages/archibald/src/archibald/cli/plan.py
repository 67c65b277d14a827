"""``archibald plan``: what apply would change, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json
from archibald.cli.tuning import chosen_profile, look, machine_options
from archibald.run import shell_quoted

if TYPE_CHECKING:
    from archibald.tune.plan import Plan, Step

_CHECKS = click.argument("checks", nargs=-1, metavar="[CHECK]...")

_PERSIST = click.option(
    "--persist", is_flag=True, help="Also what holds after a reboot: drop-ins, boot loader."
)


def plan_options(function: click.decorators.FC) -> click.decorators.FC:
    """Add the checks to plan for, ``--persist`` and the options of the machine."""
    return _CHECKS(_PERSIST(machine_options(function)))


@click.command(
    epilog=EPILOG_EXAMPLES + "  archibald plan\n"
    "  archibald plan --persist\n"
    "  archibald plan cpu.governor sysctl.vm.swappiness\n"
    "  archibald plan --json | jq -r '.steps[].target'"
)
@plan_options
@json_option
def command(
    *, checks: tuple[str, ...], persist: bool, profile_path: Path | None, card: str,
    user_name: str, root: Path, as_json: bool,
) -> None:  # fmt: skip
    """Show what `archibald apply` would change, old and new; changes nothing.

    CHECK limits it to the checks of these names. Needs no root, but as root it sees more.
    """
    from archibald.tune.plan import make_plan
    from archibald.tune.targets import Targets

    profile, _ = chosen_profile(profile_path)
    scene = look(profile, root=root, card=card, user_name=user_name)
    plan = make_plan(scene, Targets(scene.sight), only=checks, persist=persist)
    if as_json:
        print_json(plan.data())
    else:
        click.echo("\n".join(plan_lines(plan)))


def plan_lines(plan: Plan) -> list[str]:
    """Return a plan as lines: what ends with a reboot, what survives it, what is left to do."""
    lines = []
    for title, lasts in (("until the next reboot:", False), ("for good:", True)):
        steps = [step for step in plan.steps if step.change.lasts is lasts]
        if steps:
            lines += [title, *(step_line(step) for step in steps)]
    if plan.refreshers:
        lines += ["then:", *(f"  {shell_quoted(argv)}" for argv in plan.refreshers)]
    if not plan.steps:
        lines.append("nothing to change")
    if plan.by_hand:
        lines += ["left to you:", *(f"  {f.check}: {f.fix}" for f in plan.by_hand)]
    if plan.unreadable:
        lines += ["cannot be read, so not planned:", *(f"  {text}" for text in plan.unreadable)]
    return lines


def step_line(step: Step) -> str:
    """Return a step as one line."""
    data = step.data()
    target = f"IRQ {data['target']}" if data["kind"] == "irq" else data["target"]
    return f"  {data['check']}: {target}: {data['before']} -> {data['after']}"
