"""What all verbs share: lazy loading, ``--json``, ``--debug``, errors and exit codes."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn, TypeVar

import click

from streamdb import __version__
from streamdb.cli.output import print_json, shown
from streamdb.errors import StorageFailure, StreamDBError

EXIT_OK, EXIT_FINDINGS, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130

#: Verb → (module of ``streamdb.cli``, the command in it, one line). One line per verb.
VERBS: dict[str, tuple[str, str, str]] = {
    "init": ("init", "init", "Make a store."),
    "import": ("importing", "import_", "Store the files of a folder that are new or changed."),
    "export": ("exporting", "export", "Write documents as files into a folder."),
    "watch": ("watching", "watch", "Keep a folder imported as it changes."),
    "put": ("documents", "put", "Store one document."),
    "get": ("documents", "get", "Print a document, or write it to a file."),
    "ls": ("listing", "ls", "List a folder of the store."),
    "tree": ("listing", "tree", "Show the folders of the store as a tree."),
    "search": ("searching", "search", "List the paths that begin with a text."),
    "suffix": ("searching", "suffix", "List the paths that end with a text."),
    "find": ("searching", "find", "Find documents by rate, tempo, key, tags and more."),
    "stat": ("documents", "stat", "Show what is known of documents."),
    "rm": ("changing", "rm", "Delete documents."),
    "mv": ("changing", "mv", "Rename documents or folders."),
    "bind": ("changing", "bind", "Give a document one more path."),
    "unbind": ("changing", "unbind", "Take one of a document's several paths away."),
    "history": ("versions", "history", "List the versions of a document that are kept."),
    "restore": ("versions", "restore", "Make an old version the current one again."),
    "changes": ("versions", "changes", "Print the feed of changes."),
    "stats": ("care", "stats", "Show counts and sizes of the store."),
    "check": ("care", "check", "Check every checksum and every reference."),
    "repair": ("repairing", "repair", "Rebuild the index; put damaged documents aside."),
    "gc": ("care", "gc", "Free what nothing refers to any more."),
    "backup": ("care", "backup", "Copy the store while it is in use, and check the copy."),
    "completion": ("completion", "completion", "Print the shell completion script."),
}

EXAMPLES = "\b\nExamples:\n"

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])
_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 96}


class ReaderGone(Exception):
    """Whoever read our output has gone: nothing is wrong, and nothing more is to be said."""


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: end as for Ctrl-C."""


class _LazyVerbs(click.Group):
    """A group that imports a verb's module only when the verb is used or its help is shown."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in VERBS:
            return None
        module, name, _ = VERBS[cmd_name]
        command = getattr(importlib.import_module(f"streamdb.cli.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, _, text) in VERBS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], VERBS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such verb {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        # click turns a broken pipe into exit code 1 by itself; for a list cut short by `head`
        # that is no failure.
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise ReaderGone from None
            raise
        return result


class QueryCommand(click.Command):
    """A command whose arguments may be terms such as ``-tag:old``, which look like options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [_as_term(arg) for arg in args])


def _as_term(arg: str) -> str:
    from streamdb.metadata.fields import ALIASES, FIELDS

    found = re.match(r"-([a-z_]{2,})(?:\.[^=:<>~!]*)?[=:<>~!]", arg)
    known = found is not None and (found[1] in FIELDS or found[1] in ALIASES or found[1] == "meta")
    return "!" + arg[1:] if known else arg


@click.group(
    cls=_LazyVerbs,
    context_settings=_HELP,
    epilog=EXAMPLES
    + "  streamdb init\n"
    + "  streamdb import samples\n"
    + "  streamdb find rate=96000 'tempo=118..122' key=Cmin",
)
@click.version_option(__version__, prog_name="streamdb")
@click.option(
    "-s",
    "--store",
    metavar="DIR",
    help="The store (also after the verb). Default: $STREAMDB_STORE, else the nearest store in"
    " this folder or one above it.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def cli(ctx: click.Context, store: str | None, debug: bool) -> None:
    """The store of a sample library: find by name, sound and tags; keep every byte."""
    ctx.obj = {"store": store, "debug": debug}


def json_option(function: _Decorated) -> _Decorated:
    """Add ``--json``: the command's parameter ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def quiet_option(function: _Decorated) -> _Decorated:
    """Add ``--quiet``: no progress."""
    return click.option("-q", "--quiet", is_flag=True, help="Show no progress.")(function)


def null_option(function: _Decorated) -> _Decorated:
    """Add ``--null``: end each path with a NUL, for ``xargs -0``."""
    return click.option(
        "-0", "--null", is_flag=True, help="End each path with a NUL byte (for xargs -0)."
    )(function)


def _on_signal(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise Terminated


@contextlib.contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the command as Ctrl-C does, so that clean-up runs."""
    before = {
        sig: signal.signal(sig, _on_signal)
        for sig in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(sig) == signal.SIG_DFL
    }
    try:
        yield
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)


def _run(argv: Sequence[str]) -> int:
    code = cli.main(args=list(argv), prog_name="streamdb", standalone_mode=False)
    return code if isinstance(code, int) else EXIT_OK


def run_cli(argv: Sequence[str]) -> int:
    """Run a command line and return its exit code; prints errors the way users read them.

    SIGTERM and SIGHUP act like Ctrl-C, so that clean-up runs.
    """
    try:
        with _ended_like_ctrl_c():
            return _run(argv)
    except (ReaderGone, BrokenPipeError):
        _close_output()
        return EXIT_OK
    except click.exceptions.Exit as exit_request:
        return exit_request.exit_code
    except click.ClickException as error:
        return _show_usage(error, argv)
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("interrupted; the store is whole\n")
        return EXIT_INTERRUPTED
    except StreamDBError as error:
        return _show(error, argv)
    except OSError as error:
        return _show(_from_outside(error), argv)


def _wants(argv: Sequence[str], option: str) -> bool:
    ahead = argv[: argv.index("--")] if "--" in argv else argv
    return option in ahead


def _show(error: StreamDBError, argv: Sequence[str]) -> int:
    if _wants(argv, "--debug"):
        traceback.print_exception(error)
    with contextlib.suppress(OSError):
        if _wants(argv, "--json"):
            print_json(error.details())
        sys.stdout.flush()
    sys.stderr.write(f"streamdb: {shown(str(error), newlines=True)}\n")
    return int(error.exit_code)


def _show_usage(error: click.ClickException, argv: Sequence[str]) -> int:
    if _wants(argv, "--json"):
        print_json(
            {
                "error": "Usage",
                "what": error.format_message(),
                "why": "",
                "next_step": "see streamdb --help",
                "exit_code": EXIT_USAGE,
            }
        )
    error.show()
    return EXIT_USAGE


def _from_outside(error: OSError) -> StreamDBError:
    name = f"{error.filename!r}: " if error.filename else ""
    return StorageFailure(
        f"{name}{(error.strerror or str(error)).lower()}",
        next_step="see that it is there, that you may use it, and that the disk is not full",
    )


def _close_output() -> None:
    # Python flushes standard output once more at its end, and would complain then.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
