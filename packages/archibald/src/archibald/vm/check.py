"""Boots an image and lets it test itself: the host's side of ``archibald run --check``."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from archibald.errors import FindingsError, ToolFailedError
from archibald.run import Runner, run, shell_quoted, spawn, stop_process
from archibald.vm.boot import PreparedBoot, RunRequest, prepare, short_folder
from archibald.vm.console import Console, SerialLine, open_log
from archibald.vm.grub import type_keys
from archibald.vm.link import SelftestLink
from archibald.vm.qemu import command_line
from archibald.vm.qmp import save_screenshot
from archibald.vm.selftest.model import Answer, Check, Report, make_check, verdict
from archibald.vm.tone import tone_check

Progress = Callable[[str], None]

_POLL_S = 0.1

#: How long a guest that fails may go on printing, so that its last lines say more.
_LAST_WORDS_S = 1.0


class GuestError(FindingsError):
    """The guest hung, panicked or sent nonsense; ``why`` ends with its last console lines."""


class QemuFailedError(ToolFailedError):
    """QEMU itself failed."""


@dataclass(frozen=True)
class Outcome:
    """What a check found, and how the guest was run."""

    report: Report
    accel: str
    entry: str
    command: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Every check was answered, and none is bad: what cannot be told is not proved."""
        return not self.report.answers(Answer.BAD, Answer.CANNOT_TELL)


def check_image(
    request: RunRequest, *, progress: Progress = lambda _: None, runner: Runner = run
) -> Outcome:
    """Boot an image, wait for its self-test, and judge what only the host can see.

    Raises GuestError when the guest does not deliver a report, QemuFailedError when QEMU fails,
    UsageError and PreconditionError before anything is started. Nothing is left behind.
    """
    with short_folder() as name:
        folder = Path(name)
        progress("reading the image")
        prepared = prepare(request, folder, serial="watched", runner=runner)
        wav = folder / "hda.wav"
        machine = replace(
            prepared.machine,
            selftest_socket=folder / "selftest",
            # 96 kHz of the guest are resampled by QEMU; the tone does not need more than this.
            hda_audio=f"wav,path={wav},out.frequency=48000",
        )
        argv = command_line(machine)
        report = _boot(replace(prepared, machine=machine), argv, request, folder, progress)
        checks = host_checks(report, prepared, wav)
    return Outcome(
        report=report.with_checks(checks),
        accel=prepared.accel.name,
        entry=prepared.entry.entry_id if prepared.entry else "",
        command=argv,
    )


def host_checks(report: Report, prepared: PreparedBoot, wav: Path) -> list[Check]:
    """Return what only the host can judge: the entry that was asked for, and the tone."""
    checks = []
    if prepared.entry:
        wanted = prepared.entry.variant
        observed = report.system.get("variant", "nothing")
        checks.append(
            make_check(
                "boot.variant", "kernel", wanted, lambda: verdict(observed == wanted, observed)
            )
        )
    return [*checks, tone_check(wav)]


def _boot(
    prepared: PreparedBoot,
    argv: Sequence[str],
    request: RunRequest,
    folder: Path,
    progress: Progress,
) -> Report:
    machine = prepared.machine
    assert machine.serial_socket
    assert machine.selftest_socket
    assert machine.qmp_socket
    errors = folder / "qemu-errors"
    with contextlib.ExitStack() as stack:
        console = Console(stack.enter_context(open_log(request.console_log)))
        stderr = stack.enter_context(errors.open("wb"))
        process = stack.enter_context(spawn(argv, stderr=stderr))
        line = stack.enter_context(SerialLine(machine.serial_socket, console))
        link = stack.enter_context(SelftestLink(machine.selftest_socket))
        watch = _Watch(prepared, argv, process, console, line, link, errors, progress)
        report = watch.until_report()
        if request.screenshot:
            progress("taking a picture of the screen")
            save_screenshot(machine.qmp_socket, request.screenshot)
        # Ended by SIGTERM, QEMU completes the sound file.
        stop_process(process)
    return report


@dataclass
class _Watch:
    """Looks at everything that a running guest can do, until its report is there."""

    prepared: PreparedBoot
    argv: Sequence[str]
    process: subprocess.Popen[bytes]
    console: Console
    line: SerialLine
    link: SelftestLink
    errors: Path
    progress: Progress
    chosen: bool = False

    def until_report(self) -> Report:
        deadline = time.monotonic() + self.prepared.timeout_s
        while time.monotonic() < deadline:
            if self.link.report:
                return self.link.report
            if self.link.problem:
                raise self._guest_error("the guest's self-test failed", self.link.problem)
            if self.console.failure:
                time.sleep(_LAST_WORDS_S)
                raise self._guest_error(self.console.failure)
            self._look_at_qemu()
            self._choose_entry()
            self.progress(self._phase())
            time.sleep(_POLL_S)
        raise self._guest_error(
            f"the guest delivered no report within {self.prepared.timeout_s:g} s",
            f"it got as far as: {self._phase()}",
            next_step="raise --timeout, or look at the boot: archibald run IMAGE --headless",
        )

    def _phase(self) -> str:
        if self.link.phase:
            return f"tests: {self.link.phase}"
        return self.console.phase or ("kernel" if self.prepared.machine.direct else "firmware")

    def _choose_entry(self) -> None:
        entry = self.prepared.entry
        if self.chosen or entry is None or self.prepared.machine.direct:
            return
        if self.console.phase == "boot menu":
            self.chosen = True
            type_keys(
                self.line.send,
                entry,
                self.prepared.menu_arguments,
                received=lambda: self.console.received,
            )

    def _look_at_qemu(self) -> None:
        status = self.process.poll()
        text = self.errors.read_text("utf-8", "replace")
        if status is None and "KVM internal error" not in text:
            return
        if status == 0:
            raise self._guest_error("the guest switched itself off before its report was there")
        how = "stopped the guest" if status is None else f"ended with status {status}"
        uses_kvm = self.prepared.accel.name == "kvm"
        lines = [text_line for text_line in text.splitlines() if text_line.strip()]
        raise QemuFailedError(
            f"QEMU {how}",
            why="\n        ".join([*lines[:12], f"command: {shell_quoted(self.argv)}"]),
            next_step="repeat with --accel tcg" if uses_kvm else "repeat with --debug",
        )

    def _guest_error(self, what: str, why: str = "", *, next_step: str = "") -> GuestError:
        lines = self.console.last_lines()
        shown = ["last console lines:", *lines] if lines else ["its console stayed silent"]
        return GuestError(
            what,
            why="\n        ".join([why, *shown] if why else shown),
            next_step=next_step or "keep the whole console: --console-log FILE",
        )
