"""The one way to run an external command.

An argv list, never a shell string; standard input closed unless given; the environment rebuilt; a
failure is one error that shows the command so that it can be pasted. Everything that runs commands
takes a :class:`Runner`, so tests can inject their own.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from archibald.errors import DiskFullError, MissingToolError, ToolFailedError

log = logging.getLogger("archibald.run")

#: What of the caller's environment reaches external programs; everything else is dropped so that a
#: build does not depend on who runs it. Proxies and certificates are needed to reach a mirror.
_PASSED_VARIABLES = (
    "HOME", "TMPDIR", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME",
    "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY",
    "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "PIP_CERT", "PIP_CONFIG_FILE",
    "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST",
)  # fmt: skip

#: The Debian package that holds a tool whose package has another name.
TOOL_PACKAGES: Mapping[str, str] = {
    "mksquashfs": "squashfs-tools",
    "unsquashfs": "squashfs-tools",
    "grub-mkimage": "grub-common",
    "grub-mkstandalone": "grub-common",
    "mcopy": "mtools",
    "mmd": "mtools",
    "mformat": "mtools",
    "setpriv": "util-linux",
    "xargs": "findutils",
    "du": "coreutils",
    "mkfs.vfat": "dosfstools",
    "mkfs.ext4": "e2fsprogs",
    "mke2fs": "e2fsprogs",
    "sfdisk": "fdisk",
    "gpgv": "gpgv",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
    "newuidmap": "uidmap",
    "unshare": "util-linux",
    "qemu-system-x86_64": "qemu-system-x86",
    "apt-ftparchive": "apt-utils",
    "nix-instantiate": "nix-bin",
    "cyclictest": "rt-tests",
    "hackbench": "rt-tests",
    "dd": "coreutils",
    "jack_iodelay": "jack-example-tools",
    "jack_lsp": "jack-example-tools",
    "jack_connect": "jack-example-tools",
    "jack_bufsize": "jack-example-tools",
    "jack_samplerate": "jack-example-tools",
    "jack_cpu_load": "jack-example-tools",
    "jack_midi_latency_test": "jack-example-tools",
    "systemd-analyze": "systemd",
    "pw-link": "pipewire-bin",
    "pw-metadata": "pipewire-bin",
    "pw-top": "pipewire-bin",
    "pw-jack": "pipewire-jack",
    "aseqdump": "alsa-utils",
}


@dataclass(frozen=True)
class Result:
    """What a finished command left: its exit status and output (bytes decoded as UTF-8)."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


class Runner(Protocol):
    """Runs one command to its end."""

    def __call__(
        self,
        argv: Sequence[str | os.PathLike[str]],
        *,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stdin: bytes | None = None,
        stdin_file: IO[bytes] | None = None,
        stdout_file: IO[bytes] | None = None,
        log_file: Path | None = None,
        timeout_s: float | None = None,
        on_tick: Callable[[], None] | None = None,
    ) -> Result: ...


