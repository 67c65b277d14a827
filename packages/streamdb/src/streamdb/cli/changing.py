"""``streamdb rm``, ``mv``, ``bind`` and ``unbind``."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator

import click

from streamdb.cli.common import EXAMPLES, EXIT_OK, json_option
from streamdb.cli.completing import stored_paths
from streamdb.cli.output import count_text, print_json, shown
from streamdb.cli.store import Access, open_store, store_options
from streamdb.errors import AlreadyExists, InvalidArgument, NotFound, StreamDBError
from streamdb.exporting import pages
from streamdb.store import StreamDB

_BATCH = 10_000


class NotConfirmed(StreamDBError):
    """Something that deletes much wants a yes."""


@click.command(
    epilog=EXAMPLES
    + "  streamdb rm drums/kick.wav\n"
    + "  streamdb rm -r drums --yes\n"
    + "  streamdb rm -r loops --dry-run"
)
@click.argument("paths", nargs=-1, required=True, shell_complete=stored_paths)
@click.option("-r", "--recursive", is_flag=True, help="Delete folders with all that is in them.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("-n", "--dry-run", is_flag=True, help="Print what would be deleted.")
@store_options
@json_option
def rm(
    paths: tuple[str, ...], recursive: bool, yes: bool, dry_run: bool, access: Access, as_json: bool
) -> int:
    """Delete documents: all of those that are named, or none.

    What is deleted can be restored as long as its versions are kept: see streamdb history.
    Deleting folders asks first; without a terminal it wants --yes. The path / means everything.
    """
    with open_store(access, write=not dry_run) as db:
        names = _all_named(db, paths, recursive)
        if not dry_run:
            if recursive and not yes:
                _confirm(len(names))
            _delete(db, names)
    if as_json:
        print_json({"deleted": names, "count": len(names), "dry_run": dry_run})
    elif dry_run:
        for name in names:
            click.echo(f"delete\t{shown(name)}")
    else:
        click.echo(f"deleted {count_text(len(names), 'document')}")
    return EXIT_OK


def _all_named(db: StreamDB, paths: tuple[str, ...], recursive: bool) -> list[str]:
    """The documents that are meant, each once."""
    found: dict[str, None] = {}
    for path in paths:
        folder = path.rstrip("/")
        below = iter(pages(db, f"{folder}/") if folder else pages(db, ""))
        first = next(below, None)
        if not path.endswith("/") and db.exists(path):
            found[path] = None
        elif first is None:
            db.stat(folder)  # names what is missing
        elif not recursive:
            raise InvalidArgument(
                f"{path!r} is a folder",
                why=f"it holds {count_text(db.count(f'{folder}/'), 'document')}",
                next_step=f"delete all of it: streamdb rm -r {folder!r}",
            )
        if recursive and first is not None:
            found.update(dict.fromkeys(itertools.chain([first], below)))
    return list(found)


def _confirm(count: int) -> None:
    question = f"Delete {count_text(count, 'document')}?"
    if not sys.stdin.isatty():
        raise NotConfirmed(f"{question} There is no terminal to ask on", next_step="give --yes")
    if not click.confirm(question, err=True):
        raise NotConfirmed("nothing was deleted", next_step="say yes, or give --yes")


def _delete(db: StreamDB, names: list[str]) -> None:
    with db.transaction() as together:
        for name in names:
            together.delete(name)


@click.command(
    epilog=EXAMPLES
    + "  streamdb mv drums/kick.wav drums/kick-old.wav\n"
    + "  streamdb mv loops breaks\n"
    + "  streamdb mv breaks/beat_120bpm.wav drums/"
)
@click.argument("old", shell_complete=stored_paths)
@click.argument("new", shell_complete=stored_paths)
@click.option("-f", "--force", is_flag=True, help="Replace documents that are in the way.")
@store_options
@json_option
def mv(old: str, new: str, force: bool, access: Access, as_json: bool) -> int:
    """Rename a document or a folder; into NEW if that is a folder (or ends with a slash).

    A folder is renamed as a whole or not at all. Versions and identities go along.
    """
    with open_store(access, write=True) as db:
        pairs = list(_pairs(db, old, new))
        try:
            with db.transaction() as together:
                for before, after in pairs:
                    together.rename(before, after, overwrite=force)
        except AlreadyExists as error:
            raise AlreadyExists(
                error.what, why=error.why, next_step="name another path, or give --force"
            ) from None
    if as_json:
        renamed = [{"old": before, "new": after} for before, after in pairs]
        print_json({"renamed": renamed, "count": len(renamed)})
    else:
        click.echo(f"renamed {count_text(len(pairs), 'document')}")
    return EXIT_OK


def _pairs(db: StreamDB, old: str, new: str) -> Iterator[tuple[str, str]]:
    source = old.rstrip("/")
    target = new.rstrip("/")
    if new.endswith("/") or (target and db.count(f"{target}/") and not db.exists(target)):
        target = f"{target}/{source.rpartition('/')[2]}" if target else source.rpartition("/")[2]
    if source == target:
        raise InvalidArgument(f"{old!r} has that path already", next_step="name another one")
    if not old.endswith("/") and db.exists(old):
        yield old, target
        return
    if target.startswith(f"{source}/"):
        raise InvalidArgument(
            f"{old!r} cannot go into itself", next_step="name a folder outside of it"
        )
    below = pages(db, f"{source}/")
    first = next(below, None)
    if first is None:
        raise NotFound(
            f"there is no document and no folder {old!r}",
            next_step="see what there is: streamdb ls",
        )
    for name in itertools.chain([first], below):
        yield name, target + name[len(source) :]


@click.command(epilog=EXAMPLES + "  streamdb bind drums/kick.wav favourites/kick.wav")
@click.argument("path", shell_complete=stored_paths)
@click.argument("new", shell_complete=stored_paths)
@store_options
@json_option
def bind(path: str, new: str, access: Access, as_json: bool) -> int:
    """Give the document at PATH one more path, NEW.

    Both show the same document: what is written through one of them is seen through the other.
    """
    with open_store(access, write=True) as db:
        guid = db.bind(path, new)
        bound = db.paths_of(path)
    if as_json:
        print_json({"guid": str(guid), "paths": bound})
    else:
        click.echo(f"{shown(new)}: one of {count_text(len(bound), 'path')} of {guid}")
    return EXIT_OK


@click.command(epilog=EXAMPLES + "  streamdb unbind best/kick.wav")
@click.argument("path", shell_complete=stored_paths)
@store_options
@json_option
def unbind(path: str, access: Access, as_json: bool) -> int:
    """Take PATH away from a document that has others."""
    with open_store(access, write=True) as db:
        guid = db.stat(path).guid
        bound = [each for each in db.paths_of(path) if each != path]
        db.unbind(path)
    if as_json:
        print_json({"guid": str(guid), "paths": bound})
    else:
        click.echo(f"{shown(path)} is gone; the document is still at {shown(', '.join(bound))}")
    return EXIT_OK
