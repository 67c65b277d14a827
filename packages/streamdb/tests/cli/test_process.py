"""The command as a process of its own: Ctrl-C, broken pipes, a terminal, much data."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from streamdb import StreamDB

PATIENCE_S = 60
COMMAND = [sys.executable, "-c", "from streamdb.cli import main; main()"]


def start(*argv, cwd, **more):
    return subprocess.Popen(
        [*COMMAND, *argv],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def until(condition, process=None):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        assert process is None or process.poll() is None, process.communicate(timeout=60)
        time.sleep(0.01)


def many(folder, count, size=100):
    for number in range(count):
        file = folder / f"{number // 100:03}/{number:05}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(number.to_bytes(4, "big") * (size // 4))


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_import_leaves_a_whole_store(here, run, sent):
    many(here / "samples", 6000)
    run("init")
    process = start("import", "samples", "--json", cwd=here)
    # As long as it may take: whenever it comes, the store is whole.
    time.sleep(1.0)
    process.send_signal(sent)
    out, err = process.communicate(timeout=PATIENCE_S)
    report = json.loads(out) if out else {"state": "before the import", "added": 0}
    with StreamDB.open(here / "library.sdb") as db:
        assert db.check().ok
        assert db.count() == report["added"]
    if process.returncode != 0:
        assert process.returncode == 130, err
        assert report["state"] in {"interrupted", "before the import"}
    assert run("import", "samples", "--json").json["added"] == 6000 - report["added"]


def test_a_list_cut_short_is_no_error(here, run):
    with StreamDB.open(here / "l.sdb", durability="bulk") as db:
        for number in range(20_000):
            db.write_document(f"folder/{number:08}-with-a-name-of-some-length", b"")
    for argv in (("search",), ("search", "-0"), ("tree",), ("search", "--json")):
        process = start(*argv, cwd=here)
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        process.stderr.close()
        assert process.wait(PATIENCE_S) == 0


def on_terminal(*argv, cwd):
    """Run a command on a terminal of 80 columns; what it showed, and its exit code."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(cwd)
        os.environ.update(COLUMNS="80", LINES="24", TERM="xterm-256color")
        os.execv(sys.executable, [*COMMAND, *argv])
    shown = b""
    end = time.monotonic() + PATIENCE_S
    with contextlib.suppress(OSError):
        while time.monotonic() < end:
            if select.select([terminal], [], [], 0.1)[0]:
                piece = os.read(terminal, 65536)
                if not piece:
                    break
                shown += piece
    os.close(terminal)
    _, status = os.waitpid(child, 0)
    return shown.decode(errors="replace"), os.waitstatus_to_exitcode(status)


@pytest.mark.slow
def test_a_terminal_gets_a_bar_and_tables(here, run):
    many(here / "samples", 3000)
    run("init")
    shown, code = on_terminal("import", "samples", cwd=here)
    assert code == 0
    assert "importing" in shown
    assert re.search(r"\d+%", shown)
    assert re.search(r"iB/s", shown)
    assert "3,000 added" in shown
    shown, code = on_terminal("ls", cwd=here)
    assert code == 0
    assert "Documents" in shown
    quiet, _ = on_terminal("import", "samples", "--quiet", cwd=here)
    assert "\x1b[" not in quiet


@pytest.mark.slow
def test_watching_until_ctrl_c_or_until_told_to_end(here, run):
    (here / "samples").mkdir()
    (here / "samples/a.wav").write_bytes(b"1")
    run("init")
    for sent, code, name in ((signal.SIGINT, 130, "b.wav"), (signal.SIGTERM, 0, "c.wav")):
        process = start("watch", "samples", "--settle", "0.1", "--json", cwd=here)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["kind"] == "watching"
        (here / "samples" / name).write_bytes(b"2")
        told = json.loads(process.stdout.readline())
        assert (told["kind"], told["path"]) == ("add", name)
        until(lambda name=name: name in run("search").lines, process)
        process.send_signal(sent)
        out, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == code
        end = json.loads(out.splitlines()[-1])
        assert (end["kind"], end["failed"]) == ("end", 0)
    assert run("check").code == 0


def peak_private_bytes(process):
    """The most anonymous memory that a process had (RssAnon), looked at fifty times a second.

    Maps of the store's files are shared memory that the kernel takes back when it wants: they are
    not in RssAnon.
    """
    peak = 0
    while process.poll() is None:
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{process.pid}/status").read_text()
            found = re.search(r"^RssAnon:\s+(\d+) kB", text, re.MULTILINE)
            peak = max(peak, int(found[1]) * 1024 if found else 0)
        time.sleep(0.02)
    return peak


def imported(here, run, expected):
    run("init")
    process = start("import", "samples", "--quiet", "--json", cwd=here)
    peak = peak_private_bytes(process)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["added"] == expected
    assert peak > 0
    return peak


def large_file(path, size):
    path.parent.mkdir()
    generator = random.Random(1)
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(generator.randbytes(1 << 20))


@pytest.mark.slow
def test_a_large_file_takes_little_memory(here, run):
    large_file(here / "samples/long.bin", 256 << 20)
    assert imported(here, run, 1) < 150 << 20


@pytest.mark.slow
def test_many_files_take_little_memory(here, run):
    many(here / "samples", 20_000, size=400)
    assert imported(here, run, 20_000) < 200 << 20


@pytest.mark.torture
def test_two_gibibytes_take_less_than_300_mebibytes(here, run):
    large_file(here / "samples/long.bin", 2 << 30)
    assert imported(here, run, 1) < 300 << 20


@pytest.mark.torture
def test_a_hundred_thousand_files_take_less_than_300_mebibytes(here, run):
    many(here / "samples", 100_000, size=2000)
    assert imported(here, run, 100_000) < 300 << 20
