"""The verbs run and selftest as users meet them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from archibald.cli import selftest as selftest_cli
from archibald.cli.common import run_cli
from archibald.errors import ExitCode, FindingsError
from archibald.profile.load import canonical_json
from archibald.profile.model import Profile
from archibald.vm import boot as boot_module
from archibald.vm import check as check_module
from archibald.vm.boot import RunRequest
from archibald.vm.check import Outcome
from archibald.vm.selftest import suite
from archibald.vm.selftest.model import Answer, Check, Report, read_report


def report(answer: Answer) -> Report:
    check = Check(
        id="kernel.preemption",
        group="kernel",
        answer=answer,
        expected="PREEMPT_RT",
        observed="PREEMPT_DYNAMIC",
        evidence="#1 SMP PREEMPT_DYNAMIC",
    )
    return Report(system={"variant": "default"}, figures={"boot_s": 9.0}, checks=(check,))


@pytest.mark.parametrize("name", ["none.iso", "."])
def test_files_that_are_no_image(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["--check"], ["--headless"], []):
        assert run_cli(["run", str(tmp_path / name), *arguments]) == ExitCode.USAGE
        assert "is no image" in capsys.readouterr().err


def test_error_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.qcow2").write_bytes(b"QFI\xfb" + bytes(50000))
    assert run_cli(["run", str(tmp_path / "x.qcow2"), "--check", "--json"]) == ExitCode.USAGE
    document = json.loads(capsys.readouterr().out)
    assert document["error"] == "NoImageError"
    assert "qcow2" in document["why"]


def test_missing_qemu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(boot_module, "QEMU", "no-such-qemu")
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(510) + b"\x55\xaa" + bytes(1024 * 1024))
    assert run_cli(["run", str(disk), "--check"]) == ExitCode.REFUSED
    assert "apt-get install" in capsys.readouterr().err


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(510) + b"\x55\xaa" + bytes(1024 * 1024))
    for arguments in (
        ["--json"],
        ["--screenshot", "x.png"],
        ["--headless", "--console-log", "x"],
        ["--check", "--variant", "a", "--kernel-entry", "b"],
        ["--memory", "1"],
        ["--firmware", "coreboot"],
    ):
        assert run_cli(["run", str(disk), *arguments]) == ExitCode.USAGE


@pytest.mark.slow
def test_no_screen_to_open_a_window_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(510) + b"\x55\xaa" + bytes(1024 * 1024))
    assert run_cli(["run", str(disk)]) == ExitCode.REFUSED
    assert "--headless" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer.OK, ExitCode.OK),
        (Answer.NOT_APPLICABLE, ExitCode.OK),
        (Answer.BAD, ExitCode.FINDINGS),
        (Answer.CANNOT_TELL, ExitCode.FINDINGS),
    ],
)
def test_exit_code_of_a_check(
    answer: Answer,
    code: ExitCode,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    requests: list[RunRequest] = []

    def check_image(request: RunRequest, **_: Any) -> Outcome:
        requests.append(request)
        return Outcome(report(answer), "tcg", "low-latency", ("qemu",))

    monkeypatch.setattr(check_module, "check_image", check_image)
    arguments = ["run", "x.iso", "--check", "--variant", "low-latency", "--timeout", "9"]
    assert run_cli(arguments) == code
    text = capsys.readouterr().out
    assert "kernel.preemption" in text
    assert "1 checks" in text
    assert ("    #1 SMP PREEMPT_DYNAMIC" in text) is (code == ExitCode.FINDINGS)
    assert requests[0].variant == "low-latency"
    assert requests[0].timeout_s == 9.0

    assert run_cli([*arguments, "--json"]) == code
    document = json.loads(capsys.readouterr().out)
    assert document["passed"] is (code == ExitCode.OK)
    assert document["checks"][0]["answer"] == answer
    assert document["host"]["entry"] == "low-latency"


def test_table_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the guest says is shown as it is, also when it looks like markup."""
    check = report(Answer.BAD).checks[0].model_copy(update={"observed": "[bold]x[/bold]"})
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")
    selftest_cli.print_report(Report(checks=(check,)))
    text = capsys.readouterr().out
    assert "[bold]x[/bold]" in text
    assert "kernel.preemption" in text


class TestSelftest:
    """``archibald selftest``."""

    @pytest.fixture
    def embedded(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        path = tmp_path / "profile.json"
        path.write_bytes(canonical_json(Profile()))
        monkeypatch.setattr(selftest_cli, "EMBEDDED_PROFILE", path)
        return path

    @pytest.fixture
    def runs(self, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
        """Replace the probes; return how they were started."""
        started: list[dict[str, Any]] = []

        def run_selftest(reader: Any, expected: Any, **options: Any) -> Report:
            started.append({"reader": reader, "expected": expected, **options})
            options["progress"]("audio")
            return report(Answer.CANNOT_TELL)

        monkeypatch.setattr(suite, "run_selftest", run_selftest)
        return started

    def test_by_hand(
        self, embedded: Path, runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Only what is bad fails by hand, and nothing is heard without being asked for."""
        assert run_cli(["selftest"]) == ExitCode.OK
        assert (runs[0]["audible"], runs[0]["after_boot"]) == (False, False)
        assert "cannot-tell" in capsys.readouterr().out
        assert run_cli(["selftest", "--tone", "--json"]) == ExitCode.OK
        assert runs[1]["audible"] is True
        assert json.loads(capsys.readouterr().out)["schema"] == 1

    def test_to_a_host(self, embedded: Path, runs: list[dict[str, Any]], tmp_path: Path) -> None:
        port = tmp_path / "port"
        port.write_bytes(b"")
        assert run_cli(["selftest", "--port", str(port)]) == ExitCode.OK
        progress, line = port.read_text().splitlines()
        assert json.loads(progress) == {"kind": "progress", "phase": "audio"}
        assert read_report(line) == report(Answer.CANNOT_TELL)
        assert (runs[0]["audible"], runs[0]["after_boot"]) == (True, True)

    def test_host_hears_of_a_failure(
        self, embedded: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        def run_selftest(*_: Any, **__: Any) -> Report:
            raise FindingsError("the probes broke")

        monkeypatch.setattr(suite, "run_selftest", run_selftest)
        port = tmp_path / "port"
        port.write_bytes(b"")
        assert run_cli(["selftest", "--port", str(port)]) == ExitCode.FINDINGS
        assert "the probes broke" in json.loads(port.read_text())["what"]

    def test_system_that_promises_nothing(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(selftest_cli, "EMBEDDED_PROFILE", tmp_path / "none.json")
        assert run_cli(["selftest"]) == ExitCode.REFUSED
        assert "--profile" in capsys.readouterr().err

    def test_profile_of_ones_own(self, runs: list[dict[str, Any]], tmp_path: Path) -> None:
        path = tmp_path / "mine.toml"
        path.write_text("format = 1\n[audio]\nquantum = 64\n")
        assert run_cli(["selftest", "--profile", str(path)]) == ExitCode.OK
        assert runs[0]["expected"].profile.audio.quantum == 64

    def test_port_that_is_missing(self, embedded: Path, tmp_path: Path) -> None:
        assert run_cli(["selftest", "--port", str(tmp_path / "none")]) == ExitCode.REFUSED
