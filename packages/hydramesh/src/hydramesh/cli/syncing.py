"""``sync now``, ``pause``, ``resume``, ``limit``: transfers, now and in general."""

from __future__ import annotations

import re
import sys
import time
from typing import Any

import click

from hydramesh.cli import completing
from hydramesh.cli.common import EXAMPLES, Place, ask_library, json_option, print_rows, show
from hydramesh.cli.joining import parse_span
from hydramesh.cli.sharing import row_of, size_text
from hydramesh.errors import InvalidArgument
from hydramesh.v1 import library_pb2 as pb

_LOOK_EVERY_S = 0.3
_ENDED = ("in-sync", "alone", "paused", "failed")
_UNITS = {"": 1, "k": 1000, "M": 1_000_000, "G": 1_000_000_000}


def parse_rate(text: str) -> int:
    """Bytes a second of a rate such as 500k, 2M or none.

    >>> parse_rate("2M"), parse_rate("1.5k"), parse_rate("none")
    (2000000, 1500, 0)
    """
    if text == "none":
        return 0
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,3})?)([kMG]?)", text)
    if found is None:
        raise InvalidArgument(
            f"not a rate: {text[:20]!a}", next_step="write for example 500k, 2M or none"
        )
    return int(float(found[1]) * _UNITS[found[2]])


@click.group(epilog=EXAMPLES + "  hydramesh sync now\n  hydramesh sync now samples --no-wait")
def sync() -> None:
    """Bring collections up to date."""


@sync.command(epilog=EXAMPLES + "  hydramesh sync now\n  hydramesh sync now samples --timeout 10m")
@click.argument("names", nargs=-1, shell_complete=completing.collections)
@click.option("--no-wait", is_flag=True, help="Only begin.")
@click.option("--timeout", default="7d", show_default=True, help="Wait no longer than this.")
@json_option
@click.pass_obj
def now(place: Place, names: tuple[str, ...], no_wait: bool, timeout: str, as_json: bool) -> int:
    """Bring collections (default: all) up to date, and show the progress until they are.

    Exit code 1 if one is not in sync at the end.
    """
    until = time.monotonic() + parse_span(timeout)
    found = ask_library(place, "SyncNow", pb.SyncRequest(names=names))
    chosen = {each.collection for each in found.collections}
    if not no_wait:
        with _Bar(quiet=as_json) as bar:
            settled = 0
            while settled < 2 and time.monotonic() < until:
                time.sleep(_LOOK_EVERY_S)
                found = ask_library(place, "ListCollections", pb.CollectionsRequest())
                kept = [each for each in found.collections if each.collection in chosen]
                found = pb.Collections(collections=kept, limits=found.limits)
                settled = settled + 1 if all(each.state in _ENDED for each in kept) else 0
                bar.tell(kept)

    def text() -> None:
        heads = ["name", "founder", "role", "state", "documents", "size", "left", "peers"]
        print_rows(heads, [row_of(each) for each in found.collections])

    show(found, as_json, text)
    fine = no_wait or all(each.state == "in-sync" for each in found.collections)
    return 0 if fine else 1


class _Bar:
    """A progress bar on a terminal; nothing elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._bar: Any = None
        self._most = 1.0
        if not quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn

            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f} %"),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("looking", total=None)

    def __enter__(self) -> _Bar:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def tell(self, found: list[pb.CollectionInfo]) -> None:
        """Show how far it is."""
        if self._bar is None:
            return
        left = sum(each.pending_bytes for each in found)
        self._most = max(self._most, left)
        rate = max((each.rate for each in found), default=0.0)
        words = f"{size_text(left)} left"
        if rate > 1:
            words += f", {size_text(rate)}/s, {left / rate:.0f} s"
        self._bar.update(
            self._task, description=words, total=self._most, completed=self._most - left
        )


@click.command(epilog=EXAMPLES + "  hydramesh pause\n  hydramesh pause samples")
@click.argument("name", default="", shell_complete=completing.collections)
@json_option
@click.pass_obj
def pause(place: Place, name: str, as_json: bool) -> None:
    """Stop everything that moves, or the collection NAME; also what peers ask for.

    It stays so until `hydramesh resume`.
    """
    _pause(place, name, as_json, paused=True)


@click.command(epilog=EXAMPLES + "  hydramesh resume\n  hydramesh resume samples")
@click.argument("name", default="", shell_complete=completing.collections)
@json_option
@click.pass_obj
def resume(place: Place, name: str, as_json: bool) -> None:
    """Go on where it was, with everything or with the collection NAME."""
    _pause(place, name, as_json, paused=False)


def _pause(place: Place, name: str, as_json: bool, *, paused: bool) -> None:
    found = ask_library(place, "Pause", pb.PauseRequest(name=name, paused=paused))

    def text() -> None:
        rows = [(each.name, each.state) for each in found.collections if each.state != "available"]
        print_rows(["name", "state"], rows)

    show(found, as_json, text)


@click.command(epilog=EXAMPLES + "  hydramesh limit\n  hydramesh limit --down 2M --up 500k")
@click.option("--down", default="", help="Bytes a second to this node: 500k, 2M, none.")
@click.option("--up", default="", help="Bytes a second from this node.")
@json_option
@click.pass_obj
def limit(place: Place, down: str, up: str, as_json: bool) -> None:
    """Show or set how fast all transfers together may be."""
    asked = pb.LimitRequest(
        set=bool(down or up),
        down=parse_rate(down) if down else -1,
        up=parse_rate(up) if up else -1,
    )
    found = ask_library(place, "Limit", asked)

    def text() -> None:
        for name, rate in (("down", found.down), ("up", found.up)):
            click.echo(f"{name}\t{size_text(rate) + '/s' if rate else 'none'}")

    show(found, as_json, text)
