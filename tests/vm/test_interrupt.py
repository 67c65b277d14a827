"""Builds that are interrupted, killed or run out of disk leave nothing and can be repeated."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .conftest import CORE, ROOT, BuiltImage, archibald

pytestmark = pytest.mark.vm


@contextmanager
def building(cache: Path, out: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "archibald", "build", "iso", "--profile", CORE, "--output", out,
         "--offline"],
        env={**os.environ, "ARCHIBALD_CACHE": str(cache)}, cwd=ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(process: subprocess.Popen[str], line_start: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(line_start):
            return
    pytest.fail(f"the build ended before {line_start!r}")


def processes_naming(path: Path) -> list[str]:
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(path) in text:
            found.append(text)
    return found


def settled(path: Path, timeout_s: float = 30) -> list[str]:
    deadline = time.monotonic() + timeout_s
    while (found := processes_naming(path)) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def scratch_of(cache: Path) -> list[Path]:
    folder = cache / "stages/scratch"
    return sorted(folder.iterdir()) if folder.exists() else []


def mounts() -> set[str]:
    return {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_packages_install(
    pool_only_cache: Callable[[str], Path], vm_folder: Path, sent: signal.Signals
) -> None:
    cache, out = pool_only_cache(f"interrupt-{sent.name}"), vm_folder / f"int-{sent.name}"
    before = mounts()
    with building(cache, out) as process:
        wait_for(process, "base:")
        time.sleep(8)
        process.send_signal(sent)
        code = process.wait(timeout=60)
        said = process.stderr.read() if process.stderr else ""

    assert code == 130
    assert "Traceback" not in said
    assert settled(cache) == []
    assert scratch_of(cache) == []
    assert not out.exists() or list(out.iterdir()) == []
    assert mounts() == before
    shutil.rmtree(cache)


@pytest.mark.torture
def test_killed_at_every_stage_then_finished(
    core_image: BuiltImage, pool_only_cache: Callable[[str], Path], vm_folder: Path
) -> None:
    cache, out = pool_only_cache("kill"), vm_folder / "kill"
    before = mounts()
    moments = [
        ("fetch:", 0.0), ("base:", 1.0), ("base:", 15.0), ("base:", 35.0), ("app:", 0.5),
        ("system:", 0.2), ("iso:", 0.5), ("iso:", 1.5),
    ]  # fmt: skip
    for line, delay_s in moments:
        with building(cache, out) as process:
            wait_for(process, line)
            time.sleep(delay_s)
            process.kill()
        assert settled(cache) == [], line
        assert mounts() == before
        assert not list(out.glob("*.iso"))

    done = archibald(
        "build", "iso", "--profile", CORE, "--output", out, "--offline", "--json", cache=cache
    )

    assert done.code == 0, done.err
    assert done.document["sha256"] == core_image.report["sha256"]
    assert scratch_of(cache) == []
    assert not [path for path in out.iterdir() if "partial" in path.name]
    shutil.rmtree(cache)


def full_disk(folder: Path, options: str) -> list[str | Path]:
    """Return the prefix that runs a command with a small file system of its own at ``folder``."""
    script = 'mount -t tmpfs -o "$1" tmpfs "$2" && ln -s "$3" "$2/pool" && shift 3 && exec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", options,
            folder]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "how"), [("size=200M", "said at once"), ("size=4G,nr_inodes=3000", "in the middle")]
)
def test_full_disk(
    pool_only_cache: Callable[[str], Path], vm_folder: Path, options: str, how: str
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    pool = pool_only_cache(f"full-{how.replace(' ', '-')}") / "pool"
    small, out = vm_folder / "small", vm_folder / "small-out"
    small.mkdir(exist_ok=True)

    done = archibald(
        "build", "iso", "--profile", CORE, "--output", out, "--offline", "--json",
        cache=small, prefix=[*full_disk(small, options), pool],
    )  # fmt: skip
    shutil.rmtree(pool.parent)

    assert done.code == 3, done.err
    assert done.document["error"] == "DiskFullError"
    assert "Traceback" not in done.err
    assert not out.exists() or list(out.iterdir()) == []
