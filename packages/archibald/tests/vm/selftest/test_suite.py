"""The whole self-test: order, progress, and what a bare machine gets."""

from __future__ import annotations

from typing import Any

import pytest

from archibald.errors import ToolFailedError
from archibald.profile.model import Profile
from archibald.run import Result
from archibald.system.modules.selftest import contribute
from archibald.system.spec import File, Hardware
from archibald.vm.selftest import suite
from archibald.vm.selftest.expectation import expectation
from archibald.vm.selftest.model import (
    Answer,
    NotApplicableError,
    ReportError,
    UnreadableError,
    make_check,
    read_report,
    verdict,
)
from archibald.vm.selftest.pipewire import Sink
from archibald.vm.selftest.reader import LiveReader, SessionUser, session_command
from archibald.vm.selftest.tone import full_volume, parse_volume, play_checks, unhurried

PROFILE = Profile.model_validate({"desktop": {"enable": False}})


def test_on_a_bare_machine_nothing_is_ok(reader: Any) -> None:
    """What cannot be read is never a good answer."""
    phases: list[str] = []
    reader.files = {"/proc/stat": "cpu  0 0 0 100 0 0 0 0 0 0\n"}
    report = suite.run_selftest(
        reader,
        expectation(PROFILE, "quiet"),
        audible=True,
        after_boot=False,
        progress=phases.append,
        sleep=lambda _: None,
    )
    assert report.answers(Answer.OK) == []
    assert len(report.checks) > 25
    assert len({check.id for check in report.checks}) == len(report.checks)
    assert phases[0] == "waiting for the system to start"
    assert phases[-1] == "sound"
    assert read_report(report.to_line()) == report


def test_session_is_waited_for(reader: Any) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        if now[0] >= 3:
            reader.commands["pw-cli info 0"] = "id: 0\n"

    check = suite.wait_for_session(reader, sleep=sleep, clock=lambda: now[0], timeout_s=10)
    assert (check.answer, now[0]) == (Answer.OK, 3.0)


def test_session_that_never_comes(reader: Any) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    check = suite.wait_for_session(reader, sleep=sleep, clock=lambda: now[0], timeout_s=10)
    assert check.answer is Answer.BAD
    assert "within 10 s" in check.observed


@pytest.mark.parametrize(
    ("state", "answer"),
    [("running\n", Answer.OK), ("degraded\n", Answer.OK), ("maintenance\n", Answer.BAD)],
)
def test_state_of_the_system(reader: Any, state: str, answer: Answer) -> None:
    reader.commands = {"systemctl is-system-running": state}
    assert suite.wait_for_system(reader).answer is answer


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (UnreadableError("gone"), Answer.CANNOT_TELL),
        (NotApplicableError("no card"), Answer.NOT_APPLICABLE),
        (ValueError("odd"), Answer.CANNOT_TELL),
    ],
)
def test_four_answers(error: Exception, answer: Answer) -> None:
    def judge() -> Any:
        raise error

    check = make_check("a.b", "group", "x", judge)
    assert check.answer is answer
    assert str(error) in check.evidence + check.observed


def test_hostile_and_endless_texts_are_tamed() -> None:
    check = make_check("a", "group", "x" * 900, lambda: verdict(True, "\x1b[31m" * 200, "y" * 9999))
    assert check.answer is Answer.OK
    assert "\x1b" not in check.observed
    assert max(len(check.expected), len(check.observed)) <= 400
    assert len(check.evidence) <= 2000


@pytest.mark.parametrize("line", ["", "null", "[]", "{", '{"schema": 1}', '{"checks": [{}]}'])
def test_lines_that_are_no_report(line: str) -> None:
    with pytest.raises(ReportError):
        read_report(line)


