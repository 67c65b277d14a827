"""scripts/bootstrap in a small tree, with an interpreter that only notes what it is asked to do."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from archibald.run import Result, run

#: An interpreter that notes its arguments; ``-m venv`` copies it, as a real one links itself.
_PYTHON = """#!/bin/sh
echo "$(basename "$0") $*" >>{log}
case "$1 $2" in
--version*) echo "Python {version}" ;;
"-c import sys; sys.exit"*) {recent} ;;
"-c import ensurepip"*) {venv} ;;
"-c import sys; print("*) echo "{version}" ;;
"-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip") [ ! -e "{pip_fails}" ] || {{ echo "no matching hash"; exit 1; }} ;;
esac
"""


@dataclass(frozen=True)
class Tree:
    """A folder with the script, a lock and a package; and the log of what Python was asked."""

    folder: Path
    log: Path

    def interpreter(self, *, version="3.13", recent="exit 0", venv="exit 0") -> Path:
        path = self.folder / "bin" / f"python{version}"
        path.parent.mkdir(exist_ok=True)
        text = _PYTHON.format(
            log=self.log, version=version, recent=recent, venv=venv, pip_fails=self.pip_fails
        )
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        return path

    @property
    def pip_fails(self) -> Path:
        return self.folder / "pip-fails"

    def bootstrap(self, python: Path) -> Result:
        script = self.folder / "scripts" / "bootstrap"
        return run([script], check=False, env={"PYTHON": str(python)}, cwd=Path("/"))

    def pip_calls(self) -> list[str]:
        """Return what pip was asked since the last call: ``lock`` or ``packages``, in order."""
        lines = self.log.read_text(encoding="utf-8").splitlines()
        self.log.write_text("", encoding="utf-8")
        return [
            "lock" if "--require-hashes" in line else "packages"
            for line in lines
            if " -m pip " in line
        ]


@pytest.fixture
def tree(root, tmp_path):
    made = Tree(tmp_path / "with space", tmp_path / "log")
    (made.folder / "scripts").mkdir(parents=True)
    shutil.copy(root / "scripts" / "bootstrap", made.folder / "scripts")
    (made.folder / "requirements.lock").write_text("one==1\n", encoding="utf-8")
    package = made.folder / "packages" / "one"
    package.mkdir(parents=True)
    (package / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    return made


def test_the_first_run_makes_everything_and_the_second_does_nothing(tree):
    python = tree.interpreter()
    assert tree.bootstrap(python).returncode == 0
    assert tree.pip_calls() == ["lock", "packages"]
    second = tree.bootstrap(python)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert tree.pip_calls() == []


def test_a_new_lock_makes_the_environment_anew(tree):
    python = tree.interpreter()
    tree.bootstrap(python)
    leftover = tree.folder / ".venv" / "leftover"
    leftover.touch()
    (tree.folder / "requirements.lock").write_text("one==2\n", encoding="utf-8")
    tree.pip_calls()
    assert tree.bootstrap(python).returncode == 0
    assert tree.pip_calls() == ["lock", "packages"]
    assert not leftover.exists()


def test_changed_metadata_installs_only_our_packages(tree):
    python = tree.interpreter()
    tree.bootstrap(python)
    (tree.folder / "packages/one/pyproject.toml").write_text("[project]\n\n", encoding="utf-8")
    tree.pip_calls()
    assert tree.bootstrap(python).returncode == 0
    assert tree.pip_calls() == ["packages"]


def test_another_interpreter_makes_the_environment_anew(tree):
    tree.bootstrap(tree.interpreter())
    tree.pip_calls()
    assert tree.bootstrap(tree.interpreter(version="3.14")).returncode == 0
    assert tree.pip_calls() == ["lock", "packages"]


def test_a_moved_tree_gets_a_new_environment(tree):
    tree.bootstrap(tree.interpreter())
    moved = Tree(tree.folder.with_name("moved"), tree.log)
    tree.folder.rename(moved.folder)
    tree.pip_calls()
    assert moved.bootstrap(moved.interpreter()).returncode == 0
    assert moved.pip_calls() == ["lock", "packages"]


def test_a_failed_install_is_shown_and_tried_again(tree):
    python = tree.interpreter()
    tree.pip_fails.touch()
    failed = tree.bootstrap(python)
    assert failed.returncode == 4
    assert "no matching hash" in failed.stderr
    tree.pip_fails.unlink()
    tree.pip_calls()
    assert tree.bootstrap(python).returncode == 0
    assert tree.pip_calls() == ["lock", "packages"]


def test_an_interpreter_that_is_too_old_is_refused(tree):
    result = tree.bootstrap(tree.interpreter(version="3.10", recent="exit 1"))
    assert result.returncode == 3
    assert "not Python 3.11 or later" in result.stderr
    assert not (tree.folder / ".venv").exists()


def test_debians_python_gets_its_venv_package(tree):
    """Debian's python3 lacks ensurepip until the package of its version is installed."""
    installed = tree.folder / "installed"
    helper = tree.folder / "scripts" / "host-tools"
    helper.write_text(f'#!/bin/sh\necho "$*" >"{installed}"\n', encoding="utf-8")
    helper.chmod(0o755)
    python = tree.interpreter(version="3.12", venv=f'[ -e "{installed}" ]')
    assert tree.bootstrap(python).returncode == 0
    asked = installed.read_text(encoding="utf-8")
    assert asked.startswith("--package python3.12-venv ")


def test_without_the_right_to_install_the_refusal_is_passed_on(tree):
    helper = tree.folder / "scripts" / "host-tools"
    helper.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    helper.chmod(0o755)
    assert tree.bootstrap(tree.interpreter(venv="exit 1")).returncode == 3
