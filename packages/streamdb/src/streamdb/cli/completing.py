"""Completion of the paths in a store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from streamdb.errors import StreamDBError

_MOST = 500


def stored_paths(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[Any]]:
    """The folders and documents that begin so; nothing when the store cannot be read."""
    del param
    return _items(ctx, incomplete, documents=True)


def stored_folders(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem[Any]]:
    """The folders that begin so."""
    del param
    return _items(ctx, incomplete, documents=False)


def _items(ctx: click.Context, incomplete: str, *, documents: bool) -> list[CompletionItem[Any]]:
    try:
        return [CompletionItem(path) for path in _beginnings(ctx, incomplete, documents)]
    except (StreamDBError, OSError):
        # A shell that completes has no place for a message.
        return []


def _beginnings(ctx: click.Context, incomplete: str, documents: bool) -> Iterator[str]:
    from streamdb.cli.listing import entries
    from streamdb.cli.store import Access, locate
    from streamdb.store import StreamDB

    named = ctx.params.get("store") or ctx.find_root().params.get("store")
    root = Path(named) if named else locate(os.environ, Path.cwd())
    access = Access(str(root), ctx.params.get("key_file"))
    with StreamDB.open(root, key=access.stored_key(root), readonly=True, create=False) as db:
        given = 0
        for entry in entries(db, incomplete.rpartition("/")[0]):
            if entry.path.startswith(incomplete) and (entry.is_dir or documents):
                yield f"{entry.path}/" if entry.is_dir else entry.path
                given += 1
                if given >= _MOST:
                    return
