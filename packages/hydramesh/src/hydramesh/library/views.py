"""Collections as messages of the control interface."""

from __future__ import annotations

from hydramesh.library.catalogue import Entry
from hydramesh.library.following import Follower
from hydramesh.library.service import Library
from hydramesh.library.shelf import Shelf
from hydramesh.sync.charter import NO_ROLE, split_id
from hydramesh.sync.replica import Role
from hydramesh.v1 import library_pb2 as pb

_MOST_CLASHES = 20


def collections(library: Library) -> pb.Collections:
    """All that this node has, then what others offer."""
    catalogue = library.catalogue
    out = pb.Collections(
        limits=pb.Limits(down=catalogue.down, up=catalogue.up, paused=catalogue.paused)
    )
    for collection in sorted(catalogue.entries):
        out.collections.append(info(library, collection))
    for collection, heads in library.offered().items():
        if collection in catalogue.entries:
            continue
        name, founder = split_id(collection)
        largest = max(heads.values(), key=lambda head: head.count)
        out.collections.add(
            name=name,
            collection=collection,
            founder=library.node.name_of(founder),
            state="available",
            documents=largest.count,
            bytes=largest.size,
            peers=sorted(library.node.name_of(nid) for nid in heads),
        )
    return out


def info(library: Library, collection: str) -> pb.CollectionInfo:
    """One collection that this node has."""
    entry = library.catalogue.entries[collection]
    name, founder = split_id(collection)
    out = pb.CollectionInfo(
        name=name,
        collection=collection,
        founder=library.node.name_of(founder),
        store=entry.store,
        folder=entry.folder,
        base=entry.base,
        prefix=entry.prefix,
        lazy=entry.lazy,
        peers=sorted(library.node.name_of(nid) for nid in library.heads(collection)),
        problem=library.problems.get(collection, ""),
    )
    shelf, follower = library.shelves.get(collection), library.followers.get(collection)
    if shelf is not None and follower is not None:
        _fill(library, shelf, follower, out)
    out.state = _state(library, entry, follower)
    return out


def problems(library: Library) -> list[str]:
    """What the user should know of the collections, one line each."""
    told = [info(library, collection) for collection in sorted(library.catalogue.entries)]
    return [f"collection {each.name}: {each.problem}" for each in told if each.problem]


def _fill(library: Library, shelf: Shelf, follower: Follower, out: pb.CollectionInfo) -> None:
    node = library.node
    out.role = _text(shelf.role(node.realm.nid))
    out.everyone = _text(shelf.charter.default)
    for nid, role in shelf.charter.roles().items():
        out.roles.add(nid=nid, name=node.name_of(nid), role=_text(role))
    if shelf.head is not None:
        out.documents, out.bytes = shelf.head.count, shelf.head.size
    out.pending_documents = len(follower.pending)
    out.pending_bytes = library.puller.left(shelf.entry.collection)
    if out.pending_bytes:
        out.rate = library.rate
        out.eta_s = out.pending_bytes / library.rate if library.rate > 1 else 0.0
    out.refused = follower.refused
    collection = shelf.collection
    if collection is not None:
        out.local = len(collection.local)
        out.clashes.extend(collection.clashes()[:_MOST_CLASHES])
    trouble = shelf.mirror.trouble if shelf.mirror is not None else ""
    out.problem = out.problem or follower.problem or trouble or library.puller.problem
    out.problem = out.problem or shelf.trouble


def _state(library: Library, entry: Entry, follower: Follower | None) -> str:
    if follower is None:
        return "failed" if entry.collection in library.problems else "opening"
    if follower.problem:
        return "failed"
    if library.is_paused(entry.collection):
        return "paused"
    heads = library.heads(entry.collection)
    if not heads:
        return "alone"
    return "in-sync" if follower.is_level_with(heads) else "syncing"


def _text(role: Role | None) -> str:
    return role.value if role is not None else NO_ROLE
