"""The commands of the tutorial and of the how-to run as they are written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from streamdb import StreamDB

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[3] / "docs"

#: Commands that do not end, or that change the user's home.
_NOT_HERE = ("streamdb watch", "streamdb completion")


def commands(page: Path) -> list[str]:
    """The lines of the blocks of shell commands."""
    blocks = re.findall(r"^ *```sh\n(.*?)^ *```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip()]


@pytest.fixture
def shell(tmp_path):
    """Run a line in a shell in one folder; its exit code and output."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    environment.pop("STREAMDB_STORE", None)

    def run(line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-c", line],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def test_the_tutorial(shell):
    lines = commands(DOCS / "tutorial/sample-library.md")
    assert len(lines) > 15
    printed = {}
    for line in lines:
        done = shell(line)
        assert done.returncode == 0, (line, done.stderr)
        printed[line] = done.stdout
    assert printed["streamdb find tempo=118..122 key=Cmin"] == "loops/bass_Cmin_120bpm.wav\n"
    assert printed["streamdb import samples"] == "0 added, 3 unchanged; 0 B read\n"
    assert printed["streamdb tree"].count("wav") == 3


def test_the_how_to(shell):
    """After the tutorial, in the same folder; its kick was renamed, so it is imported again."""
    for line in commands(DOCS / "tutorial/sample-library.md"):
        shell(line)
    shell("streamdb put drums/kick.wav quiet.wav")
    old = shell("streamdb history kit/kick.wav").stdout.splitlines()
    assert len(old) == 2
    for line in commands(DOCS / "how-to/streamdb.md"):
        if line.startswith(_NOT_HERE) or "secret.sdb" in line:
            continue
        numbers = [
            row.split("\t")[0]
            for row in shell("streamdb history drums/kick.wav").stdout.splitlines()
        ]
        given = re.sub(r"(--version|kick\.wav) 1\b", rf"\1 {numbers[-1]}", line)
        done = shell(given)
        assert done.returncode == 0, (given, done.stderr)


def test_the_how_to_of_encryption(shell):
    shell("printf x > quiet.wav")
    chosen = [line for line in commands(DOCS / "how-to/streamdb.md") if "secret.sdb" in line]
    assert len(chosen) == 2
    for line in chosen:
        assert shell(line).returncode == 0
    assert shell("streamdb get -s secret.sdb --key-file secret.key notes.txt").stdout == "x"


def test_the_program_in_the_readme(tmp_path, monkeypatch):
    text = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    program = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert program
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kick.wav").write_bytes(b"boom")
    names: dict[str, object] = {}
    exec(program[1], names)
    with StreamDB.open("library.sdb") as db:
        assert db.get("drums/kick.wav") == b"boom"
        assert db.find("tempo=118..122") == ["drums/kick.wav"]
