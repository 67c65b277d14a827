"""The verbs: audit, plan, apply, rollback, status, drift."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest

from archibald.cli import tuning
from archibald.cli.common import run_cli
from archibald.profile.load import canonical_json
from archibald.profile.model import Profile
from archibald.system.modules.identity import PROFILE_PATH
from archibald.tune.knobs import all_pages
from archibald.tune.persist import OWN_PROFILE

from .conftest import NAMES

SWAPPINESS = "proc/sys/vm/swappiness"


@dataclass(frozen=True)
class Ended:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def data(self):
        return json.loads(self.out)


@pytest.fixture
def archibald(tmp_path, monkeypatch, capsys) -> Callable[..., Ended]:
    """Run the command line in a folder without a profile: the defaults count."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*arguments: object) -> Ended:
        code = int(run_cli([str(argument) for argument in arguments]))
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


@pytest.mark.parametrize("name", NAMES)
def test_json_is_as_documented(archibald, machine, name):
    schema = archibald("audit", "--schema").data
    jsonschema.Draft202012Validator.check_schema(schema)
    ended = archibald("audit", "--json", "--root", machine(name))
    jsonschema.validate(ended.data, schema)
    counts = ended.data["counts"]
    assert sum(counts.values()) == len(ended.data["findings"]) == len(list(all_pages()))
    assert ended.code == (1 if counts["bad"] else 0)


def test_text_is_for_people(archibald, machine):
    ended = archibald("audit", "--root", machine("desktop-usb"))
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in ended.out
    assert "Kernel and boot" in lines
    assert "  BAD  cpu.governor [high]" in lines
    assert "cpu.frequency-limit" not in ended.out
    everything = archibald("audit", "--all", "--root", machine("desktop-usb")).out
    assert all(page.id in everything for _, page in all_pages())


def test_nothing_bad_is_exit_code_0(archibald, machine, tmp_path):
    (tmp_path / "p.toml").write_text("format = 1\n[audio]\nrate = 48000\nquantum = 64\n")
    root = machine("nixos")
    # The graph that was recorded runs at other figures: without a graph there are none.
    notes = next(root.glob(".archibald*"))
    text = json.loads(notes.read_text())
    text["commands"]["pw-dump"] = text["commands"]["pw-dump"].replace("running", "idle")
    notes.write_text(json.dumps(text))
    ended = archibald("audit", "--root", root, "-p", tmp_path / "p.toml")
    assert (ended.code, "BAD" in ended.out) == (0, False)


def test_explain_prints_the_page_and_the_answer(archibald, machine):
    ended = archibald("audit", "--root", machine("desktop-usb"), "--explain", "cpu.governor")
    assert ended.out.startswith("# cpu.governor: ")
    assert "bad: schedutil" in ended.out
    assert "wanted by realtime: CPUs do not have to speed up first (realtime.governor)" in ended.out
    assert "policy0/scaling_governor: schedutil" in ended.out


def test_a_check_that_does_not_exist(archibald):
    for arguments in (("audit", "--explain", "cpu.governors"), ("plan", "cpu.governors"),
                      ("rollback", "--dry-run", "cpu.governors")):  # fmt: skip
        ended = archibald(*arguments)
        assert ended.code == 2
        assert "there is no check 'cpu.governors'" in ended.err
    assert "did you mean cpu.governor?" in archibald("audit", "--explain", "cpu.governors").err


def test_a_folder_that_is_no_system(archibald, tmp_path):
    ended = archibald("audit", "--root", tmp_path / "empty")
    assert (ended.code, "/proc/version: No such file" in ended.err) == (3, True)


def test_a_card_that_is_not_there(archibald, machine):
    ended = archibald("audit", "--root", machine("desktop-usb"), "--card", "Fireface")
    assert ended.code == 2
    assert "0 PCH, 1 HDMI, 2 USB" in ended.err


def test_a_cpu_that_is_not_there(archibald, machine, tmp_path):
    (tmp_path / "p.toml").write_text("format = 1\n[cpu]\nminimum = 4\naudio = [3]\n")
    ended = archibald("plan", "--root", machine("vm-2cpu"), "-p", tmp_path / "p.toml")
    assert ended.code == 3
    assert "names CPU 3, which this machine does not have" in ended.err


