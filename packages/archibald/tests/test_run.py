"""The one way to run an external command, with real commands of every Linux system."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archibald.errors import DiskFullError, MissingToolError, ToolFailedError
from archibald.run import (
    build_environment,
    package_of,
    require_tools,
    run,
    shell_quoted,
    spawn,
)


def test_output_comes_back_decoded():
    result = run(["sh", "-c", "printf 'fünf\\377'; echo err >&2"])
    assert (result.stdout, result.stderr, result.returncode) == ("fünf�", "err\n", 0)


def test_standard_input_is_closed_unless_given(tmp_path):
    assert run(["cat"]).stdout == ""
    assert run(["cat"], stdin=b"x" * 100_000).stdout == "x" * 100_000
    source = tmp_path / "source"
    source.write_bytes(b"from a file")
    with source.open("rb") as file:
        assert run(["cat"], stdin_file=file).stdout == "from a file"


def test_output_can_go_to_files(tmp_path):
    target, log = tmp_path / "out", tmp_path / "log"
    with target.open("wb") as file:
        result = run(["sh", "-c", "echo out; echo err >&2"], stdout_file=file, log_file=log)
    assert result.stdout == ""
    assert target.read_text() == "out\n"
    assert log.read_text() == "err\n"


def test_the_environment_is_rebuilt(monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_USER", "1")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    monkeypatch.setenv("TMPDIR", "/var/tmp")
    printed = run(["env"], env={"SOURCE_DATE_EPOCH": "0"}).stdout.splitlines()
    assert {"LC_ALL=C.UTF-8", "TZ=UTC", "TMPDIR=/var/tmp", "SOURCE_DATE_EPOCH=0"} <= set(printed)
    assert not [line for line in printed if line.startswith(("SECRET", "LANG="))]


def test_words_are_never_read_by_a_shell():
    hostile = "$(touch /tmp/x); `id` 'quoted' \"too\" *"
    assert run(["printf", "%s", hostile]).stdout == hostile


def test_a_failure_shows_last_lines_and_a_command_to_paste():
    argv = ["sh", "-c", "echo first; echo 'the reason' >&2; exit 7"]
    with pytest.raises(ToolFailedError) as caught:
        run(argv)
    assert caught.value.what == "sh failed with exit status 7"
    assert "the reason" in caught.value.why
    assert shell_quoted(argv) in caught.value.why
    assert caught.value.exit_code == 4


def test_a_killed_program_is_named_by_its_signal():
    with pytest.raises(ToolFailedError, match=f"signal {int(signal.SIGKILL)}"):
        run(["sh", "-c", "kill -9 $$"])


def test_a_failure_can_be_asked_for():
    assert run(["false"], check=False).returncode == 1


def test_a_full_disk_is_an_error_of_its_own():
    full = os.strerror(28)
    with pytest.raises(DiskFullError) as caught:
        run(["sh", "-c", f"echo 'write error: {full}' >&2; exit 1"])
    assert caught.value.exit_code == 3
    assert full in caught.value.why


def test_a_missing_program_names_its_package():
    with pytest.raises(MissingToolError, match="no-such-program"):
        run(["no-such-program"])
    with pytest.raises(MissingToolError) as caught:
        require_tools(["sh", "no-such-program", "no-such-other"], purpose="the build")
    assert caught.value.what == "the build needs no-such-program, no-such-other"
    assert caught.value.next_step.startswith("sudo apt-get install --no-install-recommends no-")


@pytest.mark.parametrize(
    ("tool", "release", "package"),
    [("jack_iodelay", "VERSION_CODENAME=bookworm\n", "jackd2"),
     ("jack_iodelay", "VERSION_CODENAME=trixie\n", "jack-example-tools"),
     ("systemd-analyze", "", "systemd"), ("xorriso", "", "xorriso")],
)  # fmt: skip
def test_tools_are_found_in_the_package_of_the_release(tool, release, package):
    assert package_of(tool, release) == package


def test_a_program_that_hangs_is_ended():
    with pytest.raises(ToolFailedError, match="did not end within"):
        run(["sleep", "600"], timeout_s=0.2)


def test_ticks_come_while_the_program_runs(tmp_path):
    """The command ends only once a tick has come, so a runner without ticks would time out."""
    ticked = tmp_path / "ticked"
    run(
        ["sh", "-c", 'until [ -e "$0" ]; do sleep 0.05; done', ticked],
        on_tick=ticked.touch,
        timeout_s=60,
    )


def test_leaving_the_block_ends_the_whole_process_group(tmp_path):
    child_id = tmp_path / "child"
    script = 'sleep 600 & echo $! >"$0.new"; mv "$0.new" "$0"; wait'
    with spawn(["sh", "-c", script, child_id]) as process:
        run(["sh", "-c", 'until [ -e "$0" ]; do sleep 0.05; done', child_id], timeout_s=60)
    assert process.returncode is not None
    assert _gone(int(child_id.read_text()))


def _gone(pid: int) -> bool:
    """Say whether a process has ended; one that only waits to be collected counts as ended."""
    for _ in range(200):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            if state != "Z":
                run(["sleep", "0.05"])
                continue
        return True
    return False


def test_the_search_path_holds_the_sbin_folders():
    assert {"/usr/sbin", "/sbin"} <= set(build_environment()["PATH"].split(":"))


def test_nothing_outlives_a_killed_parent(tmp_path):
    code = (
        "import sys; from archibald.run import spawn\n"
        "with spawn(['sleep', '300']) as child:\n"
        "    print(child.pid, flush=True); sys.stdin.read()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()

    deadline = time.monotonic() + 20
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)

    assert not alive(child)


def alive(pid: int) -> bool:
    """Say whether a process runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
