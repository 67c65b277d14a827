"""Completion: verbs, options, stored paths; in the shell itself where one is at hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from streamdb.cli.common import cli
from streamdb.crypto import Key


def completed(*words):
    complete = BashComplete(cli, {}, "streamdb", "_STREAMDB_COMPLETE")
    return [item.value for item in complete.get_completions(list(words[:-1]), words[-1])]


def test_verbs_and_options():
    assert completed("imp") == ["import"]
    assert "--prefix" in completed("import", "--pre")


def test_stored_paths(library):
    assert completed("get", "") == ["broken.wav", "drums/", "loops/", "readme.txt"]
    assert completed("get", "drums/k") == ["drums/kick.wav"]
    assert completed("get", "dr") == ["drums/"]
    assert completed("ls", "drums/") == ["drums/808/"]
    assert completed("stat", "-s", "library.sdb", "drums/808/") == ["drums/808/deep kick.wav"]
    assert completed("-s", "library.sdb", "rm", "loops/be") == ["loops/beat_120bpm.wav"]


def test_nothing_is_said_where_there_is_no_store(here):
    assert completed("get", "") == []
    assert completed("get", "-s", "nowhere", "x") == []


def test_an_encrypted_store_completes_with_its_key(here, run, monkeypatch):
    run("init", "s.sdb", "--new-key", "s.key")
    run("put", "a", "--key-file", "s.key")
    assert completed("get", "") == []
    assert completed("get", "--key-file", "s.key", "") == ["a"]
    monkeypatch.setenv("STREAMDB_KEY_FILE", "s.key")
    assert completed("get", "") == ["a"]
    Key.create_file(here / "other.key")
    assert completed("get", "--key-file", "other.key", "") == []


@pytest.mark.slow
def test_the_script_in_bash(library, here, run):
    """What bash would insert: names with spaces and stars stay whole."""
    bash = shutil.which("bash")
    assert bash is not None
    run("put", "star/a * b.wav")
    (here / "done.bash").write_text(run("completion", "bash").out)
    program = (
        "source ./done.bash; compopt() { :; }\n"
        'COMP_WORDS=(streamdb get "$1"); COMP_CWORD=2; _streamdb_completion streamdb\n'
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for word, expected in (
        ("drums/808/", "drums/808/deep kick.wav\n"),
        ("star/", "star/a * b.wav\n"),
        ("dr", "drums/\n"),
    ):
        done = subprocess.run(
            [bash, "--norc", "-c", program, "bash", word],
            cwd=here,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.stdout == expected, done.stderr
