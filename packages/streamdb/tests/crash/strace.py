"""Records every call of a process that changes files, in order, with all bytes: through strace."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    "openat,open,creat,write,pwrite64,writev,pwritev,pwritev2,lseek,ftruncate,truncate,fallocate,"
    "fsync,fdatasync,sync,syncfs,sync_file_range,msync,rename,renameat,renameat2,unlink,unlinkat,"
    "rmdir,mkdir,mkdirat,link,linkat,symlink,symlinkat,copy_file_range,sendfile,splice,mmap,"
    "clone,clone3,fork,vfork,dup,dup2,dup3,fcntl,io_uring_setup"
)

_LINE = re.compile(r"(\d+) +(.*)", re.DOTALL)
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)", re.DOTALL)
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)(.*)", re.DOTALL)
_DESCRIPTOR = re.compile(r"(-?\d+|AT_FDCWD)<([^>]*)>(?:\(deleted\))?")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?')


@dataclass(frozen=True)
class Call:
    """One system call: it began at ``start`` and had ended at ``end``, both in lines of the trace.

    ``paths`` are those of its descriptors and its arguments, in their order; ``data`` what it
    wrote; ``text`` its arguments as strace shows them; ``process`` the process, not the thread.
    """

    name: str
    start: int
    end: int
    process: int
    result: int
    descriptor: int
    paths: tuple[str, ...]
    data: bytes
    text: str


def command(out: Path, argv: Sequence[str]) -> list[str]:
    """The command that runs ``argv`` under the recorder."""
    program = shutil.which("strace")
    if program is None:
        raise RuntimeError("strace is missing: scripts/host-tools media installs it")
    return [
        program, "-f", "-y", "-xx", "-s", "268435456", "--seccomp-bpf", "-e", f"trace={CALLS}",
        "-o", str(out), *argv,
    ]  # fmt: skip


def record(out: Path, argv: Sequence[str], cwd: Path, timeout_s: float = 300.0) -> list[Call]:
    """Run a command to its end: what it did."""
    done = subprocess.run(
        command(out, argv), cwd=cwd, stdin=subprocess.DEVNULL, timeout=timeout_s, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the recorded command ended with {done.returncode}")
    with out.open() as file:
        return list(parse(file))


def parse(lines: Iterable[str]) -> Iterator[Call]:
    """The calls of a trace that succeeded, in the order in which they ended."""
    begun: dict[int, tuple[int, str]] = {}
    group: dict[int, int] = {}
    for at, line in enumerate(lines):
        matched = _LINE.match(line.rstrip("\n"))
        if not matched:
            continue
        thread, text = int(matched[1]), matched[2]
        start = at
        resumed = _RESUMED.match(text)
        if resumed:
            start, before = begun.pop(thread)
            text = before + resumed[1]
        elif text.endswith("<unfinished ...>"):
            begun[thread] = (at, text.removesuffix("<unfinished ...>").rstrip())
            continue
        call = _CALL.match(text)
        if call is None or call[3] in ("?", "-1"):
            continue
        process = group.get(thread, thread)
        if call[1] in ("clone", "clone3", "fork", "vfork"):
            child = int(call[3])
            group[child] = process if "CLONE_THREAD" in call[2] else child
            continue
        yield _call(call, start, at, process)
    for thread, (start, text) in begun.items():
        # Killed inside of it: as far as the disk goes, it never ended.
        call = _CALL.match(text + ") = 0")
        if call is not None:
            yield _call(call, start, 1 << 60, group.get(thread, thread))


def _call(call: re.Match[str], start: int, end: int, process: int) -> Call:
    name, arguments, result, rest = call[1], call[2], call[3], call[4]
    held = _DESCRIPTOR.match(arguments)
    writes = name in ("write", "pwrite64", "writev", "pwritev", "pwritev2")
    strings = [_decode(found) for found in _STRING.finditer(arguments)]
    paths = []
    if name in ("openat", "open", "creat"):
        opened = re.search(r"<([^>]*)>", rest)
        paths = [_text(opened[1])] if opened else []
    elif name == "mmap":
        mapped = re.search(r"\d+<([^>]*)>", arguments)
        paths = [_text(mapped[1])] if mapped else []
    else:
        if held and held[1] != "AT_FDCWD":
            paths.append(_text(held[2]))
        if not writes:
            paths += [string.decode(errors="surrogateescape") for string in strings]
    return Call(
        name=name,
        start=start,
        end=end,
        process=process,
        result=int(result, 0),
        descriptor=int(held[1]) if held and held[1] != "AT_FDCWD" else -1,
        paths=tuple(paths),
        data=b"".join(strings) if writes else b"",
        text=arguments if not writes else arguments.rpartition('"')[2],
    )


def _decode(found: re.Match[str]) -> bytes:
    if found[2]:
        raise ValueError("strace cut a string off")
    return bytes.fromhex(found[1].replace("\\x", ""))


def _text(raw: str) -> str:
    if raw.startswith("\\x"):
        return bytes.fromhex(raw.replace("\\x", "")).decode(errors="surrogateescape")
    return raw
