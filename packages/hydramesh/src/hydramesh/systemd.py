"""The daemon under systemd: the unit that is shipped with the package, and what it is told."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
from collections.abc import Sequence
from importlib.resources import files

from hydramesh.errors import InvalidArgument

UNIT = "hydramesh.service"
PROGRAM = "/usr/bin/hydrameshd"


def unit(
    command: Sequence[str] = (PROGRAM,), *, library: str = "", groups: Sequence[str] = ()
) -> str:
    """The unit's text.

    Args:
        command: what runs the daemon, the program as an absolute path.
        library: a folder that the daemon reads and writes, such as the sample library.
        groups: groups that let it, such as ``audio``.

    >>> "ExecStart=/opt/mesh/hydrameshd --verbose" in unit(["/opt/mesh/hydrameshd", "--verbose"])
    True
    """
    for word in (*command, library, *groups):
        if any(letter in word for letter in "\n\r\0%$\\\"'"):
            raise InvalidArgument(f"a unit cannot hold {word[:40]!a}")
    text = (files("hydramesh") / UNIT).read_text(encoding="utf-8")
    text = text.replace(f"ExecStart={PROGRAM}\n", f"ExecStart={shlex.join(command)}\n")
    more = [f"SupplementaryGroups={' '.join(groups)}"] if groups else []
    # A folder that is not there yet must not keep the daemon from starting.
    more += [f'ReadWritePaths="-{library}"'] if library else []
    return text.replace("\n[Install]", "\n".join([*more, "", "[Install]"]))


def notify(text: str) -> None:
    """Tell systemd a line such as ``READY=1`` (sd_notify(3)); without systemd nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with (
        contextlib.suppress(OSError),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told,
    ):
        told.sendto(text.encode(), address)
