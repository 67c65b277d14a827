"""``archibald status``: what apply has changed, and whether it still holds."""

from __future__ import annotations

from pathlib import Path

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json
from archibald.cli.tuning import chosen_profile, journal_at, journal_option, look, machine_options


@click.command(
    epilog=EPILOG_EXAMPLES + "  archibald status\n"
    "  sudo archibald status --json | jq '.changes[] | select(.state != \"holds\")'"
)
@machine_options
@journal_option
@json_option
def command(
    *, profile_path: Path | None, card: str, user_name: str, root: Path,
    journal_folder: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """List the changes that apply has made and nobody took back, and what is there now.

    Says so when an apply was interrupted: then `archibald rollback` restores what it changed.
    """
    from archibald.tune.drift import standings
    from archibald.tune.targets import Targets

    scene = look(chosen_profile(profile_path)[0], root=root, card=card, user_name=user_name)
    history = journal_at(journal_folder, root).history()
    found = standings(history, scene, Targets(scene.sight))
    if as_json:
        changes = [standing.data() for standing in found]
        print_json({"changes": changes, "interrupted": list(history.interrupted)})
        return
    if history.interrupted:
        click.echo("an apply was interrupted in the middle; sudo archibald rollback restores it")
    for standing in found:
        data = standing.data()
        click.echo(
            f"  {data['check']}: {data['target']}: {data['before']} -> {data['after']}: "
            f"{data['state']}" + ("" if standing.state == "holds" else f" ({data['now']})")
        )
    holding = sum(standing.state == "holds" for standing in found)
    click.echo(f"{len(found)} changes, {holding} hold" if found else "nothing was changed")
