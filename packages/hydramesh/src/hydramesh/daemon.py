"""``hydrameshd``: the daemon, under systemd or in the foreground."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

import click

from hydramesh import __version__, config, systemd
from hydramesh.config import Config
from hydramesh.control import Daemon, serve, socket_path
from hydramesh.errors import DuplicateNode, HydraMeshError
from hydramesh.identity.state import State, default_state_dir


async def run(state: State, settings: Config) -> None:
    """Run until SIGTERM or SIGINT."""
    daemon = Daemon(state, settings)
    path = socket_path(state, settings)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    server = await serve(daemon, path)
    # Ready is who can be asked: how it goes with the realm is an answer, too.
    systemd.notify("READY=1")
    try:
        await daemon.start_node()
        await _until(ended, daemon)
    finally:
        systemd.notify("STOPPING=1")
        await server.stop(0.5)
        path.unlink(missing_ok=True)
        await daemon.stop_node()


async def _until(ended: asyncio.Event, daemon: Daemon) -> None:
    while not ended.is_set():
        try:
            async with asyncio.timeout(0.5):
                await ended.wait()
        except TimeoutError:
            node = daemon.node
            if node is not None and node.duplicate.is_set():
                raise DuplicateNode(
                    "another process uses this node's id",
                    why="its state directory was copied; this one yields",
                    next_step="on one of the two: hydramesh leave, then join with a new invite",
                ) from None


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    epilog="\b\nExamples:\n  hydrameshd\n"
    "  hydrameshd --state ~/mesh --config ~/mesh.json --verbose\n"
    "  hydrameshd --unit > /etc/systemd/system/hydramesh.service",
)
@click.version_option(__version__, prog_name="hydrameshd")
@click.option("--state", "state_dir", type=click.Path(path_type=Path), help="State directory.")
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="Configuration.")
@click.option("-v", "--verbose", is_flag=True, help="Log dialling as well.")
@click.option("--unit", is_flag=True, help="Print a unit for systemd that runs this program.")
def command(state_dir: Path | None, config_file: Path | None, verbose: bool, unit: bool) -> None:
    """Run this node of the mesh in the foreground.

    Without a realm it opens no port and waits for `hydramesh init` or `hydramesh join`.
    """
    if unit:
        click.echo(systemd.unit([_program()]), nl=False)
        return
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO, format="%(levelname)s %(message)s"
    )
    for noisy in ("asyncio", "grpc"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    os.umask(0o077)
    settings = config.load(config_file)
    for warning in settings.warnings:
        logging.getLogger("hydramesh").warning("configuration: %s", warning)
    configured = settings.text("state-dir")
    root = state_dir or (Path(configured) if configured else default_state_dir())
    # What it tells of its files is read by programs in other directories.
    state = State(root.absolute())
    with state.locked():
        asyncio.run(run(state, settings))


def _program() -> str:
    """This program, as a path that systemd can start."""
    found = Path(sys.argv[0]).absolute()
    return str(found) if found.name == "hydrameshd" else systemd.PROGRAM


def main() -> None:
    """Entry point of ``hydrameshd``."""
    try:
        code = command.main(prog_name="hydrameshd", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except HydraMeshError as error:
        sys.stderr.write(f"hydrameshd: {error}\n")
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
