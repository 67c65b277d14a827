"""``streamdb watch``: keep a folder imported as it changes."""

from __future__ import annotations

import click

from streamdb.cli.common import (
    EXAMPLES,
    EXIT_INTERRUPTED,
    EXIT_OK,
    Terminated,
    json_option,
    quiet_option,
)
from streamdb.cli.importing import selecting, work_of
from streamdb.cli.output import print_json_line, shown
from streamdb.cli.progress import showing
from streamdb.cli.store import Access, open_store, store_options
from streamdb.watching import Happened, Settling, Watcher

_SHOWN = {"add", "update", "delete", "rename"}


@click.command(
    epilog=EXAMPLES
    + "  streamdb watch samples\n"
    + "  streamdb watch samples --prefix packs/one --include '*.wav' --keep\n"
    + "  streamdb watch /mnt/nas/samples --rescan 300"
)
@click.argument("folder", type=click.Path())
@selecting
@click.option("--keep", is_flag=True, help="Keep documents whose file is deleted.")
@click.option(
    "--settle",
    type=click.FloatRange(min=0.05),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="A file is complete when nothing happened to it for so long.",
)
@click.option(
    "--rescan",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="Look at everything again so often (for network drives, which tell no changes).",
)
@quiet_option
@store_options
@json_option
def watch(
    folder: str,
    prefix: str,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    keep: bool,
    settle: float,
    rescan: float | None,
    quiet: bool,
    access: Access,
    as_json: bool,
) -> int:
    """Import FOLDER, then follow what changes in it, until Ctrl-C.

    Renamed files and folders are renamed in the store, deleted ones are deleted there (their last
    version can be restored). With --json each change is a line of JSON. SIGTERM ends it with exit
    code 0.
    """

    def tell(happened: Happened) -> None:
        if as_json:
            print_json_line(
                {
                    "kind": happened.kind,
                    "path": shown(happened.path),
                    "old_path": shown(happened.old_path),
                    "note": happened.note,
                }
            )
        elif happened.kind in _SHOWN:
            old = f"{shown(happened.old_path)}\t" if happened.old_path else ""
            click.echo(f"{happened.kind}\t{old}{shown(happened.path)}")
        else:
            note = f": {happened.note}" if happened.note else ""
            click.echo(f"{happened.kind} {shown(happened.path)}{note}", err=True)

    work = work_of(folder, prefix, include, exclude, delete=not keep)
    settling = Settling(quiet_s=settle, closed_s=min(settle, 0.5))
    with open_store(access, write=True, durability="bulk") as db:
        watcher = Watcher(db, work, tell=tell, settling=settling, rescan_s=rescan)
        try:
            with showing(quiet=quiet) as progress:
                watcher.prepare(progress)
            watcher.run()
        except Terminated:
            _print_end(watcher, as_json)
            return EXIT_OK
        except KeyboardInterrupt:
            _print_end(watcher, as_json)
            return EXIT_INTERRUPTED
    return EXIT_OK


def _print_end(watcher: Watcher, as_json: bool) -> None:
    counts = {kind: watcher.counts.get(kind, 0) for kind in (*sorted(_SHOWN), "failed")}
    if as_json:
        print_json_line({"kind": "end", **counts})
    else:
        done = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
        click.echo(f"ended; the store is whole. Changes: {done}", err=True)
