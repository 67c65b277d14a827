"""Saying who it was: to the journal, with fields, and to whoever sits at a desktop.

Nothing here waits: while a CPU is starved, whoever would answer may be starved as well.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from archibald.tune.watchdog.model import Event, Kind

if TYPE_CHECKING:
    from archibald.run import Runner
    from archibald.vm.selftest.reader import SessionUser

JOURNAL = Path("/run/systemd/journal/socket")

RUNTIME = Path("/run/user")

#: Find them all with ``journalctl MESSAGE_ID=...``.
MESSAGE_IDS: Mapping[Kind, str] = {
    Kind.DEMOTED: "3ea788a4ee8041b9a89e03a5ddb43234",
    Kind.REFUSED: "93cd9fc1d9ce4f33872cbe72cc453fdb",
    Kind.KERNEL: "e633660317c045d2996e3664fd4a4ed7",
    Kind.UNEXPLAINED: "070328a579194f6181d19cd6ab6c7629",
}

#: Seconds after which a desktop that does not answer is left alone.
_PATIENCE_S = 10


def fields(event: Event) -> dict[str, str]:
    """Return an event as fields of the journal (systemd.journal-fields(7))."""
    found = {
        "MESSAGE": printable(event.message),
        "MESSAGE_ID": MESSAGE_IDS[event.kind],
        "PRIORITY": "4" if event.kind in (Kind.DEMOTED, Kind.REFUSED) else "5",
        "SYSLOG_IDENTIFIER": "archibald-watchdog",
        "ARCHIBALD_EVENT": event.kind.value,
        "ARCHIBALD_CPU": str(event.cpu),
        "ARCHIBALD_SECONDS": f"{event.seconds:.3f}",
        "ARCHIBALD_LATE_SHARE": f"{event.late_share:.3f}",
    }
    if event.use is not None:
        thread = event.use.thread
        found |= {
            "OBJECT_PID": str(thread.pid),
            "ARCHIBALD_TID": str(thread.tid),
            "ARCHIBALD_THREAD": thread.comm,
            "ARCHIBALD_PROGRAM": thread.program,
            "ARCHIBALD_POLICY": thread.policy,
            "ARCHIBALD_RT_PRIORITY": str(thread.priority),
            "ARCHIBALD_CPU_SHARE": f"{event.use.share:.3f}",
        }
    return found


def printable(text: str) -> str:
    """Return a text without control characters: a thread names itself as it likes."""
    return "".join(c if c.isprintable() else "?" for c in text)


def datagram(values: Mapping[str, str]) -> bytes:
    """Return fields in the journal's native form; values with a line break carry their length.

    The format is on systemd's page "Native Journal Protocol".
    """
    parts = []
    for name, value in values.items():
        raw = value.encode("utf-8", "surrogateescape")
        if b"\n" in raw:
            parts.append(name.encode() + b"\n" + len(raw).to_bytes(8, "little") + raw + b"\n")
        else:
            parts.append(name.encode() + b"=" + raw + b"\n")
    return b"".join(parts)


def journal(event: Event, path: Path = JOURNAL) -> bool:
    """Send an event to the journal; say whether there is one that took it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.sendto(datagram(fields(event)), str(path))
        except OSError:
            return False
    return True


def desktop_users(runtime: Path = RUNTIME) -> list[SessionUser]:
    """Return the users whose session has a message bus."""
    import pwd

    from archibald.vm.selftest.reader import SessionUser

    found = []
    with contextlib.suppress(OSError):
        for folder in sorted(runtime.iterdir()):
            if folder.name.isdigit() and (folder / "bus").exists():
                with contextlib.suppress(KeyError):
                    uid = int(folder.name)
                    found.append(SessionUser(pwd.getpwuid(uid).pw_name, uid))
    return found


def notification(event: Event) -> tuple[str, ...]:
    """Return the command that shows an event; the body is markup, so names are escaped.

    systemd's busctl, which is there wherever the service is: notify-send is not. The arguments are
    those of Notify in the Desktop Notifications Specification: urgency 2 is critical, and a time
    of 0 means until somebody has read it.
    """
    from html import escape

    title = {
        Kind.DEMOTED: "A real-time program was stopped from taking a CPU",
        Kind.REFUSED: "A real-time program takes a CPU",
    }.get(event.kind, "A CPU is overloaded")
    body = escape(printable(event.message))
    name = "org.freedesktop.Notifications"
    return (
        "busctl", "--user", "--timeout=5", "--", "call", name, f"/{name.replace('.', '/')}", name,
        "Notify", "susssasa{sv}i", "ArchibaldOS", "0", "dialog-warning", title, body, "0",
        "1", "urgency", "y", "2", "0",
    )  # fmt: skip


def desktop(event: Event, users: Sequence[SessionUser], runner: Runner) -> int:
    """Show an event to users; return how many desktops took it."""
    from archibald.errors import ArchibaldError

    taken = 0
    for user in users:
        with contextlib.suppress(ArchibaldError):
            argv = [*_as_user(user), *notification(event)]
            runner(argv, env=user.environment, timeout_s=_PATIENCE_S)
            taken += 1
    return taken


def _as_user(user: SessionUser) -> tuple[str, ...]:
    """Return what runs a command as somebody; runuser asks PAM, which needs more rights."""
    import pwd

    if os.geteuid() == user.uid:
        return ()
    group = pwd.getpwuid(user.uid).pw_gid
    return ("setpriv", f"--reuid={user.uid}", f"--regid={group}", "--clear-groups", "--")


def desktop_in_background(event: Event) -> int:
    """Show an event without waiting; return the process that does it, for the caller to reap."""
    pid = os.fork()
    if pid:
        return pid
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.alarm(2 * _PATIENCE_S)
        from archibald.run import run

        desktop(event, desktop_users(), run)
    finally:
        # Nothing of the parent's clean-up may run twice.
        os._exit(0)
