"""``archibald audit``: is this machine ready for real-time audio?"""

from __future__ import annotations

import contextlib
import gc
import shutil
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json
from archibald.cli.tuning import chosen_profile, look, machine_options
from archibald.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from archibald.tune.audit import Audit
    from archibald.tune.model import Finding

_MARKS = {"ok": "ok", "bad": "BAD", "not-applicable": "-", "cannot-tell": "?"}
_COLOURS = {"ok": "green", "bad": "red", "not-applicable": "bright_black", "cannot-tell": "yellow"}


@click.command(
    epilog=EPILOG_EXAMPLES + "  archibald audit\n"
    "  sudo archibald audit --all\n"
    "  archibald audit --explain cpu.governor\n"
    "  archibald audit --json | jq -r '.findings[] | select(.answer == \"bad\") | .fix'"
)
@machine_options
@click.option("--explain", metavar="CHECK", help="Print the page of a check, and its answer.")
@click.option("--all", "show_all", is_flag=True, help="Also list what is ok or does not apply.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of --json, and nothing else.")
@json_option
def command(
    *, profile_path: Path | None, card: str, user_name: str, root: Path, explain: str | None,
    show_all: bool, schema: bool, as_json: bool,
) -> int:  # fmt: skip
    """Check the machine that runs now against the profile; nothing is changed.

    Every answer is ok, bad, not-applicable or cannot-tell, with the raw text that it rests on.
    Exit code 1 when one is bad. Needs no root; says what root would see.
    """
    with _quickly():
        return _command(
            profile_path, card, user_name, root, explain,
            show_all=show_all, schema=schema, as_json=as_json,
        )  # fmt: skip


@contextlib.contextmanager
def _quickly() -> Iterator[None]:
    """Leave cycles of objects alone: looking for them takes a sixth of the whole run."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _command(
    profile_path: Path | None, card: str, user_name: str, root: Path, explain: str | None, *,
    show_all: bool, schema: bool, as_json: bool,
) -> int:  # fmt: skip
    from archibald.tune.audit import audit
    from archibald.vm.selftest.model import Answer

    if schema:
        from archibald.tune.schema import audit_schema

        print_json(audit_schema())
        return ExitCode.OK
    if explain:
        _known(explain)
    profile, source = chosen_profile(profile_path)
    scene = look(profile, root=root, card=card, user_name=user_name)
    found = audit(scene)
    if as_json:
        print_json({**found.data(), "profile": source})
    elif explain:
        click.echo("\n".join(_explained(explain, found)))
    else:
        click.echo("\n".join(report(found, source, show_all=show_all, colour=sys.stdout.isatty())))
    return ExitCode.FINDINGS if found.of(Answer.BAD) else ExitCode.OK


def _known(check: str) -> None:
    from difflib import get_close_matches

    from archibald.tune.knobs import all_pages

    names = [page.id for _, page in all_pages()]
    if check in names:
        return
    near = get_close_matches(check, names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"there is no check {check!r}", next_step=f"{hint}archibald audit --all lists them"
    )


def _explained(check: str, found: Audit) -> list[str]:
    from archibald.tune.pages import page_text

    lines = [page_text(check).rstrip()]
    for finding in found.findings:
        if finding.check == check:
            lines += ["", "## On this machine", "", f"{finding.answer.value}: {finding.observed}"]
            lines += [f"wanted: {finding.wanted}"]
            lines += [f"wanted by {origin}" for origin in finding.origins]
            lines += ["", *(f"    {line}" for line in finding.evidence.splitlines())]
    return lines


def report(found: Audit, source: str, *, show_all: bool, colour: bool) -> list[str]:
    """Return the audit as lines of at most 80 columns, grouped by family."""
    from archibald.tune.knobs import FAMILIES
    from archibald.vm.selftest.model import Answer

    lines = [*_heading(found, source), ""]
    shown = set(Answer) if show_all else {Answer.BAD, Answer.CANNOT_TELL}
    for module in FAMILIES:
        family = [f for f in found.findings if f.family == module.FAMILY.id]
        chosen = [f for f in family if f.answer in shown]
        if not chosen:
            continue
        lines.append(_styled(module.FAMILY.title, colour, bold=True))
        for finding in chosen:
            lines += _finding(finding, colour)
        lines.append("")
    return [*lines, *_summary(found, show_all=show_all)]


def _heading(found: Audit, source: str) -> list[str]:
    machine = found.machine
    where = machine.container or machine.virtualization
    parts = [
        machine.kernel,
        f"{len(machine.cpus)} CPUs" + (" (hybrid)" if machine.hybrid else ""),
        f"{machine.memory_mib} MiB",
        str(machine.card) if machine.card else "no sound card",
        *([f"inside {where}"] if where else []),
    ]
    return [*_wrapped(", ".join(parts), ""), *_wrapped(f"profile: {source}", "")]


def _finding(finding: Finding, colour: bool) -> list[str]:
    mark = _styled(f"{_MARKS[finding.answer]:<4}", colour, fg=_COLOURS[finding.answer])
    severity = f" [{finding.severity.value}]" if finding.answer == "bad" else ""
    lines = [f"  {mark} {finding.check}{severity}"]
    lines += _wrapped(f"{finding.observed}; wanted: {finding.wanted}", " " * 7)
    if finding.answer == "cannot-tell":
        lines += _wrapped(finding.evidence.splitlines()[0] if finding.evidence else "", " " * 7)
    if finding.fix:
        lines += _wrapped(f"fix: {finding.fix}", " " * 7)
    return lines


def _wrapped(text: str, indent: str) -> list[str]:
    width = min(80, shutil.get_terminal_size((80, 24)).columns)
    return textwrap.wrap(
        text, max(40, width), initial_indent=indent, subsequent_indent=indent,
        break_on_hyphens=False,
    )  # fmt: skip


def _styled(text: str, colour: bool, **style: object) -> str:
    return click.style(text, **style) if colour else text  # type: ignore[arg-type]


def _summary(found: Audit, *, show_all: bool) -> list[str]:
    counts = found.counts()
    lines = [", ".join(f"{count} {answer}" for answer, count in counts.items())]
    denied = [finding for finding in found.findings if finding.needs_root]
    if denied:
        lines.append(f"as root {len(denied)} more could be told: sudo archibald audit")
    if counts["bad"]:
        lines.append("why, and what was read: archibald audit --explain CHECK")
        lines.append("what would be changed: archibald plan")
    if not show_all:
        lines.append("all answers: archibald audit --all")
    return lines
