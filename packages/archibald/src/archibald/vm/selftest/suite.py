"""The whole self-test in order, from a system at rest to the tone."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable

from archibald import __version__
from archibald.vm.selftest.audio import audio_checks
from archibald.vm.selftest.expectation import Expectation
from archibald.vm.selftest.kernel import kernel_checks
from archibald.vm.selftest.model import (
    Check,
    NotApplicableError,
    Report,
    UnreadableError,
    Verdict,
    make_check,
    verdict,
)
from archibald.vm.selftest.reader import Reader
from archibald.vm.selftest.resources import boot_time, detect_virtualization, idle_memory, settle
from archibald.vm.selftest.services import services_checks
from archibald.vm.selftest.session import session_checks
from archibald.vm.selftest.tone import play_checks

Progress = Callable[[str], None]

#: How long the session's PipeWire may take to appear after the boot, also on an emulated CPU.
_SESSION_TIMEOUT_S = 180.0


def wait_for_system(reader: Reader) -> Check:
    """Wait until systemd has started everything, and say how that ended."""

    def judge() -> Verdict:
        # "degraded" ends with status 1; which unit failed is a check of its own.
        state = reader.command(["systemctl", "is-system-running", "--wait"], accept=range(5))
        return verdict(state.strip() in ("running", "degraded"), state.strip())

    return make_check("system.started", "services", "running", judge)


def wait_for_session(
    reader: Reader,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
    timeout_s: float,
) -> Check:
    """Wait until the PipeWire of the user's session answers."""
    user = reader.user
    deadline = clock() + timeout_s
    while True:
        try:
            reader.command(["pw-cli", "info", "0"], in_session=True)
            reason = ""
            break
        except UnreadableError as error:
            reason = str(error)
        if clock() >= deadline:
            break
        sleep(1.0)
    observed = f"no answer within {timeout_s:g} s" if reason else "answers"
    return make_check(
        "session.pipewire", "session", f"PipeWire of {user.name} answers",
        lambda: verdict(not reason, observed, reason),
    )  # fmt: skip


def run_selftest(
    reader: Reader,
    expected: Expectation,
    *,
    audible: bool,
    after_boot: bool,
    progress: Progress,
    sleep: Callable[[float], None] = time.sleep,
) -> Report:
    """Run every probe and return the report.

    ``audible`` plays the tone at full volume; ``after_boot`` says that nothing was used yet, so
    that memory in use is that of a system at rest.
    """
    progress("waiting for the system to start")
    checks = [wait_for_system(reader)]
    progress("waiting for the session")
    patience_s = _SESSION_TIMEOUT_S if after_boot else 0.0
    checks.append(wait_for_session(reader, sleep=sleep, timeout_s=patience_s))
    progress("memory")
    memory, figures = _memory_at_rest(reader, expected, after_boot=after_boot, sleep=sleep)
    checks.append(memory)
    progress("boot time")
    boot, boot_figures = boot_time(reader)
    checks.append(boot)
    figures |= boot_figures
    groups: tuple[tuple[str, Callable[[], list[Check]]], ...] = (
        ("kernel", lambda: kernel_checks(reader, expected)),
        ("services", lambda: services_checks(reader, expected)),
        ("session", lambda: session_checks(reader, expected)),
        ("audio", lambda: audio_checks(reader, expected)),
        ("sound", lambda: play_checks(reader, expected, audible=audible, sleep=sleep)),
    )
    for name, group in groups:
        progress(name)
        checks.extend(group())
    return Report(system=_identity(reader, expected), figures=figures, checks=tuple(checks))


def _memory_at_rest(
    reader: Reader, expected: Expectation, *, after_boot: bool, sleep: Callable[[float], None]
) -> tuple[Check, dict[str, float]]:
    if not after_boot:

        def judge() -> Verdict:
            raise NotApplicableError("judged right after a boot only")

        return make_check("resources.idle-memory", "resources", "a system at rest", judge), {}
    settle(reader, sleep=sleep)
    return idle_memory(reader, expected)


def _identity(reader: Reader, expected: Expectation) -> dict[str, str]:
    try:
        virtualization = detect_virtualization(reader)
    except UnreadableError:
        virtualization = "unknown"
    return {
        "archibald": __version__,
        "kernel": platform.release(),
        "variant": expected.variant,
        "virtualization": virtualization,
        "user": reader.user.name,
    }
