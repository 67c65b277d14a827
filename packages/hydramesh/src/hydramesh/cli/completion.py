"""``hydramesh completion``: the script that completes verbs, options, nodes and collections."""

from __future__ import annotations

import json

import click
from click.shell_completion import get_completion_class

from hydramesh.cli.common import EXAMPLES, cli, json_option

# click's own script breaks at spaces in values, of which sample libraries are full.
_BASH = r"""_hydramesh_completion() {
    local line type value response=()
    COMPREPLY=()
    mapfile -t response < <(
        IFS=$'\n'
        COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _HYDRAMESH_COMPLETE=bash_complete "$1"
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
complete -o nosort -F _hydramesh_completion hydramesh
"""


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
    script = _BASH
    if shell != "bash":
        kind = get_completion_class(shell)
        assert kind is not None
        script = kind(cli, {}, "hydramesh", "_HYDRAMESH_COMPLETE").source()
    if as_json:
        click.echo(json.dumps({"shell": shell, "script": script}, indent=2))
    else:
        click.echo(script, nl=False)
