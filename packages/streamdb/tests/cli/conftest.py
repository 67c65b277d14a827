"""A command line to call in this process, and a library to call it on."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from packages.streamdb.tests.sounds import wav

from streamdb.cli.common import run_cli


@dataclass(frozen=True)
class Result:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Keyboard(io.TextIOWrapper):
    """Standard input that is a terminal."""

    def isatty(self) -> bool:
        return True


def fill(folder: Path) -> None:
    """Write the files that the examples speak of."""
    files = {
        "drums/kick.wav": wav(rate=96000, channels=2, frames=960),
        "drums/snare.wav": wav(rate=44100, frames=4410),
        "drums/808/deep kick.wav": wav(rate=48000, frames=48000),
        "loops/beat_120bpm.wav": wav(rate=44100, channels=2, frames=2000),
        "loops/bass_Cmin_100bpm.wav": wav(frames=1000),
        "broken.wav": b"RIFF\x10\x00\x00\x00WAVEfmt ",
        "readme.txt": b"a sample library\n",
    }
    for at, (name, data) in enumerate(files.items()):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        os.utime(file, ns=(1, 1_700_000_000_000_000_000 + at))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and an environment without a word about stores."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("STREAMDB_STORE", "STREAMDB_KEY_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TZ", "UTC")
    return folder


@pytest.fixture
def run(
    here: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Result]]:
    """Call the command line; the signals are put back afterwards."""
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}

    def call(
        *argv: str, stdin: bytes = b"", terminal: bool = False, keyboard: bool = False
    ) -> Result:
        capfd.readouterr()
        kind = Keyboard if keyboard else io.TextIOWrapper
        monkeypatch.setattr(sys, "stdin", kind(io.BytesIO(stdin)))
        with monkeypatch.context() as patch:
            if terminal:
                patch.setattr(sys.stdout, "isatty", lambda: True)
                patch.setenv("COLUMNS", "80")
                patch.setenv("NO_COLOR", "1")
                patch.setenv("TERM", "dumb")
            code = run_cli(argv)
        sys.stdout.flush()
        captured = capfd.readouterr()
        return Result(code, captured.out, captured.err)

    yield call
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.fixture
def library(here: Path, run: Callable[..., Result]) -> Path:
    """The samples, imported into library.sdb."""
    fill(here / "samples")
    assert run("init").code == 0
    assert run("import", "samples", "--quiet").code == 0
    return here / "library.sdb"
