"""scripts/host-tools against a machine made of recorded commands: nothing is really installed."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from archibald.run import Result, run

#: What the script itself calls; everything else on the machine is what a test puts there.
_BASICS = ("sed", "cut", "uniq", "sort", "tr", "grep", "cat", "env")


@dataclass(frozen=True)
class Machine:
    """A search path with fake commands, and the log of what they were asked to do."""

    script: Path
    bin: Path
    log: Path

    def add(self, name: str, body: str = "exit 0") -> None:
        """Put a command on the machine; it notes its arguments, then does ``body``."""
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.log}\n{body}\n', encoding="utf-8")
        path.chmod(0o755)

    def host_tools(self, *argv: str) -> Result:
        return run([self.script, *argv], check=False, env={"PATH": str(self.bin)})

    @property
    def asked(self) -> list[str]:
        return self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []

    def asked_apt(self) -> list[str]:
        options = "-q -o DPkg::Lock::Timeout=120 "
        calls = [line.replace(options, "") for line in self.asked]
        return [call for call in calls if call.startswith("apt-get ")]


@pytest.fixture
def machine(root, tmp_path):
    """Root on a Debian machine that lacks only shellcheck and whose package lists are current."""
    made = Machine(root / "scripts" / "host-tools", tmp_path / "bin", tmp_path / "log")
    made.bin.mkdir()
    for name in _BASICS:
        found = shutil.which(name)
        assert found
        (made.bin / name).symlink_to(found)
    made.add("id", "echo 0")
    made.add("apt-get")
    made.add("apt-cache")
    for name in ("gpg", "gpg-agent", "gpgv", "nix-instantiate"):
        made.add(name)
    return made


INSTALL = "apt-get install --no-install-recommends shellcheck"
INSTALL_RUN = "apt-get install -y --no-install-recommends shellcheck"


def test_root_installs_what_is_missing_and_says_so(machine):
    result = machine.host_tools("check")
    assert result.returncode == 0
    assert "installing: shellcheck" in result.stderr
    assert "finds mistakes" in result.stderr
    assert machine.asked_apt() == [INSTALL_RUN]


def test_what_is_there_is_left_alone(machine):
    machine.add("shellcheck")
    result = machine.host_tools("check")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert machine.asked_apt() == []


def test_lists_are_updated_only_when_apt_does_not_know_the_package(machine):
    machine.add("apt-cache", "exit 100")
    assert machine.host_tools("check").returncode == 0
    assert machine.asked_apt() == ["apt-get update", INSTALL_RUN]


def test_lists_that_are_too_old_are_updated_once(machine):
    machine.add(
        "apt-get", f'case "$*" in *install*) [ "$(grep -c install {machine.log})" -gt 1 ];; esac'
    )
    assert machine.host_tools("check").returncode == 0
    assert machine.asked_apt() == [INSTALL_RUN, "apt-get update", INSTALL_RUN]


def test_a_failing_package_manager_is_exit_code_4(machine):
    machine.add("apt-get", 'case "$*" in *install*) exit 100;; esac')
    result = machine.host_tools("check")
    assert result.returncode == 4
    assert f"failed: {INSTALL}" in result.stderr


def test_an_unreachable_mirror_is_exit_code_4(machine):
    machine.add("apt-cache", "exit 100")
    machine.add("apt-get", "exit 100")
    result = machine.host_tools("check")
    assert result.returncode == 4
    assert "apt-get update failed" in result.stderr


def test_a_user_installs_through_sudo(machine):
    machine.add("id", "echo 1000")
    machine.add("sudo", 'while [ "${1#-}" != "$1" ]; do shift; done\n"$@"')
    assert machine.host_tools("check").returncode == 0
    assert machine.asked_apt() == [INSTALL_RUN]
    assert "sudo -n true" in machine.asked


@pytest.mark.parametrize("has_sudo", [False, True])
def test_without_rights_the_exact_command_is_shown(machine, has_sudo):
    machine.add("id", "echo 1000")
    if has_sudo:
        machine.add("sudo", "exit 1")
    result = machine.host_tools("check")
    assert result.returncode == 3
    assert INSTALL in result.stderr
    assert machine.asked_apt() == []


def test_a_machine_without_apt_is_told_what_is_missing(machine):
    (machine.bin / "apt-get").unlink()
    result = machine.host_tools("check")
    assert result.returncode == 3
    assert "shellcheck" in result.stderr


def test_a_dry_run_prints_the_command_and_does_nothing(machine):
    result = machine.host_tools("--dry-run", "check")
    assert result.returncode == 0
    assert result.stdout == INSTALL + "\n"
    assert machine.asked_apt() == []


def test_a_package_can_be_asked_for_by_name(machine):
    result = machine.host_tools("--package", "python3.13-venv", "makes Python environments")
    assert result.returncode == 0
    assert "python3.13-venv: makes Python environments" in result.stderr
    assert machine.asked_apt() == ["apt-get install -y --no-install-recommends python3.13-venv"]


def test_groups_are_joined_and_each_package_is_named_once(machine):
    result = machine.host_tools("--dry-run", "build", "vm")
    packages = result.stdout.split()[3:]
    assert packages == sorted(set(packages))
    assert {"mmdebstrap", "xorriso", "qemu-system-x86"} <= set(packages)
    assert "shellcheck" not in packages


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["check", "nonsense"], ["--package", "x"]])
def test_wrong_usage_names_the_groups(machine, argv):
    result = machine.host_tools(*argv)
    assert result.returncode == 2
    assert "build check measure media vm window" in result.stderr
    assert machine.asked_apt() == []


def test_the_media_group_is_what_the_tests_encode_with(machine):
    result = machine.host_tools("--dry-run", "media")
    packages = "flac lame opus-tools sox strace vorbis-tools"
    assert result.stdout == f"apt-get install --no-install-recommends {packages}\n"
    for program in ("flac", "lame", "opusenc", "oggenc", "sox", "strace"):
        machine.add(program)
    assert machine.host_tools("--dry-run", "media").stdout == ""
