"""What the verbs of tuning share: which machine, which profile, which user, which card."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from archibald.errors import PreconditionError

if TYPE_CHECKING:
    from archibald.profile.model import Profile
    from archibald.tune.journal import Journal
    from archibald.tune.model import Scene
    from archibald.vm.selftest.reader import SessionUser

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])

#: Where a system keeps its profile: the one of apply --persist, or of NixOS, before an image's.
EMBEDDED_PROFILES = (
    Path("/etc/archibald/profile.json"),
    Path("/usr/lib/archibald/profile.json"),
)

_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)


def machine_options(function: _Decorated) -> _Decorated:
    """Add ``--profile``, ``--card``, ``--user`` and ``--root``."""
    options = (
        click.option("-p", "--profile", "profile_path", type=_FILE,
                     help="What is wanted. Default: the profile of this system, else "
                     "archibald.toml here, else the defaults."),
        click.option("--card", default="", metavar="ID",
                     help="The audio interface, by id or number. Default: USB before built-in."),
        click.option("--user", "user_name", default="", metavar="NAME",
                     help="Whose session. Default: yours; as root, of the one who has PipeWire."),
        click.option("--root", type=_FOLDER, default=Path("/"), metavar="DIR",
                     help="Look at a recorded or mounted system instead of the running one."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


def journal_option(function: _Decorated) -> _Decorated:
    """Add ``--journal DIR``: the command's parameter ``journal_folder``."""
    return click.option(
        "--journal", "journal_folder", type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR", help="Where the journal is. Default: /var/lib/archibald/tune.",
    )(function)  # fmt: skip


def journal_at(folder: Path | None, root: Path) -> Journal:
    """Return the journal of a machine."""
    from archibald.tune.journal import FOLDER, Journal

    return Journal(folder or root / FOLDER)


def require_root(root: Path, what: str, *arguments: str) -> None:
    """Refuse to change the running system without the right to.

    Raises :class:`PreconditionError`.
    """
    if root == Path("/") and os.geteuid() != 0:
        raise PreconditionError(
            f"{what} needs root", why=f"you are user {os.geteuid()}",
            next_step=f"sudo archibald {' '.join(arguments)}",
        )  # fmt: skip


def chosen_profile(path: Path | None) -> tuple[Profile, str]:
    """Return the profile that counts, and where it comes from."""
    from archibald.profile.load import load_profile, load_resolved
    from archibald.profile.model import Profile

    if path is not None:
        return load_profile(path), str(path)
    for place in EMBEDDED_PROFILES:
        with contextlib.suppress(FileNotFoundError):
            return load_resolved(place.read_bytes()), str(place)
    here = Path("archibald.toml")
    if here.exists():
        return load_profile(here), str(here)
    return Profile(), "the defaults (no profile here)"


def session_user(name: str) -> SessionUser:
    """Return whose session is looked at.

    Raises :class:`PreconditionError` when there is no such user.
    """
    import pwd

    from archibald.vm.selftest.reader import SessionUser

    if name:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            raise PreconditionError(
                f"there is no user {name!r}", next_step="name one of: getent passwd"
            ) from None
        return SessionUser(entry.pw_name, entry.pw_uid)
    uid = os.geteuid() or _user_with_pipewire()
    try:
        return SessionUser(pwd.getpwuid(uid).pw_name, uid)
    except KeyError:
        return SessionUser(str(uid), uid)


def _user_with_pipewire() -> int:
    """Return for root the one user who has a PipeWire, or who called sudo; else root itself."""
    owners = set()
    with contextlib.suppress(OSError):
        for folder in Path("/run/user").iterdir():
            if folder.name.isdigit() and folder.name != "0" and (folder / "pipewire-0").exists():
                owners.add(int(folder.name))
    caller = os.environ.get("SUDO_UID", "")
    if caller.isdigit() and (not owners or int(caller) in owners):
        return int(caller)
    return owners.pop() if len(owners) == 1 else 0


def look(wanted: Profile, *, root: Path, card: str, user_name: str, ask: bool = True) -> Scene:
    """Return the machine together with what the profile wants of it.

    ``ask`` starts the programs that an audit will ask.
    """
    from archibald.profile.model import Profile
    from archibald.tune.audit import make_scene
    from archibald.tune.observe import live_sight, recorded_sight
    from archibald.vm.selftest.model import UnreadableError

    try:
        running = root == Path("/")
        sight = live_sight(session_user(user_name)) if running else recorded_sight(root)
        return make_scene(sight, wanted, card=card, adapt=wanted == Profile(), ask=ask)
    except UnreadableError as error:
        raise PreconditionError(
            "this is no Linux system that could be looked at",
            why=str(error),
            next_step="mount /proc and /sys, or name the root folder of a recording with --root",
        ) from None
