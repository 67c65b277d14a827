"""The system layer: the profile's files and our command, laid over the base. Pure.

The layer is a tar: app.tar's members and the profile's nodes, with parent folders that keep the
mode and owner they have in the base, so that laying it over the base changes only what it should.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import IO

from archibald.errors import UsageError
from archibald.image.accounts import Accounts
from archibald.system.spec import Directory, File, Link

Node = File | Link | Directory


@dataclass(frozen=True)
class BaseEntry:
    """A line of the base's file list: kind (f, d, l, …), mode, numeric owner, link target."""

    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    target: str


def parse_file_list(text: str) -> dict[str, BaseEntry]:
    """Return path → entry of a list that the finishing hook wrote."""
    entries = {}
    for line in text.splitlines():
        kind, mode, uid, gid, size, rest = line.split(" ", 5)
        path, _, target = rest.partition("\t")
        entries[path] = BaseEntry(kind, int(mode, 8), int(uid), int(gid), int(size), target)
    return entries


def require_timezone(zone: str, base: Mapping[str, BaseEntry]) -> None:
    """Raise UsageError, with near names, unless the base's time zone database has ``zone``.

    A link to a zone that is missing would leave the clock at UTC without a word.
    """
    folder = "/usr/share/zoneinfo/"
    if folder + zone in base:
        return
    zones = [path.removeprefix(folder) for path in base if path.startswith(folder)]
    near = get_close_matches(zone, sorted(zones), n=3)
    raise UsageError(
        f"system.timezone: there is no time zone {zone!r}",
        why="the image's time zone database (tzdata) does not have it",
        next_step=f"did you mean {' or '.join(near)}?"
        if near
        else "take one of timedatectl's list",
    )


class LayerWriter:
    """Writes nodes into a tar, with parents first and each path once."""

    def __init__(
        self,
        stream: IO[bytes],
        base: Mapping[str, BaseEntry],
        accounts: Accounts,
        epoch: int,
        tree: Mapping[str, Node],
    ) -> None:
        self.tar = tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT)  # noqa: SIM115
        self.base, self.accounts, self.epoch, self.tree = base, accounts, epoch, tree
        self.written: set[str] = set()
        root = tarfile.TarInfo("./")  # without it mksquashfs gives the root mode 0777
        root.type, root.mode, root.mtime = tarfile.DIRTYPE, 0o755, epoch
        self.tar.addfile(root)

    def add(self, path: str, node: Node) -> None:
        """Add one node at its absolute path."""
        self._parents(path)
        if isinstance(node, Directory):
            self._require_folder(path, path)
        info = self._info(path, node)
        content = node.content if isinstance(node, File) else b""
        info.size = len(content)
        self.tar.addfile(info, io.BytesIO(content))
        self.written.add(path)

    def add_member(self, info: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        """Add a member of another tar under its own name."""
        path = "/" + info.name.strip("/")
        self._parents(path)
        self.tar.addfile(info, content)
        self.written.add(path)

    def close(self) -> None:
        """Finish the tar; the stream stays open."""
        self.tar.close()

    def _parents(self, path: str) -> None:
        for parent in reversed(PurePosixPath(path).parents):
            name = str(parent)
            if name == "/":
                continue
            self._require_folder(path, name)
            if name in self.written:
                continue
            node = self.tree.get(name)
            info = self._info(name, node) if node else self._base_folder(name)
            self.tar.addfile(info)
            self.written.add(name)

    def _require_folder(self, path: str, folder: str) -> None:
        """Raise unless ``folder`` can hold ``path``, in the tree and in the base."""
        node, entry = self.tree.get(folder), self.base.get(folder)
        if isinstance(node, File | Link):
            target = node.target if isinstance(node, Link) else ""
        elif entry is not None and entry.kind != "d":
            target = entry.target
        else:
            return
        what = f"a link to {target}" if target else "not a folder"
        raise UsageError(
            f"{path} cannot be added: {folder} is {what}", next_step="use the path behind the link"
        )

    def _base_folder(self, name: str) -> tarfile.TarInfo:
        entry = self.base.get(name)
        info = tarfile.TarInfo(name.lstrip("/"))
        info.type, info.mtime = tarfile.DIRTYPE, self.epoch
        info.mode, info.uid, info.gid = (
            (entry.mode, entry.uid, entry.gid) if entry else (0o755, 0, 0)
        )
        return info

    def _info(self, path: str, node: Node) -> tarfile.TarInfo:
        info = tarfile.TarInfo(path.lstrip("/"))
        info.mtime = self.epoch
        if isinstance(node, Link):
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, node.target, 0o777
            return info
        info.mode = node.mode
        info.type = tarfile.DIRTYPE if isinstance(node, Directory) else tarfile.REGTYPE
        try:
            info.uid = self.accounts.uid(node.owner)
            info.gid = self.accounts.gid(node.group)
        except KeyError as error:
            raise UsageError(
                f"{path} belongs to {error.args[0]}, an account that the system does not have",
                next_step="add the user or group, or the package that brings it",
            ) from error
        return info


def write_layer(
    stream: IO[bytes],
    *,
    app: IO[bytes],
    tree: Mapping[str, Node],
    base: Mapping[str, BaseEntry],
    accounts: Accounts,
    epoch: int,
) -> None:
    """Write the system layer's tar to ``stream``: app.tar, then the tree in the order of paths."""
    writer = LayerWriter(stream, base, accounts, epoch, tree)
    with tarfile.open(fileobj=app, mode="r:") as members:
        for info in members:
            writer.add_member(info, members.extractfile(info) if info.isreg() else None)
    for path in sorted(tree):
        if path not in writer.written:
            writer.add(path, tree[path])
        elif not isinstance(tree[path], Directory):
            raise UsageError(f"{path} is in the profile's files and in our own")
    writer.close()


def read_skeleton(stream: IO[bytes]) -> dict[str, Node]:
    """Return path below a home → node of the base's /etc/skel, from its tar."""
    nodes: dict[str, Node] = {}
    with tarfile.open(fileobj=stream, mode="r:") as tar:
        for info in tar:
            path = info.name.removeprefix("skel").lstrip("/")
            if not path:
                continue
            if info.isdir():
                nodes[path] = Directory(path, info.mode)
            elif info.issym():
                nodes[path] = Link(path, info.linkname)
            elif (content := tar.extractfile(info)) is not None:
                nodes[path] = File(path, content.read(), info.mode)
    return nodes


def home_nodes(
    home: str, owner: str, skeleton: Mapping[str, Node], tree: Mapping[str, Node]
) -> dict[str, Node]:
    """Return the nodes of a user's home: the folder, the skeleton, parents of the tree's files.

    Everything below the home belongs to ``owner``, or programs could not write beside it.
    """
    nodes: dict[str, Node] = {home: Directory(home, 0o700, owner, owner)}
    for path, node in skeleton.items():
        place = f"{home}/{path}"
        if isinstance(node, File):
            nodes[place] = File(place, node.content, node.mode, owner, owner)
        elif isinstance(node, Directory):
            nodes[place] = Directory(place, node.mode, owner, owner)
        else:
            nodes[place] = Link(place, node.target)
    for path in tree:
        if path.startswith(f"{home}/"):
            for parent in PurePosixPath(path).parents:
                if str(parent) == home or not str(parent).startswith(f"{home}/"):
                    break
                nodes.setdefault(str(parent), Directory(str(parent), 0o755, owner, owner))
    return nodes
