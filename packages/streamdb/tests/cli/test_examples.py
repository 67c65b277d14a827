"""Every example of every help text runs, in the folder that the examples speak of."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from packages.streamdb.tests.cli.conftest import fill
from packages.streamdb.tests.sounds import wav

from streamdb.cli.common import VERBS, cli

#: Verbs that wait, and are tested as processes; folders that are on other machines.
_WAITING = {"watch"}


def examples(verb: str) -> list[str]:
    """The lines of a verb's examples, without their indentation."""
    context = click.Context(cli, info_name="streamdb")
    found = cli if not verb else cli.get_command(context, verb)
    assert found is not None
    assert found.epilog is not None
    return [line.strip() for line in found.epilog.splitlines() if line.startswith("  ")]


@pytest.fixture
def place(here, run):
    """What the examples name: samples, a store, files."""
    fill(here / "samples")
    (here / "kick.wav").write_bytes(wav(frames=10))
    (here / "notes.txt").write_bytes(b"notes\n")
    (here / "phrase.txt").write_text("correct horse battery\n")
    (here / "phrase.txt").chmod(0o600)
    (here / "copies").mkdir()
    run("init")
    run("put", "drums/kick.wav", "kick.wav")
    run("import", "samples", "--quiet")
    run("bind", "drums/snare.wav", "best/kick.wav")
    return here


def without_store(folder: Path) -> None:
    """As it is before the first example of ``streamdb --help``."""
    (folder / "library.sdb").rename(folder / "elsewhere")


@pytest.mark.parametrize("verb", ["", *sorted(set(VERBS) - _WAITING)])
def test_examples_run(verb, place, run):
    lines = examples(verb)
    assert lines
    if verb == "":
        without_store(place)
    for line in lines:
        argv = shlex.split(re.sub(r"\s[<>] \S+$", "", line))
        assert argv[0] == "streamdb"
        given = re.search(r"< (\S+)$", line)
        stdin = (place / given[1]).read_bytes() if given else b""
        result = run(*argv[1:], stdin=stdin)
        assert result.code == 0, (line, result)


def test_redirections_in_a_shell(place):
    """Those examples that need a shell, in one."""
    bins = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for line in (*examples("get"), *examples("put")):
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=place,
            env={**os.environ, "PATH": bins},
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == 0, (line, done.stderr)
    assert (place / "kick-again.wav").read_bytes() == (place / "kick-copy.wav").read_bytes()


def test_examples_of_watch_are_understood():
    for line in examples("watch"):
        context = click.Context(cli)
        command = cli.get_command(context, "watch")
        assert command is not None
        parsed = command.make_context("watch", shlex.split(line)[2:])
        assert parsed.params["folder"]
