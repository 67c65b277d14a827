"""Asking a system about its items: all of them, one by name, and as plain data. Pure."""

from __future__ import annotations

from dataclasses import asdict
from difflib import get_close_matches
from typing import Any

from archibald.errors import UsageError
from archibald.system.diff import SpecDiff
from archibald.system.render import rendered
from archibald.system.spec import Contribution, File, Item, SystemSpec, User, kind_name


def all_items(spec: SystemSpec) -> list[Contribution]:
    """Return a system's contributions with the files that are made from them, sorted by key."""
    found = {c.item.key: c for c in (*rendered(spec), *spec.contributions)}
    return [found[key] for key in sorted(found)]


def names(item: Item) -> set[str]:
    """Return what users may call an item: its key, its name, and the last part of a path."""
    bare = item.key.partition(":")[2]
    found = {item.key, bare, f"{kind_name(item)}:{bare}"}
    path = getattr(item, "path", "")
    if path:
        found.add(path.rpartition("/")[2])
    if item.key.startswith("unit:"):
        found.add(bare.partition(":")[2])
    return found


def find_items(spec: SystemSpec, text: str) -> list[Contribution]:
    """Return the items that ``text`` names: a key such as "package:ardour", or a bare name.

    Raises :class:`UsageError` that suggests near names when there is none.
    """
    everything = all_items(spec)
    found = [c for c in everything if text in names(c.item)]
    if found:
        return found
    near = get_close_matches(text, sorted({n for c in everything for n in names(c.item)}), n=3)
    raise UsageError(
        f"the system has no item {text!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
        why=f"near names are {', '.join(near)}" if near else "no name of an item is near it",
        next_step="archibald system show lists all items",
    )


def item_data(contribution: Contribution) -> dict[str, Any]:
    """Return an item as JSON data; contents that are no text are in hexadecimal."""
    item = contribution.item
    fields = asdict(item)
    if isinstance(item, User):
        del fields["password"]
    if isinstance(item, File):
        del fields["content"]
        fields["mode"] = f"{item.mode:04o}"
        try:
            fields["text"] = item.content.decode()
        except UnicodeDecodeError:
            fields["hex"] = item.content.hex()
    return {
        "key": item.key,
        "kind": kind_name(item),
        "item": fields,
        "origins": [asdict(origin) for origin in contribution.origins],
    }


def diff_data(difference: SpecDiff) -> dict[str, Any]:
    """Return a comparison as JSON data."""
    return {
        "added": [item_data(c) for c in difference.added],
        "removed": [item_data(c) for c in difference.removed],
        "changed": [
            {"before": item_data(change.before), "after": item_data(change.after)}
            for change in difference.changed
        ],
    }
