"""The thin part of the probes: files, folders and commands of the machine that runs now."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from archibald.errors import ArchibaldError
from archibald.run import Runner, run
from archibald.vm.selftest.model import UnreadableError


@dataclass(frozen=True)
class SessionUser:
    """The user whose session plays the audio."""

    name: str
    uid: int

    @property
    def runtime_dir(self) -> str:
        """The folder of the session's sockets."""
        return f"/run/user/{self.uid}"

    @property
    def environment(self) -> Mapping[str, str]:
        """What a command needs to find the session's PipeWire and systemd."""
        return {
            "XDG_RUNTIME_DIR": self.runtime_dir,
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.runtime_dir}/bus",
        }


class Reader(Protocol):
    """What probes may look at. Every method raises UnreadableError with the reason."""

    @property
    def user(self) -> SessionUser: ...

    def text(self, path: str) -> str:
        """Return a file's text."""
        ...

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a folder."""
        ...

    def link(self, path: str) -> str:
        """Return what a symbolic link points to."""
        ...

    def command(
        self, argv: Sequence[str], *, in_session: bool = False, accept: Sequence[int] = (0,)
    ) -> str:
        """Return what a command prints, if it ends with an accepted status.

        ``in_session`` runs it as the session's user.
        """
        ...


@dataclass(frozen=True)
class LiveReader:
    """Reads the machine that runs now."""

    user: SessionUser
    runner: Runner = run
    timeout_s: float = 600.0

    def text(self, path: str) -> str:
        """Return a file's text."""
        try:
            return Path(path).read_text("utf-8", "replace")
        except OSError as error:
            raise UnreadableError(f"{path}: {error.strerror or error}") from None

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a folder."""
        try:
            return sorted(entry.name for entry in Path(path).iterdir())
        except OSError as error:
            raise UnreadableError(f"{path}: {error.strerror or error}") from None

    def link(self, path: str) -> str:
        """Return what a symbolic link points to."""
        try:
            return str(Path(path).readlink())
        except OSError as error:
            raise UnreadableError(f"{path}: {error.strerror or error}") from None

    def command(
        self, argv: Sequence[str], *, in_session: bool = False, accept: Sequence[int] = (0,)
    ) -> str:
        """Return what a command prints, if it ends with an accepted status."""
        words, env = session_command(self.user, argv) if in_session else (tuple(argv), None)
        try:
            result = self.runner(words, check=False, env=env, timeout_s=self.timeout_s)
        except ArchibaldError as error:
            raise UnreadableError(f"{error.what}: {error.why}") from None
        if result.returncode not in accept:
            reason = (result.stderr or result.stdout).strip()[-400:]
            raise UnreadableError(
                f"{' '.join(argv)} ended with status {result.returncode}: {reason}"
            )
        return result.stdout


def session_command(
    user: SessionUser, argv: Sequence[str]
) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Return argv and environment that run a command inside the user's session."""
    if os.geteuid() == user.uid:
        return tuple(argv), user.environment
    return ("runuser", "-u", user.name, "--", *argv), user.environment
