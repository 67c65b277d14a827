"""What is printed: JSON, tables on a terminal, plain lines in pipes."""

from __future__ import annotations

import datetime
import itertools
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamdb.model import Stat

_TABLE_ROWS = 1000
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def on_terminal() -> bool:
    """Whether a person reads standard output."""
    return sys.stdout.isatty()


def print_json(value: Any) -> None:
    """Print a value as indented JSON with sorted keys."""
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def print_json_line(value: Any) -> None:
    """Print a value as JSON in one line, at once: for verbs that do not end."""
    sys.stdout.write(json.dumps(value, sort_keys=True, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def shown(text: str, *, newlines: bool = False) -> str:
    r"""Text that cannot do anything to a terminal: what is not printable is escaped.

    >>> shown("kick\x1b[2J\n.wav")
    'kick\\x1b[2J\\n.wav'
    """
    if text.isprintable():
        return text
    return "".join(
        each
        if each.isprintable() or (newlines and each == "\n")
        else each.encode("unicode_escape", "surrogatepass").decode()
        for each in text
    )


def print_paths(paths: Iterable[str], *, null: bool = False) -> None:
    """Print paths: each on a line (escaped on a terminal), or ended by a NUL."""
    terminal = on_terminal() and not null
    end = b"\0" if null else b"\n"
    sys.stdout.flush()
    out = sys.stdout.buffer
    for path in paths:
        text = shown(path) if terminal else path
        out.write(text.encode(errors="surrogateescape") + end)
    out.flush()


def print_rows(
    heads: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()
) -> None:
    """Print a table: drawn on a terminal, else values between tabs, without heads."""
    if not on_terminal():
        # A tab or a line's end within a value would shift the columns.
        print_paths("\t".join(shown(value) for value in row) for row in rows)
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns = set(right)
    waiting = iter(rows)
    # A table is held in memory until it is drawn: long ones are drawn in parts.
    while part := list(itertools.islice(waiting, _TABLE_ROWS)):
        table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for at, head in enumerate(heads):
            table.add_column(head, justify="right" if at in columns else "left", overflow="fold")
        for row in part:
            table.add_row(*(Text(shown(value)) for value in row))
        Console(highlight=False).print(table)


def size_text(count: float) -> str:
    """Bytes for people.

    >>> size_text(999), size_text(1536), size_text(3 << 30)
    ('999 B', '1.5 KiB', '3.0 GiB')
    """
    unit = 0
    while count >= 1024 and unit < len(_UNITS) - 1:
        count /= 1024
        unit += 1
    return f"{count:.0f} B" if unit == 0 else f"{count:.1f} {_UNITS[unit]}"


def count_text(count: int, one: str, many: str = "") -> str:
    """A number and its noun.

    >>> count_text(1, "file"), count_text(1200, "entry", "entries")
    ('1 file', '1,200 entries')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def time_text(nanoseconds: int) -> str:
    """A time in this time zone, to the second; nanoseconds since 1970."""
    try:
        when = datetime.datetime.fromtimestamp(nanoseconds // 10**9, datetime.UTC)
        return when.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{nanoseconds // 10**9} s"


def value_text(value: object) -> str:
    """A metadata value in one line."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return ", ".join(value)
    return json.dumps(value, ensure_ascii=False)


def stat_dict(stat: Stat) -> dict[str, Any]:
    """What is known of a document, for JSON."""
    return {
        "path": stat.path,
        "guid": str(stat.guid),
        "size": stat.size,
        "mtime_ns": stat.mtime_ns,
        "created_ns": stat.created_ns,
        "digest": stat.digest,
        "version": stat.version,
        "chunks": stat.chunks,
        "stored_bytes": stat.stored_bytes,
        "paths": stat.paths,
        "metadata": stat.metadata,
    }
