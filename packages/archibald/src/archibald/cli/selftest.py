"""``archibald selftest``: compare the running system with its profile."""

from __future__ import annotations

import contextlib
import os
import pwd
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json
from archibald.errors import ExitCode, PreconditionError

if TYPE_CHECKING:
    from archibald.profile.model import Profile
    from archibald.vm.selftest.model import Report
    from archibald.vm.selftest.port import GuestPort
    from archibald.vm.selftest.reader import SessionUser

#: Where the image keeps the profile that it was built from.
EMBEDDED_PROFILE = Path("/usr/lib/archibald/profile.json")


@click.command(
    epilog=EPILOG_EXAMPLES + "  archibald selftest\n  sudo archibald selftest --tone\n"
    "  archibald selftest --profile archibald.toml --json"
)
@click.option("-p", "--profile", "profile_path", type=click.Path(path_type=Path, dir_okay=False),
              help="Compare with this profile, not with the built-in one.")  # fmt: skip
@click.option("--tone", is_flag=True,
              help="Also play a 1 kHz tone for three seconds, at full volume.")  # fmt: skip
@click.option("--port", type=click.Path(path_type=Path), metavar="DEVICE",
              help="Send the report to a virtual machine's host (with the tone).")  # fmt: skip
@json_option
def command(*, profile_path: Path | None, tone: bool, port: Path | None, as_json: bool) -> int:
    """Compare what runs now with what the profile promises; nothing is changed.

    Every answer is ok, bad, not-applicable or cannot-tell. Exit code 1 when one is bad. As root it
    sees more: limits and sockets of other users' processes.
    """
    if port is not None:
        return _to_host(port, profile_path)
    from archibald.vm.selftest.model import Answer

    report = _run(_load(profile_path), audible=tone, port=None)
    if as_json:
        print_json(report.model_dump(mode="json", by_alias=True))
    else:
        print_report(report)
    return ExitCode.FINDINGS if report.answers(Answer.BAD) else ExitCode.OK


def _load(path: Path | None) -> Profile:
    from archibald.profile.load import load_profile, load_resolved

    if path is not None:
        return load_profile(path)
    try:
        return load_resolved(EMBEDDED_PROFILE.read_bytes())
    except OSError as error:
        raise PreconditionError(
            "this system was not built by archibald, so nothing is promised",
            why=f"{EMBEDDED_PROFILE}: {error.strerror or error}",
            next_step="name the profile to compare with: --profile FILE",
        ) from None


def _to_host(path: Path, profile_path: Path | None) -> int:
    from archibald.vm.selftest.port import open_port

    with open_port(path) as port:
        try:
            report = _run(_load(profile_path), audible=True, port=port)
        except Exception as error:
            # The host waits for an answer: a failure is one too.
            port.fail(f"{type(error).__name__}: {error}")
            raise
        port.deliver(report)
    return ExitCode.OK


def _run(profile: Profile, *, audible: bool, port: GuestPort | None) -> Report:
    from archibald.vm.selftest.expectation import expectation
    from archibald.vm.selftest.reader import LiveReader
    from archibald.vm.selftest.suite import run_selftest

    cmdline = Path("/proc/cmdline").read_text("utf-8", "replace")
    expected = expectation(profile, cmdline)
    reader = LiveReader(_session_user(profile))
    if port is not None:
        return run_selftest(
            reader, expected, audible=audible, after_boot=True, progress=port.progress
        )
    with _status() as progress:
        return run_selftest(reader, expected, audible=audible, after_boot=False, progress=progress)


def _session_user(profile: Profile) -> SessionUser:
    """Return whose session is looked at: one's own, or for root the one of the profile's user."""
    from archibald.vm.selftest.reader import SessionUser

    entry = pwd.getpwuid(os.geteuid())
    if entry.pw_uid == 0:
        for name in (profile.users.name, os.environ.get("SUDO_USER", "")):
            with contextlib.suppress(KeyError):
                entry = pwd.getpwnam(name)
                break
    return SessionUser(entry.pw_name, entry.pw_uid)


@contextlib.contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield status.update


_MARKS = {"ok": "green", "bad": "bold red", "not-applicable": "dim", "cannot-tell": "yellow"}


def print_report(report: Report) -> None:
    """Print a report: a table on a terminal, else one line per check; then what is wrong."""
    from archibald.vm.selftest.model import Answer

    if sys.stdout.isatty():
        _print_table(report)
    else:
        for check in report.checks:
            line = f"{check.answer:<14} {check.group}/{check.id}: {check.observed}"
            click.echo(f"{line} (expected {check.expected})")
    for check in report.answers(Answer.BAD, Answer.CANNOT_TELL):
        click.echo(f"\n{check.answer}: {check.id}: {check.observed}; expected {check.expected}")
        for line in check.evidence.splitlines()[:12]:
            click.echo(f"    {line}")
    counts = [f"{len(report.answers(answer))} {answer}" for answer in Answer]
    click.echo(f"\n{len(report.checks)} checks: {', '.join(counts)}")


def _print_table(report: Report) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Self-test", header_style="bold")
    for column in ("Group", "Check", "Answer", "Observed", "Expected"):
        table.add_column(column, overflow="fold")
    for check in report.checks:
        table.add_row(
            check.group,
            check.id,
            Text(check.answer, style=_MARKS[check.answer]),
            Text(check.observed),
            Text(check.expected),
        )
    Console().print(table)
