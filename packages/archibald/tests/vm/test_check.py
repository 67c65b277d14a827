"""The host's side of a check, against real QEMU and guests of one sector that misbehave."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from archibald.errors import ExitCode, PreconditionError
from archibald.run import run, spawn
from archibald.vm import check as check_module
from archibald.vm.accel import Accel, boot_sector
from archibald.vm.boot import PreparedBoot, RunRequest
from archibald.vm.check import GuestError, Outcome, QemuFailedError, check_image, host_checks
from archibald.vm.console import Console, SerialLine
from archibald.vm.grub import MenuEntry, type_keys
from archibald.vm.qemu import Machine, command_line
from archibald.vm.qmp import save_screenshot
from archibald.vm.selftest.model import Answer, Check, Report
from archibald.vm.selftest.signal import write_tone

#: They need the real emulator, which only `make test` installs.
pytestmark = pytest.mark.slow


@pytest.fixture
def request_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., RunRequest]:
    """Return a request that leaves its temporary files where the test can look for them."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))

    def make(image: Path, **options: object) -> RunRequest:
        plain = RunRequest(image=image, accel="tcg", memory_mib=256, cpus=1, timeout_s=60.0)
        return replace(plain, **options)  # type: ignore[arg-type]

    return make


def left_behind() -> list[str]:
    return sorted(path.name for path in Path(tempfile.gettempdir()).iterdir())


def test_guest_that_hangs(
    printing_disk: Callable[[bytes], Path], request_for: Callable[..., RunRequest], tmp_path: Path
) -> None:
    """The last console lines are shown, the whole console is kept, nothing is left behind."""
    log = tmp_path / "console.log"
    disk = printing_disk(b"hello\r\nand then nothing\r\n")
    with pytest.raises(GuestError) as caught:
        check_image(request_for(disk, timeout_s=6.0, console_log=log))
    assert caught.value.exit_code == ExitCode.FINDINGS
    assert "no report within 6 s" in caught.value.what
    assert "and then nothing" in caught.value.why
    assert b"hello\r\nand then nothing" in log.read_bytes()
    assert left_behind() == []


def test_guest_that_panics_is_not_waited_for(
    printing_disk: Callable[[bytes], Path], request_for: Callable[..., RunRequest]
) -> None:
    disk = printing_disk(b"[1.0] Kernel panic - not syncing: Attempted to kill init!\r\n")
    with pytest.raises(GuestError, match="Attempted to kill init!") as caught:
        check_image(request_for(disk, timeout_s=3600.0))
    assert "last console lines" in caught.value.why
    assert left_behind() == []


def test_guest_that_stops_in_the_initrd(
    printing_disk: Callable[[bytes], Path], request_for: Callable[..., RunRequest]
) -> None:
    with pytest.raises(GuestError, match="initrd's shell"):
        check_image(request_for(printing_disk(b"(initramfs) "), timeout_s=3600.0))


def test_guest_that_switches_itself_off(
    tmp_path: Path, request_for: Callable[..., RunRequest]
) -> None:
    """mov al,0xfe; out 0x64,al: the keyboard controller resets the machine."""
    disk = tmp_path / "reset.img"
    disk.write_bytes(boot_sector(bytes.fromhex("b0fee664f4")))
    with pytest.raises(GuestError, match="switched itself off"):
        check_image(request_for(disk, timeout_s=3600.0))
    assert left_behind() == []


def test_qemu_that_fails(
    printing_disk: Callable[[bytes], Path], request_for: Callable[..., RunRequest]
) -> None:
    with pytest.raises(QemuFailedError) as caught:
        check_image(request_for(printing_disk(b"x"), cpus=4096))
    assert caught.value.exit_code == ExitCode.TOOL_FAILED
    assert "4096" in caught.value.why
    assert "command: qemu-system-x86_64" in caught.value.why
    assert left_behind() == []


def test_log_that_cannot_be_written(
    printing_disk: Callable[[bytes], Path],
    request_for: Callable[..., RunRequest],
    tmp_path: Path,
) -> None:
    with pytest.raises(PreconditionError, match="--console-log"):
        check_image(request_for(printing_disk(b"x"), console_log=tmp_path / "none" / "log"))
    assert left_behind() == []


def test_ctrl_c_ends_qemu_and_removes_its_files(
    printing_disk: Callable[[bytes], Path], tmp_path: Path
) -> None:
    place = tmp_path / "tmp"
    place.mkdir()
    log = tmp_path / "console.log"
    disk = printing_disk(b"running\r\n")
    command = [
        sys.executable, "-m", "archibald", "run", str(disk), "--check", "--accel", "tcg",
        "--memory", "256", "--console-log", str(log),
    ]  # fmt: skip
    with subprocess.Popen(
        command, env={**os.environ, "TMPDIR": str(place)}, stderr=subprocess.PIPE
    ) as process:
        try:
            _wait_for(lambda: log.exists() and b"running" in log.read_bytes())
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == ExitCode.INTERRUPTED
    assert b"Traceback" not in errors
    assert list(place.iterdir()) == []
    assert str(place) not in _command_lines()


def _wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)


def _command_lines() -> str:
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            lines.append(path.read_text("utf-8", "replace"))
    return "\n".join(lines)


