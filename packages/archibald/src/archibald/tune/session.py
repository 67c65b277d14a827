"""What holds while music is made: awake CPUs, the card's interrupts first, work elsewhere.

:func:`session` holds it as long as a process lives. The kernel lets go of /dev/cpu_dma_latency by
itself when the process ends, however it ends. Interrupts, and the CPUs of the kernel's own work,
are journaled in /run and taken back at the end; after a kill the next start, or ``archibald session
stop``, takes them back.

:func:`start` needs no process: what it sets stays until :func:`stop`, or the end of the boot.
"""

from __future__ import annotations

import contextlib
import os
import signal
import struct
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from archibald.errors import PreconditionError, UsageError
from archibald.system.modules.guard import WAKE_UP_US
from archibald.tune.apply import Applied, Undone, execute, finish, roll_back
from archibald.tune.journal import Journal, JournalError
from archibald.tune.model import Scene
from archibald.tune.observe import Sight
from archibald.tune.plan import make_plan
from archibald.tune.targets import Targets

#: What a session sets, and takes back.
CHECKS = (
    "cpu.idle-latency", "irq.card-affinity", "irq.audio-cpu", "irq.card-priority",
    "scheduler.workqueues",
)  # fmt: skip

#: Below the machine's root; gone after a reboot, as is what the session has set.
FOLDER = "run/archibald/session"

DEVICE = "/dev/cpu_dma_latency"

UNIT = """\
[Unit]
Description=Awake CPUs and interrupts for audio, while it runs
Documentation=https://docs.kernel.org/power/pm_qos_interface.html

[Service]
ExecStart={program} session run
# Also after a kill: what was set is in the journal.
ExecStopPost={program} session stop
# /proc and /sys stay writable under this: interrupts and sleep states are set there.
ProtectSystem=strict
ProtectHome=read-only
RuntimeDirectory=archibald
RuntimeDirectoryPreserve=yes
NoNewPrivileges=yes

[Install]
WantedBy=multi-user.target
"""


@contextlib.contextmanager
def awake(sight: Sight, latency_us: int = WAKE_UP_US) -> Iterator[bool]:
    """Keep all CPUs out of sleep states that take longer to leave; say whether that is possible.

    The device takes a signed 32-bit number in the machine's byte order, and holds it while it is
    open (the kernel's Documentation/power/pm_qos_interface.rst). Raises PreconditionError.
    """
    path = sight.path(DEVICE)
    if not path.exists():
        yield False
        return
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise PreconditionError(
            f"{DEVICE} cannot be opened", why=error.strerror or "",
            next_step="run it as root, or as a member of the group audio",
        ) from None  # fmt: skip
    try:
        os.write(descriptor, struct.pack("=i", latency_us))
        yield True
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def session(scene: Scene, journal: Journal) -> Iterator[list[Applied]]:
    """Hold everything inside the block; what a killed session left is taken back first.

    Raises :class:`JournalError` when a session runs already.
    """
    targets = Targets(scene.sight)
    with journal.opened():
        roll_back(journal, scene, targets)
        _pid_file(journal).write_text(f"{os.getpid()}\n")
        try:
            with awake(scene.sight):
                plan = make_plan(scene.again(), targets, only=CHECKS)
                run, results = execute(plan, scene, targets, journal)
                finish(journal, run, [])
                yield results
        finally:
            roll_back(journal, scene, targets)
            _pid_file(journal).unlink(missing_ok=True)


def start(
    scene: Scene, journal: Journal, checks: Sequence[str] = (), *, patience_s: float = 10.0
) -> list[Applied]:
    """Set what a session sets, all of it or some checks, and leave it set.

    What an earlier start has set is taken back first, so it may be called again when another card
    appears. Another call that is at work is waited for. Raises UsageError for a check that is none
    of a session's, and :class:`JournalError` when a session runs.
    """
    wrong = [check for check in checks if check not in CHECKS]
    if wrong:
        raise UsageError(
            f"{', '.join(map(repr, wrong))} is none of a session's checks",
            next_step=f"name some of: {' '.join(CHECKS)}",
        )
    targets = Targets(scene.sight)
    deadline = time.monotonic() + patience_s
    while True:
        try:
            with journal.opened():
                roll_back(journal, scene, targets)
                plan = make_plan(scene.again(), targets, only=checks or CHECKS)
                run, results = execute(plan, scene, targets, journal)
                finish(journal, run, [])
                return results
        except JournalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _pid_file(journal: Journal) -> Path:
    return journal.folder / "pid"


def stop(scene: Scene, journal: Journal, *, patience_s: float = 10.0) -> list[Undone]:
    """End a session that runs, or take back what a killed one has left.

    Raises :class:`JournalError` when it does not end.
    """
    deadline = time.monotonic() + patience_s
    if not journal.path.exists():
        return []
    signalled = False
    while True:
        try:
            with journal.opened():
                return roll_back(journal, scene, Targets(scene.sight))
        except JournalError:
            # Locked: the process in the file is alive, and is the one that holds the lock.
            if time.monotonic() > deadline:
                raise
            if not signalled:
                signalled = _signal(journal)
            time.sleep(0.05)


def _signal(journal: Journal) -> bool:
    try:
        os.kill(int(_pid_file(journal).read_text()), signal.SIGTERM)
    except (OSError, ValueError):
        return False
    return True
