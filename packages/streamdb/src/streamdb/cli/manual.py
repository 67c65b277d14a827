"""The reference of the command line, printed from the commands themselves."""

from __future__ import annotations

import click

from streamdb.cli.common import VERBS, cli

_WIDTH = 96
_INTRODUCTION = """\
# The command streamdb

Made by `make docs` from the commands.

**Which store**: `--store DIR` before or after the verb; else the environment variable
`STREAMDB_STORE`; else the nearest store going up from the current folder: a folder that is a store,
or holds exactly one named `*.sdb` or `.streamdb`. `init`, `stats`, `check`, `repair` and `gc` also
take it as their argument.

**Which key**: `--key-file FILE`, or `STREAMDB_KEY_FILE` for stores that have a key file;
`--passphrase` asks on the terminal, `--passphrase-fd N` reads the first line of a descriptor,
`--passphrase-file FILE` that of a file of mode 0600. No key is ever taken from the command line
itself, where every user of the machine could read it.

**Exit codes**: 0 ok, 1 findings or something that failed, 2 usage, 3 a precondition is not met
(key, rights, space, format), 4 something outside failed (the disk), 130 interrupted. Errors say
what happened, why, and what to do next; with `--json` they are JSON as well.

**Output**: tables on a terminal; in a pipe one path a line, or values between tabs. `--json` gives
every verb's result as one document (`watch`: one a line), `--null` ends paths with a NUL byte.
Progress goes to standard error: a bar on a terminal, else a line every few seconds; `--quiet`
leaves it out. Ctrl-C leaves a whole store at any moment.

The query language of `find` is described in [metadata and queries](streamdb-metadata.md).
"""


def manual() -> str:
    """The Markdown page of all verbs with their options and examples."""
    lines = [_INTRODUCTION.rstrip("\n")]
    context = click.Context(cli, info_name="streamdb")
    settings = {**cli.context_settings, "max_content_width": _WIDTH}
    for verb in VERBS:
        command = cli.get_command(context, verb)
        assert command is not None
        name = f"streamdb {verb}"
        inner = click.Context(command, info_name=name, terminal_width=_WIDTH, **settings)
        lines += ["", f"## {name}", "", "```text", command.get_help(inner).rstrip(), "```"]
    return "\n".join(lines) + "\n"


@click.command(hidden=True)
def command() -> None:
    """Print the reference of all verbs as Markdown."""
    click.echo(manual(), nl=False)


if __name__ == "__main__":
    command(prog_name="python -m streamdb.cli.manual")
