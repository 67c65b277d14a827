"""``streamdb init``: make a store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from streamdb import place
from streamdb.cli.common import EXAMPLES, json_option
from streamdb.cli.output import print_json
from streamdb.cli.store import Access, store_options
from streamdb.errors import AlreadyExists, InvalidArgument

_DEFAULT = "library.sdb"


@click.command(
    epilog=EXAMPLES
    + "  streamdb init drums.sdb\n"
    + "  streamdb init secret.sdb --new-key secret.key\n"
    + "  streamdb init vocals.sdb --passphrase-file phrase.txt"
)
@click.argument("directory", required=False)
@click.option(
    "--new-key", metavar="FILE", help="Make a key, write it to FILE, and encrypt with it."
)
@store_options
@json_option
def init(directory: str | None, new_key: str | None, access: Access, as_json: bool) -> int:
    """Make a store in DIRECTORY (default: library.sdb).

    With a key or passphrase it is encrypted: documents and their metadata, not the paths.
    Keep the key: without it nobody can read the store.
    """
    import os

    from streamdb.crypto import Key
    from streamdb.store import StreamDB

    if directory and access.store and access.store != directory:
        raise InvalidArgument("two stores are named", next_step="name one")
    root = Path(directory or access.store or os.environ.get("STREAMDB_STORE") or _DEFAULT)
    if place.read_marker(root) is not None:
        raise AlreadyExists(
            f"there is a store at {root} already",
            next_step=f"use it, or name another directory; see it with: streamdb stats -s {root}",
        )
    key = access.new_key()
    if new_key is not None:
        if key is not None:
            raise InvalidArgument("a new key and another one are given", next_step="give one")
        place.check_vacant(root)
        key = Key.create_file(new_key)
    access = replace(access, store=str(root))
    with StreamDB.open(root, key=key) as db:
        known = db.statistics()
    if as_json:
        print_json(
            {
                "store": str(root),
                "store_id": known.store_id,
                "encrypted": known.encrypted,
                "format_version": known.format_version,
                "key_file": new_key,
            }
        )
        return 0
    click.echo(f"made {root}" + (", encrypted" if known.encrypted else ""))
    if new_key is not None:
        click.echo(f"its key is {new_key}: keep a copy of it in another place")
    return 0
