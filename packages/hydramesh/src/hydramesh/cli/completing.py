"""Completion of what the daemon knows: nodes, collections, and their documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from hydramesh.cli.common import Place, ask_soon
from hydramesh.errors import HydraMeshError
from hydramesh.v1 import control_pb2, library_pb2

Items = list[CompletionItem[Any]]


def nodes(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """The names of the other nodes of the realm."""
    del param

    def names(place: Place) -> Iterable[str]:
        found = ask_soon(place, "ListPeers", control_pb2.PeersRequest(), service="Control")
        return (each.name for each in found.peers)

    return _items(ctx, incomplete, names)


def grantees(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """Nodes, and everyone."""
    found = nodes(ctx, param, incomplete)
    return [*found, *_items(ctx, incomplete, lambda _: ["everyone"])]


def collections(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """The collections that are here."""
    del param
    return _items(ctx, incomplete, lambda place: _collections(place, offered=False))


def offered(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """The collections that could be followed."""
    del param
    return _items(ctx, incomplete, lambda place: _collections(place, offered=True))


def documents(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """The documents of the collection that is named before, one folder deep."""
    del param

    def paths(place: Place) -> Iterable[str]:
        asked = library_pb2.DocumentsRequest(name=ctx.params.get("name", ""), prefix=incomplete)
        found = ask_soon(place, "ListDocuments", asked, service="Library").documents
        return dict.fromkeys(_next_part(each.path, incomplete) for each in found)

    return _items(ctx, incomplete, paths)


def _next_part(path: str, begun: str) -> str:
    """As much of a path as one more step goes.

    >>> _next_part("drums/808/kick.wav", "dr"), _next_part("drums/hat.wav", "drums/")
    ('drums/', 'drums/hat.wav')
    """
    end = path.find("/", len(begun))
    return path if end < 0 else path[: end + 1]


def _collections(place: Place, *, offered: bool) -> Iterable[str]:
    asked = library_pb2.CollectionsRequest()
    found = ask_soon(place, "ListCollections", asked, service="Library").collections
    return (each.name for each in found if (each.state == "available") == offered)


def _items(ctx: click.Context, incomplete: str, names: Callable[[Place], Iterable[str]]) -> Items:
    root = ctx.find_root().params
    try:
        found = list(names(Place(root.get("state"), root.get("config_file"))))
    except (HydraMeshError, OSError):
        # A shell that completes has no place for a message.
        return []
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]
