"""What all verbs share: exit codes, errors as text and as JSON, did you mean."""

from __future__ import annotations

import json

import click
import pytest

from archibald import __version__
from archibald.cli import common
from archibald.errors import InterruptedByUserError, PreconditionError


@pytest.fixture
def raising(monkeypatch):
    """Make the verb ``completion`` raise what the test says."""

    def install(error: BaseException) -> None:
        @click.command()
        @common.json_option
        def command(as_json: bool) -> None:
            raise error

        monkeypatch.setattr("archibald.cli.completion.command", command)

    return install


def test_version(capsys):
    assert common.run_cli(["--version"]) == 0
    assert capsys.readouterr().out == f"archibald, version {__version__}\n"


def test_an_unknown_verb_is_usage_and_gets_a_suggestion(capsys):
    assert common.run_cli(["bild"]) == 2
    assert "Did you mean 'build'?" in capsys.readouterr().err


def test_an_unknown_option_is_usage():
    assert common.run_cli(["completion", "--nonsense"]) == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_command(capsys, shell):
    assert common.run_cli(["completion", shell]) == 0
    assert "archibald" in capsys.readouterr().out


def test_an_error_goes_to_standard_error_with_its_code(raising, capsys):
    raising(PreconditionError("no KVM", why="not there", next_step="use TCG"))
    assert common.run_cli(["completion"]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "archibald: no KVM\n  why:  not there\n  next: use TCG\n"


def test_an_error_is_json_where_json_was_asked_for(raising, capsys):
    raising(PreconditionError("no KVM", why="not there"))
    assert common.run_cli(["completion", "--json"]) == 3
    assert json.loads(capsys.readouterr().out) == {
        "error": "PreconditionError",
        "what": "no KVM",
        "why": "not there",
        "next_step": "",
        "exit_code": 3,
    }


@pytest.mark.parametrize("error", [KeyboardInterrupt(), InterruptedByUserError("stopped")])
def test_an_interrupt_is_exit_code_130(raising, error):
    raising(error)
    assert common.run_cli(["completion"]) == 130


def test_a_reader_that_went_away_is_no_error(raising, monkeypatch, tmp_path):
    with (tmp_path / "stderr").open("w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        raising(BrokenPipeError())
        assert common.run_cli(["completion"]) == 0
