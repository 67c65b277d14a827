"""/etc/audio-setup.sh, run for real: on recorded machines, and with a command that takes notes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from archibald.profile.model import Profile
from archibald.system.compose import compose
from archibald.system.modules import setup
from archibald.system.render import rendered_tree
from archibald.system.spec import File
from archibald.tune.recording import parse_recording

MACHINES = Path(__file__).parents[4] / "tests/machines"

#: Notes how it was called; ends as CODE_<VERB> says.
FAKE = """#!/bin/sh
printf '%s\\n' "$*" >>"$NOTES"
case "$1 ${2:-}" in
    plan*) echo "nothing to change"; exit "${CODE_PLAN:-0}" ;;
    apply*) exit "${CODE_APPLY:-0}" ;;
    audit*) exit "${CODE_AUDIT:-0}" ;;
esac
"""


def _executable(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def script(tmp_path) -> Path:
    return _executable(tmp_path / "audio-setup.sh", setup.script().decode())


@pytest.fixture
def called(script, tmp_path) -> Callable[..., tuple[int, str, str, list[str]]]:
    """Run the script; return exit code, output, errors, and how the command was called."""

    def call(*words: str, root: Path | None = None, **env: str):
        fake = _executable(tmp_path / "fake", FAKE)
        notes = tmp_path / "notes"
        notes.write_text("")
        result = subprocess.run(
            [script, *words], capture_output=True, text=True, timeout=60, check=False,
            env={"PATH": os.environ["PATH"], "ARCHIBALD": str(fake), "NOTES": str(notes),
                 "AUDIO_SETUP_LOG": str(tmp_path / "log"),
                 "AUDIO_SETUP_ROOT": str(root or tmp_path / "root"), **env},
        )  # fmt: skip
        return result.returncode, result.stdout, result.stderr, notes.read_text().splitlines()

    return call


@pytest.fixture
def machine(tmp_path) -> Path:
    root: Path = tmp_path / "machine"
    path = MACHINES / "desktop-usb.machine"
    parse_recording(path.read_text("utf-8"), filename=path.name).write(root)
    return root


def test_every_image_has_it():
    for desktop in (True, False):
        tree = rendered_tree(compose(Profile.model_validate({"desktop": {"enable": desktop}})))
        node = tree["/etc/audio-setup.sh"]
        assert isinstance(node, File)
        assert (node.mode, node.content) == (0o755, setup.script())


def test_help_names_every_flag(called):
    code, out, err, asked = called("--help")
    assert (code, err, asked) == (0, "", [])
    for flag in ("--help", "--skip-ascii", "--dry-run", "--user NAME", "--pci ID"):
        assert flag in out
    assert max(map(len, out.splitlines())) <= 100


def test_the_steps_come_in_their_order(called, tmp_path):
    root = tmp_path / "root"
    code, out, _, asked = called("--skip-ascii", "--user", "root")
    assert code == 0
    tail = f"--user root --root {root}"
    assert asked == [
        f"plan {tail}", f"apply --yes {tail}", f"apply --yes --persist limits.groups {tail}",
        f"audit {tail}",
    ]  # fmt: skip
    log = (tmp_path / "log").read_text()
    assert "== plan (" in log
    assert "nothing to change" in log
    assert log.splitlines()[0] in out


@pytest.mark.skipif(os.geteuid() != 0, reason="changing the machine that runs needs root")
def test_it_measures_the_machine_that_runs_between_apply_and_audit(called, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    _executable(programs / "cyclictest", "#!/bin/sh\n")
    path = f"{programs}:{os.environ['PATH']}"
    code, _, _, asked = called("--skip-ascii", AUDIO_SETUP_ROOT="", PATH=path)
    assert code == 0
    assert [words.split()[0] for words in asked] == ["plan", "apply", "measure", "audit"]
    assert asked[2].startswith("measure jitter --output ")


def test_a_recorded_machine_is_not_measured(called):
    assert not [words for words in called("--skip-ascii")[3] if words.startswith("measure")]


def test_the_log_grows(called, tmp_path):
    called("--skip-ascii")
    called("--skip-ascii")
    assert (tmp_path / "log").read_text().count("== apply (") == 2


def test_a_dry_run_shows_the_plan_and_writes_nothing(called, tmp_path):
    code, out, _, asked = called("--dry-run", "--skip-ascii")
    assert (code, asked) == (0, [f"plan --root {tmp_path}/root"])
    assert out == "== plan\nnothing to change\n"
    assert not (tmp_path / "log").exists()


def test_the_banner_can_be_left_out(called):
    assert len(called("--dry-run")[1]) > len(called("--dry-run", "--skip-ascii")[1])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--fast",), "there is no option '--fast'"),
        (("alice",), "there is no option 'alice'"),
        (("--user",), "--user needs a value"),
        (("--user", ""), "--user needs a name"),
        (("--pci",), "--pci needs a value"),
        (("--pci", "1f.3"), "'1f.3' is no PCI address"),
        (("--pci", "0000:00:1f.9"), "is no PCI address"),
        (("--pci", "0000:00:1g.3"), "is no PCI address"),
        (("--pci", "../../etc"), "is no PCI address"),
        (("--pci", "0000:00:1f.3\n"), "is no PCI address"),
        (("--pci", "$(id)"), "is no PCI address"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_happens(called, words, message):
    code, out, err, asked = called("--skip-ascii", *words)
    assert (code, out, asked) == (2, "", [])
    assert message in err
    assert "next: " in err


@pytest.mark.parametrize("name", ["nobody-of-that-name", "-u", "a b", "$(id)"])
def test_a_user_who_is_not_there(called, name):
    code, _, err, asked = called("--user", name)
    assert (code, asked) == (3, [])
    assert f"there is no user '{name}'" in err


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Return a folder that every user can read; those of pytest are its own."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_without_root_it_says_so(open_folder):
    script = _executable(open_folder / "audio-setup.sh", setup.script().decode())
    fake = _executable(open_folder / "fake", FAKE)
    words: list[str | Path] = [script, "--skip-ascii"]
    if os.geteuid() == 0:
        words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *words]
    result = subprocess.run(
        words, capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": os.environ["PATH"], "ARCHIBALD": str(fake), "NOTES": "/dev/null"},
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (3, "")
    assert "changing the machine needs root" in result.stderr
    assert "--dry-run to look" in result.stderr


def test_without_our_command_it_says_so(called):
    code, _, err, _ = called(ARCHIBALD="no-such-command")
    assert code == 3
    assert "there is no command no-such-command" in err


def test_a_log_that_cannot_be_written_stops_it_first(called, tmp_path):
    code, _, err, asked = called("--skip-ascii", AUDIO_SETUP_LOG=str(tmp_path))
    assert (code, asked) == (3, [])
    assert "cannot be written" in err


@pytest.mark.parametrize(
    ("env", "code", "last"),
    [
        ({"CODE_APPLY": "1"}, 1, "audit"),
        ({"CODE_AUDIT": "1"}, 1, "audit"),
        ({"CODE_PLAN": "2"}, 2, "plan"),
        ({"CODE_APPLY": "3"}, 3, "apply"),
    ],
)
def test_findings_go_on_and_failures_stop(called, env, code, last):
    found, _, _, asked = called("--skip-ascii", **env)
    assert found == code
    assert asked[-1].split()[0] == last


@pytest.mark.parametrize(
    ("address", "card"), [("0000:00:14.0", "2"), ("00:14.0", "2"), ("0000:00:1F.3", "0")]
)
def test_a_pci_address_chooses_the_card(called, machine, address, card):
    code, out, _, asked = called("--skip-ascii", "--dry-run", "--pci", address, root=machine)
    assert (code, asked) == (0, [f"plan --card {card} --root {machine}"])
    assert "latency timer is left alone" in out


def test_a_pci_device_without_a_card(called, machine):
    code, _, err, asked = called("--skip-ascii", "--pci", "0000:ff:00.0", root=machine)
    assert (code, asked) == (3, [])
    assert "no sound card hangs on PCI device 0000:ff:00.0" in err


@pytest.mark.slow
def test_with_the_real_command_on_a_recorded_machine(script, machine, tmp_path):
    ours = _executable(
        tmp_path / "archibald", f'#!/bin/sh\nexec "{sys.executable}" -m archibald "$@"\n'
    )
    log = tmp_path / "log"
    result = subprocess.run(
        [script, "--skip-ascii", "--pci", "0000:00:14.0"], capture_output=True, text=True,
        timeout=300, check=False,
        env={"PATH": os.environ["PATH"], "ARCHIBALD": str(ours), "AUDIO_SETUP_LOG": str(log),
             "AUDIO_SETUP_ROOT": str(machine)},
    )  # fmt: skip
    # A recorded machine has threads that cannot be scheduled, and files that only --persist writes.
    assert result.returncode == 1, result.stderr
    assert (machine / "proc/sys/vm/swappiness").read_text() == "10\n"
    assert (machine / "proc/irq/131/smp_affinity_list").read_text() == "1\n"
    titles = [line.split()[1] for line in log.read_text().splitlines() if line.startswith("== ")]
    assert titles == ["plan", "apply", "audit"]
    assert (machine / "var/lib/archibald/tune/journal.jsonl").exists()
