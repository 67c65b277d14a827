"""The profiles that come with archibald, and new profiles made from them."""

from __future__ import annotations

import os
from importlib import resources
from pathlib import Path

from archibald.errors import PreconditionError
from archibald.profile.load import parse_profile
from archibald.profile.model import Profile
from archibald.profile.problems import printable
from archibald.profile.render import template

#: Names of the profiles under ``archibald/profile/builtin``, copies of the repository's profiles/.
STARTERS = ("core", "studio")

_TITLES = {
    "core": "A small system: real-time kernel, PipeWire, MIDI and a console.",
    "studio": "A studio: desktop and audio applications on the real-time base.",
}


def starter(name: str) -> Profile:
    """Return a profile that comes with archibald: "core" or "studio"."""
    file = resources.files("archibald.profile") / "builtin" / f"{name}.toml"
    return parse_profile(file.read_text(encoding="utf-8"), filename=f"{name}.toml")


def starter_text(name: str) -> str:
    """Return a commented profile that is equal to :func:`starter`."""
    hint = "Lines that begin with # show defaults; `archibald profile check` checks this file."
    return template(starter(name), title=f"{_TITLES[name]} {hint}")


def write_new(path: Path, text: str, *, replace: bool) -> None:
    """Write a file completely or not at all, and never over another one unless ``replace``.

    Raises :class:`PreconditionError`.
    """
    try:
        target = path.with_name(f".{path.name}.{os.getpid()}") if replace else path
        _create(target, text)
        if replace:
            _move(target, path)
    except FileExistsError:
        raise PreconditionError(
            f"{printable(str(path))} exists already",
            next_step="name another file, or replace it with --force",
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise PreconditionError(
            f"cannot write {printable(str(path))}",
            why=str(reason),
            next_step="name a file in a folder that exists and that you may write to",
        ) from None


def _create(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8") as stream:
        try:
            stream.write(text)
            stream.flush()
        except BaseException:
            path.unlink(missing_ok=True)
            raise


def _move(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except BaseException:
        source.unlink(missing_ok=True)
        raise
