"""``archibald drift``: what no longer holds since the last apply."""

from __future__ import annotations

from pathlib import Path

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json
from archibald.cli.tuning import chosen_profile, journal_at, journal_option, look, machine_options
from archibald.errors import ExitCode, PreconditionError


@click.command(
    epilog=EPILOG_EXAMPLES + "  archibald drift\n  archibald drift --json | jq '.no_longer_ok'"
)
@machine_options
@journal_option
@json_option
def command(
    *, profile_path: Path | None, card: str, user_name: str, root: Path,
    journal_folder: Path | None, as_json: bool,
) -> int:  # fmt: skip
    """Say what an update or a reboot has undone since the last apply. Exit code 1 when anything."""
    from archibald.tune.drift import drift
    from archibald.tune.targets import Targets

    scene = look(chosen_profile(profile_path)[0], root=root, card=card, user_name=user_name)
    found = drift(journal_at(journal_folder, root).history(), scene, Targets(scene.sight))
    if found is None:
        raise PreconditionError(
            "nothing was applied yet, so nothing can have drifted",
            next_step="sudo archibald apply",
        )
    if as_json:
        print_json(found.data())
        return ExitCode.FINDINGS if found else ExitCode.OK
    if found.kernel_then != found.kernel_now:
        click.echo(f"kernel: {found.kernel_then} then, {found.kernel_now} now")
    for standing in found.lost:
        data = standing.data()
        click.echo(f"  {data['check']}: {data['target']}: set to {data['after']}, "
                   f"now {data['now']} ({data['state']})")  # fmt: skip
    for check in found.worse:
        click.echo(f"  {check}: was ok, no longer is (archibald audit --explain {check})")
    click.echo(f"since {found.since}: " + ("see above" if found else "everything holds"))
    return ExitCode.FINDINGS if found else ExitCode.OK