def build_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment that external programs get: fixed locale and path, no surprises."""
    env = {name: os.environ[name] for name in _PASSED_VARIABLES if name in os.environ}
    # The last two are where NixOS has its programs; elsewhere they do not exist.
    env["PATH"] = (
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        ":/run/wrappers/bin:/run/current-system/sw/bin"
    )
    env["LC_ALL"] = "C.UTF-8"
    env["TZ"] = "UTC"
    env.update(extra or {})
    return env


def shell_quoted(argv: Sequence[str | os.PathLike[str]]) -> str:
    """Return the command as a line that can be pasted into a shell."""
    return " ".join(shlex.quote(os.fspath(arg)) for arg in argv)


def find_tool(name: str) -> Path | None:
    """Return the path of an external program, or None; looks in the sbin folders as well."""
    found = shutil.which(name, path=build_environment()["PATH"])
    return Path(found) if found else None


def package_of(tool: str, os_release: str) -> str:
    """Return the Debian package that holds a tool; ``os_release`` is the text of that file."""
    package = TOOL_PACKAGES.get(tool, tool)
    # Debian 12 has the clients in the server's package.
    old = package == "jack-example-tools" and "VERSION_CODENAME=bookworm" in os_release
    return "jackd2" if old else package


def require_tools(names: Sequence[str], *, purpose: str) -> None:
    """Raise :class:`MissingToolError` naming every missing tool and the command to install them."""
    missing = [name for name in names if find_tool(name) is None]
    if not missing:
        return
    release = ""
    with contextlib.suppress(OSError):
        release = Path("/etc/os-release").read_text("utf-8", "replace")
    packages = sorted({package_of(name, release) for name in missing})
    raise MissingToolError(
        f"{purpose} needs {', '.join(missing)}",
        why="not found on this machine",
        next_step=f"sudo apt-get install --no-install-recommends {' '.join(packages)}",
    )


def _last_lines(text: str, count: int = 12) -> str:
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    return "\n        ".join(lines[-count:])


def _raise_failure(
    argv: Sequence[str], returncode: int, output: str, log_file: Path | None
) -> None:
    tool = Path(argv[0]).name
    if os.strerror(errno.ENOSPC) in output:
        raise DiskFullError(
            f"the disk is full: {tool} could not write",
            why=_last_lines(output, 3),
            next_step="free some space (archibald cache prune), or set TMPDIR to a larger disk",
        )
    state = f"signal {-returncode}" if returncode < 0 else f"exit status {returncode}"
    raise ToolFailedError(
        f"{tool} failed with {state}",
        why=f"{_last_lines(output) or '(it printed nothing)'}\n  command: {shell_quoted(argv)}",
        next_step=f"see {log_file}"
        if log_file
        else "run the command by hand, or repeat with --debug",
    )


def stop_process(process: subprocess.Popen[bytes], *, grace_s: float = 5.0) -> None:
    """End a process and its whole group: SIGTERM, then SIGKILL after ``grace_s`` seconds."""
    if process.poll() is not None:
        return
    for sig in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sig)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=grace_s)
            return


@contextlib.contextmanager
def spawn(
    argv: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] = subprocess.DEVNULL,
    stderr: int | IO[bytes] = subprocess.DEVNULL,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command in a process group of its own; leaving the block ends the whole group.

    Where setpriv is there (util-linux), the kernel ends it as well when we are killed.
    """
    words = [os.fspath(arg) for arg in argv]
    log.debug("$ %s", shell_quoted(words))
    full_env = build_environment(env)
    program = shutil.which(words[0], path=full_env["PATH"])
    if program is None:
        require_tools([words[0]], purpose="this step")
    setpriv = shutil.which("setpriv", path=full_env["PATH"])
    # We may be gone before the kernel knows of the leash: then it would hold nobody.
    alive = ["/bin/sh", "-c", '[ "$PPID" -eq "$0" ] && exec "$@"', str(os.getpid())]
    leash = [setpriv, "--pdeathsig", "KILL", "--", *alive] if setpriv else []
    process = subprocess.Popen(
        [*leash, program or words[0], *words[1:]],
        env=full_env, cwd=cwd, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        stop_process(process)


@contextlib.contextmanager
def if_killed(
    argv: Sequence[str | os.PathLike[str]], *, env: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Have a command run if this process dies inside the block, even by SIGKILL.

    A shell waits for the end of a pipe, which the kernel closes with us. Leaving the block in any
    other way tells it that there is nothing to do: cleaning up is then the block's own task.
    """
    words = [os.fspath(arg) for arg in argv]
    log.debug("if killed: $ %s", shell_quoted(words))
    ours, its = os.pipe()
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r over || exec "$@"', "sh", *words],
            env=build_environment(env), stdin=ours, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
    except BaseException:
        os.close(its)
        raise
    finally:
        os.close(ours)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            os.write(its, b"over\n")
        os.close(its)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5.0)


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    stdin_file: IO[bytes] | None = None,
    stdout_file: IO[bytes] | None = None,
    log_file: Path | None = None,
    timeout_s: float | None = None,
    on_tick: Callable[[], None] | None = None,
) -> Result:
    """Run a command to its end and return its output.

    ``stdout_file`` takes standard output instead of the result; ``log_file`` collects standard
    error (and standard output, unless that goes to ``stdout_file``). ``on_tick`` is called about
    ten times a second while the command runs, for progress bars.

    Raises :class:`MissingToolError`, :class:`ToolFailedError` (also on a time-out) and
    :class:`DiskFullError`.
    """
    import tempfile

    words = [os.fspath(arg) for arg in argv]
    with contextlib.ExitStack() as stack:
        err: IO[bytes] = (
            stack.enter_context(log_file.open("w+b"))
            if log_file
            else stack.enter_context(tempfile.TemporaryFile())
        )
        out = stdout_file or (err if log_file else stack.enter_context(tempfile.TemporaryFile()))
        source: int | IO[bytes] = subprocess.DEVNULL
        if stdin is not None:
            source = stack.enter_context(tempfile.TemporaryFile())
            source.write(stdin)
            source.seek(0)
        elif stdin_file is not None:
            source = stdin_file
        with spawn(words, env=env, cwd=cwd, stdin=source, stdout=out, stderr=err) as process:
            _wait(process, words, timeout_s, on_tick)
        stdout_text = "" if out is err or stdout_file else _read(out)
        stderr_text = _read(err)
    result = Result(tuple(words), process.returncode, stdout_text, stderr_text)
    if check and result.returncode != 0:
        _raise_failure(words, result.returncode, stderr_text or stdout_text, log_file)
    return result


def _read(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")


def _wait(
    process: subprocess.Popen[bytes],
    argv: Sequence[str],
    timeout_s: float | None,
    on_tick: Callable[[], None] | None,
) -> None:
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        try:
            process.wait(timeout=0.1 if on_tick or deadline else None)
            return
        except subprocess.TimeoutExpired:
            if on_tick:
                on_tick()
            if deadline is not None and time.monotonic() > deadline:
                stop_process(process)
                raise ToolFailedError(
                    f"{Path(argv[0]).name} did not end within {timeout_s:g} s",
                    why=f"command: {shell_quoted(argv)}",
                    next_step="run the command by hand to see where it hangs",
                ) from None


def run_pipeline(
    producer: Sequence[str | os.PathLike[str]],
    consumer: Sequence[str | os.PathLike[str]],
    *,
    env: Mapping[str, str] | None = None,
    log_file: Path,
    on_tick: Callable[[], None] | None = None,
) -> None:
    """Run ``producer | consumer``; both write what they say to ``log_file``.

    Raises like :func:`run`; when both fail the producer's failure is the one reported, because a
    consumer that loses its input usually fails second.
    """
    with contextlib.ExitStack() as stack:
        said = stack.enter_context(log_file.open("w+b"))
        first = stack.enter_context(spawn(producer, env=env, stdout=subprocess.PIPE, stderr=said))
        assert first.stdout is not None
        second = stack.enter_context(
            spawn(consumer, env=env, stdin=first.stdout, stdout=said, stderr=said)
        )
        first.stdout.close()
        _wait(second, [os.fspath(word) for word in consumer], None, on_tick)
        _wait(first, [os.fspath(word) for word in producer], None, on_tick)
        output = _read(said)
    for argv, process in ((producer, first), (consumer, second)):
        if process.returncode != 0:
            words = [os.fspath(word) for word in argv]
            _raise_failure(words, process.returncode, output, log_file)
