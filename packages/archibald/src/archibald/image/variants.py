"""Boot entries with other settings: which files differ, and how the boot puts them in place.

All variants share one image. The files in which they differ are kept once per variant; the initial
RAM disk copies the chosen set over /etc before systemd starts (see the module ``variants`` of the
system for the script), in the live system as on an installed disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from archibald.image.layer import Node
from archibald.system.render import VariantDelta
from archibald.system.spec import Directory, File, Link

VARIANTS = "/usr/lib/archibald/variants"


def _stored(path: str, node: Node) -> Node:
    return replace(node, path=path)


def variant_nodes(tree: Mapping[str, Node], deltas: Sequence[VariantDelta]) -> dict[str, Node]:
    """Return the nodes that keep each variant's version of the files that differ.

    ``tree`` is the default's rendered tree, ``deltas`` what each variant changes.
    """
    changed = {path for d in deltas for path in (*d.files, *d.removed)}
    # Folders come with the files in them.
    differing = sorted(
        path
        for path in changed
        if any(
            isinstance(nodes.get(path), File | Link) for nodes in (tree, *(d.files for d in deltas))
        )
    )
    nodes: dict[str, Node] = {}
    if not deltas:
        return nodes
    names = ["default", *(delta.name for delta in deltas)]
    for name in names:
        folder = f"{VARIANTS}/{name}"
        nodes[folder] = Directory(folder)
    for path in differing:
        if path in tree and not isinstance(tree[path], Directory):
            place = f"{VARIANTS}/default{path}"
            nodes[place] = _stored(place, tree[path])
        for delta in deltas:
            node = delta.files.get(path, tree.get(path) if path not in delta.removed else None)
            if isinstance(node, File | Link):
                place = f"{VARIANTS}/{delta.name}{path}"
                nodes[place] = _stored(place, node)
    listing = "".join(f"{path}\n" for path in differing).encode()
    nodes[f"{VARIANTS}/paths"] = File(f"{VARIANTS}/paths", listing)
    return nodes
