"""``archibald watchdog``: demote real-time threads that leave ordinary programs no CPU."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option
from archibald.errors import UsageError

if TYPE_CHECKING:
    from archibald.tune.watchdog.model import Event

#: Seconds; under it a busy second of loading samples would count, over it nobody waits.
_BOUNDS_S = (1.0, 3600.0)


@click.command(
    epilog=EPILOG_EXAMPLES + "  sudo archibald watchdog\n"
    "  sudo archibald watchdog --after 10 --dry-run\n"
    "  journalctl -t archibald-watchdog\n"
    "  systemctl status archibald-watchdog.service"
)
@click.option("--after", "after_s", type=float, default=5.0, show_default=True, metavar="SECONDS",
              help="How long ordinary programs may be starved.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say who it is, and demote nobody.")
@click.option("--quiet", is_flag=True, help="Send no desktop notifications.")
@json_option
def command(*, after_s: float, dry_run: bool, quiet: bool, as_json: bool) -> None:
    """Watch for real-time threads that starve ordinary programs, and demote them.

    Runs in the foreground at SCHED_FIFO 99, until Ctrl-C or SIGTERM. When ordinary programs wait
    for a CPU more than a quarter of the time for --after seconds, while real-time threads take more
    than 70 % of it, the greediest threads become ordinary ones (SCHED_OTHER). PipeWire's data loop
    is the last that is demoted, threads of the kernel never are. It says who it was in the journal
    and on the desktop, and gives nothing back: restart the program. Needs root. With --json it
    prints one line per event.
    """
    from archibald.tune.watchdog.service import guard

    low, high = _BOUNDS_S
    if not low <= after_s <= high:
        raise UsageError(
            f"--after {after_s:g} is out of bounds", why=f"it takes {low:g} to {high:g} seconds",
            next_step="archibald watchdog --after 5",
        )  # fmt: skip

    told = _prints_into_journal(os.environ.get("JOURNAL_STREAM", ""))

    def said(event: Event) -> None:
        if as_json or not told:
            _say(json.dumps(event.data()) if as_json else event.message)

    def ready(cpus: set[int]) -> None:
        numbers = ", ".join(map(str, sorted(cpus)))
        if as_json:
            _say(json.dumps({"event": "watching", "cpus": sorted(cpus), "after_s": after_s}))
        else:
            _say(f"watching CPU {numbers}: {after_s:g} s without ordinary programs are too long")

    with contextlib.suppress(KeyboardInterrupt):
        guard(after_s=after_s, dry_run=dry_run, notify=not quiet, said=said, ready=ready)


def _prints_into_journal(stream: str) -> bool:
    """Say whether standard output is the journal, which has a record of each event already.

    ``stream`` is JOURNAL_STREAM of systemd.exec(5): device and inode of the journal's socket.
    """
    with contextlib.suppress(OSError):
        found = os.fstat(1)
        return stream == f"{found.st_dev}:{found.st_ino}"
    return False


def _say(line: str) -> None:
    from archibald.tune.watchdog.tell import printable

    click.echo(printable(line))
