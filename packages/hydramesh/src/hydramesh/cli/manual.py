"""The reference of the command line, printed from the commands themselves."""

from __future__ import annotations

import click

from hydramesh.cli.common import VERBS, cli

_WIDTH = 96
_INTRODUCTION = """\
# The commands hydramesh and hydrameshd

Made by `make docs` from the commands.

`hydrameshd` is the daemon; `hydramesh` asks it over a Unix socket. `init`, `join`, `leave` and
`members` also work while no daemon runs.

**Which node**: `--state DIR`, before or after the verb; else the environment variable
`HYDRAMESH_STATE`; else `/var/lib/hydramesh` for root and `~/.local/share/hydramesh` for others. The
directory must not be readable by others.

**Completion**: `hydramesh completion bash|zsh|fish` prints the script that completes verbs,
options, and the names of nodes, collections and documents that the daemon knows.

**Exit codes**: 0 ok, 1 findings, 2 usage, 3 a precondition is not met (realm, rights, clock,
invite, port), 4 something outside failed (network, disk, another node), 130 interrupted. Errors say
what happened, why, and what to do next; with `--json` they are JSON as well.

**Output**: tables on a terminal, values between tabs in a pipe, `--json` for every verb.
"""


def manual() -> str:
    """The Markdown page of the daemon and of all verbs with their options and examples."""
    from hydramesh.daemon import command as daemon

    lines = [_INTRODUCTION.rstrip("\n")]
    context = click.Context(cli, info_name="hydramesh")
    pages: list[tuple[str, click.Command | None]] = [("hydrameshd", daemon)]
    pages += [(f"hydramesh {verb}", cli.get_command(context, verb)) for verb in VERBS]
    for name, command in pages:
        assert command is not None
        inner = click.Context(
            command,
            info_name=name,
            terminal_width=_WIDTH,
            max_content_width=_WIDTH,
            help_option_names=["-h", "--help"],
        )
        lines += ["", f"## {name}", "", "```text", command.get_help(inner).rstrip(), "```"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    click.echo(manual(), nl=False)
