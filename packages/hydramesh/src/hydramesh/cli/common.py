"""What all verbs share: lazy loading, ``--json``, the way to the daemon, errors and exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hydramesh import __version__
from hydramesh.errors import DaemonNotRunning, HydraMeshError, StorageFailure, from_wire

if TYPE_CHECKING:
    from hydramesh.config import Config
    from hydramesh.identity.state import State

EXIT_USAGE, EXIT_INTERRUPTED = 2, 130
_TIMEOUT_S = 60.0
_SOON_S = 1.0

#: Verb → (module of ``hydramesh.cli``, the command in it, one line). One line per verb.
VERBS: dict[str, tuple[str, str, str]] = {
    "init": ("joining", "init", "Found a realm with this node as its authority."),
    "invite": ("joining", "invite", "Make a one-time invite: a code, and a QR code."),
    "join": ("joining", "join", "Join a realm with an invite."),
    "leave": ("joining", "leave", "Leave the realm and delete its keys."),
    "members": ("joining", "members", "List whom the realm has admitted."),
    "revoke": ("joining", "revoke", "Expel a node from the realm."),
    "status": ("looking", "status", "Show how this node is."),
    "peers": ("looking", "peers", "List the other nodes, with round trip, jitter and loss."),
    "links": ("looking", "links", "List the direct links."),
    "doctor": ("looking", "doctor", "Check certificate, clock, port and peers."),
    "topology": ("looking", "topology", "Show who is linked with whom."),
    "groups": ("steering", "groups", "List the groups of nodes that are near each other."),
    "role": ("steering", "role", "Show or set whether this node may become master."),
    "relay": ("steering", "relay", "Make this node one through which others reach each other."),
    "heal": ("steering", "heal", "Dial everybody who is away, now."),
    "simulate-failure": ("steering", "simulate_failure", "Lose a node or a link for a while."),
    "benchmark": ("benching", "benchmark", "Measure round trips and throughput to a node."),
    "share": ("sharing", "share", "Share a folder or a StreamDB store as a collection."),
    "unshare": ("sharing", "unshare", "Stop sharing a collection."),
    "follow": ("sharing", "follow", "Follow a collection of another node."),
    "unfollow": ("sharing", "unfollow", "Stop following a collection."),
    "collections": ("sharing", "collections", "List the collections, with state and progress."),
    "files": ("sharing", "files", "List the documents of a collection."),
    "fetch": ("sharing", "fetch", "Bring contents that are here by name only."),
    "grant": ("sharing", "grant", "Make a node owner, editor or reader of a collection."),
    "sync": ("syncing", "sync", "Bring collections up to date now, and show how far it is."),
    "pause": ("syncing", "pause", "Stop transfers, of one collection or of all."),
    "resume": ("syncing", "resume", "Go on with transfers."),
    "limit": ("syncing", "limit", "Show or set how fast transfers may be."),
    "config": ("configuring", "config", "Check the configuration, or print its schema."),
    "completion": ("completion", "completion", "Print the shell completion script."),
}

EXAMPLES = "\b\nExamples:\n"
_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


class ReaderGone(Exception):
    """Whoever read our output has gone: nothing is wrong, and nothing more is to be said."""


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
        command = getattr(importlib.import_module(f"hydramesh.cli.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, _, text) in VERBS.items()])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _place_first(args))

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
        except BrokenPipeError:
            raise ReaderGone from None
        return result


def _place_first(args: Sequence[str]) -> list[str]:
    """The options that say which node, before the verb: they may stand behind it as well.

    >>> _place_first(["peers", "--state", "mesh", "--json"])
    ['--state', 'mesh', 'peers', '--json']
    """
    first: list[str] = []
    rest: list[str] = []
    left = list(args)
    while left:
        arg = left.pop(0)
        if arg == "--":
            return [*first, *rest, arg, *left]
        name, given, _ = arg.partition("=")
        if name not in ("--state", "--config", "--debug"):
            rest.append(arg)
            continue
        first.append(arg)
        if name != "--debug" and not given and left:
            first.append(left.pop(0))
    return [*first, *rest]


@dataclass(frozen=True, slots=True)
class Place:
    """Which node the command is about."""

    state_dir: Path | None
    config_file: Path | None


@click.group(
    cls=_LazyVerbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    epilog=EXAMPLES
    + "  hydramesh init --realm band\n"
    + "  hydramesh invite\n"
    + "  hydramesh status --json",
)
@click.version_option(__version__, prog_name="hydramesh")
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="State directory (also after the verb). Default: $HYDRAMESH_STATE, else"
    " /var/lib/hydramesh for root, else ~/.local/share/hydramesh.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="Configuration. Default: $HYDRAMESH_CONFIG, else /etc/hydramesh/config.json.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def cli(ctx: click.Context, state: Path | None, config_file: Path | None, debug: bool) -> None:
    """An encrypted mesh of peers. The daemon is hydrameshd; without a realm it opens no port."""
    del debug
    ctx.obj = Place(state, config_file)


def json_option(function: _Decorated) -> _Decorated:
    """Add ``--json``: the command's parameter ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def _node_of(place: Place) -> tuple[State, Config]:
    from hydramesh import config
    from hydramesh.identity.state import State, default_state_dir

    settings = config.load(place.config_file)
    configured = settings.text("state-dir")
    root = place.state_dir or (Path(configured) if configured else default_state_dir())
    return State(root), settings


