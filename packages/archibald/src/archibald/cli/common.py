"""What all verbs share: lazy loading, ``--json``, ``--debug``, errors and exit codes."""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

import click

from archibald import __version__
from archibald.errors import ArchibaldError, ExitCode

#: Verb → module of ``archibald.cli`` whose ``command`` it is. One line per verb.
VERBS: dict[str, tuple[str, str]] = {
    "profile": ("profile", "Check, explain and compare profiles."),
    "system": ("system", "Show the system that a profile describes, and why each item is there."),
    "lock": ("lock", "Pin the packages of a profile, or show what an update would change."),
    "build": ("build", "Build an image: iso, rootfs or disk."),
    "verify": ("verify", "Rebuild an ISO and compare, or compare two ISOs."),
    "run": ("run", "Boot an image in QEMU, or check it from the inside."),
    "cache": ("cache", "Show or prune the build cache."),
    "selftest": ("selftest", "Check the live state of the system that runs now."),
    "audit": ("audit", "Check this machine for real-time audio; changes nothing."),
    "plan": ("plan", "Show what apply would change, old and new."),
    "apply": ("apply", "Change this machine to what the profile wants; can be taken back."),
    "rollback": ("rollback", "Take back what apply has changed."),
    "status": ("status", "Show what apply has changed, and whether it still holds."),
    "drift": ("drift", "Show what no longer holds since the last apply."),
    "session": ("session", "Keep CPUs awake and the card first, while it runs."),
    "top": ("top", "Show what the graph and the CPUs do now."),
    "watchdog": ("watchdog", "Demote real-time threads that starve everything else."),
    "measure": ("measure", "Measure this machine: jitter, latency, xruns, boot, resources, MIDI."),
    "advise": ("advise", "Recommend quantum, headroom, IRQ and CPUs from measured runs."),
    "latency-budget": ("latency_budget", "Show where the latency of a profile comes from."),
    "report": ("report", "Make one HTML file and a Markdown summary from measured runs."),
    "compare": ("compare", "Compare two measured runs: better, worse, not distinguishable."),
    "nixos": ("nixos", "Check the NixOS base, or print a flake for a profile."),
    "completion": ("completion", "Print the shell completion script."),
}

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

EPILOG_EXAMPLES = "\b\nExamples:\n"


class _LazyVerbs(click.Group):
    """A group that imports a verb's module only when the verb is used or its help is shown."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"archibald.cli.{VERBS[cmd_name][0]}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], VERBS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such verb {args[0]!r}.{hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_LazyVerbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG_EXAMPLES
    + "  archibald build iso\n"
    + "  archibald run out/archibaldos-0.1.0.iso --check\n"
    + "  archibald profile explain audio.quantum",
)
@click.version_option(__version__, prog_name="archibald")
@click.option("--debug", is_flag=True, help="Show every external command, and tracebacks.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """A real-time audio system, described by one profile: build it, boot it, check it."""
    ctx.obj = {"debug": debug}
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.WARNING, format="%(message)s", stream=sys.stderr
    )


def json_option(function: _Decorated) -> _Decorated:
    """Add ``--json``: the command's parameter ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def profile_option(function: _Decorated) -> _Decorated:
    """Add ``--profile FILE``: the command's parameter ``profile_path`` (default archibald.toml)."""
    return click.option(
        "-p",
        "--profile",
        "profile_path",
        type=click.Path(path_type=Path, dir_okay=False),
        default=Path("archibald.toml"),
        show_default=True,
        help="The profile; its lock is the file of the same name with the ending .lock.",
    )(function)


def print_json(value: Any) -> None:
    """Print a value as indented JSON with sorted keys on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def _error_as_json(error: ArchibaldError) -> dict[str, Any]:
    return {
        "error": error.name,
        "what": error.what,
        "why": error.why,
        "next_step": error.next_step,
        "exit_code": int(error.exit_code),
        **error.details(),
    }


def _on_sigterm(_signum: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@contextlib.contextmanager
def _ended_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the command as Ctrl-C does, so that clean-up runs."""
    before = {
        sig: signal.signal(sig, _on_sigterm)
        for sig in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(sig) == signal.SIG_DFL
    }
    try:
        yield
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)


def _run(argv: Sequence[str]) -> int:
    code = cli.main(args=list(argv), prog_name="archibald", standalone_mode=False)
    return int(code) if isinstance(code, int) else ExitCode.OK


def run_cli(argv: Sequence[str]) -> int:
    """Run a command line and return its exit code; prints errors the way users read them.

    SIGTERM and SIGHUP act like Ctrl-C, so that clean-up runs.
    """
    try:
        with _ended_like_ctrl_c():
            return _run(argv)
    except click.exceptions.Exit as exit_request:
        return exit_request.exit_code
    except click.ClickException as error:
        error.show()
        return ExitCode.USAGE
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("\ninterrupted; nothing was left half-done\n")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return ExitCode.OK
    except ArchibaldError as error:
        return _show(error, argv)


def _show(error: ArchibaldError, argv: Sequence[str]) -> int:
    if "--debug" in argv:
        logging.getLogger("archibald").debug("traceback", exc_info=error)
    if "--json" in argv:
        print_json(_error_as_json(error))
    sys.stderr.write(f"archibald: {error}\n")
    return int(error.exit_code)
