"""Evaluating Nix, without building anything and without a store.

``nix-instantiate`` reads files where they are: the store is a dummy, so nothing is copied, fetched
or built, and no rights are needed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from archibald.errors import FindingsError, PreconditionError
from archibald.run import Runner, find_tool, require_tools, run

TOOL = "nix-instantiate"

_OPTIONS = ("--store", "dummy://", "--readonly-mode")

#: No evaluation of these files takes longer than some seconds, also on a busy machine.
TIMEOUT_S = 600.0


class NixError(FindingsError):
    """Nix could not read a file: a syntax error, a missing attribute, or a ``throw``."""


class NoFlakeError(PreconditionError):
    """A folder lacks the files of the NixOS base."""


def available() -> bool:
    """Say whether this machine can evaluate Nix."""
    return find_tool(TOOL) is not None


def _instantiate(words: Sequence[str | Path], what: str, runner: Runner) -> str:
    require_tools([TOOL], purpose="evaluating Nix")
    # A configuration of this machine could add search paths or plugins.
    with tempfile.TemporaryDirectory(prefix="archibald-nix-") as empty:
        env = {"NIX_CONF_DIR": empty, "NIX_PATH": "", "HOME": empty, "XDG_CACHE_HOME": empty}
        result = runner(
            [TOOL, *_OPTIONS, *words], check=False, env=env, timeout_s=TIMEOUT_S
        )  # fmt: skip
    # A failed evaluation may leave half of its answer on standard output: only the status counts.
    if result.returncode != 0:
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        raise NixError(
            f"Nix cannot evaluate {what}",
            why="\n        ".join(lines[-12:]) or f"exit status {result.returncode}",
            next_step="correct the place that the message names, then run: archibald nixos check",
        )
    return result.stdout


def parse(path: Path, *, runner: Runner = run) -> None:
    """Read a file's syntax. Raises :class:`NixError`."""
    _instantiate(["--parse", path], str(path), runner)


def evaluate(file: Path, arguments: Mapping[str, Any], *, runner: Runner = run) -> Any:
    """Return what the function in ``file`` gives, as JSON types.

    ``arguments`` are handed over as one JSON file: the function takes ``{ input }``, its path as a
    string. Raises :class:`NixError`.
    """
    with tempfile.TemporaryDirectory(prefix="archibald-nix-") as folder:
        data = Path(folder, "input.json")
        data.write_text(json.dumps(arguments), encoding="utf-8")
        words: list[str | Path] = ["--eval", "--strict", "--json", file]
        text = _instantiate([*words, "--argstr", "input", str(data)], file.name, runner)
    return json.loads(text)


def nix_files(folder: Path) -> list[Path]:
    """Return ``flake.nix`` and every Nix file under ``nix/``, sorted.

    Raises :class:`NoFlakeError` when the folder has none.
    """
    found = [*folder.glob("flake.nix"), *folder.glob("nix/**/*.nix")]
    if not (folder / "nix" / "render.nix").is_file():
        raise NoFlakeError(
            f"{folder} has no nix/render.nix",
            why="the check needs the source tree of archibald, with flake.nix and nix/",
            next_step="name the folder of the source tree: archibald nixos check FOLDER",
        )
    return sorted(found)
