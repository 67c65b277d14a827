"""``archibald rollback``: take back what apply has changed."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json
from archibald.cli.tuning import journal_at, journal_option, look, require_root
from archibald.errors import ExitCode

if TYPE_CHECKING:
    from archibald.tune.apply import Undone
    from archibald.tune.journal import Entry
    from archibald.tune.targets import State


@click.command(
    epilog=EPILOG_EXAMPLES + "  sudo archibald rollback\n"
    "  archibald rollback --dry-run\n"
    "  sudo archibald rollback sysctl.vm.swappiness\n"
    "  sudo archibald rollback --force"
)
@click.argument("checks", nargs=-1, metavar="[CHECK]...")
@click.option("--user", "user_name", default="", metavar="NAME", help="Whose PipeWire.")
@click.option("--root", type=click.Path(path_type=Path, file_okay=False, exists=True),
              default=Path("/"), metavar="DIR",
              help="A recorded or mounted system instead of the running one.")  # fmt: skip
@journal_option
@click.option("--force", is_flag=True, help="Also replace values that somebody else has set since.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and write nothing.")
@json_option
def command(
    *, checks: tuple[str, ...], user_name: str, root: Path, journal_folder: Path | None,
    force: bool, dry_run: bool, as_json: bool,
) -> int:  # fmt: skip
    """Restore the values that were there before, the last change first.

    Also after a crash in the middle of apply, and after a reboot. A value that somebody else has
    changed since stays, unless you say otherwise. CHECK limits it to the checks of these names.
    Exit code 1 when something stays.
    """
    from archibald.profile.model import Profile
    from archibald.tune.apply import never, refresh, roll_back
    from archibald.tune.persist import PROFILE, undo_refreshers
    from archibald.tune.plan import check_names
    from archibald.tune.targets import Targets

    check_names(checks, also=[PROFILE])
    if not dry_run:
        require_root(root, "changing the machine", "rollback", *checks)
    # What was there before does not depend on any profile, least of all on one with a fault in it.
    scene = look(Profile(), root=root, card="", user_name=user_name)
    targets, journal = Targets(scene.sight), journal_at(journal_folder, root)
    ask = _force if force else _ask if sys.stdin.isatty() and not as_json else never
    failed: list[str] = []
    # A dry run writes nothing, not even an empty journal; neither does one without a journal.
    writing = not dry_run and journal.path.exists()
    with journal.opened() if writing else contextlib.nullcontext():
        results = roll_back(journal, scene, targets, only=checks, ask=ask, dry_run=not writing)
        if writing:
            restored = [r.entry for r in results if r.outcome in ("restored", "forced")]
            failed = refresh(undo_refreshers(restored), targets)
    good = all(result.good for result in results) and not failed
    if as_json:
        print_json({"changes": [result.data() for result in results], "failed": failed})
    else:
        click.echo("\n".join([*_lines(results, dry_run=dry_run), *failed]))
    return ExitCode.OK if good else ExitCode.FINDINGS


def _force(_entry: Entry, _now: State) -> bool:
    return True


def _ask(entry: Entry, now: State) -> bool:
    from archibald.tune.targets import shown

    change = entry.change
    return click.confirm(
        f"{change.target} was set to {shown(change.kind, now)} by somebody else since; "
        f"replace it by {shown(change.kind, entry.before)}?"
    )


def _lines(results: list[Undone], *, dry_run: bool) -> list[str]:
    if not results:
        return ["nothing to take back"]
    lines = []
    for result in results:
        data = result.data()
        lines.append(
            f"  {data['check']}: {data['target']}: {data['after']} -> {data['before']}: "
            + result.outcome + (f" ({result.detail})" if result.detail else "")
        )  # fmt: skip
    good = sum(result.good for result in results)
    verb = "would be" if dry_run else "are"
    lines.append(f"{good} of {len(results)} changes {verb} taken back")
    if good < len(results):
        lines.append("the rest stays as it is; --force replaces what somebody else has set")
    return lines
