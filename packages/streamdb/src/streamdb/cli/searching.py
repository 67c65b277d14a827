"""``streamdb search``, ``suffix`` and ``find``."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import click

from streamdb.cli.common import EXAMPLES, EXIT_OK, QueryCommand, json_option, null_option
from streamdb.cli.completing import stored_paths
from streamdb.cli.output import (
    on_terminal,
    print_json,
    print_paths,
    print_rows,
    size_text,
    stat_dict,
    value_text,
)
from streamdb.cli.store import Access, open_store, store_options
from streamdb.errors import NotFound
from streamdb.store import StreamDB

_PAGE = 10_000
_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

#: Column → how a table shows the metadata field of that meaning.
FACTS: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
    ("Length", lambda held: _number(held.get("duration"), " s", 2)),
    ("Rate", lambda held: _number(held.get("rate"), " Hz")),
    ("Ch", lambda held: _number(held.get("channels"))),
    ("Tempo", lambda held: _number(held.get("tempo"), "", 1)),
    ("Key", lambda held: value_text(held["key"]) if "key" in held else ""),
)


def _number(value: object, unit: str = "", digits: int = 0) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    text = f"{value:.{digits}f}" if digits else f"{value:g}"
    return text + unit


def fact_texts(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """The facts of a document that tables show."""
    return tuple(text(metadata) for _, text in FACTS)


def listing_options(function: _Decorated) -> _Decorated:
    """Add what the verbs that list paths have in common."""
    for option in (
        null_option,
        click.option("--count", is_flag=True, help="Print how many there are, not which."),
        click.option("-l", "--long", is_flag=True, help="With size and sound."),
        click.option("--limit", type=click.IntRange(min=0), metavar="N", help="At most so many."),
    ):
        function = option(function)
    return function


@click.command(
    epilog=EXAMPLES
    + "  streamdb search drums/k\n"
    + "  streamdb search drums/ --count\n"
    + "  streamdb search --limit 10 --after drums/kick.wav -0"
)
@click.argument("prefix", default="", shell_complete=stored_paths)
@click.option("--after", metavar="PATH", help="Begin behind this path.")
@listing_options
@store_options
@json_option
def search(prefix: str, after: str | None, count: bool, access: Access, **how: Any) -> int:
    """List the paths that begin with PREFIX, sorted by their bytes (default: all)."""
    with open_store(access) as db:
        if count and after is None:
            _print_count(db.count(prefix), how)
        else:
            paths = _pages(lambda limit, last: db.search(prefix, limit=limit, after=last), after)
            _print(db, paths, count, how)
    return EXIT_OK


@click.command(epilog=EXAMPLES + "  streamdb suffix .wav\n" + "  streamdb suffix /kick.wav --json")
@click.argument("suffix")
@click.option("--after", metavar="PATH", help="Begin behind this path.")
@listing_options
@store_options
@json_option
def suffix(suffix: str, after: str | None, count: bool, access: Access, **how: Any) -> int:
    """List the paths that end with SUFFIX, sorted from their ends."""
    with open_store(access) as db:
        paths = _pages(lambda limit, last: db.search_suffix(suffix, limit=limit, after=last), after)
        _print(db, paths, count, how)
    return EXIT_OK


@click.command(
    cls=QueryCommand,
    epilog=EXAMPLES
    + "  streamdb find rate=96000 channels=2 'duration<2s'\n"
    + "  streamdb find tempo=118..122 key=Cmin path:/drums/ -l\n"
    + "  streamdb find kick -tag:old\n"
    + "  streamdb find has:problem --json",
)
@click.argument("query", nargs=-1)
@listing_options
@store_options
@json_option
def find(query: tuple[str, ...], count: bool, access: Access, **how: Any) -> int:
    """Find documents by what is known of them.

    Terms stand side by side, and all must hold: FIELD=VALUE, FIELD<VALUE, FIELD=LOW..HIGH,
    FIELD:TEXT, a word, or -TERM for its opposite. Quote < > | for the shell. The fields and units
    are listed in docs/reference/streamdb-metadata.md; a mistake is answered with what is allowed.
    """
    text = " ".join(query)
    with open_store(access) as db:
        limit = None if count else how["limit"]
        _print(db, db.find(text, limit=limit), count, how)
    return EXIT_OK


def _pages(ask: Callable[[int, str | None], list[str]], after: str | None) -> Iterator[str]:
    while page := ask(_PAGE, after):
        yield from page
        after = page[-1]


def _print_count(count: int, how: Mapping[str, Any]) -> None:
    if how["as_json"]:
        print_json({"count": count})
    else:
        click.echo(count)


def _print(db: StreamDB, paths: Iterable[str], count: bool, how: Mapping[str, Any]) -> None:
    if count:
        _print_count(sum(1 for _ in paths), how)
        return
    chosen = itertools.islice(paths, how["limit"])
    if how["as_json"] and how["long"]:
        documents = [stat_dict(db.stat(path)) for path in chosen]
        print_json({"documents": documents, "count": len(documents)})
    elif how["as_json"]:
        listed = list(chosen)
        print_json({"paths": listed, "count": len(listed)})
    elif how["long"]:
        heads = ("Path", "Size", *(head for head, _ in FACTS))
        print_rows(heads, _long(db, chosen), right=(1,))
    else:
        print_paths(chosen, null=how["null"])


def _long(db: StreamDB, paths: Iterable[str]) -> Iterator[tuple[str, ...]]:
    for path in paths:
        try:
            known = db.stat(path)
        except NotFound:
            # Another process deleted it since.
            continue
        size = size_text(known.size) if on_terminal() else str(known.size)
        yield (path, size, *fact_texts(known.metadata))
