"""``streamdb completion``: the script that completes verbs, options and stored paths."""

from __future__ import annotations

import click

from streamdb.cli.common import EXAMPLES, cli, json_option
from streamdb.cli.output import print_json
from streamdb.cli.shells import script


@click.command(
    epilog=EXAMPLES
    + "  streamdb completion bash > streamdb.bash\n"
    + "  streamdb completion zsh > _streamdb\n"
    + "  streamdb completion fish > streamdb.fish"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
def completion(shell: str, as_json: bool) -> int:
    """Print the completion script for SHELL; it also completes the paths in the store.

    \b
    bash: ~/.local/share/bash-completion/completions/streamdb
    zsh:  a folder of $fpath, as _streamdb
    fish: ~/.config/fish/completions/streamdb.fish
    """
    text = script(cli, "streamdb", shell)
    if as_json:
        print_json({"shell": shell, "script": text})
    else:
        click.echo(text, nl=False)
    return 0
