"""What the tests of the verbs share: a folder with a profile, a cache of its own, a way to run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from archibald.cli.common import run_cli

#: The core profile, without the variant: one system is enough here.
PROFILE = 'format = 1\n[desktop]\nenable = false\n[image]\nname = "tiny"\n'


@dataclass(frozen=True)
class Ended:
    """A command that ended: exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def workplace(tmp_path, monkeypatch) -> Path:
    """Work in a folder with a profile, with a cache and a temporary folder beside it."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "archibald.toml").write_text(PROFILE)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("ARCHIBALD_CACHE", str(tmp_path / "cache"))
    path: Path = folder
    return path


@pytest.fixture
def archibald(workplace, capsys) -> Callable[..., Ended]:
    """Run the command line in the workplace."""

    def run(*arguments: str) -> Ended:
        code = int(run_cli([str(argument) for argument in arguments]))
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run


@pytest.fixture
def apt_without_mirrors(toolbox):
    """A host that could build, and whose apt names no mirror."""
    for name in ("unshare", "setpriv", "newuidmap", "apt-get", "gpgv"):
        toolbox.add(name)
    return toolbox
