"""Running image steps as root of a namespace, so that nothing outlives them.

Every step that needs root runs in its own mount and process namespaces: mounts vanish with its
last process, and that process dies with us, however we end. As an ordinary user a user namespace
makes us root over our own files and over the subordinate ids of /etc/subuid.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from archibald.errors import PreconditionError, ToolFailedError
from archibald.run import Runner, find_tool, require_tools, run


class NoPrivilegesError(PreconditionError):
    """Neither root nor user namespaces are available."""


def is_root() -> bool:
    """True when we are root already."""
    return os.geteuid() == 0


def as_root(argv: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Return ``argv`` wrapped so that it runs as root of namespaces that die with this process."""
    words = [os.fspath(word) for word in argv]
    user = [] if is_root() else ["unshare", "--map-auto", "--map-root-user", "--"]
    return [
        *user,
        # After the user namespace: entering one clears the parent-death signal.
        "setpriv", "--pdeathsig", "KILL", "--",
        "unshare", "--mount", "--pid", "--fork", "--kill-child", "--",
        *words,
    ]  # fmt: skip


def require_privileges(runner: Runner = run) -> None:
    """Raise :class:`NoPrivilegesError` unless steps can run as root, here or in a namespace."""
    require_tools(["unshare", "setpriv"], purpose="building an image")
    if is_root():
        return
    if find_tool("newuidmap") is None:
        raise NoPrivilegesError(
            "building as an ordinary user needs newuidmap",
            why="it maps subordinate user ids; the package uidmap is not installed",
            next_step="sudo apt-get install uidmap, or build as root: sudo archibald build iso",
        )
    try:
        result = runner(as_root(["true"]), check=False, timeout_s=20)
        status = f"exit status {result.returncode} of unshare"
        why = result.stderr.strip() or status if result.returncode else ""
    except ToolFailedError as error:
        why = error.why
    if why:
        raise NoPrivilegesError(
            "no root, and user namespaces do not work here",
            why=why,
            next_step=_namespace_advice(why),
        )


def _namespace_advice(why: str) -> str:
    import getpass

    name = getpass.getuser()
    subuid = Path("/etc/subuid")
    entries = subuid.read_text(encoding="utf-8") if subuid.is_file() else ""
    owners = {line.partition(":")[0] for line in entries.splitlines()}
    if not owners & {name, str(os.getuid())}:
        return (
            f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}, "
            "or build as root: sudo archibald build iso"
        )
    if "Operation not permitted" in why or "Permission denied" in why:
        return (
            "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, "
            "user.max_user_namespaces > 0), or build as root: sudo archibald build iso"
        )
    return "build as root: sudo archibald build iso"


def remove_tree(folder: Path, runner: Runner = run) -> None:
    """Delete a tree, also when it holds files of subordinate ids."""
    if not folder.exists():
        return
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists() and not is_root():
        runner(["unshare", "--map-auto", "--map-root-user", "--", "rm", "-rf", folder], check=False)
    if folder.exists():
        shutil.rmtree(folder)
