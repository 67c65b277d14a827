"""``archibald apply``: change the machine that runs now, with a journal that takes it back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json
from archibald.cli.plan import plan_lines, plan_options, step_line
from archibald.cli.tuning import chosen_profile, journal_at, journal_option, look, require_root
from archibald.errors import ExitCode, PreconditionError

if TYPE_CHECKING:
    from archibald.tune.apply import Applied
    from archibald.tune.model import Scene
    from archibald.tune.plan import Plan
    from archibald.tune.targets import Targets


@click.command(
    epilog=EPILOG_EXAMPLES + "  sudo archibald apply\n"
    "  sudo archibald apply --persist --yes\n"
    "  archibald apply --dry-run\n"
    "  sudo archibald apply cpu.governor"
)
@plan_options
@journal_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Print the steps and write nothing.")
@json_option
def command(
    *, checks: tuple[str, ...], persist: bool, profile_path: Path | None, card: str,
    user_name: str, root: Path, journal_folder: Path | None, yes: bool, dry_run: bool,
    as_json: bool,
) -> int:  # fmt: skip
    """Change what `archibald plan` shows; `archibald rollback` takes it back.

    Every value is journaled before it is changed, and read back after it. Exit code 1 when
    something did not take.
    """
    from archibald.tune.persist import nix_modules, on_nixos
    from archibald.tune.plan import make_plan
    from archibald.tune.targets import Targets

    if not dry_run:
        require_root(root, "changing the machine", "apply", *checks)
    profile, source = chosen_profile(profile_path)
    scene = look(profile, root=root, card=card, user_name=user_name)
    targets = Targets(scene.sight)
    plan = make_plan(scene, targets, only=checks, persist=persist)
    modules = nix_modules(scene) if persist and on_nixos(scene) else ""
    if not as_json:
        click.echo("\n".join(plan_lines(plan)))
        if modules:
            click.echo(f"\nadd this to the configuration of NixOS:\n\n{modules}", nl=False)
    more = {"nixos_modules": modules} if modules else {}
    if dry_run or not plan.steps:
        if as_json:
            print_json({**plan.data(), **more})
        return ExitCode.OK
    if not yes:
        _ask(len(plan.steps))
    return _apply(plan, scene, targets, journal_folder, source, more if as_json else None)


def _ask(count: int) -> None:
    if not sys.stdin.isatty():
        raise PreconditionError(
            "nobody can be asked here", why="standard input is no terminal",
            next_step="say --yes to change it, or --dry-run to look",
        )  # fmt: skip
    if not click.confirm(f"make these {count} changes?"):
        raise click.Abort


def _apply(
    plan: Plan, scene: Scene, targets: Targets, journal_folder: Path | None, source: str,
    more: dict[str, str] | None,
) -> int:  # fmt: skip
    """Make the changes; print text, or with ``more`` JSON that has this as well."""
    from archibald.tune.apply import execute, finish, refresh
    from archibald.tune.audit import audit
    from archibald.vm.selftest.model import Answer

    with journal_at(journal_folder, scene.sight.root).opened() as journal:
        run, results = execute(plan, scene, targets, journal, profile=source)
        failed = refresh(plan.refreshers, targets)
        after = audit(scene.again())
        finish(journal, run, [finding.check for finding in after.of(Answer.OK)])
    good = all(result.good for result in results) and not failed
    if more is not None:
        steps = [result.data() for result in results]
        counts = after.counts()
        print_json({"run": run, "steps": steps, "failed": failed, "counts": counts, **more})
    else:
        click.echo("\n".join(_outcome(results, failed)))
    return ExitCode.OK if good else ExitCode.FINDINGS


def _outcome(results: list[Applied], failed: list[str]) -> list[str]:
    good = [result for result in results if result.good]
    lines = [f"{len(good)} of {len(results)} changes are in place; archibald rollback undoes them"]
    for result in results:
        if not result.good:
            lines.append(f"{result.outcome}:{step_line(result.step)[1:]} ({result.detail})")
    lines += [f"failed: {text}" for text in failed]
    if any(r.step.change.target.startswith(("/etc/pipewire", "/etc/wireplumber")) for r in good):
        lines.append("PipeWire reads its files when it starts: "
                     "systemctl --user restart pipewire wireplumber")  # fmt: skip
    return lines
