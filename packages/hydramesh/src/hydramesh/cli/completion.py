"""``hydramesh completion``: the script that completes verbs, options, nodes and collections."""

from __future__ import annotations

import json

import click

from hydramesh.cli.common import EXAMPLES, cli, json_option
from streamdb.cli.shells import script


@click.command(
    epilog=EXAMPLES
    + "  hydramesh completion bash > hydramesh.bash\n"
    + "  hydramesh completion zsh > _hydramesh\n"
    + "  hydramesh completion fish > hydramesh.fish"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
def completion(shell: str, as_json: bool) -> None:
    """Print the completion script for SHELL; nodes and collections are those the daemon knows.

    \b
    bash: ~/.local/share/bash-completion/completions/hydramesh
    zsh:  a folder of $fpath, as _hydramesh
    fish: ~/.config/fish/completions/hydramesh.fish
    """
    text = script(cli, "hydramesh", shell)
    if as_json:
        click.echo(json.dumps({"shell": shell, "script": text}, indent=2))
    else:
        click.echo(text, nl=False)
