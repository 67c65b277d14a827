"""``streamdb ls`` and ``tree``: browsing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from streamdb.cli.common import EXAMPLES, EXIT_OK, json_option, null_option
from streamdb.cli.completing import stored_folders
from streamdb.cli.output import (
    count_text,
    on_terminal,
    print_json,
    print_paths,
    print_rows,
    shown,
    size_text,
    stat_dict,
    time_text,
)
from streamdb.cli.searching import FACTS, fact_texts
from streamdb.cli.store import Access, open_store, store_options
from streamdb.errors import NotFound
from streamdb.model import Entry
from streamdb.reading import Readable
from streamdb.store import StreamDB

_PAGE = 1000


def entries(db: Readable, folder: str) -> Iterator[Entry]:
    """What is right below a folder, a page at a time."""
    after: str | None = None
    while page := db.children(folder, limit=_PAGE, after=after):
        yield from page
        last = page[-1]
        after = f"{last.name}/" if last.is_dir else last.name


def need_entries(db: StreamDB, folder: str) -> Iterator[Entry]:
    """As :func:`entries`.

    Raises:
        NotFound: there is no such folder.
    """
    if folder and not db.count(f"{folder}/"):
        raise NotFound(
            f"there is no folder {folder!r} in the store",
            next_step=f"it is a document: streamdb stat {folder!r}"
            if db.exists(folder)
            else "see what there is: streamdb ls",
        )
    return entries(db, folder)


@click.command(
    epilog=EXAMPLES + "  streamdb ls\n" + "  streamdb ls drums -l\n" + "  streamdb ls drums --json"
)
@click.argument("folder", default="", shell_complete=stored_folders)
@click.option("-l", "--long", is_flag=True, help="With size, time and sound.")
@null_option
@store_options
@json_option
def ls(folder: str, long: bool, null: bool, access: Access, as_json: bool) -> int:
    """List what is right below FOLDER (default: the top).

    In a pipe: one name a line, folders with a slash behind; with --long, values between tabs.
    """
    with open_store(access) as db:
        found = need_entries(db, folder.rstrip("/"))
        if as_json:
            listed = [_entry_dict(db, entry, long) for entry in found]
            print_json({"folder": folder.rstrip("/"), "entries": listed})
        elif long:
            heads = ("Name", "Size", "Changed", *(head for head, _ in FACTS))
            print_rows(heads, (_long(db, entry) for entry in found), right=(1,))
        elif on_terminal() and not null:
            print_rows(("Name", "Documents"), (_short(entry) for entry in found), right=(1,))
        else:
            print_paths((_name(entry) for entry in found), null=null)
    return EXIT_OK


def _name(entry: Entry) -> str:
    return f"{entry.name}/" if entry.is_dir else entry.name


def _short(entry: Entry) -> tuple[str, str]:
    return _name(entry), f"{entry.documents:,}" if entry.is_dir else ""


def _long(db: StreamDB, entry: Entry) -> tuple[str, ...]:
    if entry.is_dir:
        return (_name(entry), count_text(entry.documents, "document"), "", *("" for _ in FACTS))
    known = db.stat(entry.path)
    size = size_text(known.size) if on_terminal() else str(known.size)
    return (entry.name, size, time_text(known.mtime_ns), *fact_texts(known.metadata))


def _entry_shape(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "path": entry.path,
        "type": "folder" if entry.is_dir else "document",
        "documents": entry.documents,
    }


def _entry_dict(db: StreamDB, entry: Entry, long: bool) -> dict[str, Any]:
    shape = _entry_shape(entry)
    if long and not entry.is_dir:
        shape |= stat_dict(db.stat(entry.path))
    return shape


@click.command(
    epilog=EXAMPLES + "  streamdb tree\n" + "  streamdb tree drums --depth 1\n"
    "  streamdb tree --folders --json"
)
@click.argument("folder", default="", shell_complete=stored_folders)
@click.option("-L", "--depth", type=click.IntRange(min=1), help="How many levels.")
@click.option("-d", "--folders", is_flag=True, help="Only folders.")
@store_options
@json_option
def tree(folder: str, depth: int | None, folders: bool, access: Access, as_json: bool) -> int:
    """Show FOLDER (default: the top) and what is below it as a tree.

    As JSON it is one list, in the order of the tree, each entry with its level.
    """
    top = folder.rstrip("/")
    with open_store(access) as db, db.snapshot() as state:
        need_entries(db, top)
        nodes = _walk(state, top, depth, folders)
        if as_json:
            total = state.count(f"{top}/" if top else "")
            listed = [{**_entry_shape(node.entry), "level": len(node.last)} for node in nodes]
            print_json({"folder": top, "documents": total, "entries": listed})
        else:
            click.echo(shown(top) or ".")
            print_paths(_line(node) for node in nodes)
    return EXIT_OK


@dataclass(frozen=True, slots=True)
class _Node:
    """An entry in a tree: for each level whether it is the last there; whether it is closed."""

    entry: Entry
    last: tuple[bool, ...]
    closed: bool


def _walk(state: Readable, top: str, depth: int | None, folders: bool) -> Iterator[_Node]:
    """The tree, folder before content; paths may have two thousand levels, so no recursion."""
    levels = [_with_last(entry for entry in entries(state, top) if entry.is_dir or not folders)]
    marks: list[bool] = []
    while levels:
        step = next(levels[-1], None)
        if step is None:
            levels.pop()
            del marks[-1:]
            continue
        entry, is_last = step
        closed = entry.is_dir and len(levels) == depth
        yield _Node(entry, (*marks, is_last), closed)
        if entry.is_dir and not closed:
            below = entries(state, entry.path)
            levels.append(_with_last(each for each in below if each.is_dir or not folders))
            marks.append(is_last)


def _with_last(found: Iterator[Entry]) -> Iterator[tuple[Entry, bool]]:
    """Each entry, and whether it is the last."""
    held = next(found, None)
    while held is not None:
        following = next(found, None)
        yield held, following is None
        held = following


def _line(node: _Node) -> str:
    indent = "".join("    " if last else "│   " for last in node.last[:-1])
    branch = "└── " if node.last[-1] else "├── "
    count = f"  ({node.entry.documents:,})" if node.closed else ""
    return f"{indent}{branch}{shown(_name(node.entry))}{count}"
