"""The reference of the command line, printed from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator

import click

from archibald.cli.common import VERBS, cli


def _sections(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    settings = {**cli.context_settings, "max_content_width": 96}
    context = click.Context(command, info_name=" ".join(path), terminal_width=96, **settings)
    yield " ".join(path), command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None:
                yield from _sections(inner, (*path, name))


def manual() -> str:
    """Return the Markdown page of all verbs with their options and examples."""
    lines = [
        "# Commands",
        "",
        "Made by `make docs` from the commands. Exit codes: 0 ok, 1 findings or a failed",
        "check, 2 usage, 3 a precondition is not met, 4 an external tool failed, 130 interrupted.",
        "Errors say what happened, why, and what to do next; with `--json` they are JSON as well.",
        "",
        "`archibald --debug VERB ...` shows every external command as a line that can be pasted.",
        "`archibald completion bash|zsh|fish` prints the script that completes verbs and options.",
    ]
    context = click.Context(cli, info_name="archibald")
    for verb in VERBS:
        command = cli.get_command(context, verb)
        assert command is not None
        for title, text in _sections(command, ("archibald", verb)):
            level = "##" if title.count(" ") == 1 else "###"
            lines += ["", f"{level} {title}", "", "```text", text.rstrip(), "```"]
    return "\n".join(lines) + "\n"


@click.command(hidden=True)
def command() -> None:
    """Print the reference of all verbs as Markdown."""
    click.echo(manual(), nl=False)


if __name__ == "__main__":
    command(prog_name="python -m archibald.cli.manual")
