"""Our own command inside the image: locked wheels and our packages, compiled, as a tar.

The byte code is made by the image's own Python, taken out of the locked packages and run in place,
with unchecked-hash files: they depend on the source alone.
"""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from archibald.errors import ToolFailedError
from archibald.lock.model import Lock
from archibald.lock.store import Store, sha256_of
from archibald.run import Runner, run

#: Where our Python packages live in the image, away from Debian's.
SITE = "/usr/lib/archibald/python"

LAUNCHER = f"""\
#!/usr/bin/python3 -I
import sys
sys.path.insert(0, "{SITE}")
from archibald.cli import main
main()
"""

_COMPILE = """\
import compileall, os, sys
root, where = sys.argv[1:3]
ok = compileall.compile_dir(root, quiet=1, workers=1, stripdir=root, prependdir=where,
                            invalidation_mode=__import__("py_compile").PycInvalidationMode.UNCHECKED_HASH)
sys.exit(0 if ok else 1)
"""


@dataclass(frozen=True)
class OwnFile:
    """A file of one of our packages: its path below :data:`SITE` and where it is here."""

    target: str
    source: Path


def own_files(distributions: tuple[str, ...] = ("archibald",)) -> list[OwnFile]:
    """Return the files of our installed packages, sorted; byte code is left out."""
    files = []
    for name in distributions:
        module_file = import_module(name).__file__
        assert module_file is not None
        root = Path(module_file).parent
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                files.append(OwnFile(f"{name}/{path.relative_to(root)}", path))
    return files


def _metadata_files(distributions: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Yield the dist-info of our packages, so that importlib.metadata knows them in the image."""
    for name in distributions:
        version = metadata.version(name)
        folder = f"{name}-{version}.dist-info"
        text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        yield f"{folder}/METADATA", text.encode()
        yield f"{folder}/INSTALLER", b"archibald\n"


def app_inputs(lock: Lock, distributions: tuple[str, ...] = ("archibald",)) -> dict[str, Any]:
    """Return everything that decides the app's bytes, as plain data."""
    return {
        "python": lock.python,
        "interpreter": [[p.name, p.sha256] for p in interpreter_packages(lock)],
        "wheels": dict(lock.wheels),
        "own": [[file.target, sha256_of(file.source)] for file in own_files(distributions)],
        "metadata": [[name, text.decode()] for name, text in _metadata_files(distributions)],
        "launcher": LAUNCHER,
        "compile": _COMPILE,
        "epoch": lock.epoch,
    }


def interpreter_packages(lock: Lock) -> list[Any]:
    """Return the locked packages that hold the image's Python and what it is linked to."""
    python = f"python{lock.python}"
    names = {
        f"{python}-minimal", f"lib{python}-minimal", f"lib{python}-stdlib", "libc6", "zlib1g",
        "libexpat1", "libssl3t64", "libffi8", "liblzma5", "libzstd1", "libbz2-1.0",
    }  # fmt: skip
    return [package for package in lock.packages if package.name in names]


def unpack_wheel(wheel: Path, target: Path) -> None:
    """Unpack the importable part of a wheel; scripts and headers are not for the image.

    Raises when a member would leave ``target``.
    """
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            name = member.filename
            head, _, rest = name.partition("/")
            if head.endswith(".data"):
                kind, _, name = rest.partition("/")
                if kind not in ("purelib", "platlib"):
                    continue
            if member.is_dir() or name.endswith("/RECORD"):
                continue
            path = (target / name).resolve()
            if target.resolve() not in path.parents:
                raise ToolFailedError(f"{wheel.name} holds a file outside its folder: {name}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(member))


def _compile(lock: Lock, store: Store, site: Path, scratch: Path, runner: Runner) -> None:
    interpreter = scratch / "interpreter"
    interpreter.mkdir()
    for package in interpreter_packages(lock):
        runner(["dpkg-deb", "--extract", store.path(package.sha256), interpreter])
    libraries = interpreter / "usr/lib/x86_64-linux-gnu"
    runner(
        [libraries / "ld-linux-x86-64.so.2", "--library-path", libraries,
         interpreter / f"usr/bin/python{lock.python}", "-S", "-B", "-c", _COMPILE, site, SITE],
        env={"PYTHONHASHSEED": "0", "PYTHONHOME": str(interpreter / "usr")},
    )  # fmt: skip


def build_app(
    lock: Lock,
    store: Store,
    out: Path,
    scratch: Path,
    *,
    extra: Mapping[str, bytes] | None = None,
    distributions: tuple[str, ...] = ("archibald",),
    runner: Runner = run,
) -> None:
    """Make app.tar in ``out``: our command, what it imports, and ``extra`` files by path."""
    site = scratch / "site"
    site.mkdir()
    for sha256 in lock.wheels.values():
        unpack_wheel(store.path(sha256), site)
    for file in own_files(distributions):
        path = site / file.target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.source.read_bytes())
    for name, text in _metadata_files(distributions):
        path = site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    _compile(lock, store, site, scratch, runner)
    with tarfile.open(out / "app.tar", mode="w", format=tarfile.GNU_FORMAT) as tar:
        _add(tar, "usr/bin/archibald", LAUNCHER.encode(), 0o755, lock.epoch)
        for path in sorted(p for p in site.rglob("*") if p.is_file()):
            mode = 0o755 if path.suffix == ".so" else 0o644
            name = f"{SITE.lstrip('/')}/{path.relative_to(site)}"
            _add(tar, name, path.read_bytes(), mode, lock.epoch)
        for name, content in sorted((extra or {}).items()):
            _add(tar, name.lstrip("/"), content, 0o644, lock.epoch)


def _add(tar: tarfile.TarFile, name: str, content: bytes, mode: int, epoch: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(content), mode, epoch
    info.uname = info.gname = ""
    tar.addfile(info, io.BytesIO(content))
