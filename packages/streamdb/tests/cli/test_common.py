"""What all verbs share: exit codes, errors as text and as JSON, help, did you mean."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys

import click
import pytest

from streamdb import __version__
from streamdb.cli import common
from streamdb.cli.common import VERBS, cli, run_cli
from streamdb.errors import StoreFull


@pytest.fixture
def raising(monkeypatch):
    """Make the verb ``stats`` raise what the test says."""

    def install(error: BaseException) -> None:
        @click.command()
        @common.json_option
        def stats(as_json: bool) -> None:
            raise error

        monkeypatch.setattr("streamdb.cli.care.stats", stats)

    return install


def command(verb):
    found = cli.get_command(click.Context(cli), verb)
    assert found is not None
    return found


def test_version(run):
    assert run("--version").out == f"streamdb, version {__version__}\n"


def test_an_unknown_verb_is_usage_and_gets_a_suggestion(run):
    result = run("imprt", "x")
    assert result.code == 2
    assert "Did you mean 'import'?" in result.err
    assert run("zzz").code == 2


def test_usage_errors_are_json_where_json_was_asked_for(run):
    result = run("ls", "--nonsense", "--json")
    assert result.code == 2
    assert result.json["error"] == "Usage"
    assert "--nonsense" in result.json["what"]


def test_an_error_goes_to_standard_error_with_its_code(raising, run):
    raising(StoreFull("no space", why="the disk is full", next_step="free some"))
    result = run("stats")
    assert (result.code, result.out) == (3, "")
    assert result.err == "streamdb: no space\n  why:  the disk is full\n  next: free some\n"


def test_an_error_is_json_where_json_was_asked_for(raising, run):
    raising(StoreFull("no space", why="the disk is full"))
    result = run("stats", "--json")
    assert result.code == 3
    assert result.json == {
        "error": "StoreFull",
        "what": "no space",
        "why": "the disk is full",
        "next_step": "",
        "exit_code": 3,
    }


def test_debug_shows_the_traceback(raising, run):
    raising(StoreFull("no space"))
    assert "Traceback" not in run("stats").err
    assert "Traceback" in run("--debug", "stats").err


def test_errors_cannot_do_anything_to_a_terminal(run, library):
    result = run("get", "evil\x1b[2J")
    assert result.code == 1
    assert "\x1b" not in result.err


def test_an_error_of_the_system_is_named(raising, run):
    raising(PermissionError(errno.EACCES, "Permission denied", "/some/file"))
    result = run("stats", "--json")
    assert result.code == 4
    assert result.json["what"] == "'/some/file': permission denied"


@pytest.mark.parametrize("error", [KeyboardInterrupt(), common.Terminated()])
def test_an_interrupt_is_exit_code_130(raising, run, error):
    raising(error)
    result = run("stats")
    assert result.code == 130
    assert "interrupted; the store is whole" in result.err


def test_a_reader_that_went_away_is_no_error(raising, run, monkeypatch):
    closed = []
    monkeypatch.setattr("streamdb.cli.common._close_output", lambda: closed.append(1))
    raising(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    result = run("stats")
    assert (result.code, result.out, result.err, closed) == (0, "", "", [1])


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_json_and_examples(verb, run):
    result = run(verb, "--help")
    assert result.code == 0
    assert "Examples:" in result.out
    assert f"  streamdb {verb}" in result.out
    assert any("--json" in parameter.opts for parameter in command(verb).params), verb
    assert all(len(line) <= 96 for line in result.lines)


@pytest.mark.parametrize("verb", sorted(set(VERBS) - {"completion"}))
def test_every_verb_takes_a_store_and_a_key_but_no_secret(verb):
    options = {option for parameter in command(verb).params for option in parameter.opts}
    assert {"--store", "--key-file", "--passphrase", "--passphrase-fd"} <= options
    asking = next(each for each in command(verb).params if "--passphrase" in each.opts)
    assert isinstance(asking, click.Option)
    assert asking.is_flag


def test_the_list_of_verbs_says_what_they_do(run):
    text = run("--help").out
    for verb, (_, _, line) in VERBS.items():
        assert verb in text
        assert line in text


def test_help_loads_neither_the_engine_nor_rich():
    """The command starts quickly, and completion with it."""
    program = (
        "import sys; from streamdb.cli.common import run_cli; run_cli(['--help']);"
        "print(sorted({'lmdb', 'rich', 'zstandard', 'cryptography', 'streamdb.store'}"
        " & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert done.stderr == "[]\n"


def test_signals_end_a_command_as_ctrl_c_does(run, monkeypatch):
    @click.command()
    def stats() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("streamdb.cli.care.stats", stats)
    before = signal.getsignal(signal.SIGTERM)
    result = run("stats")
    assert result.code == 130
    assert "interrupted" in result.err
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_result_of_a_verb_is_the_exit_code(run, library):
    assert run_cli(["ls"]) == 0
    assert run_cli(["stat", "nothing"]) == 1


def test_json_errors_are_documents(run, here):
    result = run("ls", "--json")
    assert result.code == 1
    assert json.loads(result.out)["error"] == "NotFound"
