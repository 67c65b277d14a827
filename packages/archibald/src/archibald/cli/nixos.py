"""``archibald nixos``: check the NixOS base, and print a flake for a profile."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote

import click

from archibald.cli.common import EPILOG_EXAMPLES, json_option, print_json, profile_option
from archibald.errors import ExitCode, FindingsError, PreconditionError


@click.group(
    epilog=EPILOG_EXAMPLES + "  archibald nixos check\n"
    "  archibald nixos export --profile studio.toml > flake.nix"
)
def command() -> None:
    """Check the NixOS base, or print a flake for a profile."""


@command.command(
    epilog=EPILOG_EXAMPLES + "  archibald nixos check\n"
    "  archibald nixos check --profile mine.toml\n"
    "  archibald nixos check --json | jq '.checks[] | select(.state == \"bad\")'"
)
@click.argument(
    "folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default=Path()
)
@click.option(
    "-p", "--profile", "profiles", multiple=True, type=click.Path(path_type=Path, dir_okay=False),
    help="A profile to compare both bases with; several times. Default: those of FOLDER.",
)  # fmt: skip
@json_option
def check(folder: Path, profiles: tuple[Path, ...], as_json: bool) -> int:
    """Check flake.nix and nix/ in FOLDER, a source tree of archibald (default: here).

    Needs nix-instantiate (Debian: nix-bin) and nothing else: no nixpkgs, no network, no rights.
    Exit code 1 when something is wrong.
    """
    from archibald.nixos.check import check_all

    found = check_all(folder, profiles)
    bad = any(one.state == "bad" for one in found)
    if as_json:
        print_json({"ok": not bad, "checks": [asdict(one) for one in found]})
    else:
        for one in found:
            click.echo(f"{one.state:14}  {one.name}: {one.evidence}")
            for finding in one.findings:
                click.echo(f"{'':14}  - {finding}")
    return ExitCode.FINDINGS if bad else ExitCode.OK


def _source_tree() -> Path | None:
    """Return the source tree that this program runs from, or None if it was installed."""
    for folder in (Path.cwd(), *Path(__file__).resolve().parents):
        if (folder / "flake.nix").is_file() and (folder / "nix" / "render.nix").is_file():
            return folder
    return None


def _address(tree: Path) -> str:
    """Return where Nix finds a source tree; from a git repository it takes what git knows."""
    kind = "git+file://" if (tree / ".git").exists() else "path:"
    return kind + quote(str(tree))


def _refuse_unsupported(tree: Path, profile_path: Path) -> None:
    """Raise FindingsError when the NixOS base cannot do what a profile asks."""
    from archibald.nixos.conformance import render_all
    from archibald.profile.load import load_profile

    [found] = render_all(tree, [load_profile(profile_path)])
    sentences = [*found["problems"], *found["unsupported"]]
    if sentences:
        raise FindingsError(
            f"the NixOS base cannot do all that {profile_path} asks",
            why="\n        ".join(sentences),
            next_step="change the profile, or set what is missing in a module of your own "
            "(--force prints the flake all the same)",
        )


def _disk(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Refuse what is no disk: a name such as /dev/sda, on whatever machine it is."""
    if value and re.fullmatch(r"/dev/[A-Za-z0-9/._:-]+", value) is None:
        raise click.BadParameter(f"{value!r} is no disk; it takes a path such as /dev/sda")
    return value


@command.command(
    epilog=EPILOG_EXAMPLES + "  archibald nixos export > flake.nix\n"
    "  archibald nixos export --profile studio.toml --flake git+file:///srv/archibald"
)
@profile_option
@click.option(
    "--flake", "url", default="", metavar="URL",
    help="Where Nix finds archibald's flake. Default: the source tree that this program runs from.",
)  # fmt: skip
@click.option(
    "--grub",
    default="",
    metavar="DISK",
    callback=_disk,
    help="The disk that GRUB starts from, on a machine without UEFI. Default: systemd-boot.",
)
@click.option("--force", is_flag=True, help="Print it also when the base cannot do all of it.")
@json_option
def export(profile_path: Path, url: str, grub: str, force: bool, as_json: bool) -> int:
    """Print a flake.nix for the system of a profile.

    It goes beside the hardware-configuration.nix of the machine.
    """
    from archibald.nixos.evaluate import available
    from archibald.nixos.export import flake_text
    from archibald.profile.load import load_profile

    profile = load_profile(profile_path)
    tree = _source_tree()
    if tree is not None:
        url = url or _address(tree)
        if available() and not force:
            _refuse_unsupported(tree, profile_path)
    elif not url:
        raise PreconditionError(
            "there is no source tree of archibald here",
            why="the flake needs to say where Nix finds archibald's",
            next_step="name it: archibald nixos export --flake URL",
        )
    text = flake_text(profile, url=url, grub=grub)
    if as_json:
        print_json({"flake.nix": text, "host": profile.system.hostname})
    else:
        click.echo(text, nl=False)
    return ExitCode.OK
