"""``archibald completion``: the script that completes verbs and options in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from archibald.cli.common import EPILOG_EXAMPLES, cli


@click.command(
    epilog=EPILOG_EXAMPLES
    + "  archibald completion bash > ~/.local/share/bash-completion/completions/archibald"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script for SHELL."""
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(cli, {}, "archibald", "_ARCHIBALD_COMPLETE").source())