def test_picture_of_the_screen(printing_disk: Callable[[bytes], Path], tmp_path: Path) -> None:
    machine = Machine(
        accel="tcg",
        medium=printing_disk(b"x\r\n"),
        memory_mib=256,
        serial_socket=tmp_path / "serial",
        qmp_socket=tmp_path / "qmp",
    )
    console = Console()
    with spawn(command_line(machine)), SerialLine(machine.serial_socket or Path(), console):
        _wait_for(lambda: console.last_lines() == ["x"])
        save_screenshot(tmp_path / "qmp", tmp_path / "screen.png")
    assert (tmp_path / "screen.png").read_bytes().startswith(b"\x89PNG")


MENU = """
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=60
menuentry "One" --id one {
  echo "chosen one"
  sleep 60
}
menuentry "Two" --id two {
  true
  echo "chosen two"
  sleep 60
}
"""


def test_real_boot_menu_is_typed_into(tmp_path: Path) -> None:
    """GRUB itself, on its serial terminal: the second entry, with words added to its third line."""
    (tmp_path / "grub.cfg").write_text(MENU)
    modules = ["biosdisk", "configfile", "echo", "memdisk", "minicmd", "normal", "serial", "sleep",
               "tar", "terminal", "test", "true"]  # fmt: skip
    run(["tar", "-cf", "menu.tar", "grub.cfg"], cwd=tmp_path)
    (tmp_path / "load.cfg").write_text("set prefix=(memdisk)/\nconfigfile (memdisk)/grub.cfg\n")
    run(
        ["grub-mkimage", "-O", "i386-pc-eltorito", "-p", "/", "-c", "load.cfg", "-m", "menu.tar",
         "-o", "grub.img", *modules],
        cwd=tmp_path,
    )  # fmt: skip
    (tmp_path / "tree").mkdir()
    (tmp_path / "grub.img").rename(tmp_path / "tree" / "grub.img")
    run(
        ["xorriso", "-as", "mkisofs", "-quiet", "-b", "grub.img", "-no-emul-boot",
         "-boot-load-size", "4", "-boot-info-table", "-o", "menu.iso", "tree"],
        cwd=tmp_path,
    )  # fmt: skip
    machine = Machine(
        accel="tcg",
        medium=tmp_path / "menu.iso",
        medium_kind="cdrom",
        memory_mib=256,
        serial_socket=tmp_path / "serial",
    )
    entry = MenuEntry("two", "Two", (1,), linux_line=1)
    console = Console()
    with (
        spawn(command_line(machine)),
        SerialLine(machine.serial_socket or Path(), console) as line,
    ):
        _wait_for(lambda: console.phase == "boot menu")
        type_keys(line.send, entry, "and more", received=lambda: console.received)
        _wait_for(lambda: "chosen two and more" in console.text())
    assert "chosen one" not in console.text()


def report(variant: str = "default", answer: Answer = Answer.OK) -> Report:
    check = Check(id="a", group="kernel", answer=answer, expected="x", observed="x")
    return Report(system={"variant": variant}, checks=(check,))


def prepared(variant: str) -> PreparedBoot:
    arguments = () if variant == "default" else (f"archibald.variant={variant}",)
    entry = MenuEntry(variant, variant, (0,), kernel="/k", arguments=arguments)
    machine = Machine(accel="tcg", medium=Path("/x.iso"))
    return PreparedBoot(machine, Accel("tcg", "test"), entry, "", 1.0)


def test_host_checks(tmp_path: Path) -> None:
    wav = tmp_path / "hda.wav"
    write_tone(wav, rate=48000, amplitude=10 ** (-12 / 20))
    good = host_checks(report("low-latency"), prepared("low-latency"), wav)
    assert [check.answer for check in good] == [Answer.OK, Answer.OK]
    other = host_checks(report("default"), prepared("low-latency"), wav)
    assert other[0].answer is Answer.BAD


@pytest.mark.parametrize(
    ("answer", "passed"),
    [
        (Answer.OK, True),
        (Answer.NOT_APPLICABLE, True),
        (Answer.BAD, False),
        (Answer.CANNOT_TELL, False),
    ],
)
def test_what_cannot_be_told_is_not_proved(answer: Answer, passed: bool) -> None:
    assert Outcome(report(answer=answer), "tcg", "default", ()).passed is passed


def test_report_of_a_guest(
    printing_disk: Callable[[bytes], Path],
    request_for: Callable[..., RunRequest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The whole way with a guest whose report comes from beside QEMU: it is judged and ended."""
    sent = threading.Event()

    class FakeLink:
        phase = None
        problem = None
        report = report(answer=Answer.BAD)

        def __init__(self, path: Path) -> None:
            sent.set()

        def __enter__(self) -> FakeLink:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr(check_module, "SelftestLink", FakeLink)
    outcome = check_image(request_for(printing_disk(b"x")))
    assert sent.is_set()
    assert not outcome.passed
    tone = outcome.report.checks[-1]
    assert tone.id == "tone.arrives"
    assert tone.answer is not Answer.OK
    assert json.loads(outcome.report.to_line())["kind"] == "report"
    assert left_behind() == []
