"""``streamdb completion``: the script that completes verbs, options and stored paths."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from streamdb.cli.common import EXAMPLES, cli, json_option
from streamdb.cli.output import print_json

# click's own script breaks at spaces and stars in values, of which sample libraries are full.
_BASH = r"""_streamdb_completion() {
    local line type value response=()
    COMPREPLY=()
    mapfile -t response < <(
        IFS=$'\n'
        COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _STREAMDB_COMPLETE=bash_complete "$1"
    )
    for line in "${response[@]}"; do
        type=${line%%,*}
        value=${line#*,}
        case $type in
        dir) compopt -o dirnames ;;
        file) compopt -o default ;;
        plain) COMPREPLY+=("$value") ;;
        esac
    done
    if [ "${#COMPREPLY[@]}" -gt 0 ]; then
        compopt -o filenames
        if [ "${#COMPREPLY[@]}" -eq 1 ] && [ "${COMPREPLY[0]%/}" != "${COMPREPLY[0]}" ]; then
            compopt -o nospace
        fi
    fi
}
complete -o nosort -F _streamdb_completion streamdb
"""


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
    if shell == "bash":
        script = _BASH
    else:
        kind = get_completion_class(shell)
        if kind is None:
            raise click.UsageError(f"no completion for {shell}")
        script = kind(cli, {}, "streamdb", "_STREAMDB_COMPLETE").source()
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script, nl=False)
    return 0
