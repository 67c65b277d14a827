"""``streamdb put``, ``get`` and ``stat``: single documents."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import click

from streamdb.cli.common import EXAMPLES, EXIT_OK, json_option
from streamdb.cli.completing import stored_paths
from streamdb.cli.output import (
    on_terminal,
    print_json,
    print_rows,
    shown,
    size_text,
    stat_dict,
    time_text,
    value_text,
)
from streamdb.cli.store import Access, open_store, store_options
from streamdb.errors import AlreadyExists, InvalidArgument, NotFound, StreamDBError
from streamdb.model import Stat
from streamdb.store import StreamDB

_PIECE = 1 << 20
_IN_MEMORY = 16 << 20


class TerminalOutput(StreamDBError):
    """Bytes that are no text would go to a terminal."""


@click.command(
    epilog=EXAMPLES
    + "  streamdb put drums/kick.wav kick.wav\n"
    + '  streamdb put notes/kit.txt --set artist=Ada --set \'tags=["warm", "tape"]\' < notes.txt'
)
@click.argument("path", shell_complete=stored_paths)
@click.argument("file", type=click.Path(dir_okay=False), default="-")
@click.option(
    "--set",
    "fields",
    multiple=True,
    metavar="NAME=VALUE",
    help="Metadata to add: text, or JSON (again for more).",
)
@store_options
@json_option
def put(path: str, file: str, fields: tuple[str, ...], access: Access, as_json: bool) -> int:
    """Store FILE (default: standard input) as the document at PATH.

    What was there becomes an old version. Metadata is read from the content and from PATH.
    """
    extra = dict(_field(text) for text in fields)
    with open_store(access, write=True) as db:
        if file == "-":
            _put_stream(db, sys.stdin.buffer, path, extra)
        else:
            _put_file(db, Path(file), path, extra)
        known = db.stat(path)
    if as_json:
        print_json(stat_dict(known))
    else:
        click.echo(f"{shown(path)}: {size_text(known.size)}, version {known.version}")
    return EXIT_OK


def _put_file(db: StreamDB, file: Path, path: str, extra: dict[str, Any]) -> None:
    from streamdb.importing.source import take

    try:
        if file.is_file():
            take(db, file.resolve(), path, stop=threading.Event(), extra=extra)
        else:
            # A pipe, as the shell's <(command) makes one.
            with file.open("rb") as stream:
                _put_stream(db, stream, path, extra)
    except FileNotFoundError:
        raise NotFound(f"there is no file {str(file)!r}", next_step="name a file") from None


def _put_stream(db: StreamDB, stream: BinaryIO, path: str, extra: dict[str, Any]) -> None:
    from streamdb.metadata import describe

    # Describing wants to seek, which a pipe cannot.
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as spooled:
        held = cast("BinaryIO", spooled)
        while piece := stream.read(_PIECE):
            held.write(piece)
        held.seek(0)
        described = describe(held, path)
        held.seek(0)
        db.write_document(
            path,
            held,
            metadata={**described.metadata, **extra},
            mtime_ns=time.time_ns(),
        )


def _field(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidArgument(
            f"{text!r} sets nothing", next_step="write NAME=VALUE, such as artist=Ada"
        )
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


@click.command(
    epilog=EXAMPLES
    + "  streamdb get drums/kick.wav kick-copy.wav\n"
    + "  streamdb get drums/kick.wav > kick-again.wav\n"
    + "  streamdb get drums/kick.wav --version 1 kick-old.wav --force"
)
@click.argument("path", shell_complete=stored_paths)
@click.argument("file", type=click.Path(), default="-")
@click.option("--version", type=int, metavar="N", help="A kept version; see streamdb history.")
@click.option("-f", "--force", is_flag=True, help="Replace FILE; print bytes to a terminal.")
@store_options
@json_option
def get(
    path: str, file: str, version: int | None, force: bool, access: Access, as_json: bool
) -> int:
    """Write the document at PATH to FILE (default: standard output).

    FILE appears whole or not at all, with the document's time; FILE may be a folder. With --json
    and without FILE the data is printed in base64.
    """
    with open_store(access) as db, _source(db, path, version) as (source, size, mtime_ns):
        if file != "-":
            target = _target(file, path)
            _write_file(source, target, mtime_ns, force)
            if as_json:
                print_json({"path": path, "file": str(target), "size": size})
        elif as_json:
            data = base64.b64encode(source.read()).decode()
            print_json({"path": path, "size": size, "encoding": "base64", "data": data})
        else:
            _print_data(source, path, force)
    return EXIT_OK


@contextlib.contextmanager
def _source(db: StreamDB, path: str, version: int | None) -> Iterator[tuple[IO[bytes], int, int]]:
    """(data, size, time) of a document or of one of its old versions."""
    if version is None:
        known = db.stat(path)
        with db.get_stream(path) as source:
            yield source, known.size, known.mtime_ns
        return
    import io

    data = db.get_version(path, version)
    mtime_ns = next(each.mtime_ns for each in db.history(path) if each.version == version)
    yield io.BytesIO(data), len(data), mtime_ns


def _target(file: str, path: str) -> Path:
    target = Path(file)
    return target / path.rpartition("/")[2] if target.is_dir() else target


def _write_file(source: IO[bytes], target: Path, mtime_ns: int, force: bool) -> None:
    if target.exists() and not force:
        raise AlreadyExists(
            f"{str(target)!r} is there already", next_step="name another file, or give --force"
        )
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".streamdb-", delete=False) as file:
        temporary = Path(file.name)
        try:
            while piece := source.read(_PIECE):
                file.write(piece)
            file.flush()
            umask = os.umask(0)
            os.umask(umask)
            os.fchmod(file.fileno(), 0o666 & ~umask)
            os.utime(file.fileno(), ns=(mtime_ns, mtime_ns))
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _print_data(source: IO[bytes], path: str, force: bool) -> None:
    first = source.read(_PIECE)
    if on_terminal() and not force and not _is_text(first):
        raise TerminalOutput(
            f"{shown(path)!r} is no text, and standard output is a terminal",
            next_step="name a file, use a pipe, or give --force",
        )
    sys.stdout.flush()
    while first:
        sys.stdout.buffer.write(first)
        first = source.read(_PIECE)
    sys.stdout.buffer.flush()


def _is_text(data: bytes) -> bool:
    try:
        text = data[:4096].decode(errors="strict" if len(data) <= 4096 else "ignore")
    except UnicodeDecodeError:
        return False
    return all(each.isprintable() or each in "\n\r\t" for each in text)


@click.command(
    epilog=EXAMPLES
    + "  streamdb stat drums/kick.wav\n"
    + "  streamdb stat drums/kick.wav loops/beat_120bpm.wav --json"
)
@click.argument("paths", nargs=-1, required=True, shell_complete=stored_paths)
@store_options
@json_option
def stat(paths: tuple[str, ...], access: Access, as_json: bool) -> int:
    """Show what is known of documents: identity, size, times, metadata."""
    with open_store(access) as db:
        known = [db.stat(path) for path in paths]
        bound = {each.path: db.paths_of(each.path) for each in known if each.paths > 1}
    if as_json:
        documents = [
            {**stat_dict(each), "bound": bound.get(each.path, [each.path])} for each in known
        ]
        print_json({"documents": documents})
        return EXIT_OK
    for at, each in enumerate(known):
        if at and on_terminal():
            click.echo()
        print_rows(("", ""), _rows(each, bound.get(each.path, [])))
    return EXIT_OK


def _rows(stat: Stat, bound: list[str]) -> list[tuple[str, str]]:
    size = f"{stat.size} bytes"
    if on_terminal():
        size = f"{size_text(stat.size)} ({stat.size:,} bytes)"
    rows = [
        ("path", stat.path),
        ("size", size),
        ("changed", time_text(stat.mtime_ns)),
        ("created", time_text(stat.created_ns)),
        ("version", str(stat.version)),
        ("guid", str(stat.guid)),
        ("blake3", stat.digest),
        ("stored", f"{stat.stored_bytes} bytes in {stat.chunks} chunks"),
    ]
    rows += [("also at", path) for path in bound if path != stat.path]
    return rows + [(name, value_text(value)) for name, value in sorted(stat.metadata.items())]
