"""The peers: who they are, and how they come into an environment of their own."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from pathlib import Path

from compare_stores import Opened, stdlib_stores

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
#: Name of the store → the module that it comes from ("" for none), and where it is assembled.
_MODULES = {
    "apsw": "apsw",
    "apsw-clustered": "apsw",
    "rocksdb": "rocksdict",
    "leveldb": "plyvel",
}
NAMES = ("streamdb", "apsw", "apsw-clustered", "sqlite3", "rocksdb", "leveldb", "files")


class NotInstalled(Exception):
    """The peers could not be installed."""


def default_folder() -> Path:
    """Where the peers are installed unless the user says otherwise."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    tag = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Path(cache) / "streamdb-bench" / tag


def has_wheel(module: str) -> bool:
    """Whether a peer can be had for this Python: plyvel has no wheels from 3.13 on."""
    return module != "plyvel" or sys.version_info < (3, 13)


def missing(stores: Sequence[str], others: Sequence[str]) -> list[str]:
    """The modules that are needed for these stores, or beside them, and cannot be imported."""
    modules = [_MODULES[name] for name in stores if name in _MODULES]
    wanted = dict.fromkeys([*modules, *others])
    return [name for name in wanted if has_wheel(name) and not _can_import(name)]


def _can_import(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def make_ready(
    stores: Sequence[str], others: Sequence[str], folder: Path, say: Callable[[str], None]
) -> None:
    """Install what is missing into ``folder``, which is announced, and import from there.

    Raises:
        NotInstalled: that failed.
    """
    site = folder / f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    for known in (False, True):
        if not missing(stores, others):
            return
        # Behind everything else: what this Python has already stays as it is.
        if known:
            _install(folder, say)
        if site.is_dir() and str(site) not in sys.path:
            sys.path.append(str(site))
        importlib.invalidate_caches()
    still = missing(stores, others)
    if still:
        raise NotInstalled(f"{', '.join(still)} cannot be imported from {folder}; remove it")


def _install(folder: Path, say: Callable[[str], None]) -> None:
    say(f"installing the peers into {folder} (an environment of its own; remove it when done)")
    try:
        venv.create(folder, with_pip=True)
    except (subprocess.CalledProcessError, OSError) as error:
        raise NotInstalled(f"no environment could be made in {folder}: {error}") from error
    command = [
        str(folder / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--quiet",
        "install", "--require-hashes", "--only-binary", ":all:", "-r", str(REQUIREMENTS),
    ]  # fmt: skip
    result = subprocess.run(command, stdin=subprocess.DEVNULL, check=False)
    if result.returncode:
        raise NotInstalled(f"pip failed ({result.returncode}): {' '.join(command)}")


def openers(names: Sequence[str]) -> dict[str, Opened]:
    """The stores of these names that can be had here, ours first."""
    from compare_kv import leveldb, rocksdb
    from compare_sql import through_apsw

    found = stdlib_stores()
    for module, make in (("apsw", through_apsw), ("rocksdict", rocksdb), ("plyvel", leveldb)):
        if any(_MODULES.get(name) == module for name in names) and has_wheel(module):
            found |= make()
    return {name: found[name] for name in NAMES if name in names and name in found}