def call(
    place: Place, method: str, request: Any, *, alone: str = "", service: str = "Control"
) -> Any:
    """Ask the daemon; without one, do it here if ``alone`` names the method of ``Daemon``."""
    from hydramesh.control import Daemon, socket_path

    state, settings = _node_of(place)
    try:
        with _asked(socket_path(state, settings), service) as stub:
            return getattr(stub, method)(request, timeout=_TIMEOUT_S)
    except DaemonNotRunning:
        if not alone:
            raise
    with state.locked():
        return asyncio.run(getattr(Daemon(state, settings, runs=False), alone)(request))


def ask_soon(place: Place, method: str, request: Any, *, service: str) -> Any:
    """Ask the daemon for something that is of use at once or not at all."""
    from hydramesh.control import socket_path

    with _asked(socket_path(*_node_of(place)), service) as stub:
        return getattr(stub, method)(request, timeout=_SOON_S)


def ask_library(place: Place, method: str, request: Any) -> Any:
    """Ask the daemon's library."""
    return call(place, method, request, service="Library")


def listen(place: Place, method: str, request: Any, *, service: str) -> Iterator[Any]:
    """Ask the daemon for something that takes long; yields what it tells meanwhile."""
    from hydramesh.control import socket_path

    with _asked(socket_path(*_node_of(place)), service) as stub:
        yield from getattr(stub, method)(request)


@contextlib.contextmanager
def _asked(path: Path, service: str) -> Iterator[Any]:
    """The daemon's service; what goes wrong inside comes out as a named error."""
    import grpc

    module = importlib.import_module(f"hydramesh.v1.{service.lower()}_pb2_grpc")
    absent = DaemonNotRunning(
        "the daemon does not run",
        why=f"nobody answers at {path}",
        next_step="start it: hydrameshd, or: systemctl start hydramesh",
    )
    if not path.exists():
        raise absent
    with grpc.insecure_channel(f"unix:{path}") as channel:
        try:
            yield getattr(module, f"{service}Stub")(channel)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.UNAVAILABLE:
                raise absent from None
            raise _told(error.details() or "") from None


def _told(details: str) -> HydraMeshError:
    try:
        said = json.loads(details)
        return from_wire(said["error"], said["what"], said["why"], said["next_step"])
    except (ValueError, KeyError, TypeError):
        return HydraMeshError(
            "the daemon failed", why=details[:200], next_step="see its log: journalctl -u hydramesh"
        )


def show(message: Any, as_json: bool, text: Callable[[], None]) -> None:
    """Print a message as JSON, or as ``text`` prints it."""
    if as_json:
        from google.protobuf.json_format import MessageToDict

        data = MessageToDict(
            message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
        )
        click.echo(json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False))
    else:
        text()


def print_rows(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: drawn on a terminal, else values between tabs, without heads.

    Names from the network cannot do anything to the terminal: what is not printable is escaped.
    """
    safe = [[_shown(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        for row in safe:
            click.echo("\t".join(row))
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    for row in safe:
        table.add_row(*(Text(value) for value in row))
    Console(highlight=False).print(table)


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def when(seconds: float) -> str:
    """A time in this time zone."""
    import datetime

    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def run_cli(argv: Sequence[str]) -> int:
    """Run a command line and return its exit code; prints errors the way users read them."""
    try:
        code = cli.main(args=list(argv), prog_name="hydramesh", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except (ReaderGone, BrokenPipeError):
        # Python flushes once more when it ends.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except click.exceptions.Exit as exit_request:
        return exit_request.exit_code
    except click.ClickException as error:
        if "--json" in argv:
            _print_error("Usage", error.format_message(), "", "see hydramesh --help", EXIT_USAGE)
        error.show()
        return EXIT_USAGE
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("interrupted\n")
        return EXIT_INTERRUPTED
    except HydraMeshError as error:
        return _fail(error, argv)
    except OSError as error:
        return _fail(StorageFailure(error.strerror or str(error)), argv)


def _print_error(error: str, what: str, why: str, next_step: str, code: int) -> None:
    told = {"error": error, "what": what, "why": why, "next_step": next_step, "exit_code": code}
    click.echo(json.dumps(told, indent=2, sort_keys=True))


def _fail(error: HydraMeshError, argv: Sequence[str]) -> int:
    if "--debug" in argv:
        traceback.print_exception(error)
    if "--json" in argv:
        _print_error(error.name, error.what, error.why, error.next_step, error.exit_code)
    sys.stderr.write(f"hydramesh: {error}\n")
    return error.exit_code
