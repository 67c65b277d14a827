"""The scripts with which shells complete a command line made with click."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

# click's own script breaks at spaces and stars in values, of which sample libraries are full.
_BASH = r"""_PROGRAM_completion() {
    local line type value response=()
    COMPREPLY=()
    mapfile -t response < <(
        IFS=$'\n'
        COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD _VARIABLE=bash_complete "$1"
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
complete -o nosort -F _PROGRAM_completion PROGRAM
"""


def script(group: click.Group, program: str, shell: str) -> str:
    """The script that completes ``program`` in a shell: bash, zsh or fish."""
    variable = f"_{program.upper()}_COMPLETE"
    if shell == "bash":
        return _BASH.replace("PROGRAM", program).replace("_VARIABLE", variable)
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    return kind(group, {}, program, variable).source()
