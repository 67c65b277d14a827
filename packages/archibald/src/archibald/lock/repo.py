"""A package repository on disk made of exactly the locked packages."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from archibald.lock.model import LockedPackage
from archibald.lock.store import Store
from archibald.run import Runner, require_tools, run


def write_repository(
    packages: Sequence[LockedPackage], store: Store, folder: Path, *, runner: Runner = run
) -> None:
    """Fill ``folder`` with the packages' files and a Packages index.

    The control data is read from the packages themselves, whose hashes have been checked, so no
    index of the mirror is needed to build an old lock.
    """
    require_tools(["dpkg-deb"], purpose="reading Debian packages")
    folder.mkdir(parents=True, exist_ok=True)

    def stanza(package: LockedPackage) -> str:
        path = folder / package.file_name
        _link_or_copy(store.path(package.sha256), path)
        control = runner(["dpkg-deb", "--field", path]).stdout.rstrip("\n")
        return (
            f"{control}\nFilename: ./{package.file_name}\nSize: {path.stat().st_size}\n"
            f"SHA256: {package.sha256}\n"
        )

    with ThreadPoolExecutor(max_workers=(os.cpu_count() or 1) + 1) as pool:
        stanzas = list(pool.map(stanza, packages))
    (folder / "Packages").write_text("\n".join(stanzas), "utf-8")


def repository_address(folder: Path) -> str:
    """Return the address of a repository of ours as apt prints it; a blank would end it."""
    return f"copy:{quote(str(folder))}"


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        import shutil

        shutil.copyfile(source, target)