class TestLiveReader:
    """The reader of the machine that runs the tests."""

    user = SessionUser("somebody", 4_000_000)

    def test_files_and_folders(self, tmp_path: Any) -> None:
        live = LiveReader(self.user)
        (tmp_path / "b").write_bytes(b"text \xff")
        (tmp_path / "a").symlink_to("b")
        assert live.text(str(tmp_path / "b")) == "text �"
        assert live.names(str(tmp_path)) == ["a", "b"]
        assert live.link(str(tmp_path / "a")) == "b"
        for missing in (live.text, live.names, live.link):
            with pytest.raises(UnreadableError, match="No such file"):
                missing(str(tmp_path / "none"))

    def test_commands(self) -> None:
        live = LiveReader(self.user)
        assert live.command(["uname", "-s"]).strip() == "Linux"
        with pytest.raises(UnreadableError, match="status 1"):
            live.command(["false"])
        assert live.command(["false"], accept=(0, 1)) == ""
        with pytest.raises(UnreadableError, match="not found"):
            live.command(["no-such-program-anywhere"])

    def test_commands_of_the_session(self) -> None:
        seen: list[Any] = []

        def runner(argv: Any, **options: Any) -> Result:
            seen.append((argv, options["env"]))
            return Result(tuple(argv), 0, "out", "")

        live = LiveReader(self.user, runner=runner)
        assert live.command(["pw-top", "-b"], in_session=True) == "out"
        argv, env = seen[0]
        assert argv == ("runuser", "-u", "somebody", "--", "pw-top", "-b")
        assert env["XDG_RUNTIME_DIR"] == "/run/user/4000000"

    def test_tool_that_hangs(self) -> None:
        def runner(argv: Any, **_: Any) -> Result:
            raise ToolFailedError("pw-top did not end within 600 s")

        live = LiveReader(self.user, runner=runner)
        with pytest.raises(UnreadableError, match="did not end"):
            live.command(["pw-top"])

    def test_own_session_needs_no_other_user(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("os.geteuid", lambda: self.user.uid)
        assert session_command(self.user, ["pw-top"])[0] == ("pw-top",)


def test_volume_is_put_back(reader: Any) -> None:
    reader.commands = {"wpctl get-volume": "Volume: 0.40 [MUTED]\n", "wpctl set": ""}
    with full_volume(reader, Sink(35, "s", 1, "snd_hda_intel")) as before:
        assert before == "Volume: 0.40 [MUTED]"
        assert reader.asked[-2:] == ["wpctl set-mute 35 0", "wpctl set-volume 35 1.0"]
    assert reader.asked[-2:] == ["wpctl set-volume 35 0.4", "wpctl set-mute 35 1"]
    for text in ("", "Volume:", "nothing"):
        with pytest.raises(ValueError, match="volume"):
            parse_volume(text)


def test_emulated_cpu_gets_a_slow_graph_and_its_own_back(reader: Any, recorded: Any) -> None:
    reader.commands = {
        "systemd-detect-virt": "qemu\n",
        "pw-metadata -n settings 0": recorded("pw-metadata.txt"),
    }
    with unhurried(reader) as pace:
        assert "8192 frames" in pace
        assert reader.asked[-1] == "pw-metadata -n settings 0 clock.force-quantum 8192"
    assert reader.asked[-1] == "pw-metadata -n settings 0 clock.force-quantum 0"


def test_real_cpu_keeps_its_graph(reader: Any) -> None:
    reader.commands = {"systemd-detect-virt": "kvm\n"}
    with unhurried(reader):
        assert reader.asked == ["systemd-detect-virt"]


def test_machine_without_a_card_plays_nothing(reader: Any) -> None:
    reader.commands = {"pw-dump": "[]"}
    reader.files = {"/proc/asound/cards": "--- no soundcards ---\n"}
    checks = play_checks(reader, expectation(PROFILE, ""), audible=True, sleep=lambda _: None)
    assert [(check.id, check.answer) for check in checks] == [
        ("tone.played", Answer.NOT_APPLICABLE)
    ]


def test_card_without_a_sink(reader: Any) -> None:
    reader.commands = {"pw-dump": "[]"}
    reader.files = {"/proc/asound/cards": " 0 [PCH            ]: HDA-Intel - HDA Intel PCH\n"}
    checks = play_checks(reader, expectation(PROFILE, ""), audible=True, sleep=lambda _: None)
    assert checks[0].answer is Answer.CANNOT_TELL


def test_unit_starts_only_by_its_port() -> None:
    contributions = contribute(PROFILE, Hardware())
    files = {
        c.item.path: c.item.content.decode() for c in contributions if isinstance(c.item, File)
    }
    unit = files["/usr/lib/systemd/system/archibald-selftest.service"]
    rule = files["/usr/lib/udev/rules.d/90-archibald-selftest.rules"]
    assert "[Install]" not in unit
    assert "Type=exec" in unit
    assert 'ATTR{name}=="org.archibaldos.selftest"' in rule
    assert "archibald-selftest.service" in rule
    assert all(c.origins for c in contributions)