@pytest.mark.parametrize("persist", [(), ("--persist",)])
def test_the_dry_run_is_the_list_that_is_executed(archibald, machine, persist):
    root = ("--root", machine("raspberry-pi"))
    planned = archibald("plan", *root, *persist, "--json").data
    before = {path: path.read_bytes() for path in root[1].rglob("*") if path.is_file()}
    dry = archibald("apply", "--dry-run", *root, *persist, "--json").data
    assert planned == dry
    assert {path: path.read_bytes() for path in root[1].rglob("*") if path.is_file()} == before
    made = archibald("apply", "--yes", *root, *persist, "--json")
    steps = [{k: v for k, v in s.items() if k not in ("outcome", "detail")}
             for s in made.data["steps"]]  # fmt: skip
    assert steps == planned["steps"]
    assert archibald("apply", "--dry-run", *root).out.startswith("until the next reboot:")


def test_from_apply_to_rollback(archibald, machine):
    root = ("--root", machine("vm-2cpu"))
    assert archibald("status", *root).out == "nothing was changed\n"
    assert archibald("drift", *root).code == 3
    made = archibald("apply", "--yes", "--persist", *root)
    assert made.code == 0, made.out
    assert "survive" not in made.err
    assert archibald("drift", *root).code == 0
    status = archibald("status", *root, "--json").data
    assert {change["state"] for change in status["changes"]} == {"holds"}
    (root[1] / "proc/sys/vm/stat_interval").write_text("7\n")
    assert archibald("drift", *root).code == 1
    assert "changed (7)" in archibald("status", *root).out
    looked = archibald("rollback", "--dry-run", *root)
    assert (looked.code, "somebody set it to 7" in looked.out) == (1, True)
    ended = archibald("rollback", *root)
    assert (ended.code, "--force" in ended.out) == (1, True)
    forced = archibald("rollback", "--force", *root)
    assert (forced.code, "1 of 1 changes are taken back" in forced.out) == (0, True)
    assert archibald("rollback", *root).out == "nothing to take back\n"


def test_something_that_is_refused_is_exit_code_1(archibald, machine):
    # A thread of a recorded machine cannot be scheduled.
    root = ("--root", machine("raspberry-pi"))
    ended = archibald("apply", "--yes", *root, "irq.card-priority")
    assert ended.code == 1
    assert "0 of 1 changes are in place" in ended.out


def test_nobody_is_asked_without_a_terminal(archibald, machine):
    root = machine("vm-2cpu")
    ended = archibald("apply", "--root", root)
    assert (ended.code, "--yes" in ended.err) == (3, True)
    assert (root / "proc/sys/vm/stat_interval").read_text() == "1\n"


def test_root_is_needed_to_change_the_running_system(archibald, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    for verb in ("apply", "rollback"):
        ended = archibald(verb)
        assert (ended.code, f"sudo archibald {verb}" in ended.err) == (3, True)


def test_this_machine_can_be_looked_at(archibald):
    ended = archibald("audit", "--json")
    assert ended.code in (0, 1)
    assert len(ended.data["findings"]) == len(list(all_pages()))
    assert archibald("plan").code == 0


def test_an_unknown_user(archibald):
    assert archibald("audit", "--user", "no-such-user").code == 3


def test_values_that_are_not_understood_are_not_replaced(archibald, machine):
    root = machine("vm-2cpu")
    archibald("apply", "--yes", "--root", root)
    assert (root / SWAPPINESS).read_text() == "surprise\n"
    path: Path = root / "sys/kernel/mm/transparent_hugepage/enabled"
    assert path.read_text() == "always madvise never\n"


def test_rollback_needs_no_profile(archibald, machine):
    root = ("--root", machine("vm-2cpu"))
    archibald("apply", "--yes", *root)
    Path("archibald.toml").write_text("this is no profile")
    assert archibald("plan", *root).code == 2
    assert archibald("rollback", *root).code == 0
    assert (root[1] / "proc/sys/vm/stat_interval").read_text() == "1\n"


def test_session_of_a_machine_without_a_card(archibald, machine):
    assert archibald("session", "stop", "--root", machine("vm-2cpu")).out == "stopped\n"
    assert "ExecStart=/" in archibald("session", "unit").out


def test_the_profile_of_the_system_is_the_applied_one_or_that_of_the_image(tmp_path, monkeypatch):
    assert [str(place) for place in tuning.EMBEDDED_PROFILES] == [OWN_PROFILE, PROFILE_PATH]
    applied, image = tmp_path / "etc.json", tmp_path / "usr.json"
    monkeypatch.setattr(tuning, "EMBEDDED_PROFILES", (applied, image))
    monkeypatch.chdir(tmp_path)
    assert tuning.chosen_profile(None)[0] == Profile()
    wanted = Profile.model_validate({"audio": {"quantum": 64}})
    image.write_bytes(canonical_json(wanted))
    assert tuning.chosen_profile(None) == (wanted, str(image))
    applied.write_bytes(canonical_json(Profile()))
    assert tuning.chosen_profile(None)[1] == str(applied)
